"""Which days train and which report."""

from typing import Literal

from pydantic import Field

from exfm_ray.config.cascade import CascadeConfig
from exfm_ray.config.section import Section

FIRST_WINDOW_DAY = 5
"""of the paper's 8-day protocol: the FM is trained on days 1 to 4 before its first supervision"""


class EvaluateConfig(Section):
    """Which days train and which report."""

    protocol: Literal["streaming", "windows"] = Field(
        default="streaming",
        description="streaming: VMs go on from day to day; windows: each day trains fresh VMs, tested on the next "
        "(the paper's 8-day protocol, 4.1.1: from day 5, three times to day 8)",
    )
    train_from_day: int | None = Field(
        default=None,
        ge=1,
        description="first day that VMs train on, all methods alike; left out: the first supervised, or 5 with windows",
    )
    cascade: CascadeConfig | None = Field(
        default=None, description="also what the VMs of three stages show together; left out: each VM alone"
    )
