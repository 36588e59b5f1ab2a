"""Runs with counted vocabularies: what they equal, what they know, and how they go on."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from exfm_ray.cli import app
from exfm_ray.config import Recipe
from exfm_ray.das.predictor import Predictor
from exfm_ray.data.batches import day_batches
from exfm_ray.data.counting import coded, count_days, read_vocabularies
from exfm_ray.data.encode import encode
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, read_rows, write_partition, write_schema
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.model_table import model_costs
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.serving import flat, load_program
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Feature, Schema
from tests.conftest import claimed, small_content

DAYS, ROWS, MIN_COUNT = 5, 400, 3
USER_ID, ITEM_ID = 10**15, -(10**12)
"""raw ids are these plus a small number: far from any row"""


def schema(encoding: Any = "hash", users: int = 5_000, items: int = 5_000) -> Schema:
    return Schema(
        features=(
            Feature(name="user", kind="categorical", rows=users, encoding=encoding),
            Feature(name="item", kind="categorical", rows=items, encoding=encoding),
            Feature(name="hour", kind="categorical", rows=24, encoding="identity"),
            Feature(name="history", kind="sequence", shares="item"),
            Feature(name="price", kind="numeric"),
        ),
        tasks=("click",),
        domains=("a", "b"),
        stages=("later",),
    )


def day_table(day: int, rows: int = ROWS) -> pa.Table:
    """Ids follow Zipf's law, and every day has some that no day before has."""
    draw = np.random.default_rng(day)
    users = USER_ID + draw.zipf(1.5, rows) % 200 + 20 * day
    items = ITEM_ID + draw.zipf(1.3, rows) % 100 + 10 * day
    lengths = draw.integers(0, 4, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    elements = ITEM_ID + draw.zipf(1.3, offsets[-1]) % 100 + 10 * day
    columns = {
        EVENT_ID: np.arange(rows) + day * rows,
        EVENT_TIME: np.arange(rows) + day * 86_400_000,
        DOMAIN: draw.integers(0, 2, rows),
        STAGE: np.zeros(rows, dtype=np.int16),
        "user": users,
        "item": items,
        "hour": draw.integers(0, 24, rows),
        "history": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(elements)),
        "price": draw.random(rows).astype(np.float32),
        "label_click": (draw.random(rows) < 0.1 + 0.4 * (items % 2 == 0)).astype(np.int8),
    }
    return pa.table(columns).cast(arrow_schema(schema()))


def write_days(place: Path, coded: Schema, tables: Mapping[int, pa.Table]) -> Path:
    dataset = Location.of(str(place))
    write_schema(dataset, coded)
    for day, table in tables.items():
        write_partition(dataset, day, [table.slice(0, 150), table.slice(150)], coded)
    return place


def recipe_content(days: Path, vocabulary: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """An FM with histories, a VM with first-order terms of its own."""
    return (
        small_content(
            data={"type": "partitions", "path": str(days)},
            vocabulary=vocabulary,
            methods=["none", "ah"],
            fm={"train_from_day": 2, "model": {"type": "dcnv2", "embedding_dim": 4, "cross_layers": 1, "hidden": [8]}},
            vms=[{"name": "only", "domain": 0, "model": {"type": "deepfam", "embedding_dim": 4, "hidden": [8]}}],
        )
        | changes
    )


def invoke(content: dict[str, Any], out: Path) -> Result:
    recipe = out.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump(content))
    return CliRunner().invoke(app, ["run", str(recipe), "--out", str(out)])


def run(content: dict[str, Any], out: Path) -> bytes:
    result = invoke(content, out)
    assert result.exit_code == 0, result.output
    return (out / "results.jsonl").read_bytes()


def counted(days: Path, out: Path, **vocabulary: Any) -> Experiment:
    """An experiment whose vocabularies have been counted, and nothing else."""
    settings = {"min_count": MIN_COUNT} | vocabulary
    experiment = claimed(Recipe.model_validate(recipe_content(days, settings)), out)
    count_days(experiment)
    return experiment


def seen(tables: list[pa.Table]) -> dict[str, dict[int, int]]:
    """Counts by feature and id, one id after the other."""
    counts: dict[str, dict[int, int]] = {"user": {}, "item": {}}
    for table in tables:
        items = [*table["item"].to_pylist(), *(item for row in table["history"].to_pylist() for item in row)]
        for name, values in (("user", table["user"].to_pylist()), ("item", items)):
            for value in values:
                counts[name][value] = counts[name].get(value, 0) + 1
    return counts


def rows_by_hand(counts: dict[int, int]) -> dict[int, int]:
    """The frequent first, of equally frequent ones the smaller id; from 1 on."""
    known = sorted((-count, value) for value, count in counts.items() if count >= MIN_COUNT)
    return {value: place + 1 for place, (_, value) in enumerate(known)}


def coded_by_hand(table: pa.Table, rows: dict[str, dict[int, int]]) -> pa.Table:
    """The table with rows for ids."""

    def row(name: str, value: int) -> int:
        return rows[name].get(value, len(rows[name]) + 1)

    columns = {name: table[name] for name in table.column_names}
    columns |= {name: pa.array([row(name, value) for value in table[name].to_pylist()]) for name in ("user", "item")}
    histories = [[row("item", value) for value in history] for history in table["history"].to_pylist()]
    columns["history"] = pa.array(histories, pa.list_(pa.int64()))
    return pa.table(columns).cast(table.schema)


@pytest.fixture(scope="module")
def tables() -> dict[int, pa.Table]:
    return {day: day_table(day) for day in range(1, DAYS + 1)}


@pytest.fixture(scope="module")
def days(tables: dict[int, pa.Table], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Day partitions with raw ids, not to be changed."""
    return write_days(tmp_path_factory.mktemp("raw") / "days", schema(), tables)


@pytest.fixture(scope="module")
def finished(days: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with the default vocabulary, not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    run(recipe_content(days, {"min_count": MIN_COUNT}), out)
    return out


def test_the_vocabulary_is_that_of_the_days_before_the_vms(finished: Path, tables: dict[int, pa.Table]) -> None:
    place = Location.of(str(finished / "vocabulary"))
    assert [child.name for child in place.children()] == ["day=001", "day=002"]
    known = read_vocabularies(place.day(2))
    for name, counts in seen([tables[1], tables[2]]).items():
        found = dict(zip(known[name].ids.tolist(), known[name].rows.tolist(), strict=True))
        assert found == rows_by_hand(counts)
        assert len(found) < len(counts)


def test_a_run_equals_that_on_ids_coded_by_hand(finished: Path, tables: dict[int, pa.Table], tmp_path: Path) -> None:
    rows = {name: rows_by_hand(counts) for name, counts in seen([tables[1], tables[2]]).items()}
    coded = schema("identity", len(rows["user"]) + 2, len(rows["item"]) + 2)
    by_hand = write_days(tmp_path / "days", coded, {day: coded_by_hand(table, rows) for day, table in tables.items()})
    assert run(recipe_content(by_hand, None), tmp_path / "run") == (finished / "results.jsonl").read_bytes()


def test_a_snapshot_answers_with_its_own_vocabulary(finished: Path, days: Path, tables: dict[int, pa.Table]) -> None:
    predictor = Predictor.load(SnapshotDatabase(Location.of(str(finished / "snapshots" / "fm"))), 3)
    assert [feature.encoding for feature in predictor.inputs.counted_features()] == ["counted", "counted"]
    (side,) = read_rows(Location.of(str(finished / "supervision" / "fm")).day(4), ["fm_click"], 10_000)
    is_first = tables[4][DOMAIN].to_numpy() == 0
    answered = predictor.predict(tables[4].filter(pa.array(is_first)))["fm_click"].to_numpy()
    # these rows alone are products of another size than all of them, which may round otherwise
    np.testing.assert_allclose(answered, side["fm_click"].to_numpy()[is_first], rtol=1e-6)


def test_the_future_changes_no_vocabulary(days: Path, tables: dict[int, pa.Table], tmp_path: Path) -> None:
    other = {day: table if day <= 2 else day_table(day + 100) for day, table in tables.items()}
    changed = write_days(tmp_path / "days", schema(), other)
    for settings, through in (({}, 2), ({"grow": True}, 2), ({"through_day": 1}, 1)):
        ours, theirs = (
            counted(place, tmp_path / f"{place.parent.name}-{len(settings)}-{through}", **settings)
            for place in (days, changed)
        )
        found = [read_vocabularies(experiment.run.vocabulary.day(through)) for experiment in (ours, theirs)]
        for name in ("user", "item"):
            assert found[0][name].ids.tolist() == found[1][name].ids.tolist()
            assert found[0][name].rows.tolist() == found[1][name].rows.tolist()


@pytest.mark.parametrize("protocol", ["streaming", "windows"])
def test_a_growing_run_that_stopped_goes_on_to_the_same_bytes(
    days: Path, tables: dict[int, pa.Table], tmp_path: Path, protocol: str
) -> None:
    """It stops where the days end, and between the last checkpoints and their snapshots; then another day comes.

    What it knew before is as in the run that had all days from the start.
    """
    changes = {"evaluate": {"protocol": protocol, "train_from_day": 3}}
    grown = {"min_count": MIN_COUNT, "grow": True}
    whole = run(recipe_content(days, grown, **changes), tmp_path / "whole")
    place, raw = write_days(tmp_path / "days", schema(), {day: tables[day] for day in range(1, DAYS)}), tmp_path / "run"
    shorter = run(recipe_content(place, grown, **changes), raw).splitlines()
    assert shorter == [line for line in whole.splitlines() if json.loads(line)["eval_day"] < DAYS]
    for model in ("fm", "only-none-seed0", "only-ah-seed0"):
        shutil.rmtree(raw / "snapshots" / model / "day=003")
    write_days(place, schema(), {DAYS: tables[DAYS]})
    assert run(recipe_content(place, grown, **changes), raw) == whole
    for model in ("fm", "only-none-seed0", "only-ah-seed0"):
        for day in ("day=003", "day=004"):
            ours, theirs = (
                next((out / "snapshots" / model / day).glob("*.safetensors")) for out in (raw, tmp_path / "whole")
            )
            assert ours.read_bytes() == theirs.read_bytes()


def test_a_growing_vocabulary_knows_from_the_next_day_on(
    days: Path, tables: dict[int, pa.Table], tmp_path: Path
) -> None:
    content = recipe_content(days, {"min_count": MIN_COUNT, "grow": True}, methods=["ah"])
    run(content, tmp_path / "run")
    database = SnapshotDatabase(Location.of(str(tmp_path / "run" / "snapshots" / "fm")))
    before: dict[int, int] = {}
    for day in (2, 3, 4):
        known = database.vocabularies(day)["item"]
        counts = seen([tables[earlier] for earlier in range(1, day)])["item"]
        rows = dict(zip(known.ids.tolist(), known.rows.tolist(), strict=True))
        assert rows.keys() == {value for value, count in counts.items() if count >= MIN_COUNT}
        assert sorted(rows.values()) == list(range(1, len(rows) + 1))
        assert before.items() < rows.items()
        before = rows
    assert not (tmp_path / "run" / "vocabulary" / "day=004").exists()


def test_nothing_is_known_on_the_first_day_of_a_growing_vocabulary(days: Path, tmp_path: Path) -> None:
    experiment = counted(days, tmp_path / "run", grow=True)
    traffic = coded(experiment, experiment.fm_traffic(), 1)
    assert [feature.rows for feature in traffic.schema.of_kind("categorical")] == [2, 2, 24]
    assert next(day_batches(traffic, 1, 100)).inputs.categorical[:, :2].unique().tolist() == [1]


def test_a_day_that_is_counted_is_not_counted_again(days: Path, tmp_path: Path) -> None:
    experiment = counted(days, tmp_path / "run")
    whole = read_vocabularies(experiment.run.vocabulary.day(2))
    first = (tmp_path / "run" / "vocabulary" / "day=001" / "manifest.json").read_bytes()
    shutil.rmtree(tmp_path / "run" / "vocabulary" / "day=002")
    (tmp_path / "run" / "vocabulary" / "day=002").mkdir()
    (tmp_path / "run" / "vocabulary" / "day=002" / "part-00000-1234abcd.parquet").write_bytes(b"half")
    count_days(experiment)
    assert (tmp_path / "run" / "vocabulary" / "day=001" / "manifest.json").read_bytes() == first
    assert len(list((tmp_path / "run" / "vocabulary" / "day=002").iterdir())) == 3
    read_vocabularies.cache_clear()
    again = read_vocabularies(experiment.run.vocabulary.day(2))
    assert all(again[name].ids.tolist() == whole[name].ids.tolist() for name in ("user", "item"))
    assert all(again[name].rows.tolist() == whole[name].rows.tolist() for name in ("user", "item"))


def test_features_may_differ(days: Path, tmp_path: Path) -> None:
    experiment = counted(days, tmp_path / "run", min_counts={"user": 5}, most_rows=7, hashed=["item"])
    known = read_vocabularies(experiment.run.vocabulary.day(2))
    assert list(known) == ["user"]
    assert sorted(known["user"].rows.tolist()) == [1, 2, 3, 4, 5, 6, 7]
    about = json.loads((tmp_path / "run" / "vocabulary" / "day=002" / "manifest.json").read_text())["about"]
    assert about["features"]["user"]["min_count"] == 5
    assert about["features"]["user"]["known"] == 7 < about["features"]["user"]["ids"]


def test_models_are_as_large_as_their_vocabularies(finished: Path, days: Path) -> None:
    recipe = Recipe.model_validate(recipe_content(days, {"min_count": MIN_COUNT}))
    run_directory = RunDirectory(Location.of(str(finished)))
    fm, vm = model_costs(recipe, 5, run_directory)
    for cost, model in ((fm, "fm"), (vm, "only-none-seed0")):
        facts = SnapshotDatabase(run_directory.snapshots(model)).described(3)[0]
        assert cost.parameters == facts.parameters
    assert model_costs(recipe, 5)[0].table_parameters > 10 * fm.table_parameters
    arguments = ["models", str(finished.with_suffix(".yaml")), "--run"]
    assert f"{fm.parameters:,}" in CliRunner().invoke(app, [*arguments, str(finished)]).output
    result = CliRunner().invoke(app, [*arguments, str(days)])
    assert result.exit_code == 2
    assert f"--run: {days} has not counted its vocabularies yet" in result.stderr
    result = CliRunner().invoke(app, [*arguments, str(finished), "--set", "vocabulary.hashed=[item]"])
    assert result.exit_code == 2
    assert f"--run: {finished} counts user, item, and the recipe user" in result.stderr


def test_an_exported_program_comes_with_its_vocabularies(
    finished: Path, tables: dict[int, pa.Table], tmp_path: Path
) -> None:
    """Read as a server would: the ids of a request become rows by the exported file alone."""
    result = CliRunner().invoke(app, ["export", str(finished), "only", "--out", str(tmp_path / "served")])
    assert result.exit_code == 0, result.output
    known = load_file(tmp_path / "served" / "vocabulary.safetensors")
    program = load_program((tmp_path / "served" / "program.pt2").read_bytes()).module()
    model, facts = SnapshotDatabase(Location.of(str(finished / "snapshots" / "only-ah-seed0"))).load(4)

    def rows(name: str, values: list[int]) -> list[int]:
        ids, of_ids = (known[f"vocabulary.{name}.{part}"].tolist() for part in ("ids", "rows"))
        row_of = dict(zip(ids, of_ids, strict=True))
        return [row_of.get(value, len(ids) + 1) for value in values]

    request = tables[5].slice(0, 50)
    names = [feature.name for feature in facts.inputs.of_kind("categorical")]
    raw = {name: request[name].to_pylist() for name in names}
    categorical = [raw[name] if name == "hour" else rows(name, raw[name]) for name in names]
    histories = request["history"].to_pylist()
    inputs = Inputs(
        torch.tensor(categorical).T,
        torch.tensor(request["price"].to_numpy()[:, None]),
        (
            SequenceInput(
                torch.tensor(rows("item", [item for history in histories for item in history])),
                torch.tensor([0, *np.cumsum([len(history) for history in histories])]),
            ),
        ),
    )
    vocabularies = SnapshotDatabase(Location.of(str(finished / "snapshots" / "only-ah-seed0"))).vocabularies(4)
    with torch.no_grad():
        assert torch.equal(program(*flat(inputs)), model(encode(request, facts.inputs, vocabularies)))


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"through_day": 3}, "vocabulary.through_day: 3 would know what VMs meet later, since they train from day 3"),
        (
            {"hashed": ["hour"]},
            "vocabulary.hashed: 'hour' is no hash-coded feature of the data; choose from user, item",
        ),
        (
            {"hashed": ["user", "item"]},
            "vocabulary: no feature is left to count, since the data has no other hash-coded",
        ),
        ({"min_counts": {"itme": 2}}, "vocabulary.min_counts: 'itme' is no hash-coded feature of the data"),
        ({"grow": True, "through_day": 2}, "through_day 2 ends what grow goes on with; leave one of them out"),
        ({"min_count": 0}, "vocabulary.min_count"),
        ({"type": "count"}, "vocabulary.type"),
    ],
)
def test_a_mistake_is_told_in_one_line(days: Path, tmp_path: Path, vocabulary: dict[str, Any], message: str) -> None:
    result = invoke(recipe_content(days, vocabulary), tmp_path / "run")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert message in result.stderr
    assert not (tmp_path / "run").exists()
