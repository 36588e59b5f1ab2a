"""The side-car of labels: what came in time, row by row beside the partition, and counts that add up."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.config import Recipe
from exfm_ray.das.feedback import join_days, labels_in_time
from exfm_ray.das.join import FeedbackJoin
from exfm_ray.data.commit import Manifest, committed, require
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows
from exfm_ray.data.prepare import prepare
from exfm_ray.schema import EVENT_ID
from tests.conftest import claimed, small_content

WINDOWS = {"click": 600, "conversion": 20_000}


def an_experiment(place: Path, late: str, **fm: Any) -> Experiment:
    """Two tasks on the drifting stream, its days prepared and nothing else done."""
    content = small_content(
        fm={"model": {"type": "dcnv2", "embedding_dim": 4, "cross_layers": 1, "hidden": [8]}, **fm},
        das={"feedback": {"windows": WINDOWS, "late": late}},
    )
    content["data"] |= {"tasks": ["click", "conversion"], "base_logit": 1.0, "events_per_day": 2_000}
    experiment = claimed(Recipe.model_validate(content), place)
    source = open_dataset(experiment.recipe.data).source
    assert source is not None
    prepare(source, Location(experiment.dataset))
    return experiment


def whole_day(directory: Location, columns: list[str]) -> pa.Table:
    return pa.concat_tables(read_rows(directory, columns))


def feedback_of(experiment: Experiment, day: int) -> Location:
    place = experiment.feedback(day)
    assert place is not None
    return place


@pytest.mark.parametrize("late", ["negative", "drop"])
def test_labels_are_those_within_the_window_beside_every_row(tmp_path: Path, late: str) -> None:
    experiment = an_experiment(tmp_path, late)
    join_days(experiment)
    assert [day for day in range(1, 5) if committed(feedback_of(experiment, day))] == [1, 2, 3]
    partition, feedback = Location(experiment.dataset).day(2), feedback_of(experiment, 2)
    names = [f"{kind}_{task}" for task in WINDOWS for kind in ("label", "delay")]
    rows, joined = whole_day(partition, [EVENT_ID, *names]), whole_day(feedback, [EVENT_ID, *names[::2]])
    assert joined[EVENT_ID].equals(rows[EVENT_ID])
    assert [file.rows for file in require(feedback).files] == [file.rows for file in require(partition).files]
    for task, window in WINDOWS.items():
        label = rows[f"label_{task}"].to_pylist()
        in_time = [delay is not None and delay <= window for delay in rows[f"delay_{task}"].to_pylist()]
        lost = None if late == "drop" else 0
        assert joined[f"label_{task}"].to_pylist() == [
            y if (y == 0 or early) else lost for y, early in zip(label, in_time, strict=True)
        ]
        counts = require(feedback).about["tasks"][task]
        assert (counts["positives"], counts["in_time"]) == (sum(label), sum(in_time))
        assert 0 < counts["lost"] == sum(label) - sum(in_time)
        assert counts["share_lost"] == counts["lost"] / counts["positives"]
        assert (counts["unmatched"], counts["duplicates"], counts["window"]) == (0, 0, window)


def test_rows_without_any_label_are_counted(tmp_path: Path) -> None:
    experiment = an_experiment(tmp_path, "drop")
    join_days(experiment)
    joined = whole_day(feedback_of(experiment, 1), ["label_click", "label_conversion"])
    empty = [
        click is None and conversion is None for click, conversion in zip(*joined.to_pydict().values(), strict=True)
    ]
    about = require(feedback_of(experiment, 1)).about
    assert 0 < sum(empty) == about["rows_without_label"]
    assert (about["day"], about["late"], about["rows"]) == (1, "drop", 2_000)


def test_only_days_that_a_model_trains_on_are_joined(tmp_path: Path) -> None:
    experiment = an_experiment(tmp_path, "negative", train_from_day=2)
    join_days(experiment)
    assert [day for day in range(1, 5) if committed(feedback_of(experiment, day))] == [2, 3]


def test_a_join_that_died_is_done_again_and_one_that_is_committed_is_not(tmp_path: Path) -> None:
    experiment = an_experiment(tmp_path, "negative")
    (feedback_of(experiment, 1) / "part-00000-dead.parquet").write(b"of a process that died")
    join_days(experiment)
    manifests = [require(feedback_of(experiment, day)) for day in (1, 2, 3)]
    assert len(feedback_of(experiment, 1).children()) == 1 + len(manifests[0].files)
    feedback_of(experiment, 2).delete()
    join_days(experiment)
    again = [require(feedback_of(experiment, day)) for day in (1, 2, 3)]
    assert (again[0], again[2]) == (manifests[0], manifests[2])
    assert content(again[1]) == content(manifests[1])


def content(manifest: Manifest) -> tuple[Any, ...]:
    """What does not differ from run to run."""
    return manifest.about, [(file.rows, file.bytes, file.sha256) for file in manifest.files]


@pytest.mark.parametrize("cuts", [[], [1], [3, 4], [1, 2, 3, 4, 5]])
def test_how_a_day_is_cut_changes_nothing_and_an_unknown_delay_is_none(cuts: list[int]) -> None:
    day = pa.table(
        {
            "event_id": pa.array([9, 4, 7, 1, 2, 3], pa.int64()),
            "event_time": pa.array([0, 0, 5_000, 5_000, 30_000, 90_000], pa.int64()),
            "label_click": pa.array([1, 1, 0, 1, 1, 1], pa.int8()),
            "delay_click": pa.array([10, 11, None, None, 40, 3], pa.int32()),
        }
    )
    edges = [0, *cuts, 6]
    tables = [day.slice(start, stop - start) for start, stop in pairwise(edges)]
    found = labels_in_time(FeedbackJoin({"click": 10}), iter(tables), drop=True)
    assert found["event_id"].to_pylist() == [9, 4, 7, 1, 2, 3]
    assert found["label_click"].to_pylist() == [1, None, 0, 1, None, 1]
    negative = labels_in_time(FeedbackJoin({"click": 10}), iter(tables), drop=False)
    assert np.array_equal(negative["label_click"].to_numpy(), [1, 0, 0, 1, 0, 1])
