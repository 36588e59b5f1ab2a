"""Which code makes things: what other code has made is not taken for what this code would make."""

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2]


@cache
def code_digest(*rooms: str) -> str:
    """64 hexadecimal digits that change with any source file of some rooms of the package.

    Args:
        rooms: directories or files below the package, such as `models` or `schema.py`.
    """
    digest = hashlib.sha256()
    for room in rooms:
        place = PACKAGE / room
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
