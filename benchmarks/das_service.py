"""Our side of the DAS benchmark: Ray Data tasks read the day, the FM on Ray Serve answers, the side-car is committed.

A helper of benchmarks/das.py, which starts it and tells it on its standard input what to do: `round`, or `stages`.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import ray
import torch
from das_data import SNAPSHOT_DAY, SUPERVISED_DAY

from exfm_ray.cluster import ray_cluster
from exfm_ray.das.augmentation import augment_day
from exfm_ray.das.deployment import serving
from exfm_ray.das.pointer import point_to
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.wire import from_bytes, to_buffer
from exfm_ray.data.commit import require
from exfm_ray.data.encode import encode
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, write_part
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.quiet import quieten
from exfm_ray.schema import EVENT_ID

STAGE_REQUESTS = 12
LEASE_SECONDS = 86_400


class Stages:
    """CPU seconds of this process by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - start


def stage_seconds(experiment: Experiment, scratch: Location) -> dict[str, float]:
    """CPU seconds per row of every stage alone, one after the other in this process, over the day's first requests."""
    stages = Stages()
    partition = Location(experiment.dataset).day(SUPERVISED_DAY)
    predictor = Predictor.load(SnapshotDatabase(experiment.snapshots), SNAPSHOT_DAY)
    columns = [EVENT_ID, *(feature.name for feature in predictor.inputs.features)]
    requests = read_rows(partition, columns, experiment.recipe.das.rows_per_request)
    answers, rows = [], 0
    for _ in range(STAGE_REQUESTS):
        with stages.timed("read"):
            request = next(requests, None)
        if request is None:
            break
        rows += request.num_rows
        with stages.timed("serialize"):
            content = to_buffer(request)
        with stages.timed("transfer"):
            received = ray.get(ray.put(content))
        with stages.timed("decode"):
            table = from_bytes(received)
        with stages.timed("encode"):
            inputs = encode(table, predictor.inputs)
        with stages.timed("forward"):
            answer = predictor.answer(inputs)
        answers.append(answer.add_column(0, EVENT_ID, request[EVENT_ID]))
    with stages.timed("write"):
        write_part(scratch, 0, pa.concat_tables(answers))
    return {stage: seconds / rows for stage, seconds in stages.seconds.items()}


def main(settings: str) -> None:
    torch.set_num_threads(1)
    experiment = Experiment.model_validate_json(settings)
    logs = Path(experiment.root) / "logs"
    address = experiment.pointer
    quieten(logs)
    with (
        ray_cluster(experiment.recipe, None, logs),
        serving(experiment, address) as (application, handle),
        closing(pointer_at(address)) as pointer,
    ):
        point_to(pointer, SNAPSHOT_DAY, time.time(), LEASE_SECONDS)
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "stages":
                scratch = experiment.run.root / "scratch"
                print(json.dumps(stage_seconds(experiment, scratch)), flush=True)
                continue
            start = time.perf_counter()
            experiment.supervision(SUPERVISED_DAY).delete()
            augment_day(experiment, SUPERVISED_DAY, application, handle)
            seconds = time.perf_counter() - start
            made = require(experiment.supervision(SUPERVISED_DAY)).made
            print(json.dumps({"seconds": seconds, "measured": made.measured}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
