"""What both sides of the DAS benchmark read: a day of synthetic rows in the TaobaoAd setting, and the FM.

Vocabularies and the DCNv2 are those that BARS publishes for TaobaoAd_x1: embeddings of 32, four cross layers, an MLP of
512-256-128. In the `seq` setting rows have three histories of 50, as published; in `cat20` twenty categorical features.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from taobao_shape import Features, schema_of, synthetic_rows

from exfm_ray.config import DcnV2Model, Recipe
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.parquet_form import to_parquet
from exfm_ray.data.partitions import ROW_GROUP_ROWS, write_partition, write_schema
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema

SUPERVISED_DAY, SNAPSHOT_DAY = 2, 1
FILES = 4
PLAIN_ROWS = "plain_rows"
"""beside the day partitions: the same rows in as many files of Parquet, histories in them as lists"""
MODEL = DcnV2Model(embedding_dim=32, cross_layers=4, hidden=(512, 256, 128), dropout=0.1)
PARAMETERS = {"seq": 43_576_577, "cat20": 53_855_137}


def prepare(place: Path, setting: Features, rows: int) -> Experiment:
    """Write the day partition, its rows once more for the plain loop, and publish the FM, by the project's own code."""
    schema, dataset = schema_of(setting), Location.of(str(place / "days"))
    recipe = Recipe.model_validate(
        {
            "name": "benchmark",
            "data": {"type": "partitions", "path": str(place / "days")},
            "fm": {"model": MODEL.model_dump()},
            "vms": [{"name": f"vm{domain}", "domain": domain} for domain in range(len(schema.domains))],
            "resources": {"fleet_workers": 1},
        }
    )
    experiment = Experiment(
        recipe=recipe, root=str(place / "run"), dataset=dataset.uri, data_schema=schema, days=SUPERVISED_DAY
    )
    write_schema(dataset, schema)
    write_partition(dataset, SUPERVISED_DAY, _slices(schema, rows), schema)
    (place / PLAIN_ROWS).mkdir()
    for part, table in enumerate(_slices(schema, rows)):
        (place / PLAIN_ROWS / f"part-{part}.parquet").write_bytes(to_parquet(table, ROW_GROUP_ROWS))
    model = foundation_model(setting, experiment)
    inputs = experiment.fm_traffic().schema
    facts = SnapshotFacts(
        model=MODEL,
        inputs=inputs,
        tasks=inputs.tasks,
        trained_through=SNAPSHOT_DAY,
        rows_seen=0,
        parameters=model.parameter_count(),
    )
    SnapshotDatabase(experiment.snapshots).publish(model, facts, 0, Stopwatch.start())
    return experiment


def foundation_model(setting: Features, experiment: Experiment) -> Model:
    """The untrained FM, its tables drawn widely enough that rows differ in their probabilities."""
    model = seeded(lambda: build_model(MODEL, experiment.fm_traffic().schema, 1), 0, "fm")
    assert model.parameter_count() == PARAMETERS[setting], model.parameter_count()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for table in model.table_parameters():
            table.normal_(std=0.1, generator=generator)
    return model


def _slices(schema: Schema, rows: int) -> Iterator[pa.Table]:
    edges = np.linspace(0, rows, FILES + 1).astype(np.int64)
    for first, last in pairwise(edges):
        yield synthetic_rows(schema, int(first), int(last))
