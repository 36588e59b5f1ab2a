"""Commits: all or nothing, for ever, whoever is killed when."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from exfm_ray.data.commit import (
    MANIFEST,
    Stopwatch,
    commit,
    committed,
    read_file,
    require,
    sweep,
    write_file,
)
from exfm_ray.data.location import Location
from exfm_ray.errors import DataError


@pytest.fixture(params=["path", "uri"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return Location.of(str(tmp_path / "a") if request.param == "path" else (tmp_path / "a").as_uri())


def test_nothing_is_there_before_the_manifest(place: Location) -> None:
    write_file(Location.of(str(place)), "part", ".bin", b"x")
    assert committed(place) is None
    with pytest.raises(DataError, match=r"is not committed: it has no manifest\.json"):
        require(place)


def test_a_commit_lists_files_rows_and_checksums_in_order(place: Location) -> None:
    files = [write_file(place, "part", ".bin", content, rows) for content, rows in ((b"one", 3), (b"two", 4))]
    manifest = commit(place, files, {"day": 1}, Stopwatch.start())
    assert manifest == committed(place)
    assert [(file.rows, file.bytes) for file in manifest.files] == [(3, 3), (4, 3)]
    assert manifest.rows == 7
    assert [read_file(place, file) for file in manifest.files] == [b"one", b"two"]


def test_what_was_measured_stands_apart_from_what_the_files_mean(place: Location) -> None:
    commit(place, [], {"day": 1}, Stopwatch.start(), {"seconds": [0.5, 0.25]})
    manifest = require(place)
    assert manifest.about == {"day": 1}
    assert manifest.made.measured == {"seconds": [0.5, 0.25]}


def test_leftovers_are_ignored_and_swept(place: Location) -> None:
    write_file(place, "part", ".bin", b"of a process that died")
    kept = write_file(place, "part", ".bin", b"kept")
    commit(place, [kept], {}, Stopwatch.start())
    assert [child.name for child in place.children()] == sorted([MANIFEST, kept.name])


def test_sweeping_what_is_not_committed_leaves_nothing(place: Location) -> None:
    write_file(place, "part", ".bin", b"x")
    sweep(place)
    assert place.children() == []


def test_what_is_committed_never_changes(place: Location) -> None:
    first = commit(place, [write_file(place, "part", ".bin", b"first")], {"n": 1}, Stopwatch.start())
    second = commit(place, [write_file(place, "part", ".bin", b"second")], {"n": 2}, Stopwatch.start())
    assert second == first
    assert len(place.children()) == 2


def test_changed_bytes_are_noticed(place: Location) -> None:
    file = write_file(place, "part", ".bin", b"right")
    (place / file.name).write(b"wrong")
    with pytest.raises(DataError, match="checksum differs"):
        read_file(place, file)


def test_a_broken_manifest_is_told(place: Location) -> None:
    (place / MANIFEST).write(json.dumps({"files": 3}).encode())
    with pytest.raises(DataError, match="is not a manifest"):
        committed(place)


def test_time_that_went_into_other_things_is_not_counted() -> None:
    alone, shared = Stopwatch(started=0.0).made(), Stopwatch(started=0.0, elsewhere=1e9).made()
    assert shared.started == alone.started
    assert alone.seconds - shared.seconds == pytest.approx(1e9, rel=1e-6)


def test_cpu_seconds_are_told_where_a_clock_is_given() -> None:
    known = Stopwatch(started=0.0, cpu_clock=lambda: 7.5, cpu_before=3.0).made()
    assert (known.cpu_seconds, known.cpus) == (4.5, os.cpu_count())
    assert Stopwatch(started=0.0).made().cpu_seconds is None


WRITER = """
    import sys
    from exfm_ray.data.commit import Stopwatch, commit, write_file
    from exfm_ray.data.location import Location
    print("ready", flush=True)
    for day in range(1, 10_000):
        place = Location.of(sys.argv[1]).day(day)
        files = [write_file(place, "part", ".bin", bytes(50_000), 10) for _ in range(4)]
        commit(place, files, {"day": day}, Stopwatch.start())
"""


@pytest.mark.parametrize("pause", [0.02, 0.07, 0.15])
def test_a_killed_writer_leaves_whole_commits_or_none(tmp_path: Path, pause: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "days")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        process.wait(timeout=pause)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    days = Location.of(str(tmp_path / "days")).children()
    assert days
    found = [committed(day) for day in days]
    assert all(manifest is not None for manifest in found[:-1])
    for day, manifest in zip(days, found, strict=True):
        if manifest is not None:
            assert [len(read_file(day, file)) for file in manifest.files] == [50_000] * 4


KEY = "key=" + "0" * 64
RACER = """
    import sys
    from exfm_ray.data.commit import Stopwatch, commit, read_file, sweep, write_file
    from exfm_ray.data.location import Location
    print("ready", flush=True)
    sys.stdin.readline()
    for day in range(1, 201):
        place = Location.of(sys.argv[1]).day(day)
        sweep(place)
        files = [write_file(place, "part", ".bin", bytes(500), 10) for _ in range(2)]
        for file in commit(place, files, {"day": day}, Stopwatch.start()).files:
            read_file(place, file)
"""


def test_several_processes_commit_the_same_days_of_a_store(tmp_path: Path) -> None:
    days = Location.of(str(tmp_path / "fm" / KEY / "snapshots"))
    command = [sys.executable, "-c", textwrap.dedent(RACER), days.uri]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        _, errors = racer.communicate()
        assert racer.returncode == 0, errors
    makers = set()
    for day in range(1, 201):
        manifest = require(days.day(day))
        makers.add(manifest.made.process)
        names = {child.name for child in days.day(day).children()}
        assert names == {MANIFEST, *(file.name for file in manifest.files)}
    assert len(makers) > 1


def test_in_a_store_nobody_sweeps_what_others_may_be_about_to_commit(tmp_path: Path) -> None:
    place = Location.of(str(tmp_path / "fm" / KEY)).day(1)
    ours = write_file(place, "part", ".bin", b"ours")
    theirs = write_file(place, "part", ".bin", b"theirs")
    sweep(place)
    first = commit(place, [theirs], {}, Stopwatch.start())
    assert commit(place, [ours], {}, Stopwatch.start()) == first
    assert {child.name for child in place.children()} == {MANIFEST, theirs.name}
