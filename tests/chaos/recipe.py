"""A recipe of six days and six VMs that takes long enough to be disturbed."""

from typing import Any

from tests.conftest import small_content

KILLS_AT_MOST = 20
"""of one kind"""

MODELS: tuple[dict[str, Any], ...] = (
    {"type": "deepfam", "embedding_dim": 4, "hidden": [8, 4]},
    {"type": "fam", "embedding_dim": 4},
)


def content() -> dict[str, Any]:
    """Six days of a few thousand events. Small batches and requests make each day last."""
    content = small_content(name="chaos", methods=["none", "ah_sa"])
    content["data"] |= {"days": 6, "domains": 3, "events_per_day": 6_000}
    content["fm"]["optimizer"] = {"batch_size": 32}
    content["vms"] = [
        {"name": f"{model['type']}-{domain}", "domain": domain, "model": model, "optimizer": {"batch_size": 16}}
        for domain in range(3)
        for model in MODELS
    ]
    content["das"] = {"rows_per_request": 50}
    content["resources"] = {"fleet_workers": 2, "max_failures": KILLS_AT_MOST, "wait_timeout_seconds": 300}
    return content
