"""Committed directories: how partitions, side-cars, snapshots and checkpoints come to exist.

A directory exists when its `manifest.json` exists. The manifest is written last, in one atomic put, and lists
the directory's files with their sizes and checksums. Files that no manifest lists are leftovers of a process that died
or of one that still works on the same thing: a worker that was cut off from its cluster, or another run in a store.
They are ignored, and swept once there is a manifest: then no commit but that one can happen any more. An object store
cannot tell who commits first, so there they stay in what several runs may write, below the `key=…` of a store.
"""

import errno
import hashlib
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from exfm_ray.data.location import Location
from exfm_ray.errors import DataError

MANIFEST = "manifest.json"
SHARED = re.compile(r"/key=[0-9a-f]{64}(/|$|\?)")
"""in the path of a directory that several runs may write"""
CHUNK_BYTES = 8 * 1024 * 1024
"""of a file are in memory at a time while it is checked; an object store is asked once for each"""
MEND = "delete that directory and start the command that made it again, which makes anew what it needs"


class CommittedFile(BaseModel):
    """One file of a committed directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[^/\\.][^/\\]*$", description="in its own directory, whatever a foreign manifest says")
    rows: int
    bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    beside: "CommittedFile | None" = Field(default=None, description="a file that it needs; its rows are not counted")

    @property
    def names(self) -> tuple[str, ...]:
        """Of it and of the file that it needs."""
        return (self.name,) if self.beside is None else (self.name, *self.beside.names)

    @property
    def checksums(self) -> tuple[str, ...]:
        """Of it and of the file that it needs."""
        return (self.sha256,) if self.beside is None else (self.sha256, *self.beside.checksums)


class Made(BaseModel):
    """Who made a directory, and how long it took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    process: int
    started: float
    """seconds since the Unix epoch"""
    seconds: float
    cpu_seconds: float | None = None
    """of all processes that worked on it, as far as they tell; None: nobody measured it"""
    cpus: int | None = None
    """that the host has"""
    measured: dict[str, Any] = {}
    """what was measured while it was made; differs from run to run"""


class Manifest(BaseModel):
    """What a committed directory holds, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[CommittedFile, ...]
    rows: int
    about: dict[str, Any]
    """What the files mean; the same whenever and wherever they are made again."""
    made: Made


def rows_worked_on(manifest: Manifest) -> int:
    """All rows, but of a side-car those that the FM predicted: rows that no VM reads lie in it as nulls."""
    return int(manifest.about.get("fm_rows", manifest.rows))


@dataclass(frozen=True)
class Stopwatch:
    """Started when a step starts; says who made it and how long it took."""

    started: float
    elsewhere: float = 0.0
    """seconds since then that went into other things, and are not counted"""
    cpu_clock: Callable[[], float] | None = None
    """CPU seconds of the thread or of the process that works; None leaves them unknown"""
    cpu_before: float = 0.0
    """what that clock shows before any of the step's seconds"""

    @classmethod
    def start(cls, cpu_clock: Callable[[], float] = time.thread_time) -> "Stopwatch":
        """Start now.

        Args:
            cpu_clock: `time.process_time` where a whole process, with its threads, does nothing else.
        """
        return cls(time.time(), cpu_clock=cpu_clock, cpu_before=cpu_clock())

    def made(self, measured: dict[str, Any] | None = None) -> Made:
        cpu_seconds = None if self.cpu_clock is None else round(self.cpu_clock() - self.cpu_before, 3)
        return Made(
            host=socket.gethostname(),
            process=os.getpid(),
            started=round(self.started, 3),
            seconds=round(time.time() - self.started - self.elsewhere, 3),
            cpu_seconds=cpu_seconds,
            cpus=os.cpu_count(),
            measured=measured or {},
        )


def write_file(
    directory: Location,
    stem: str,
    suffix: str,
    content: bytes,
    rows: int = 0,
    beside: CommittedFile | None = None,
) -> CommittedFile:
    """Write one file under a name that no other attempt uses; it counts only once a manifest lists it."""
    return write_named_file(directory, f"{stem}-{uuid.uuid4().hex[:8]}{suffix}", content, rows, beside)


def write_named_file(
    directory: Location, name: str, content: bytes, rows: int = 0, beside: CommittedFile | None = None
) -> CommittedFile:
    """Write one file by a name that others look for, where nothing is committed; a second attempt replaces it."""
    (directory / name).write(content)
    digest = hashlib.sha256(content).hexdigest()
    return CommittedFile(name=name, rows=rows, bytes=len(content), sha256=digest, beside=beside)


def commit(
    directory: Location,
    files: Sequence[CommittedFile],
    about: dict[str, Any],
    stopwatch: Stopwatch,
    measured: dict[str, Any] | None = None,
) -> Manifest:
    """Make the directory exist. Committed things never change: an earlier commit wins, this one's files are swept.

    Args:
        measured: plain values that differ from run to run, such as the seconds of each request.
    """
    earlier = committed(directory)
    if earlier is None:
        rows = sum(file.rows for file in files)
        own = Manifest(files=tuple(files), rows=rows, about=about, made=stopwatch.made(measured))
        is_first = (directory / MANIFEST).write_first(own.model_dump_json(indent=1).encode())
        earlier = own if is_first else require(directory)
    sweep(directory)
    return earlier


def committed(directory: Location) -> Manifest | None:
    """The manifest of a committed directory, or None where nothing is committed.

    Raises:
        DataError: the manifest cannot be read as one.
    """
    place = directory / MANIFEST
    try:
        content = place.read() if place.is_file() else None
    except FileNotFoundError:  # it is being deleted
        content = None
    if content is None:
        return None
    try:
        return Manifest.model_validate_json(content)
    except ValueError as error:
        raise DataError(f"{place} is not a manifest: {json.dumps(str(error).splitlines()[0])}; {MEND}") from error


def require(directory: Location) -> Manifest:
    """The manifest of a directory that must be committed."""
    manifest = committed(directory)
    if manifest is None:
        raise DataError(f"{directory} is not committed: it has no {MANIFEST}")
    return manifest


def sweep(directory: Location) -> None:
    """Delete the files of a committed directory that its manifest does not list, unless another one may replace it."""
    if not directory.is_local and SHARED.search(directory.uri) is not None:
        return
    kept = {MANIFEST, *(name for file in require(directory).files for name in file.names)}
    for child in directory.children():
        if child.name not in kept:
            child.delete()


def read_file(directory: Location, file: CommittedFile) -> bytes:
    """A committed file's content, checked.

    Raises:
        DataError: its bytes are not the ones that were committed.
        FileNotFoundError: it is gone.
    """
    place = directory / file.name
    try:
        content = place.read()
    except FileNotFoundError as error:
        raise _gone(place) from error
    if len(content) != file.bytes:
        raise _cut(place, len(content), file)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _changed(place)
    return content


def checked(place: Location, file: CommittedFile) -> Iterator[bytes]:
    """A committed file in chunks.

    Raises:
        DataError: before the last chunk, if the bytes are not the ones that were committed.
        FileNotFoundError: it is gone, which may pass where a network is between.
    """
    system, path = place.opened()
    digest = hashlib.sha256()
    try:
        content = system.open_input_file(path)
    except FileNotFoundError as error:
        raise _gone(place) from error
    with content:
        if content.size() != file.bytes:
            raise _cut(place, content.size(), file)
        left = file.bytes
        while left:
            chunk = content.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise DataError(f"{place} ended {left} bytes early")
            left -= len(chunk)
            digest.update(chunk)
            if not left and digest.hexdigest() != file.sha256:
                raise _changed(place)
            yield chunk


def _gone(place: Location) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, f"this file was committed and is gone; {MEND}", str(place))


def _cut(place: Location, size: int, file: CommittedFile) -> DataError:
    return DataError(f"{place} has {size} bytes, and {file.bytes} were committed; {MEND}")


def _changed(place: Location) -> DataError:
    return DataError(f"{place} has changed since it was committed: its checksum differs; {MEND}")


@lru_cache(maxsize=4_096)
def check_once(place: Location, file: CommittedFile) -> None:
    """For files of which only parts are read: this process reads the whole file the first time that it is asked.

    Raises:
        DataError: its bytes are not the ones that were committed.
    """
    for _ in checked(place, file):
        pass
