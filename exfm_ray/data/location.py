"""A place in a local directory or in any object store that pyarrow.fs opens."""

import errno
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pyarrow import fs

NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
"""what file systems say that cannot give a file a second name"""

SWEPT_AT_MOST = 3
"""times in a row that a file which is being put may be taken for a leftover"""


@dataclass(frozen=True)
class Location:
    """An absolute local path, or a URI such as `s3://bucket/run?region=eu-west-1`.

    Only text, so it travels to any process. The options behind a URI's `?` stay behind it in every place below.
    """

    uri: str

    @classmethod
    def of(cls, text: str) -> "Location":
        """A location from what a user wrote; a relative path is taken from the working directory."""
        if text.startswith("file://"):
            text = url2pathname(urlsplit(text).path)
        if "://" not in text:
            return cls(os.path.abspath(os.path.expanduser(text)))
        path, mark, options = text.partition("?")
        return cls(f"{path.rstrip('/')}{mark}{options}")

    def __truediv__(self, name: str) -> "Location":
        path, options = self._parts()
        return Location(f"{path}/{name}{options}")

    def __str__(self) -> str:
        return self.uri

    def day(self, day: int) -> "Location":
        """The directory of one day in this one."""
        return self / f"day={day:03d}"

    @property
    def name(self) -> str:
        return self._parts()[0].rsplit("/", 1)[-1]

    @property
    def is_local(self) -> bool:
        return "://" not in self.uri

    def _parts(self) -> tuple[str, str]:
        """The path, and a URI's options with their mark; a local path may have a question mark in a name."""
        if self.is_local:
            return self.uri, ""
        path, mark, options = self.uri.partition("?")
        return path, mark + options

    def opened(self) -> tuple[fs.FileSystem, str]:
        """The file system and the path in it."""
        return (fs.LocalFileSystem(), self.uri) if self.is_local else fs.FileSystem.from_uri(self.uri)

    def is_file(self) -> bool:
        system, path = self.opened()
        return bool(system.get_file_info(path).type == fs.FileType.File)

    def is_directory(self) -> bool:
        system, path = self.opened()
        return bool(system.get_file_info(path).type == fs.FileType.Directory)

    def children(self) -> list["Location"]:
        """What lies directly in this directory, sorted by name; empty where there is none."""
        system, path = self.opened()
        try:
            infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        except FileNotFoundError:  # pyarrow looks twice, and it came or went between
            return []
        return [self / info.base_name for info in sorted(infos, key=lambda info: info.base_name)]

    def size(self) -> int:
        """Bytes of this file; -1 where there is none."""
        system, path = self.opened()
        info = system.get_file_info(path)
        return int(info.size) if info.type == fs.FileType.File else -1

    def read(self) -> bytes:
        system, path = self.opened()
        with system.open_input_file(path) as source:
            return bytes(source.read())

    def write(self, content: bytes) -> None:
        """Put the whole file at once: a reader sees all of it or none, whenever this process is killed."""
        system, path = self.opened()
        if not self.is_local:  # an object appears when its upload ends
            with system.open_output_stream(path) as sink:
                sink.write(content)
            return
        for _ in range(SWEPT_AT_MOST):
            with suppress(FileNotFoundError):  # another process has committed the directory and swept it meanwhile
                os.replace(self._staged(content), path)
                return
        os.replace(self._staged(content), path)

    def write_first(self, content: bytes) -> bool:
        """Put the whole file at once where there is none; of several writers one succeeds.

        An object store, or a file system without links, cannot tell which of two at the same moment is first: there
        the last one wins.

        Returns:
            whether this writer was first.
        """
        if not self.is_local:
            if is_first := not self.is_file():
                self.write(content)
            return is_first
        staged = self._staged(content)
        try:
            os.link(staged, self.uri)
        except (FileExistsError, FileNotFoundError):  # who was first has swept what others were about to put
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.replace(staged, self.uri)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(staged)
        return True

    def _staged(self, content: bytes) -> str:
        """A local file beside this one, its content on the disk."""
        os.makedirs(os.path.dirname(self.uri), exist_ok=True)
        staged = f"{self.uri}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            with open(staged, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:  # such as a full disk, which what is half written would keep full
            with suppress(OSError):
                os.unlink(staged)
            raise OSError(error.errno, error.strerror, self.uri) from error
        return staged

    def delete(self) -> None:
        """Remove this file or directory with all that it holds; nothing happens where there is none."""
        system, path = self.opened()
        kind = system.get_file_info(path).type
        with suppress(FileNotFoundError):  # another process was faster
            if kind == fs.FileType.Directory:
                system.delete_dir(path)
            elif kind == fs.FileType.File:
                system.delete_file(path)
