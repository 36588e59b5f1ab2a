"""A disk that is full is told, and with more room the same command goes on to the right numbers."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.small_run import SmallRun


class SmallDisk:
    """A file system in memory of a few hundred kilobytes.

    Args:
        place: an empty directory.
    """

    def __init__(self, place: Path, size: int) -> None:
        self.place = place
        self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")

    def resize(self, size: int) -> None:
        """To so many bytes; what lies there stays."""
        self._mount("-o", f"remount,size={size}")

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)  # this process goes on holding a log open

    def _mount(self, *options: str) -> None:
        try:
            subprocess.run(["mount", *options, str(self.place)], check=True, capture_output=True, text=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"a small file system cannot be mounted here: {said.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    place = tmp_path / "disk"
    place.mkdir()
    opened = SmallDisk(place, 8 * 4_096)
    yield opened
    opened.remove()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_full_disk_is_told_and_mended_by_room(share: float, small_run: SmallRun, disk: SmallDisk) -> None:
    report = small_run.out / "report"
    files = [path for path in small_run.out.rglob("*") if path.is_file() and report not in path.parents]
    needed = sum(path.stat().st_blocks * 512 for path in files)
    disk.resize(int(share * needed))
    out = disk.place / "run"
    said = small_run.again(out)
    assert said.exit_code == 1
    assert "No space left on device" in said.stderr.strip().splitlines()[-1]
    assert "the same command goes on from what is committed" in said.stderr
    assert not (out / "results.jsonl").exists()
    disk.resize(100 * needed)
    done = small_run.again(out)
    assert done.exit_code == 0, done.stderr
    assert (out / "results.jsonl").read_bytes() == small_run.results
