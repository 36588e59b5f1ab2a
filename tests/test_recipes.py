"""What the project's recipes show, run whole. Minutes each."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

SIMS = Path(__file__).parents[1] / "sims"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]


def results(recipe: str, out: Path, *edits: str) -> list[dict[str, Any]]:
    options = [option for edit in edits for option in ("--set", edit)]
    command = [sys.executable, "-m", "exfm_ray.cli", "run", str(SIMS / recipe), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "report" / "index.html").is_file()
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def mean_ne(lines: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    values = defaultdict(list)
    for line in lines:
        values[line["vm"], line["method"]].append(line["ne"])
    return {key: sum(ne) / len(ne) for key, ne in values.items()}


def test_on_the_stream_an_fm_helps_over_three_seeds(tmp_path: Path) -> None:
    """Not claimed for `search`: a small domain, whose first evaluated day is a cold start and outweighs the others."""
    found = mean_ne(results("quickstart.yaml", tmp_path / "run", "seeds=[0, 1, 2]"))
    for vm in ("feed", "feed_early", "reels"):
        assert found[vm, "ah_sa"] < found[vm, "none"], vm


def test_an_fm_that_predicts_too_much_moves_kd_and_not_ah(tmp_path: Path) -> None:
    """On the rare domain, seed by seed, means over the days."""
    calibration: dict[tuple[str, int], list[float]] = defaultdict(list)
    for line in results("calibration.yaml", tmp_path / "run"):
        if line["vm"] == "rare":
            calibration[line["method"], line["seed"]].append(line["calibration"])
            calibration["fm", line["seed"]].append(line["calibration_fm"])
    mean = {key: sum(values) / len(values) for key, values in calibration.items()}
    for seed in range(5):
        error = mean["fm", seed] - mean["none", seed]
        assert error > 0.3
        assert (mean["kd", seed] - mean["none", seed]) / error > 0.4, seed
        assert abs(mean["ah", seed] - mean["none", seed]) / error < 0.2, seed


def test_a_taught_cascade_shows_better_ads(tmp_path: Path) -> None:
    """On the means over seeds and days; likewise the ads that retrieval finds."""
    results("cascade.yaml", tmp_path / "run")
    value, recall = defaultdict(list), defaultdict(list)
    for line in map(json.loads, (tmp_path / "run" / "cascade.jsonl").read_text().splitlines()):
        value[line["method"]].append(line["value"])
        recall[line["method"]].append(line["recall"]["retrieval"])
        assert line["value_random"] < line["value"] < 1
    for found in (value, recall):
        for method in ("kd", "ah", "ah_sa"):
            assert sum(found[method]) > sum(found["none"]), method


@pytest.mark.ray
def test_real_logs_twice_give_the_same_bytes(kuairand_path: Path, tmp_path: Path) -> None:
    path = f"data.path={kuairand_path}"
    results("kuairand.yaml", tmp_path / "one", path, "seeds=[0]")
    results("kuairand.yaml", tmp_path / "two", path, "seeds=[0]")
    assert (tmp_path / "one" / "results.jsonl").read_bytes() == (tmp_path / "two" / "results.jsonl").read_bytes()
