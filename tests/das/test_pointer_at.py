"""Addresses of the latest pointer, from the recipe to the store."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from exfm_ray.config import Recipe
from exfm_ray.config.pointer import PointerPlace, pointer_place
from exfm_ray.das.pointer import point_to
from exfm_ray.das.pointer_at import check_pointer, pointer_at
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError
from exfm_ray.simulation import simulate
from tests.conftest import claimed, small_content
from tests.das.zookeeper_server import ZooKeeperServer, free_port


def test_a_plain_path_is_a_directory_of_this_machine(tmp_path: Path) -> None:
    point_to(pointer_at(str(tmp_path)), 5, now=0.0, lease_seconds=60)
    held = pointer_at(f"embedded:{tmp_path}").read()
    assert held is not None
    assert held.snapshot_day == 5


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "runs/pointer",
        "embedded:runs/pointer",
        "s3://bucket/pointer",
        "cluster:exfm",
        "cluster:/",
        "cluster:/../exfm",
        "zookeeper://host:2181",
        "zookeeper://host:2181/",
        "zookeeper://host/path",
        "zookeeper://host:0/path",
        "zookeeper://host:65536/path",
        "zookeeper://host:2181,/path",
        "zookeeper://host:2181/path//more",
        "zookeeper://host:2181/../path",
        "zookeeper://host:2181/zookeeper/config",
        "zookeeper://host:2181/path\n",
    ],
)
def test_an_address_of_no_form_is_told_in_one_line(wrong: str) -> None:
    with pytest.raises(UserError, match=r"das\.pointer: .*zookeeper") as told:
        pointer_at(wrong)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "hosts", "path"),
    [
        ("/runs/pointer", None, "/runs/pointer"),
        ("embedded:/runs/pointer", None, "/runs/pointer"),
        ("zookeeper://host:2181/exfm", "host:2181", "/exfm"),
        ("zookeeper://a.b:2181,[::1]:2182/exfm/one", "a.b:2181,[::1]:2182", "/exfm/one"),
    ],
)
def test_an_address_is_read(text: str, hosts: str | None, path: str) -> None:
    assert pointer_place(text) == PointerPlace(path=path, hosts=hosts)


def with_pointer(pointer: str | None) -> Recipe:
    return Recipe.model_validate(small_content(das={"pointer": pointer}))


def test_a_recipe_takes_only_an_address() -> None:
    with pytest.raises(ValueError, match="must have the form zookeeper://"):
        with_pointer("runs/pointer")


def test_two_runs_share_no_record(tmp_path: Path) -> None:
    address = "zookeeper://host:2181/exfm"
    first, second = (claimed(with_pointer(address), tmp_path / name) for name in ("first", "second"))
    assert first.pointer == f"{address}/{first.name}"
    assert second.pointer == f"{address}/{second.name}"
    assert first.name != second.name


def test_a_run_keeps_its_own_pointer_where_none_is_named(tmp_path: Path) -> None:
    assert claimed(with_pointer(None), tmp_path).pointer == f"{tmp_path}/pointer"


def test_a_continued_run_may_move_its_pointer(tmp_path: Path) -> None:
    claimed(with_pointer(None), tmp_path)
    moved: Experiment = claimed(with_pointer(f"embedded:{tmp_path}/elsewhere"), tmp_path)
    pointer_at(moved.pointer)
    assert (tmp_path / "elsewhere" / moved.name).is_dir()


def test_a_store_that_does_not_answer_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exfm_ray.das.pointer_at.PREFLIGHT_SECONDS", 0.5)
    recipe = Recipe.model_validate(small_content(das={"pointer": f"zookeeper://127.0.0.1:{free_port()}/exfm"}))
    with pytest.raises(UserError, match=r"das\.pointer: zookeeper://.* did not answer within 0\.5 s") as told:
        simulate(recipe, RunDirectory(Location.of(str(tmp_path / "run"))), None, Console())
    assert len(str(told.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_store_that_answers_passes_and_keeps_nothing(zookeeper: ZooKeeperServer) -> None:
    check_pointer(f"zookeeper://{zookeeper.hosts}/unused")
    assert pointer_at(f"zookeeper://{zookeeper.hosts}/unused/preflight").read() is None


@pytest.mark.parametrize("credentials", ["", "exfm", "exfm:", ":secret"])
def test_credentials_of_another_form_are_told(credentials: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXFM_ZOOKEEPER_AUTH", credentials)
    with pytest.raises(UserError, match=r"EXFM_ZOOKEEPER_AUTH: must have the form user:password"):
        pointer_at("zookeeper://host:2181/exfm")


def test_a_pointer_in_the_cluster_needs_one() -> None:
    das, local = {"pointer": "cluster:/exfm"}, {"mode": "local"}
    assert Recipe.model_validate(small_content(das=das, resources={})).das.pointer == "cluster:/exfm"
    with pytest.raises(ValidationError, match=r"das\.pointer 'cluster:/exfm' needs a cluster, and resources\.mode is"):
        Recipe.model_validate(small_content(das=das, resources=local))
