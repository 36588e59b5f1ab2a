"""Studies for tests: few days, few rows, one or two VMs."""

from typing import Any

from exfm_ray.config import StudyConfig
from tests.conftest import small_content

SPACE = {
    "label_scale": {"low": 0.5, "high": 4},
    "grad_scale": {"low": 0.3, "high": 5},
    "loss_weight": [0.5, 1, 2],
}


def study_content(**changes: Any) -> dict[str, Any]:
    """A study of the small recipe's first VM, in one process."""
    recipe = small_content(seeds=[7, 8], resources={"mode": "local"})
    recipe["vms"] = recipe["vms"][:1]
    recipe["data"] |= {"days": 5, "events_per_day": 1_500}
    content = {
        "name": "study",
        "recipe": recipe,
        "space": SPACE,
        "choose_through_day": 4,
        "choose_seeds": [0, 1],
        "trials": 6,
        "at_once": 3,
        "pruner": {"type": "none"},
        "sampler": {"type": "random"},
    }
    return content | changes


def study_config(**changes: Any) -> StudyConfig:
    return StudyConfig.model_validate(study_content(**changes))
