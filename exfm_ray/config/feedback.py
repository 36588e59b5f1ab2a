"""How long training data wait for their labels, and what becomes of labels that come later."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from exfm_ray.config.section import Section

DAY_SECONDS = 86_400
WINDOW_SECONDS = {"click": 5_400, "conversion": DAY_SECONDS}
"""where a recipe leaves a task out (ExFM 3.2: 5 to 90 minutes for clicks, a day for conversions)"""
OTHER_WINDOW_SECONDS = 5_400


class FeedbackConfig(Section):
    """The feedback window."""

    windows: dict[str, Annotated[int, Field(ge=1, le=30 * DAY_SECONDS)]] = Field(
        default={},
        description="seconds by the name of a task; one that is left out waits 86,400 where it is named conversion, "
        "else 5,400",
    )
    late: Literal["negative", "drop"] = Field(
        default="negative",
        description="a row whose label came too late trains as a negative one, as it would live, or, with hindsight, "
        "not at all",
    )

    def window(self, task: str) -> int:
        """Seconds that a row waits for its label of a task."""
        return self.windows.get(task, WINDOW_SECONDS.get(task, OTHER_WINDOW_SECONDS))

    def shortest(self, tasks: Iterable[str]) -> int:
        """Seconds that the FM has at most, where these tasks are asked."""
        return min(self.window(task) for task in tasks)
