"""Sharing out VMs, scoring a day, and variants that share a pass."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exfm_ray.config import Recipe
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.simulation import produce, write_results
from exfm_ray.train.evaluation import score
from exfm_ray.train.fleet import share_out
from tests.conftest import claimed, small_content


def test_the_dearest_goes_first_to_whoever_has_least() -> None:
    assert share_out([4, 4, 4, 1, 9], 2) == [[4, 3], [0, 1, 2]]
    assert share_out([1, 1], 3) == [[0], [1], []]
    assert sorted(index for share in share_out([3.0] * 17, 4) for index in share) == list(range(17))


def test_a_score_against_literals() -> None:
    values = score(
        probability=np.array([0.5, 0.5]),
        label=np.array([1.0, 0.0]),
        base_rate=0.1,
        fm_prob=np.array([1.0, 0.0]),
        truth=np.array([0.5, 0.5]),
    )
    assert values["rows"] == 2
    assert values["positives"] == 1
    assert values["ne"] == pytest.approx(2.132217, abs=1e-6)
    assert values["ne_eval"] == pytest.approx(1.0)
    assert values["logloss"] == pytest.approx(0.693147, abs=1e-6)
    assert values["auc"] == 0.5
    assert values["calibration"] == 1.0
    assert values["ne_fm"] == pytest.approx(0.0, abs=1e-9)
    assert values["ne_oracle"] == values["ne"]
    assert values["excess"] == 0.0


def test_what_is_undefined_is_null() -> None:
    values = score(np.array([0.2]), np.array([0.0]), None, None, None)
    assert {name for name, value in values.items() if value is None} == {
        "ne", "ne_eval", "auc", "calibration", "ne_fm", "ne_oracle", "excess", "excess_shifted",
    }  # fmt: skip
    assert json.dumps(values, allow_nan=False)
    assert score(np.array([]), np.array([]), 0.1, None, None)["logloss"] is None


def lines(content: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    recipe = Recipe.model_validate(content)
    experiment = claimed(recipe, root)
    produce(experiment, open_dataset(recipe.data), None)
    write_results(experiment)
    return RunDirectory(experiment.run.root).results()


def test_a_variant_gives_in_company_what_it_gives_alone(tmp_path: Path) -> None:
    together = lines(small_content(seeds=[0, 1]), tmp_path / "together")
    alone = lines(small_content(seeds=[1], methods=["ah_sa"]), tmp_path / "alone")
    expected = [line for line in together if line["seed"] == 1 and line["method"] == "ah_sa"]
    assert len(alone) == 4
    assert alone == expected
