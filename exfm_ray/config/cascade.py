"""The cascade: what the VMs of three stages show together, out of many ads."""

from itertools import pairwise

from pydantic import Field, model_validator

from exfm_ray.config.section import Section


class CascadeConfig(Section):
    """Requests of each evaluated day that the stages' VMs answer, retrieval from all candidates, each after the other.

    The defaults are the paper's orders of magnitude (4.2.2): O(100k) → O(1k) → O(100) → O(10) ads.
    """

    requests: int = Field(default=100, ge=1, le=100_000, description="per evaluated day and domain")
    candidates: int = Field(
        default=100_000, ge=4, le=1_000_000, description="ads of the day that retrieval chooses from; at most data.ads"
    )
    retrieved: int = Field(default=1_000, ge=3, description="ads that retrieval lets through")
    early: int = Field(default=100, ge=2, description="ads that the early stage lets through")
    shown: int = Field(default=10, ge=1, description="ads that the later stage shows")
    fm_requests: int = Field(
        default=0,
        ge=0,
        description="the first requests for which the FM also scores every candidate, to compare with; it is dear",
    )
    domains: tuple[int, ...] | None = Field(
        default=None, min_length=1, description="left out: all that a click VM stands in"
    )

    @model_validator(mode="after")
    def _narrows(self) -> "CascadeConfig":
        ways = ("candidates", "retrieved", "early", "shown")
        for before, after in pairwise(ways):
            if getattr(self, after) >= getattr(self, before):
                raise ValueError(
                    f"{after} is {getattr(self, after)}, but must be less than {before}, which is "
                    f"{getattr(self, before)}; each stage lets fewer ads through"
                )
        if self.fm_requests > self.requests:
            raise ValueError(f"fm_requests is {self.fm_requests}, but there are {self.requests} requests; lower it")
        if self.domains is not None and len(set(self.domains)) != len(self.domains):
            raise ValueError("domains repeats a value; leave each once")
        return self
