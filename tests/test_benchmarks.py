"""Every benchmark runs, and its JSON has the form that all of them share."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
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


def test_both_sides_of_the_loader_benchmark_have_the_same_rows(tmp_path: Path) -> None:
    """What the run itself asks each side for, taken from the arrays that are written for the other side."""
    code = (
        "import json, sys; from pathlib import Path; from loader_data import write_day, write_npz; "
        "place = Path(sys.argv[1]); print(json.dumps(write_npz(place, write_day(place, 'seq', 3_000))))"
    )
    written = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, cwd=BENCHMARKS
    )
    columns = json.loads(written.stdout)
    settings = {"place": str(tmp_path), "features": "seq", "columns": columns, "encoding": "identity"}
    told = subprocess.run(
        [sys.executable, "loader_ours.py", json.dumps(settings | {"batch_rows": 700})],
        input="check\nround\n", capture_output=True, text=True, check=True, cwd=BENCHMARKS,
    ).stdout.splitlines()  # fmt: skip
    whole = np.load(tmp_path / "day.npz")
    blocks = [np.load(file) for file in sorted((tmp_path / "blocks").iterdir())]
    weights, total = 1 + np.arange(3_000) % 1_009, 0
    for name in columns:
        assert np.array_equal(np.concatenate([block[name] for block in blocks]), whole[name])
        if name != "price":
            total += int((whole[name].astype(np.int64).reshape(3_000, -1).sum(axis=1) * weights).sum())
    assert [json.loads(line) for line in told] == [{"rows": 3_000, "sum": total}, {"rows": 3_000, "sum": 0}]
