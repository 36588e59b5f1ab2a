"""Where the door listens, checked before anything is started."""

import socket
from ipaddress import ip_address

from exfm_ray.errors import UserError

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""what stands for all addresses of this machine → the one that this machine itself uses"""


def check_host(host: str, *, has_token: bool) -> None:
    """Beyond this machine only who shows a token is let in.

    Raises:
        UserError: it is no address, or it is reached from other machines and there is no token.
    """
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise UserError(f"--host: {host!r} is no IP address; give one of this machine's, or localhost") from error
    if not address.is_loopback and not has_token:
        raise UserError(
            f"--host: {host!r} lets other machines in, which takes a token; give --token-file, set EXFM_TOKEN, "
            "or listen on 127.0.0.1"
        )


def free_port(host: str, port: str) -> int:
    """The port itself where nobody listens on it; for 0 one that is free.

    Raises:
        UserError: it is no port, it is taken, or this machine has no such address.
    """
    if not port.isdecimal() or len(port) > 5 or int(port) > 65_535:
        raise UserError(f"--http: {port!r} is no port; give one from 1 to 65535, or 0 for a free one")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise UserError(
                f"--http: cannot listen on port {port} of {host} ({error.strerror}); give another, or 0 for a free one"
            ) from error
        return int(probe.getsockname()[1])


def base_url(host: str, port: int) -> str:
    """How this machine reaches the door."""
    here = ANY_ADDRESS.get(host, host)
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"
