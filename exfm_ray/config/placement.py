"""On which nodes of a cluster a process may run, and what it takes there."""

from dataclasses import dataclass

from pydantic import Field

from exfm_ray.config.section import Name, Section

SHARE = 0.001
"""that a process takes of a custom resource that only says which nodes it may run on"""


@dataclass(frozen=True)
class Placement:
    """Of the processes of one kind; each has one CPU."""

    gpus: float = 0
    accelerator: str | None = None
    """type of the GPUs, as Ray names it; None: any"""
    nodes: str | None = None
    """custom resource that a node must have; None: any node"""

    @property
    def is_restricted(self) -> bool:
        return self.accelerator is not None or self.nodes is not None

    @property
    def custom(self) -> dict[str, float]:
        """Shares of custom resources, as Ray takes them."""
        return {self.nodes: SHARE} if self.nodes else {}

    @property
    def resources(self) -> dict[str, float]:
        """All that a process takes but the accelerator's type, as Ray Train takes it."""
        return {"CPU": 1, **({"GPU": self.gpus} if self.gpus else {}), **self.custom}

    def wanted_of_a_node(self) -> list[str]:
        """Names of resources that a node must have, whatever is free of them."""
        accelerator = [f"{ACCELERATOR}{self.accelerator}"] if self.accelerator else []
        return accelerator + ([self.nodes] if self.nodes else [])


ACCELERATOR = "accelerator_type:"
"""before a GPU's type, in the name of a node's resource"""


class ComingNodes(Section):
    """Nodes of one kind that the autoscaler of a cluster may add."""

    most: int = Field(ge=1, le=10_000, description="of them at once")
    cpus: int = Field(ge=0, le=10_000, description="of each")
    gpus: int = Field(default=0, ge=0, le=1_000, description="of each")
    accelerator: Name | None = Field(default=None, description="type of its GPUs, as Ray names it")
    nodes: Name | None = Field(default=None, description="custom resource that they have")

    def resources(self) -> dict[str, float]:
        """Of one node, by Ray's names."""
        named = {f"{ACCELERATOR}{self.accelerator}": 1.0} if self.accelerator else {}
        return {"CPU": self.cpus, "GPU": self.gpus, **named, **({self.nodes: 1.0} if self.nodes else {})}
