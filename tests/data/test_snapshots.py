"""The snapshot database on a local disk and on an S3-compatible store; a store joins by being listed in STORES."""

import json
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from exfm_ray.config import DcnV2Model, DminModel, InterestGroup, ModelConfig
from exfm_ray.data.commit import MANIFEST, Stopwatch, commit, committed, read_file, sweep, write_file
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts, contiguous, mapped, parsed, restored
from exfm_ray.errors import DataError
from exfm_ray.models.build import build_model, seeded
from exfm_ray.schema import Schema
from tests.das.published import CONFIG, corrupt, publish, rewrite
from tests.models.test_serving import CONFIGS, far_from_start, name_of, random_inputs, schema_of
from tests.s3_server import S3Server


def bucket(request: pytest.FixtureRequest) -> Location:
    server = request.getfixturevalue("s3")
    assert isinstance(server, S3Server)
    return server.bucket(f"bucket-{uuid.uuid4().hex}")


STORES: dict[str, Callable[[pytest.FixtureRequest], Location]] = {
    "local": lambda request: Location.of(str(request.getfixturevalue("tmp_path"))),
    "s3": bucket,
}
"""name → an empty place"""


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Location:
    return STORES[request.param](request)


@pytest.fixture
def database(store: Location) -> SnapshotDatabase:
    return SnapshotDatabase(store / "snapshots" / "fm")


def names(directory: Location) -> list[str]:
    return [child.name for child in directory.children()]


def test_a_directory_exists_from_its_commit_on(store: Location) -> None:
    place = store / "a"
    write_file(place, "part", ".bin", b"of a process that died")
    kept = write_file(place, "part", ".bin", b"kept", rows=3)
    assert committed(place) is None
    manifest = commit(place, [kept], {"day": 1}, Stopwatch.start())
    assert committed(place) == manifest
    assert names(place) == sorted([MANIFEST, kept.name])
    assert read_file(place, kept) == b"kept"


def test_a_second_commit_changes_nothing(store: Location) -> None:
    place = store / "a"
    first = commit(place, [write_file(place, "part", ".bin", b"first")], {}, Stopwatch.start())
    assert commit(place, [write_file(place, "part", ".bin", b"second")], {}, Stopwatch.start()) == first
    assert read_file(place, first.files[0]) == b"first"
    assert len(names(place)) == 2


def test_what_is_not_committed_cannot_be_swept(store: Location) -> None:
    file = write_file(store / "a", "part", ".bin", b"x")
    with pytest.raises(DataError, match="is not committed"):
        sweep(store / "a")
    assert names(store / "a") == [file.name]


def test_published_days_are_listed_in_order(database: SnapshotDatabase, small_schema: Schema) -> None:
    assert database.days() == []
    for day in (2, 1, 1000):
        publish(database, small_schema, day)
    (database.root / "notes" / MANIFEST).write(b"{}")
    write_file(database.directory(3), "parameters", ".safetensors", b"of a publication under way")
    assert database.days() == [1, 2, 1000]
    assert database.days(after=1) == [2, 1000]


def test_a_snapshot_is_got_by_day(database: SnapshotDatabase, small_schema: Schema) -> None:
    published = {day: publish(database, small_schema, day) for day in (1, 2)}
    for day, model in published.items():
        loaded, facts = database.load(day)
        assert facts.trained_through == day
        assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())


def test_a_reader_sees_a_snapshot_whole_or_not_at_all(database: SnapshotDatabase, small_schema: Schema) -> None:
    over = threading.Event()
    seen: set[int] = set()

    def read() -> None:
        while not over.is_set():
            for day in set(database.days()) - seen:
                assert database.load(day)[1].trained_through == day
                seen.add(day)

    reader = threading.Thread(target=read)
    reader.start()
    for day in range(1, 6):
        publish(database, small_schema, day)
    while len(seen) < 5 and reader.is_alive():
        over.wait(0.01)
    over.set()
    reader.join()
    assert seen == {1, 2, 3, 4, 5}


def test_reading_needs_no_right_to_write(small_schema: Schema, tmp_path: Path, s3: S3Server) -> None:
    """A store of which each request but GET and HEAD would be seen in the server's log."""
    database = SnapshotDatabase(s3.bucket(f"bucket-{uuid.uuid4().hex}") / "fm")
    publish(database, small_schema, 1)
    changes = s3.changes()
    assert changes > 0
    assert database.days() == [1]
    assert database.condemned_days() == []
    database.load(1)
    assert s3.changes() == changes


def test_a_deleted_snapshot_is_gone(database: SnapshotDatabase, small_schema: Schema) -> None:
    for day in (1, 2):
        publish(database, small_schema, day)
    database.delete(1)
    database.delete(7)
    assert database.days() == [2]
    assert names(database.root) == ["day=002"]
    with pytest.raises(DataError, match="is not committed"):
        database.load(1)


class CutOff(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("steps", range(4))
def test_a_deletion_that_was_cut_off_is_finished_by_the_next(
    database: SnapshotDatabase, small_schema: Schema, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    publish(database, small_schema, 1)
    left, write, delete = [steps], Location.write, Location.delete

    def step() -> None:
        if not left[0]:
            raise CutOff
        left[0] -= 1

    with monkeypatch.context() as patched:
        patched.setattr(Location, "write", lambda place, content: (step(), write(place, content))[1])
        patched.setattr(Location, "delete", lambda place: (step(), delete(place))[1])
        with pytest.raises(CutOff):
            database.delete(1)
    assert database.days() == ([1] if steps < 2 else [])
    assert database.condemned_days() == ([1] if steps else [])
    database.delete(1)
    assert (database.days(), database.condemned_days(), names(database.root)) == ([], [], [])


def test_a_day_whose_deletion_was_cut_off_can_be_published_again(
    database: SnapshotDatabase, small_schema: Schema
) -> None:
    publish(database, small_schema, 1)
    (database.directory(1) / "condemned").write(b"")
    (database.directory(1) / MANIFEST).delete()
    publish(database, small_schema, 1)
    assert (database.days(), database.condemned_days()) == ([1], [])


@pytest.fixture
def local(tmp_path: Path) -> SnapshotDatabase:
    return SnapshotDatabase(Location.of(str(tmp_path / "fm")))


def test_changed_bytes_are_refused(local: SnapshotDatabase, small_schema: Schema) -> None:
    publish(local, small_schema, 1)
    corrupt(local, 1)
    with pytest.raises(DataError, match="its checksum differs"):
        local.load(1)


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"model": {"type": "oracle"}}, r"model: Input tag 'oracle' found using 'type'"),
        ({"rows_seen": "many"}, "rows_seen: Input should be a valid integer"),
        ({"trained_through": 2}, "says that it is trained through day 2"),
        (
            {"model": CONFIG.model_copy(update={"embedding_dim": 5}).model_dump()},
            "do not fit the model dcnv2: .*size mism",
        ),
        (
            {"model": CONFIG.model_copy(update={"cross_layers": 2}).model_dump()},
            "do not fit the model dcnv2: .*Missing",
        ),
        ({"tasks": ["click"]}, "do not fit the model dcnv2"),
        ({"model": {"type": "fam", "embedding_dim": 3}}, "model fam predicts one task but got 2"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    local: SnapshotDatabase, small_schema: Schema, about: dict[str, object], reason: str
) -> None:
    publish(local, small_schema, 1)
    rewrite(local, 1, **about)
    with pytest.raises(DataError, match=reason) as refusal:
        local.load(1)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "change", [{"name": ".."}, {"name": "a/b"}, {"sha256": "../elsewhere"}, {"sha256": ""}, {"rows": None}]
)
def test_a_manifest_that_is_none_is_refused(
    local: SnapshotDatabase, small_schema: Schema, change: dict[str, object]
) -> None:
    publish(local, small_schema, 1)
    manifest = json.loads((local.directory(1) / MANIFEST).read())
    manifest["files"][0] |= change
    (local.directory(1) / MANIFEST).write(json.dumps(manifest).encode())
    with pytest.raises(DataError, match="is not a manifest"):
        local.load(1)


def test_parameters_of_another_type_or_none_at_all_are_refused(small_schema: Schema, tmp_path: Path) -> None:
    facts = facts_of(CONFIG, small_schema)
    state = contiguous(build_model(CONFIG, small_schema, 2).state_dict())
    with pytest.raises(DataError, match=r"parameter embedding\.table of the model dcnv2 is torch\.float64"):
        restored(facts, state | {"embedding.table": state["embedding.table"].double()})
    with pytest.raises(DataError, match="are no safetensors"):
        parsed(b"not at all")
    (tmp_path / "file").write_bytes(b"not at all")
    with pytest.raises(DataError, match="are no safetensors"):
        mapped(tmp_path / "file")


def facts_of(config: ModelConfig, schema: Schema) -> SnapshotFacts:
    return SnapshotFacts(model=config, inputs=schema, tasks=schema.tasks, trained_through=1, rows_seen=1, parameters=1)


INTERESTS = DminModel(
    embedding_dim=4,
    groups=(InterestGroup(targets=("item",), sequences=("history_0",)),),
    heads=2,
    refiner=True,
    position_dim=2,
    activation="dice",
    batch_norm=True,
    hidden=(8,),
)
WIDE = DcnV2Model(embedding_dim=7, cross_layers=2, hidden=(61, 33))
"""of sizes that leave its matrices unaligned in a file"""


@pytest.mark.parametrize("config", [*CONFIGS, INTERESTS, WIDE], ids=name_of)
@torch.no_grad()
def test_mapped_parameters_predict_bit_for_bit_as_the_model_did(config: ModelConfig, tmp_path: Path) -> None:
    schema = schema_of(numeric=2, sequences=2)
    model = far_from_start(seeded(lambda: build_model(config, schema, 1), 0, "model"))
    file = tmp_path / "parameters"
    file.write_bytes(save(contiguous(model.state_dict())))
    answering = restored(facts_of(config, schema), mapped(file))
    shutil.rmtree(tmp_path)
    for count in (1, 64, 513):
        inputs = random_inputs(count, 2, 2, 5)
        assert torch.equal(answering(inputs), model(inputs))
    assert not answering.training
    tables = answering.table_parameters()
    assert all(table.is_leaf and table.requires_grad for table in tables)
