"""What a preparation is made of: the files that it reads, and its settings."""

import hashlib
from collections.abc import Sequence

from exfm_ray.data.location import Location


def identity(files: Sequence[Location], settings: str) -> str:
    """16 hexadecimal digits that change with the settings, and with a file's name, size or time of change.

    Stages carry it in their names, so that pieces made of a file that was mended since are made again.
    """
    told: list[object] = [settings]
    for file in files:
        system, path = file.opened()
        info = system.get_file_info(path)
        told.append((file.uri, info.size, info.mtime_ns))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
