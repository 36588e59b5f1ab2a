"""Every benchmark runs, and its JSON has the form that all of them share."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.ray
@pytest.mark.slow
def test_supervision_is_measured_beside_a_plain_loop(tmp_path: Path) -> None:
    """The run itself checks that both sides give the same probabilities."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "das.py"), "--quick", "--rows", "2000", "--rounds", "1"]
    done = subprocess.run([*command, "--json", str(figures)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads(figures.read_text())
    assert set(content) == {"machine", "rows"}
    assert content["machine"]["cores"] >= 1
    assert [row["unit"] for row in content["rows"]] == ["rows/s per core in use", "rows/s", "MiB"]
    for row in content["rows"]:
        assert set(row) == {"what", "ours", "theirs", "unit", "ratio"}
        assert row["ours"] > 0 < row["theirs"]
    faster, _, leaner = content["rows"]
    assert faster["ratio"] == pytest.approx(faster["ours"] / faster["theirs"], rel=0.01)
    assert leaner["ratio"] == pytest.approx(leaner["theirs"] / leaner["ours"], rel=0.01)
    assert all(kind in done.stdout for kind in ("replica", "Data task", "driver", "forward", "transfer"))


@pytest.mark.ray
@pytest.mark.slow
def test_variants_in_one_pass_are_measured_beside_a_run_each(tmp_path: Path) -> None:
    """The run itself checks that both sides leave the same results and checkpoints."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "variants.py"), "--quick", "--rows", "1024", "--variants", "2"]
    done = subprocess.run([*command, "--json", str(figures)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads(figures.read_text())
    assert set(content) == {"machine", "rows"}
    assert len(content["rows"]) == 3
    for row in content["rows"]:
        assert set(row) == {"what", "ours", "theirs", "unit", "ratio"}
        assert row["unit"] == "s"
        assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"], rel=0.1)
