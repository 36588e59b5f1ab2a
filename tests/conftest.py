"""Shared fixtures: small recipes, and the real logs where they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
import yaml

from exfm_ray.config import Recipe
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.schema import Feature, Schema
from exfm_ray.simulation import claim_run
from tests.s3_server import S3Server

hypothesis.settings.register_profile("without_clock", deadline=None)  # a machine may be busy
hypothesis.settings.load_profile("without_clock")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As every training process sets it: sums run in the same order everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """An S3-compatible store, and what this process and its children need to ask it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return s3_server


@pytest.fixture
def kuairand_path() -> Path:
    path = SHARED_DATA / "kuairand_pure_14d"
    if not path.is_dir():
        pytest.skip("the real KuaiRand-Pure log is not beside the project")
    return path


@pytest.fixture
def taobao_rows() -> Path:
    path = SHARED_DATA / "taobaoad_500rows" / "taobaoad_x1_like.csv"
    if not path.is_file():
        pytest.skip("the 500 real rows of TaobaoAd are not beside the project")
    return path


def small_content(**changes: Any) -> dict[str, Any]:
    """A recipe that runs in seconds in this process."""
    content: dict[str, Any] = {
        "name": "small",
        "seeds": [0],
        "data": {
            "type": "drift",
            "days": 4,
            "events_per_day": 3_000,
            "domains": 2,
            "stages": ["later"],
            "tasks": ["click"],
            "base_logit": -2.0,
            "parts_per_day": 2,
            "users": 500,
            "ads": 100,
        },
        "fm": {"model": {"type": "dcnv2", "embedding_dim": 4, "cross_layers": 1, "hidden": [8]}},
        "vms": [
            {"name": "first", "domain": 0, "model": {"type": "deepfam", "embedding_dim": 4, "hidden": [8, 4]}},
            {"name": "second", "domain": 1, "model": {"type": "fam", "embedding_dim": 4}},
        ],
        "resources": {"mode": "local"},
    }
    return content | changes


@pytest.fixture
def small_recipe() -> Recipe:
    return Recipe.model_validate(small_content())


@pytest.fixture
def small_recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small_content()))
    return path


def claimed(recipe: Recipe, root: Path) -> Experiment:
    """A run directory with its recipe.yaml, nothing else done yet."""
    data = open_dataset(recipe.data)
    run = RunDirectory(Location.of(str(root)))
    claim_run(run, recipe, data.prepared)
    return Experiment(recipe=recipe, root=run.root.uri, dataset=run.days.uri, data_schema=data.schema, days=data.days)


@pytest.fixture(scope="session")
def small_schema() -> Schema:
    return Schema(
        features=(
            Feature(name="user", kind="categorical", rows=50),
            Feature(name="item", kind="categorical", rows=30),
            Feature(name="hour", kind="categorical", rows=24, encoding="identity"),
            Feature(name="price", kind="numeric"),
            Feature(name="history", kind="sequence", shares="item"),
            Feature(name="costly", kind="numeric", fm_only=True),
        ),
        tasks=("click", "like"),
        domains=("a", "b"),
        stages=("later",),
    )
