"""What a store holds, and what goes."""

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from exfm_ray.cli import app
from exfm_ray.data.commit import Stopwatch, commit, write_file
from exfm_ray.data.location import Location
from exfm_ray.data.store.contents import contents
from exfm_ray.data.store.stored import Kind, Store
from exfm_ray.data.store.turns import using
from exfm_ray.errors import UserError
from exfm_ray.store_commands import collect_store
from tests.s3_server import S3Server

A, B = "a" * 64, "b" * 64


def filled(store: Store) -> Store:
    """Days 1 and 2, and an FM of day 1 with its checkpoint."""
    for place in (
        store.place("days", A).day(1),
        store.place("days", A).day(2),
        store.place("fm", B) / "snapshots" / "fm" / "day=001",
        store.place("fm", B) / "checkpoints" / "fm" / "day=001",
    ):
        commit(place, [write_file(place, "part", ".bin", bytes(1_000), 10)], {}, Stopwatch.start())
    for kind, key in (("days", A), ("fm", B)):
        store.note(kind, key).write(b"{}")  # type: ignore[arg-type]
    return store


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return filled(Store(Location.of(str(tmp_path / "store"))))
    server: S3Server = request.getfixturevalue("s3")
    return filled(Store(server.bucket(f"store-{time.time_ns()}") / "store"))


def exfm(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def found(store: Store) -> list[tuple[Kind, str, tuple[int, ...]]]:
    return [(thing.kind, thing.key, thing.days) for thing in contents(store)]


def test_every_work_is_listed(store: Store) -> None:
    assert found(store) == [("days", A, (1, 2)), ("fm", B, (1,))]
    now = time.time()
    for thing in contents(store):
        assert 2_000 < thing.bytes < 4_000
        assert thing.made == pytest.approx(now, abs=600)
        assert thing.used == pytest.approx(now, abs=600)


def test_only_what_nobody_used_for_so_long_goes(store: Store) -> None:
    in_two_days = time.time() + 2 * 86_400
    assert list(collect_store(store.root, 3, [], really=True, now=in_two_days)) == ["0.0 MiB freed"]
    assert len(found(store)) == 2
    told = list(collect_store(store.root, 1, ["fm"], really=False, now=in_two_days))
    assert told == [
        f"would delete fm {B[:12]}, day 1, 0.0 MiB",
        "0.0 MiB would be freed; say --delete to do it",
    ]
    assert len(found(store)) == 2
    told = list(collect_store(store.root, 1, ["fm"], really=True, now=in_two_days))
    assert told == [f"deleted fm {B[:12]}, day 1, 0.0 MiB", "0.0 MiB freed"]
    assert found(store) == [("days", A, (1, 2))]
    assert not store.note("fm", B).is_file()
    assert not (store.place("fm", B) / "snapshots" / "fm" / "day=001" / "manifest.json").is_file()


def test_what_a_run_uses_stays(tmp_path: Path) -> None:
    store = filled(Store(Location.of(str(tmp_path / "store"))))
    with using(store.lock("fm", B, "using")):
        told = list(collect_store(store.root, 0, [], really=True))
    assert told[:2] == [
        f"deleted days {A[:12]}, 2 days, 1 to 2, 0.0 MiB",
        f"kept fm {B[:12]}, day 1, 0.0 MiB: a run uses it",
    ]
    assert found(store) == [("fm", B, (1,))]


def test_the_commands(tmp_path: Path) -> None:
    store = filled(Store(Location.of(str(tmp_path / "store"))))
    listed = exfm("store", "list", store.root.uri)
    assert listed.exit_code == 0, listed.output
    kinds = [line.split()[:2] for line in listed.output.splitlines()]
    assert kinds == [["kind", "key"], ["days", A[:12]], ["fm", B[:12]]]
    planned = exfm("store", "collect", store.root.uri, "--unused-days", "0")
    assert planned.output.splitlines()[-1] == "0.0 MiB would be freed; say --delete to do it"
    assert len(found(store)) == 2
    done = exfm("store", "collect", store.root.uri, "--unused-days", "0", "--delete")
    assert done.exit_code == 0, done.output
    assert found(store) == []


@pytest.mark.parametrize("command", [["list"], ["collect", "--unused-days", "1"]])
def test_no_store_is_told(command: list[str], tmp_path: Path) -> None:
    done = exfm("store", command[0], str(tmp_path), *command[1:])
    assert done.exit_code == 2
    assert done.stderr == f"exfm: STORE: {tmp_path} is no store; give the --store of an exfm run\n"


def test_an_unknown_kind_is_told(tmp_path: Path) -> None:
    store = filled(Store(Location.of(str(tmp_path))))
    with pytest.raises(UserError, match="--kind: 'day' is unknown; allowed are days, vocabulary, feedback, fm"):
        list(collect_store(store.root, 1, ["day"], really=False))
