import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from exfm_ray.data.location import Location
from exfm_ray.data.logs.line_ranges import LineRange, line_blocks, line_ranges, lines_before
from exfm_ray.errors import UserError

TEXT = b"a\n\nlonger line\r\n" + "naïve\n".encode() + b"\n" + b"x" * 40 + b"\nlast"


def stored(directory: Path, name: str, content: bytes) -> Location:
    place = directory / name
    place.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return Location.of(str(place))


def read(lines: LineRange, block_bytes: int) -> bytes:
    """The range's bytes, with each block checked against its offset."""
    blocks = list(line_blocks(lines, block_bytes))
    for before, after in pairwise(blocks):
        assert before.begin + len(before.content) == after.begin
        assert before.content.endswith(b"\n")
    return b"".join(block.content for block in blocks)


@pytest.mark.parametrize("text", [TEXT, TEXT + b"\n", b"", b"\n", b"one"], ids=["cut", "whole", "empty", "feed", "one"])
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_every_line_is_in_one_range_whatever_the_sizes(tmp_path: Path, name: str, text: bytes) -> None:
    place = stored(tmp_path, name, text)
    for range_bytes in range(1, len(text) + 2):
        ranges = line_ranges(place, range_bytes)
        assert len(ranges) == 1 or name == "log.csv"
        for block_bytes in (1, 3, 16, 1_000):
            assert b"".join(read(lines, block_bytes) for lines in ranges) == text


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_ranges_may_begin_after_a_header(tmp_path: Path, name: str) -> None:
    place = stored(tmp_path, name, TEXT)
    for range_bytes in (1, 5, 100):
        ranges = line_ranges(place, range_bytes, begin=2)
        assert b"".join(read(lines, 7) for lines in ranges) == TEXT[2:]


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_lines_are_counted_in_the_file(tmp_path: Path, name: str) -> None:
    place = stored(tmp_path, name, TEXT)
    assert [lines_before(place, offset) for offset in (0, 1, 2, 3, len(TEXT), 10_000)] == [0, 0, 1, 2, 6, 6]
    last = list(line_blocks(line_ranges(place, 1_000)[0], 16))[-1]
    assert last.line_number(last.content.count(b"\n")) == 7


def test_blocks_bound_the_memory(tmp_path: Path) -> None:
    place = stored(tmp_path, "log.csv.gz", b"0123456789\n" * 20_000)
    sizes = [len(block.content) for block in line_blocks(line_ranges(place)[0], 1_000)]
    assert max(sizes) < 1_100
    assert len(sizes) > 190


@pytest.mark.parametrize("kind", ["text", "cut"])
def test_a_broken_gzip_is_the_users_mistake(tmp_path: Path, kind: str) -> None:
    content = TEXT if kind == "text" else gzip.compress(TEXT * 2_000)[:-30]
    place = tmp_path / "log.csv.gz"
    place.write_bytes(content)
    with pytest.raises(UserError, match=r"log.csv.gz is no intact gzip \(.*\); unpack it, or fetch the file anew"):
        list(line_blocks(line_ranges(Location.of(str(place)))[0]))
