"""The node's cache: storage is read once, and only what is whole is used, whoever is killed when."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from exfm_ray.das.node_cache import MOST_FILES, NodeCache
from exfm_ray.data.commit import CHUNK_BYTES, CommittedFile, write_file
from exfm_ray.data.location import Location
from exfm_ray.errors import DataError, UserError
from tests.s3_server import S3Server


@pytest.fixture
def store(tmp_path: Path) -> Location:
    return Location.of(str(tmp_path / "store"))


@pytest.fixture
def cache(tmp_path: Path) -> NodeCache:
    return NodeCache(tmp_path / "cache")


def content_of(cache: NodeCache, store: Location, file: CommittedFile) -> bytes:
    with cache.file(store / file.name, file) as path:
        return path.read_bytes()


def files_in(cache: NodeCache) -> list[str]:
    return sorted(path.name for path in cache.directory.iterdir() if not path.name.startswith("lock-"))


def test_storage_is_read_once(cache: NodeCache, store: Location) -> None:
    file = write_file(store, "parameters", ".bin", b"content")
    assert content_of(cache, store, file) == b"content"
    (store / file.name).delete()
    assert content_of(cache, store, file) == b"content"
    assert content_of(NodeCache(cache.directory), store, file) == b"content"


def test_a_file_of_several_chunks_is_copied_in_order(cache: NodeCache, store: Location) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 5)
    file = write_file(store, "parameters", ".bin", content)
    assert content_of(cache, store, file) == content


def test_an_empty_file_is_one(cache: NodeCache, store: Location) -> None:
    assert content_of(cache, store, write_file(store, "parameters", ".bin", b"")) == b""


@pytest.mark.parametrize(
    ("changed", "reason"), [(b"contenT", "its checksum differs"), (b"cont", "has 4 bytes, and 7 were committed")]
)
def test_what_changed_in_storage_is_refused(cache: NodeCache, store: Location, changed: bytes, reason: str) -> None:
    file = write_file(store, "parameters", ".bin", b"content")
    (store / file.name).write(changed)
    with pytest.raises(DataError, match=reason):
        content_of(cache, store, file)
    assert files_in(cache) == []


@pytest.mark.parametrize("torn", [b"", b"cont", b"contenT"])
def test_a_damaged_file_is_read_again(cache: NodeCache, store: Location, torn: bytes) -> None:
    file = write_file(store, "parameters", ".bin", b"content")
    content_of(cache, store, file)
    (cache.directory / file.sha256).write_bytes(torn)
    assert content_of(NodeCache(cache.directory), store, file) == b"content"


def test_what_a_killed_copy_left_is_replaced(cache: NodeCache, store: Location) -> None:
    file = write_file(store, "parameters", ".bin", b"content")
    (cache.directory / f"{file.sha256}.0a1b2c3d").write_bytes(b"much more than the content")
    assert content_of(cache, store, file) == b"content"
    assert files_in(cache) == [file.sha256]


def test_a_discarded_file_goes_and_who_has_it_open_reads_on(cache: NodeCache, store: Location) -> None:
    file = write_file(store, "parameters", ".bin", b"content")
    with cache.file(store / file.name, file) as path:
        opened = open(path, "rb")  # noqa: SIM115 - held beyond the block, as a mapping is
        cache.discard(file.sha256)
        assert files_in(cache) == [file.sha256], "nobody removes what is being opened"
    cache.discard(file.sha256)
    cache.discard(file.sha256)
    assert files_in(cache) == []
    with opened:
        assert opened.read() == b"content"


def test_files_are_bounded_and_the_last_used_stay(cache: NodeCache, store: Location) -> None:
    files = [write_file(store, "parameters", ".bin", str(index).encode()) for index in range(MOST_FILES + 3)]
    (cache.directory / f"{'0' * 64}.0a1b2c3d").write_bytes(b"of a process that died long ago")
    os.utime(cache.directory / f"{'0' * 64}.0a1b2c3d", (0, 0))
    for moment, file in enumerate(files):
        content_of(cache, store, file)
        os.utime(cache.directory / file.sha256, (moment, moment))
    assert files_in(cache) == sorted(file.sha256 for file in files[-MOST_FILES:])


def test_the_directory_is_private(cache: NodeCache, store: Location) -> None:
    assert cache.directory.stat().st_mode & 0o777 == 0o700


def test_a_cleaned_directory_for_temporary_files_is_no_harm(cache: NodeCache, store: Location) -> None:
    file = write_file(store, "parameters", ".bin", b"content")
    cache.directory.rmdir()
    cache.discard(file.sha256)
    assert content_of(cache, store, file) == b"content"


def test_a_directory_that_others_reach_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(UserError, match=r"is open to others \(055\), not private; remove it"):
        NodeCache(tmp_path / "open")
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match="must be a directory itself and no link"):
        NodeCache(tmp_path / "link")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="must be a directory itself and no link"):
        NodeCache(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 65_534, -1)
    with pytest.raises(UserError, match="belongs to user 65534, not to you"):
        NodeCache(tmp_path / "theirs")


def test_the_default_is_found_by_every_process_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert NodeCache().directory == NodeCache().directory == tmp_path / f"exfm_ray-snapshots-{os.geteuid()}"


COPY = """
    import sys
    from pathlib import Path
    from exfm_ray.das.node_cache import NodeCache
    from exfm_ray.data.commit import CommittedFile
    from exfm_ray.data.location import Location

    file = CommittedFile.model_validate_json(sys.argv[3])
    with NodeCache(Path(sys.argv[1])).file(Location(sys.argv[2]) / file.name, file) as path:
        print(path.stat().st_size)
"""


def test_who_waits_takes_over_where_the_copier_is_killed(cache: NodeCache, store: Location) -> None:
    size = 256 * 1024 * 1024
    Path(store.uri).mkdir()
    with open(Path(store.uri) / "large", "wb") as sparse:
        sparse.truncate(size)
    with open(Path(store.uri) / "large", "rb") as sparse:
        sha256 = hashlib.file_digest(sparse, "sha256").hexdigest()
    file = CommittedFile(name="large", rows=0, bytes=size, sha256=sha256)
    arguments = [str(cache.directory), store.uri, file.model_dump_json()]
    copier = subprocess.Popen([sys.executable, "-c", textwrap.dedent(COPY), *arguments])
    try:
        while not any(part.stat().st_size for part in cache.directory.glob(f"{sha256}.*")) and copier.poll() is None:
            time.sleep(0.001)
        copier.send_signal(signal.SIGSTOP)
        (part,) = cache.directory.glob(f"{sha256}*")
        assert 0 < part.stat().st_size < size
        sizes: list[int] = []
        waiter = threading.Thread(target=lambda: sizes.append(len(content_of(cache, store, file))))
        waiter.start()
        waiter.join(0.2)
        assert waiter.is_alive()
        assert sizes == []
    finally:
        copier.kill()
        copier.wait()
    waiter.join(60)
    assert sizes == [size]
    assert files_in(cache) == [sha256]


def test_processes_that_come_at_once_read_an_object_store_once(cache: NodeCache, s3: S3Server) -> None:
    store = s3.bucket("node-cache") / "fm"
    file = write_file(store, "parameters", ".bin", os.urandom(100_000))
    arguments = [str(cache.directory), store.uri, file.model_dump_json()]
    command = [sys.executable, "-c", textwrap.dedent(COPY), *arguments]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in processes] == ["100000"] * 3
    assert s3.requests("GET", store / file.name) == 1
