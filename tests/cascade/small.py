"""A recipe with a cascade that runs in seconds in this process."""

from typing import Any

from tests.conftest import small_content

AD = ["ad_id", "advertiser_id", "category_id", "creative", "ad_age"]
TOWERS = {"type": "two_tower", "embedding_dim": 4, "hidden": [8], "tower_dim": 4, "item_fields": AD}
DLRM = {"type": "dlrm", "embedding_dim": 4, "bottom_hidden": [8], "top_hidden": [8]}
CASCADE = {"requests": 30, "candidates": 150, "retrieved": 40, "early": 12, "shown": 4, "fm_requests": 7}


def cascade_content(**changes: Any) -> dict[str, Any]:
    """Two domains, of which the second has a VM that lacks a method."""
    content = small_content(
        methods=["none", "ah"],
        vms=[
            {"name": "retrieval", "stage": "retrieval", "model": TOWERS},
            {"name": "early", "stage": "early", "model": TOWERS},
            {"name": "later", "stage": "later", "model": DLRM},
            {"name": "second_retrieval", "domain": 1, "stage": "retrieval", "model": TOWERS},
            {"name": "second_early", "domain": 1, "stage": "early", "model": {"type": "fam", "embedding_dim": 4}},
            {"name": "second_later", "domain": 1, "stage": "later", "model": DLRM, "methods": ["none"]},
        ],
        evaluate={"cascade": CASCADE},
    )
    for vm in content["vms"]:  # which learn enough for their scores to differ by more than the last bits
        vm["optimizer"] = {"learning_rate": 0.02, "embedding": "lazy_adam", "batch_size": 64}
    content["data"] |= {
        "stages": ["retrieval", "early", "later"], "events_per_day": 6_000, "ads": 200, "selection": "cascade"
    }  # fmt: skip
    return content | changes
