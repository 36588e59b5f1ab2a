"""A place in a local directory or in any object store that pyarrow.fs opens."""

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pyarrow import fs


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
        os.makedirs(os.path.dirname(path), exist_ok=True)
        staged = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
        with open(staged, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)

    def create(self, content: bytes) -> bool:
        """Put the whole file at once where there is none; False where there is one.

        Of several processes that do so at once one succeeds; in an object store each may, and the last one's stays.
        """
        if not self.is_local:
            return self._put_where_none(content)
        staged = Location(f"{self.uri}.{uuid.uuid4().hex[:8]}.new")
        staged.write(content)
        try:
            os.link(staged.uri, self.uri)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links, such as an object store that is mounted
            return self._put_where_none(content)
        finally:
            staged.delete()
        return True

    def _put_where_none(self, content: bytes) -> bool:
        if is_new := not self.is_file():
            self.write(content)
        return is_new

    def delete(self) -> None:
        """Remove this file or directory with all that it holds; nothing happens where there is none."""
        system, path = self.opened()
        kind = system.get_file_info(path).type
        with suppress(FileNotFoundError):  # another process was faster
            if kind == fs.FileType.Directory:
                system.delete_dir(path)
            elif kind == fs.FileType.File:
                system.delete_file(path)
