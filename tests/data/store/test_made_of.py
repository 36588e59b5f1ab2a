"""Content keys change with all that decides the bytes and nothing else: every field of a recipe is decided here."""

import os
import warnings
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from exfm_ray.config import DataConfig, ModelConfig, Recipe
from exfm_ray.data.commit import Stopwatch, commit, write_file
from exfm_ray.data.dataset import Dataset, open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.kuairand.tables import OFFICIAL
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import write_schema
from exfm_ray.data.store import made_of
from exfm_ray.data.store.content_key import content_key
from exfm_ray.data.store.made_of import Work, common_work, days_work
from exfm_ray.data.store.stored import KINDS, Kind
from exfm_ray.schema import Schema
from tests.conftest import small_content

NOTHING: frozenset[Kind] = frozenset()
ALL = frozenset(KINDS)
OF_VOCABULARY: frozenset[Kind] = frozenset({"vocabulary", "fm", "supervision"})
OF_FM: frozenset[Kind] = frozenset({"fm", "supervision"})
OF_SUPERVISION: frozenset[Kind] = frozenset({"supervision"})

SECTIONS: dict[str, frozenset[Kind]] = {
    "data": ALL,
    "vocabulary": OF_VOCABULARY,
    "fm": OF_FM,
    "das.feedback": frozenset({"feedback", "fm", "supervision"}),
    "distill": NOTHING,
    "vms.model": NOTHING,
    "vms.optimizer": NOTHING,
    "vms.distill": NOTHING,
}
"""what a change of any field of a section changes, but for the fields below; a new field there is as its section"""

FIELDS: dict[str, frozenset[Kind]] = {
    "name": NOTHING,
    "seeds": NOTHING,
    "methods": NOTHING,
    "data.drift.days": NOTHING,  # a day is the same however many there are
    # the identity of the files themselves stands in its place
    **{f"data.{kind}.path": NOTHING for kind in ("kuairand", "taobao", "amazon", "kuaivideo", "csv", "parquet")},
    "data.partitions.path": NOTHING,
    "fm.staleness_days": OF_SUPERVISION,  # the FM is trained through the same days, and supervises later ones
    "vms.name": NOTHING,
    "vms.domain": OF_SUPERVISION,  # which rows are asked about
    "vms.stage": OF_SUPERVISION,
    "vms.task": NOTHING,  # the FM predicts all tasks
    "vms.methods": NOTHING,
    "vms.workers": NOTHING,
    "evaluate.protocol": NOTHING,  # but for the first day of VMs, which evaluate.train_from_day says here
    "evaluate.cascade": NOTHING,
    "evaluate.train_from_day": OF_VOCABULARY,  # ids are counted before it
    "das.lease_seconds": NOTHING,
    "das.poll_seconds": NOTHING,
    "das.swap_timeout_seconds": NOTHING,
    "das.rows_per_request": OF_SUPERVISION,  # sums over other request sizes round otherwise
    "das.precision": OF_SUPERVISION,
    "das.batch_rows": NOTHING,  # requests of a simulation are answered alone
    "das.batch_wait_seconds": NOTHING,
    "das.queued_rows": NOTHING,
    "das.pointer": NOTHING,
    "resources.mode": NOTHING,
    "resources.fm_accelerator": NOTHING,
    "resources.vm_accelerator": NOTHING,
    "resources.fm_nodes": NOTHING,
    "resources.vm_nodes": NOTHING,
    "resources.coming_nodes": NOTHING,
    "resources.fm_replicas": NOTHING,
    "resources.fm_replicas_most": NOTHING,
    "resources.fleet_workers": NOTHING,
    "resources.fleet_workers_least": NOTHING,
    "resources.kept_gib": NOTHING,
    "resources.augment_tasks": NOTHING,
    "resources.gpus_per_fm": OF_FM,  # a GPU rounds otherwise than a CPU
    "resources.gpus_per_vm": NOTHING,
    "resources.max_failures": NOTHING,
    "resources.start_timeout_seconds": NOTHING,
    "resources.wait_timeout_seconds": NOTHING,
}
"""what a change of one field changes: each field outside of the sections must be decided"""

TABLE = {
    "path": "x.csv",
    "time": {"column": "ts", "unit": "s"},
    "days": {"count": 4, "first": "2024-05-01"},
    "tasks": {"click": {"label": "clicked"}},
    "categorical": {"item": {"rows": 10}},
}
SECTIONS_OF_DATA: dict[str, dict[str, Any]] = {
    "drift": small_content()["data"],
    "kuairand": {"path": "x"},
    "taobao": {},
    "amazon": {},
    "kuaivideo": {},
    "csv": TABLE,
    "parquet": TABLE,
    "partitions": {"path": "x"},
}
MODELS = ("dcn", "dcnv2", "dlrm", "dmin", "wukong")
Step = tuple[str, int | None]
"""name of a field, and place in it where it holds several sections"""


def content(**changes: Any) -> dict[str, Any]:
    whole = small_content(
        vocabulary={"min_count": 3},
        das={"feedback": {}},
        evaluate={"train_from_day": 3},
        distill={"loss_weight": 0.5},
        resources={"mode": "ray"},  # in which a model may have several workers
    )
    return whole | changes


def recipes() -> Iterator[tuple[str, Recipe]]:
    """One for every type that a section can have, and where that section is."""
    yield "", Recipe.model_validate(content())
    for kind, data in SECTIONS_OF_DATA.items():
        yield f"data.{kind}.", Recipe.model_validate(content(data={"type": kind, **data}))
    for kind in MODELS:
        groups = {"groups": [{"targets": ["item"], "sequences": ["history"]}]} if kind == "dmin" else {}
        yield "fm.", Recipe.model_validate(content(fm={"model": {"type": kind, **groups}}))


def leaves(section: BaseModel, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """All fields that hold no sections themselves."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, (name, None)))
        elif isinstance(value, tuple) and value and all(isinstance(item, BaseModel) for item in value):
            yield from leaves(value[0], (*path, (name, 0)))
        elif name != "type":  # of which there is a recipe each
            yield (*path, (name, None))


def named(recipe: Recipe, path: tuple[Step, ...]) -> str:
    """As the tables above name a field; those of data by the type too."""
    names = [name for name, _ in path]
    return ".".join([names[0], recipe.data.type, *names[1:]] if names[0] == "data" else names)


def decided(name: str) -> frozenset[Kind]:
    if name in FIELDS:
        return FIELDS[name]
    sections = [section for section in SECTIONS if name.startswith(f"{section}.")]
    assert sections, f"{name}: say in FIELDS which of {KINDS} it changes, and put it into made_of.py if any"
    return SECTIONS[max(sections, key=len)]


def changed(section: Any, path: tuple[Step, ...]) -> Any:
    """The section with another value of a field; no check of it is asked, so that any field may change alone."""
    (name, place), *rest = path
    held = getattr(section, name)
    if not rest:
        value = another(held, type(section).model_fields[name].annotation)
    elif place is None:
        value = changed(held, tuple(rest))
    else:
        value = (*held[:place], changed(held[place], tuple(rest)), *held[place + 1 :])
    return section.model_copy(update={name: value})


def another(value: Any, annotation: Any) -> Any:
    if choices := [choice for choice in literals(annotation) if choice != value]:
        return choices[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, date):
        return value + timedelta(days=1)
    if isinstance(value, dict):
        return {**value, "click": 7}
    if isinstance(value, tuple):
        return value[:-1] if len(value) > 1 else (*value, another(value[0], None) if value else "another")
    assert value is None, f"no other value is known for {value!r}"
    return "another" if str in get_args(annotation) else 7


def literals(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return [choice for part in get_args(annotation) for choice in literals(part)]
    return []


def keys(recipe: Recipe, data: Dataset) -> dict[Kind, str]:
    experiment = Experiment(recipe=recipe, root="/run", dataset="/days", data_schema=data.schema, days=data.days)
    days = days_work(recipe.data, data)
    return {work.kind: work.key for work in (days, *common_work(experiment, days))}


@pytest.fixture(scope="module")
def kuairand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The names of its files are all that is looked at."""
    place = tmp_path_factory.mktemp("kuairand")
    for name in (*OFFICIAL.logs, OFFICIAL.users, OFFICIAL.videos):
        (place / name).write_text("")
    return place


CASES = {
    name if name.startswith("data.") else f"{name} ({recipe.fm.model.type})": (recipe, path)
    for section, recipe in recipes()
    for path in leaves(recipe)
    if (name := named(recipe, path)).startswith(section)
}


@pytest.mark.parametrize("case", list(CASES))
def test_every_field_changes_the_keys_that_it_decides_and_no_other(
    case: str, kuairand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, path = CASES[case]
    monkeypatch.setattr("exfm_ray.data.kuairand.tables.find_tables", found_in(kuairand))
    stream = open_dataset(Recipe.model_validate(content()).data)
    data = Dataset(stream.schema, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, about values of other types than a field's
        before, after = keys(recipe, data), keys(changed(recipe, path), data)
    assert {kind for kind in KINDS if before[kind] != after[kind]} == decided(named(recipe, path))


def found_in(place: Path) -> Any:
    from exfm_ray.data.kuairand.tables import find_tables

    return lambda config: find_tables(config.model_copy(update={"path": str(place)}))


def test_all_types_of_data_and_of_fms_are_walked() -> None:
    def types(union: Any) -> set[str]:
        return {member.model_fields["type"].default for member in get_args(get_args(union)[0])}

    assert set(SECTIONS_OF_DATA) == types(DataConfig)
    assert set(MODELS) < types(ModelConfig)


def test_a_decision_is_about_a_field_that_is_there() -> None:
    names = {named(recipe, path) for recipe, path in CASES.values()}
    assert FIELDS.keys() <= names
    assert all(any(name.startswith(f"{section}.") for name in names) for section in SECTIONS)


def test_a_vocabulary_that_grows_does_not_ask_when_vms_begin() -> None:
    def grown(first: int) -> dict[Kind, str]:
        recipe = Recipe.model_validate(content(vocabulary={"grow": True}, evaluate={"train_from_day": first}))
        return keys(recipe, open_dataset(recipe.data))

    assert grown(2) == grown(3)


def test_what_is_said_and_what_holds_by_itself_are_the_same() -> None:
    said = content(das={"feedback": {"windows": {"click": 5400}}}, vocabulary={"min_count": 3, "through_day": 2})
    data = open_dataset(Recipe.model_validate(content()).data)
    assert keys(Recipe.model_validate(said), data) == keys(Recipe.model_validate(content()), data)


@pytest.mark.parametrize("changes", ["code", "torch"])
def test_what_other_code_and_other_versions_made_is_not_taken(changes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.model_validate(content())
    data = open_dataset(recipe.data)
    before = keys(recipe, data)
    if changes == "code":
        monkeypatch.setattr(made_of, "code_digest", lambda *rooms: "other" if "models" in rooms else "")
    else:
        monkeypatch.setattr(made_of, "version", lambda package: "other" if package == "torch" else "")
    after = keys(recipe, data)
    monkeypatch.undo()
    assert after["fm"] != before["fm"]
    assert after["supervision"] != before["supervision"]


@pytest.mark.parametrize("change", ["nothing", "content", "time"])
def test_raw_files_are_known_by_size_and_time_of_change(kuairand: Path, tmp_path: Path, change: str) -> None:
    for file in kuairand.iterdir():
        (tmp_path / file.name).write_text("a")
    recipe = Recipe.model_validate(content(data={"type": "kuairand", "path": str(tmp_path)}))
    data = Dataset(Schema(features=(), tasks=("click",), domains=("a", "b"), stages=("later",)), 4)
    before = days_work(recipe.data, data).key
    if change == "content":
        (tmp_path / OFFICIAL.users).write_text("ab")
    elif change == "time":
        os.utime(tmp_path / OFFICIAL.users, ns=(1, 1))
    assert (days_work(recipe.data, data).key == before) == (change == "nothing")


def test_prepared_days_are_known_by_their_rows_wherever_they_lie(tmp_path: Path) -> None:
    schema = Schema(features=(), tasks=("click",), domains=("a",), stages=("later",))

    def prepared(name: str, *contents: bytes) -> str:
        place = Location.of(str(tmp_path / name))
        write_schema(place, schema)
        for day, file in enumerate(contents, start=1):
            commit(place.day(day), [write_file(place.day(day), "part", ".bin", file, 1)], {}, Stopwatch.start())
        config = Recipe.model_validate(content(data={"type": "partitions", "path": place.uri})).data
        return days_work(config, Dataset(schema, len(contents), prepared=place)).key

    first = prepared("first", b"one", b"two")
    assert prepared("second", b"one", b"two") == first
    assert prepared("third", b"one", b"three") != first
    assert prepared("fourth", b"one", b"two", b"three") != first


def test_a_key_does_not_depend_on_the_order_of_names() -> None:
    assert content_key({"a": 1, "b": {"c": 2.5, "d": None}}) == content_key({"b": {"d": None, "c": 2.5}, "a": 1})
    assert content_key({"a": 1}) != content_key({"a": "1"})
    assert len(content_key({})) == 64
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key({"a": float("nan")})


def test_kinds_never_share_a_key() -> None:
    assert Work("days", {"a": 1}, range(1, 2)).key != Work("fm", {"a": 1}, range(1, 2)).key
