"""A run goes on under another recipe only where the change touches no result."""

from pathlib import Path
from typing import Any

import pytest

from exfm_ray.config import Recipe
from exfm_ray.errors import UserError
from tests.conftest import claimed, small_content


@pytest.mark.parametrize(
    "change", [{"batch_rows": 7}, {"batch_wait_seconds": 0.5}, {"queued_rows": 7}, {"poll_seconds": 0.7}]
)
def test_how_the_service_waits_and_queues_may_change(tmp_path: Path, change: dict[str, Any]) -> None:
    claimed(Recipe.model_validate(small_content()), tmp_path / "run")
    claimed(Recipe.model_validate(small_content(das=change)), tmp_path / "run")


def test_the_rows_of_a_pinned_request_may_not_change(tmp_path: Path) -> None:
    claimed(Recipe.model_validate(small_content()), tmp_path / "run")
    with pytest.raises(UserError, match=r"das\.rows_per_request is 16384, not 7"):
        claimed(Recipe.model_validate(small_content(das={"rows_per_request": 7})), tmp_path / "run")
