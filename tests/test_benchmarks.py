"""Every benchmark runs, and its JSON has the form that all of them share."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LIBRARIES = BENCHMARKS.parent / ".bench" / "bin" / "python"


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


def _train(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    figures, drawn = tmp_path / "figures.json", tmp_path / "figure.html"
    command = [sys.executable, str(BENCHMARKS / "train.py"), "--quick", "--rounds", "1", *arguments]
    command += ["--json", str(figures), "--figure", str(drawn)]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout
    assert "Plotly.newPlot" in drawn.read_text()
    content = json.loads(figures.read_text())
    assert set(content) == {"machine", "rows"}
    for row in content["rows"]:
        assert set(row) == {"what", "ours", "theirs", "unit", "ratio"}
        assert row["ours"] > 0 < row["theirs"]
    rows: list[dict[str, Any]] = content["rows"]
    return rows


@pytest.mark.slow
def test_a_method_is_measured_beside_another(tmp_path: Path) -> None:
    """Of one round, the ratio is that of its two figures: less is better, so theirs stands above."""
    (row,) = _train(tmp_path, "--parts", "methods", "--settings", "cat20", "--models", "FaM")
    assert row["what"] == "CPU ms per 8,192 samples, FaM cat20, ah_sa beside none"
    assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"], rel=0.01)


@pytest.mark.slow
@pytest.mark.skipif(not LIBRARIES.exists(), reason="make bench-env has not been run")
@pytest.mark.parametrize(("setting", "model"), [("cat20", "FaM"), ("kuairand", "DMIN")])
def test_training_is_measured_beside_fuxictr(setting: str, model: str, tmp_path: Path) -> None:
    """The run itself checks that both sides have equally many parameters and read equally many rows."""
    faster, _, leaner = _train(tmp_path, "--settings", setting, "--models", model)
    assert faster["ratio"] == pytest.approx(faster["ours"] / faster["theirs"], rel=0.01)
    assert leaner["ratio"] == pytest.approx(leaner["theirs"] / leaner["ours"], rel=0.01)


@pytest.mark.slow
@pytest.mark.skipif(not LIBRARIES.exists(), reason="make bench-env has not been run")
def test_tables_are_measured_beside_fbgemm(tmp_path: Path) -> None:
    """On whatever device there is; the run itself checks that both tables hold the same numbers after three steps."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    figures = tmp_path / "figures.json"
    command = [str(LIBRARIES), str(BENCHMARKS / "gpu.py"), "--quick", "--device", device, "--fbgemm", "--models"]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(
        [*command, "--json", str(figures)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    bandwidth, tables = json.loads(figures.read_text())["rows"]
    assert bandwidth["ours"] > 0
    assert tables["ratio"] == pytest.approx(tables["ours"] / tables["theirs"], rel=0.01)


@pytest.mark.parametrize("name", ["seq", "seq99", "kuairand", "cat20"])
def test_other_libraries_read_the_rows_of_the_partitions(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every id and label, and histories behind as much padding as fills them up to 50."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from train_data import MEASURED_DAY, write_days, write_npz
    from train_settings import SETTINGS

    schema = write_days(tmp_path, SETTINGS[name], (3, 200))
    write_npz(tmp_path, schema)
    names = [*(feature.name for feature in schema.features), "label_click"]
    (table,) = read_rows(Location.of(str(tmp_path)).day(MEASURED_DAY), names)
    arrays = np.load(tmp_path / f"day{MEASURED_DAY}.npz")
    assert set(arrays) == set(names)
    for column in names:
        values = table[column].to_pylist()
        if isinstance(values[0], list):
            values = [[0] * (50 - len(history)) + history for history in values]
        np.testing.assert_array_equal(arrays[column], np.array(values, dtype=arrays[column].dtype))


def test_histories_are_as_long_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from train_settings import SETTINGS

    lengths = {name: SETTINGS[name].lengths(np.random.default_rng(0), 20_000) for name in ("seq", "seq99", "kuairand")}
    assert np.all(lengths["seq"] == 50)
    assert np.mean(lengths["seq99"] == 50) == pytest.approx(0.99, abs=0.003)
    assert lengths["seq99"].min() < 5
    assert lengths["kuairand"].mean() == pytest.approx(15.08, abs=0.3)
    assert lengths["kuairand"].min() == 0
    assert lengths["kuairand"].max() == 50


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


@pytest.mark.ray
@pytest.mark.slow
def test_a_fleet_is_measured_beside_what_is_allowed(tmp_path: Path) -> None:
    figures, drawing = tmp_path / "figures.json", tmp_path / "figure.html"
    command = [sys.executable, str(BENCHMARKS / "fleet.py"), "--quick", "--vms", "1", "2", "--rows", "1500"]
    options = ["--json", str(figures), "--figure", str(drawing)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *clocks, more = json.loads(figures.read_text())["rows"]
    assert [row["vms"] for row in clocks] == [1, 2]
    for row in clocks:
        assert row["theirs"] > 30 + row["fm_chain_seconds"]
        assert 0 < row["start_up_seconds"] < row["critical_path_seconds"] < row["ours"]
        assert row["vm_training_cpu_seconds"] > 0 < row["fm_cpu_seconds"]
    assert more["ratio"] == pytest.approx(more["theirs"] / more["ours"], rel=0.05)
    assert "the VM alone" in drawing.read_text()


@pytest.mark.ray
@pytest.mark.slow
def test_the_memory_of_a_runs_processes_is_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "memory.py"), "--vms", "1", "2", "--days", "--rows", "1500"]
    done = subprocess.run([*command, "--json", str(figures)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(figures.read_text())["rows"]
    kinds = ("fleet worker", "FM worker", "replica", "driver", "all processes")
    assert [row["what"] for row in rows] == [
        f"peak of the {kind}, {vms} VMs beside 1" for vms in (1, 2) for kind in kinds
    ]
    by_kind = dict(zip(kinds, rows, strict=False))
    for kind in kinds[:-1]:
        assert 20 < by_kind[kind]["ours"] < by_kind[kind]["resident_mib"], "torch is imported, and its files are mapped"
    assert by_kind["all processes"]["ours"] > sum(by_kind[kind]["ours"] for kind in kinds[:-1]) / 2
