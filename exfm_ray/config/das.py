"""The data augmentation service's section."""

from pydantic import Field, field_validator

from exfm_ray.config.feedback import FeedbackConfig
from exfm_ray.config.optimizer import Precision
from exfm_ray.config.pointer import POINTER_FORM, pointer_place
from exfm_ray.config.section import Positive, Section


class DasConfig(Section):
    """The data augmentation service."""

    lease_seconds: Positive = Field(default=60.0, description="of the latest pointer; extended at half of it")
    poll_seconds: Positive = Field(default=0.2, description="how often a replica looks for another snapshot")
    swap_timeout_seconds: Positive = Field(default=600.0, description="wait for a replica to load a snapshot")
    rows_per_request: int = Field(default=16_384, ge=1, le=1_048_576)
    batch_rows: int = Field(
        default=16_384, ge=1, le=1_048_576, description="most rows of small requests that are predicted together"
    )
    batch_wait_seconds: float = Field(default=0.002, ge=0, le=1, description="wait for more rows to fill a batch")
    queued_rows: int = Field(
        default=262_144, ge=1, le=1_073_741_824, description="per replica; a request beyond them is turned away"
    )
    precision: Precision = Field(
        default="float32",
        description="of the matrix products of the FM's answers; bf16 is faster where the hardware has it, and rounds",
    )
    pointer: str | None = Field(
        default=None,
        description=f"where the latest pointer lives: {POINTER_FORM}, with the run's name added; left out: in the run, "
        "or in the cluster where the run is on object storage",
    )
    feedback: FeedbackConfig | None = Field(default=None, description="left out: all labels are there at once")

    @field_validator("pointer")
    @classmethod
    def _has_a_form(cls, pointer: str | None) -> str | None:
        if pointer is not None:
            pointer_place(pointer)
        return pointer
