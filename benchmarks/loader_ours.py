"""Our side of loader.py: batches as training reads them."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loader_data import DAY
from taobao_shape import schema_of

from exfm_ray.computing import begin_computing
from exfm_ray.data.batches import Batch, day_batches
from exfm_ray.data.location import Location
from exfm_ray.data.traffic import Traffic
from exfm_ray.data.vocabulary import Vocabulary

PERIOD = 1_009


def traffic_of(settings: dict[str, Any]) -> Traffic:
    """The whole day, its features coded as the settings say; a counted vocabulary knows every id."""
    schema, code = schema_of(settings["features"]), settings["encoding"]
    coded = {feature.name: feature.model_copy(update={"encoding": code}) for feature in schema.of_kind("categorical")}
    schema = schema.model_copy(update={"features": tuple(coded.get(f.name, f) for f in schema.features)})
    generator = np.random.default_rng(0)
    known = {
        feature.name: Vocabulary(np.arange(1, feature.rows - 1), generator.permutation(feature.rows - 2) + 1)
        for feature in schema.counted_features()
    }
    return Traffic(Location.of(str(Path(settings["place"]))), schema, ("click",), vocabularies=known)


def weighted_sum(batch: Batch, first: int) -> int:
    """Every id and label times a weight that its row's place has."""
    weights = 1 + torch.arange(first, first + len(batch)) % PERIOD
    total = int((batch.inputs.categorical.sum(dim=1) * weights).sum())
    total += int((batch.labels[:, 0].long() * weights).sum())
    for sequence in batch.inputs.sequences:
        total += int((sequence.values * weights.repeat_interleave(sequence.offsets.diff())).sum())
    return total


def main() -> None:
    begin_computing()
    settings = json.loads(sys.argv[1])
    traffic = traffic_of(settings)
    for line in sys.stdin:
        rows = total = 0
        for batch in day_batches(traffic, DAY, settings["batch_rows"]):
            total += weighted_sum(batch, rows) if line.strip() == "check" else 0
            rows += len(batch)
        print(json.dumps({"rows": rows, "sum": total}), flush=True)


if __name__ == "__main__":
    main()
