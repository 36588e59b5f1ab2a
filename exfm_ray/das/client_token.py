"""The token that the door asks for, from where it is kept: never from the command line, which everyone can read."""

import os
import stat
from collections.abc import Callable

from exfm_ray.errors import UserError

TOKEN_VARIABLE = "EXFM_TOKEN"
TOKEN_BYTES = 4_096


def read_token(file: str | None, warn: Callable[[str], None]) -> str | None:
    """The token in a file, or else in EXFM_TOKEN; None where neither is given.

    Args:
        warn: is told a line where others can read the file.

    Raises:
        UserError: it cannot be read, or is not one word of printable ASCII.
    """
    content = os.environ.get(TOKEN_VARIABLE) if file is None else _content(file, warn)
    if content is None:
        return None
    token, source = content.strip(), TOKEN_VARIABLE if file is None else "--token-file"
    if not token or not all("!" <= character <= "~" for character in token):
        found = f"{len(token)} characters with others between" if token else "nothing"
        raise UserError(f"{source}: found {found}; it must be one word of printable ASCII, as of openssl rand -hex 32")
    return token


def _content(file: str, warn: Callable[[str], None]) -> str:
    try:
        with open(file, "rb") as opened:
            if os.fstat(opened.fileno()).st_mode & (stat.S_IRGRP | stat.S_IROTH):
                warn(f"--token-file: others can read {file}; chmod 600 keeps the token to you")
            content = opened.read(TOKEN_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"--token-file: {file} cannot be read ({error.strerror}); name a file with the token"
        ) from error
    if len(content) > TOKEN_BYTES:
        raise UserError(f"--token-file: {file} has more than {TOKEN_BYTES} bytes; name a file with the token alone")
    return content.decode("utf-8", errors="replace")
