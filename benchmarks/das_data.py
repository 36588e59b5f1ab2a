"""What both sides of the DAS benchmark read: a day of synthetic rows in the TaobaoAd setting, and the FM.

Vocabularies and the DCNv2 are those that BARS publishes for TaobaoAd_x1: embeddings of 32, four cross layers, an MLP of
512-256-128. In the `seq` setting rows have three histories of 50, as published; in `cat20` twenty categorical features.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from exfm_ray.config import DcnV2Model, Recipe
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, write_partition, write_schema
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.model import Model
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Feature, Schema

Setting = Literal["seq", "cat20"]

SUPERVISED_DAY, SNAPSHOT_DAY = 2, 1
FILES = 4
HISTORY_LENGTH = 50
VOCABULARY = {
    "user": 403_958,
    "adgroup": 246_851,
    "cate": 11_330,
    "campaign": 191_771,
    "customer": 132_136,
    "brand": 308_870,
    "cms_segid": 99,
    "cms_group": 15,
    "gender": 4,
    "age": 9,
    "pvalue": 6,
    "shopping": 5,
    "occupation": 4,
    "class": 7,
    "pid": 4,
    "btag": 6,
}
HISTORIES = {"cate_his": "cate", "brand_his": "brand", "btag_his": "btag"}
INSTEAD_OF_HISTORIES = {"cate_last": 11_330, "brand_last": 308_870, "btag_last": 6, "price_bucket": 1_000}
MODEL = DcnV2Model(embedding_dim=32, cross_layers=4, hidden=(512, 256, 128), dropout=0.1)
PARAMETERS = {"seq": 43_576_577, "cat20": 53_855_137}


def schema_of(setting: Setting) -> Schema:
    vocabulary = VOCABULARY if setting == "seq" else VOCABULARY | INSTEAD_OF_HISTORIES
    features = [Feature(name=n, kind="categorical", rows=rows, encoding="identity") for n, rows in vocabulary.items()]
    if setting == "seq":
        features.append(Feature(name="price", kind="numeric"))
        features += [Feature(name=name, kind="sequence", shares=shares) for name, shares in HISTORIES.items()]
    return Schema(features=tuple(features), tasks=("click",), domains=("a", "b", "c"), stages=("later",))


def prepare(place: Path, setting: Setting, rows: int) -> Experiment:
    """Write the day partition and publish the FM, both through the project's own code."""
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


def foundation_model(setting: Setting, experiment: Experiment) -> Model:
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
        yield _rows(schema, int(first), int(last))


def _rows(schema: Schema, first: int, last: int) -> pa.Table:
    """Rows of ids `first` up to `last`; ids of features follow Zipf's law with exponent 1."""
    generator, count = np.random.default_rng(first), last - first
    rows_of = {feature.name: feature.rows for feature in schema.of_kind("categorical")}
    columns: dict[str, pa.Array | NDArray[np.generic]] = {
        EVENT_ID: np.arange(first, last),
        EVENT_TIME: np.arange(first, last),
        DOMAIN: generator.integers(0, len(schema.domains), count).astype(np.int16),
        STAGE: np.zeros(count, np.int16),
        "label_click": (generator.random(count) < 0.05).astype(np.int8),
    }
    for feature in schema.features:
        match feature.kind:
            case "categorical":
                columns[feature.name] = _zipf(generator, feature.rows, count)
            case "numeric":
                columns[feature.name] = generator.random(count, dtype=np.float32)
            case "sequence":
                values = _zipf(generator, rows_of[feature.shares or ""], count * HISTORY_LENGTH)
                offsets = np.arange(0, len(values) + 1, HISTORY_LENGTH, dtype=np.int32)
                columns[feature.name] = pa.ListArray.from_arrays(offsets, values)
    expected = arrow_schema(schema)
    return pa.table({name: columns[name] for name in expected.names}, schema=expected)


def _zipf(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.int64]:
    """Ids from 1 to rows − 1 where there are that many, the k-th about as often as 1 / k."""
    ids: NDArray[np.int64] = np.minimum(np.exp(generator.random(count) * np.log(rows)), rows - 1).astype(np.int64)
    return ids
