"""Parameter files on a node's own disk, read from storage once for all of the node's replicas.

Whoever comes first takes a file lock, copies the file under another name while checking it, brings it to the disk and
renames it; the others wait for the lock and find it. So a file under its own name was whole and on the disk when it got
the name, also after a power cut. Each process checks its checksum once more all the same, before it first uses it.
"""

import fcntl
import hashlib
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exfm_ray.data.commit import CommittedFile, checked
from exfm_ray.data.location import Location
from exfm_ray.errors import UserError

MOST_FILES = 8
"""are kept, those used last: what processes that were killed left behind does not add up"""


LOCK = "lock-"


class NodeCache:
    """Files by their checksum, in a directory that only this user reads and writes.

    Args:
        directory: on this machine; left out: below the system's directory for temporary files.

    Raises:
        UserError: something else is there, or somebody else could write into it.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or Path(tempfile.gettempdir()) / f"exfm_ray-snapshots-{os.geteuid()}"
        self._checked: dict[str, int] = {}
        """checksum → inode of the file whose content this process has compared with it"""
        self._make_private()

    def _make_private(self) -> None:
        """At every use, since directories for temporary files are cleaned now and then."""
        with suppress(FileExistsError):
            self.directory.mkdir(mode=0o700, parents=True)
        found = os.lstat(self.directory)
        mend = "remove it, or let TMPDIR name a directory of your own"
        if not stat.S_ISDIR(found.st_mode):
            raise UserError(f"snapshot cache: {self.directory} must be a directory itself and no link; {mend}")
        if found.st_uid != os.geteuid():
            raise UserError(f"snapshot cache: {self.directory} belongs to user {found.st_uid}, not to you; {mend}")
        if mode := found.st_mode & 0o077:
            raise UserError(f"snapshot cache: {self.directory} is open to others ({mode:03o}), not private; {mend}")

    @contextmanager
    def file(self, source: Location, file: CommittedFile) -> Iterator[Path]:
        """A committed file as one of this machine, whole and checked; nobody removes it inside the block.

        Args:
            source: where the file is in storage; it is read only where no process of this node has done so.

        Raises:
            DataError: its bytes are not the ones that were committed.
        """
        path = self.directory / file.sha256
        while True:
            with self._locked(file.sha256, fcntl.LOCK_SH):
                if self._is_whole(path, file):
                    os.utime(path)
                    yield path
                    return
            with self._locked(file.sha256, fcntl.LOCK_EX):
                if not self._is_whole(path, file):
                    self._copy(source, file, path)
            self._keep_the_last_used()

    def discard(self, sha256: str) -> None:
        """Remove a file that is no longer current; who has mapped it goes on reading it.

        One that is being opened at this moment stays, until `MOST_FILES` others have been used after it.
        """
        with suppress(BlockingIOError), self._locked(sha256, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for path in self.directory.glob(f"{sha256}*"):
                path.unlink(missing_ok=True)
            self._checked.pop(sha256, None)

    def _is_whole(self, path: Path, file: CommittedFile) -> bool:
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        if found.st_size != file.bytes:
            return False
        if self._checked.get(file.sha256) != found.st_ino:
            with open(path, "rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                    return False
            self._checked[file.sha256] = found.st_ino
        return True

    def _copy(self, source: Location, file: CommittedFile, path: Path) -> None:
        for left_behind in self.directory.glob(f"{file.sha256}.*"):  # by a process that died, as the lock was free
            left_behind.unlink(missing_ok=True)
        part = self.directory / f"{file.sha256}.{uuid.uuid4().hex[:8]}"
        try:
            with open(part, "wb") as sink:
                for chunk in checked(source, file):
                    sink.write(chunk)
                sink.flush()
                os.fsync(sink.fileno())
            os.replace(part, path)
            _bring_to_disk(self.directory)
            self._checked[file.sha256] = path.stat().st_ino
        finally:
            part.unlink(missing_ok=True)

    def _keep_the_last_used(self) -> None:
        used = {}
        for path in self.directory.iterdir():
            with suppress(FileNotFoundError):
                used[path] = path.stat().st_mtime
        files = [path for path in used if not path.name.startswith(LOCK)]
        for path in sorted(files, key=lambda file: used[file], reverse=True)[MOST_FILES:]:
            self.discard(path.name.partition(".")[0])

    @contextmanager
    def _locked(self, sha256: str, kind: int) -> Iterator[None]:
        """The kernel frees the lock when its holder dies. Locks are never removed, so a few serve all files."""
        self._make_private()
        with open(self.directory / f"{LOCK}{sha256[0]}", "a") as file:
            fcntl.flock(file, kind)
            yield


def _bring_to_disk(directory: Path) -> None:
    """The names in it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
