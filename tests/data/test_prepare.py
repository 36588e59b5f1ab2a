import importlib.util
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.data.commit import Stopwatch, commit, committed
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import (
    arrow_schema,
    committed_days,
    read_rows,
    read_schema,
    write_part,
    write_schema,
)
from exfm_ray.data.prepare import prepare
from exfm_ray.data.source import Stage, piece_directory
from exfm_ray.errors import DataError, UserError
from exfm_ray.schema import Schema

DAYS = 4

SOURCE_MODULE = '''
import os
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from exfm_ray.data.partitions import arrow_schema
from exfm_ray.schema import Feature, Schema


@dataclass(frozen=True)
class CountingSource:
    """Three parts a day; `stuck` is a file that it writes before it waits for ever in the second part of day 3."""

    stuck: str = ""
    tables: int = 10
    days: int = 4

    def schema(self):
        ad = Feature(name="ad", kind="categorical", rows=self.tables, encoding="identity")
        return Schema(features=(ad,), tasks=("click",), domains=("all",), stages=("later",))

    def parts(self, day):
        return 3

    def part(self, day, part):
        if self.stuck and (day, part) == (3, 1):
            open(self.stuck, "w").close()
            while True:
                time.sleep(1)
        ids = (day * 3 + part) * 50 + np.arange(50)
        columns = {"event_id": ids, "event_time": ids * 10, "domain": ids * 0, "stage": ids * 0, "ad": ids % 10}
        expected = arrow_schema(self.schema())
        columns["label_click"] = ids % 7 == 0
        return pa.table([pa.array(columns[f.name]).cast(f.type) for f in expected], schema=expected)
'''

PREPARE_SCRIPT = """
import sys
from counting_source import CountingSource
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import prepare

prepare(CountingSource(stuck=sys.argv[2]), Location.of(sys.argv[1]))
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of sources, also for other processes."""
    (tmp_path / "counting_source.py").write_text(SOURCE_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spec = importlib.util.spec_from_file_location("counting_source", tmp_path / "counting_source.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "counting_source", module)
    spec.loader.exec_module(module)
    return module


def content(dataset: Location) -> list[pa.Table]:
    """Every committed day, read back."""
    names = arrow_schema(read_schema(dataset)).names
    days = committed_days(dataset)
    return [pa.concat_tables(read_rows(dataset.day(day), names)).combine_chunks() for day in days]


def expected_content(source: Any) -> list[pa.Table]:
    days = [[source.part(day, part) for part in range(3)] for day in range(1, DAYS + 1)]
    return [pa.concat_tables(parts).combine_chunks() for parts in days]


def test_writes_every_day_and_tells_each(tmp_path: Path, sources: ModuleType) -> None:
    dataset, told = Location.of(str(tmp_path / "days")), []
    prepare(sources.CountingSource(), dataset, on_day=lambda day: told.append((day, committed_days(dataset)[-1])))
    assert told == [(day, day) for day in range(1, DAYS + 1)]
    assert content(dataset) == expected_content(sources.CountingSource())
    assert read_schema(dataset) == sources.CountingSource().schema()


def test_starting_again_changes_nothing(tmp_path: Path, sources: ModuleType) -> None:
    dataset = Location.of(str(tmp_path / "days"))
    prepare(sources.CountingSource(), dataset)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("days/**/*.*")}
    told: list[int] = []
    prepare(sources.CountingSource(), dataset, on_day=told.append)
    assert told == []
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("days/**/*.*")} == before
    assert len(before) == 1 + DAYS * 4


def test_another_schema_is_the_users_mistake(tmp_path: Path, sources: ModuleType) -> None:
    dataset = Location.of(str(tmp_path / "days"))
    prepare(sources.CountingSource(), dataset)
    before = content(dataset)
    other = sources.CountingSource(tables=11)
    with pytest.raises(UserError, match="holds days of another schema") as error:
        prepare(other, dataset)
    for part in (str(dataset), other.schema().fingerprint(), read_schema(dataset).fingerprint()):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert content(dataset) == before


def test_a_day_of_another_schema_is_never_mixed_in(tmp_path: Path, sources: ModuleType) -> None:
    dataset = Location.of(str(tmp_path / "days"))
    prepare(sources.CountingSource(), dataset)
    write_schema(dataset, sources.CountingSource(tables=11).schema())
    with pytest.raises(DataError, match="day=001 has schema"):
        prepare(sources.CountingSource(tables=11), dataset)


def test_parts_may_be_written_by_other_processes(tmp_path: Path, sources: ModuleType) -> None:
    dataset = Location.of(str(tmp_path / "days"))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        prepare(sources.CountingSource(), dataset, spread=pool.map)
    assert content(dataset) == expected_content(sources.CountingSource())


def wait_for(place: Path, process: "subprocess.Popen[bytes]") -> None:
    while not place.exists():
        assert process.poll() is None, "the process ended before it was stuck"
        time.sleep(0.02)


def test_killed_in_the_middle_it_continues_with_the_missing_days(tmp_path: Path, sources: ModuleType) -> None:
    dataset, stuck = Location.of(str(tmp_path / "days")), tmp_path / "stuck"
    script = [sys.executable, "-c", PREPARE_SCRIPT, str(dataset)]
    process = subprocess.Popen([*script, str(stuck)])
    try:
        wait_for(stuck, process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    open_day = dataset.day(3)
    assert committed_days(dataset) == [1, 2]
    leftovers = [child.name for child in open_day.children()]
    assert len(leftovers) == 1  # the first part of the day that was being written
    finished = {day: committed(dataset.day(day)) for day in (1, 2)}

    subprocess.run([*script, ""], check=True)
    assert content(dataset) == expected_content(sources.CountingSource())
    assert {day: committed(dataset.day(day)) for day in (1, 2)} == finished
    assert not {child.name for child in open_day.children()} & {*leftovers}


def test_leftovers_of_an_open_day_are_swept_when_it_is_committed(tmp_path: Path, sources: ModuleType) -> None:
    dataset = Location.of(str(tmp_path / "days"))
    (dataset.day(2) / "part-00000-dead.parquet").write(b"half a file")
    prepare(sources.CountingSource(), dataset)
    assert content(dataset) == expected_content(sources.CountingSource())
    assert not (dataset.day(2) / "part-00000-dead.parquet").is_file()


def test_days_committed_by_others_are_kept(tmp_path: Path, sources: ModuleType) -> None:
    source, dataset = sources.CountingSource(), Location.of(str(tmp_path / "days"))
    prepare(source, dataset)
    day_three = dataset.day(3)
    manifest = committed(day_three)
    dataset.day(2).delete()
    told: list[int] = []
    prepare(source, dataset, on_day=told.append)
    assert told == [2]
    assert committed(day_three) == manifest
    assert content(dataset) == expected_content(source)


def scatter(work: Location, piece: int) -> None:
    """Rows of the piece's own range, with a note of who read it."""
    directory = piece_directory(work, "scatter", piece)
    ids = np.arange(piece * 10, piece * 10 + 10)
    commit(directory, [write_part(directory, 0, pa.table({"id": ids}))], {}, Stopwatch.start())


@dataclass(frozen=True)
class ScatteredSource:
    """One day whose rows lie in pieces, the later piece earlier in time."""

    work: Location | None = None
    days: int = 1

    def schema(self) -> Schema:
        return Schema(features=(), tasks=("click",), domains=("all",), stages=("later",))

    def parts(self, day: int) -> int:
        return 1

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("scatter", 3, scatter),)

    def over(self, work: Location) -> "ScatteredSource":
        return ScatteredSource(work)

    def summary(self) -> dict[str, Any]:
        return {"pieces": 3}

    def part(self, day: int, part: int) -> pa.Table:
        assert self.work is not None
        pieces = [piece_directory(self.work, "scatter", piece) for piece in (2, 1, 0)]
        ids = np.concatenate([next(read_rows(piece, ["id"]))["id"].to_numpy() for piece in pieces])
        columns = {"event_id": ids, "event_time": np.arange(30), "domain": ids * 0, "stage": ids * 0}
        expected = arrow_schema(self.schema())
        columns["label_click"] = ids % 2
        return pa.table([pa.array(columns[f.name]).cast(f.type) for f in expected], schema=expected)


def test_stages_come_before_the_days_and_are_not_made_again(tmp_path: Path) -> None:
    dataset = Location.of(str(tmp_path))
    scatter(dataset / "work", 1)
    before = committed(piece_directory(dataset / "work", "scatter", 1))
    prepare(ScatteredSource(), dataset)
    assert committed(piece_directory(dataset / "work", "scatter", 1)) == before
    (day,) = read_rows(dataset.day(1), ["event_id"])
    assert day["event_id"].to_pylist() == [*range(20, 30), *range(10, 20), *range(10)]


def test_days_that_are_there_need_no_stages(tmp_path: Path) -> None:
    dataset = Location.of(str(tmp_path))
    prepare(ScatteredSource(), dataset)
    (dataset / "work").delete()
    prepare(ScatteredSource(), dataset)
    assert not (dataset / "work").children()


def test_a_stage_that_commits_nothing_is_told(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Forgetful(ScatteredSource):
        def stages(self) -> tuple[Stage, ...]:
            return (Stage("scatter", 1, lambda work, piece: None),)

    with pytest.raises(DataError, match="is not committed"):
        prepare(Forgetful(), Location.of(str(tmp_path)))


def test_days_of_one_data_set_come_from_the_same_files(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Renamed(ScatteredSource):
        days: int = 2

        def stages(self) -> tuple[Stage, ...]:
            return (Stage("scatter-of-another-file", 3, scatter),)

    @dataclass(frozen=True)
    class TwoDays(ScatteredSource):
        days: int = 2

    dataset = Location.of(str(tmp_path))
    prepare(TwoDays(), dataset)
    dataset.day(2).delete()
    before = content(dataset)
    with pytest.raises(UserError, match=r"the raw files have changed since days 1 of .* were made from them"):
        prepare(Renamed(), dataset)
    assert content(dataset) == before
    prepare(TwoDays(), dataset)
    assert committed_days(dataset) == [1, 2]
