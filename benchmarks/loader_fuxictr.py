"""FuxiCTR's side of loader.py: its loaders, in order and in one process (Ray Data has its own).

Runs in the interpreter that has fuxictr 2.3.10; nothing of exfm_ray is imported.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader

PERIOD = 1_009
HISTORY_LENGTH = 50
Columns = dict[str, torch.Tensor]


def feature_map(settings: dict[str, Any]) -> FeatureMap:
    """As its preprocessing describes the columns."""
    features = FeatureMap("taobao", settings["place"])
    *names, label = settings["columns"]
    for name in names:
        is_history = name.endswith("_his")
        features.features[name] = {"type": "sequence", "max_len": HISTORY_LENGTH} if is_history else {"type": "numeric"}
    features.labels = [label]
    features.set_column_index()
    return features


def write_parquet(place: Path) -> Path:
    """The blocks as FuxiCTR's preprocessing writes them: by Ray Data, a file each, histories as tensors."""
    import ray.data
    from fuxictr.preprocess.build_dataset import SimpleFilenameProvider

    ray.init(logging_level="error", log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True  # all sides read in order; where it is left out, blocks may swap
    files = sorted((place / "blocks").glob("*.npz"))
    blocks = ray.data.from_items([{"file": str(file)} for file in files], override_num_blocks=len(files))
    loaded = blocks.map_batches(lambda row: dict(np.load(row["file"][0])), batch_size=1, batch_format="numpy")
    loaded.write_parquet(
        str(place / "parquet"), filename_provider=SimpleFilenameProvider(), mode=ray.data.SaveMode.OVERWRITE
    )
    return place / "parquet"


def loader_of(
    settings: dict[str, Any], features: FeatureMap, parquet: Path | None
) -> Iterable[dict[str, torch.Tensor]]:
    """A loader for one pass; the one of a whole npz file reads it here."""
    place = Path(settings["place"])
    data = parquet or {"npz": place / "day.npz", "npz_blocks": place / "blocks"}[settings["loader"]]
    # without processes of its own a loader of npz needs least CPU; Ray Data fetches one batch ahead
    return RankDataLoader(
        features,
        stage="train",
        train_data=str(data),
        batch_size=settings["batch_rows"],
        shuffle=False,
        data_format="parquet" if parquet else "npz",
        num_workers=1 if parquet else 0,
    )[0]


def weighted_sum(batch: Columns, columns: list[str], first: int) -> int:
    """Every id and label times a weight that its row's place has."""
    total, rows = 0, len(batch[columns[-1]])
    weights = 1 + torch.arange(first, first + rows) % PERIOD
    for name in columns:
        if name != "price":
            total += int((batch[name].long().reshape(rows, -1).sum(dim=1) * weights).sum())
    return total


def main() -> None:
    torch.set_num_threads(1)
    settings = json.loads(sys.argv[1])
    features = feature_map(settings)
    parquet = write_parquet(Path(settings["place"])) if settings["loader"] == "parquet" else None
    for line in sys.stdin:
        rows = total = 0
        for batch in loader_of(settings, features, parquet):
            total += weighted_sum(batch, settings["columns"], rows) if line.strip() == "check" else 0
            rows += len(batch[settings["columns"][-1]])
        print(json.dumps({"rows": rows, "sum": total}), flush=True)


if __name__ == "__main__":
    main()
