"""Where the work runs."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from exfm_ray.config.placement import ComingNodes, Placement
from exfm_ray.config.section import Name, Positive, Section


class ResourcesConfig(Section):
    """Where the work runs. Nothing here changes a result."""

    mode: Literal["ray", "local"] = Field(default="ray", description="local: the same code in this process, to debug")
    fm_replicas: int = Field(default=1, ge=1, le=1_024)
    fm_replicas_most: int | None = Field(
        default=None, ge=1, le=1_024, description="replicas grow from fm_replicas to this by load; left out: fixed"
    )
    fleet_workers: int | Literal["auto"] = Field(
        default="auto", description="Ray Train workers that share the VMs' variants (methods, seeds)"
    )
    fleet_workers_least: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="with which the fleet starts and goes on while nodes are missing; it grows with those that come. "
        "For nodes that VMs have for themselves (vm_nodes), since Ray counts all CPUs there. Left out: waits for all",
    )
    augment_tasks: int = Field(default=1, ge=1, le=4_096, description="Ray Data tasks at once")
    gpus_per_fm: float = Field(default=0, ge=0)
    gpus_per_vm: float = Field(default=0, ge=0, description="per fleet worker")
    fm_accelerator: Name | None = Field(
        default=None, description="type of GPU for the FM's trainer and replicas, as Ray names it: L4, A100, H100, …"
    )
    vm_accelerator: Name | None = Field(default=None, description="the same for the fleet's workers")
    fm_nodes: Name | None = Field(
        default=None, description="custom resource of the nodes that the FM's trainer and replicas may run on"
    )
    vm_nodes: Name | None = Field(default=None, description="the same for the fleet's workers, such as spot")
    coming_nodes: tuple[ComingNodes, ...] = Field(
        default=(), description="that the cluster's autoscaler may add: a recipe that needs them is not refused"
    )
    kept_gib: float = Field(
        default=2.0, ge=0, description="memory in which a fleet worker keeps VMs between their days; others are reread"
    )
    max_failures: int = Field(default=3, ge=0, le=100, description="restarts of a Ray Train run")
    start_timeout_seconds: Positive = Field(
        default=900.0,
        description="wait for the cluster to give a Ray Train run or the FM's replicas what they need, nodes that it "
        "adds for them included; in all of max_failures tries together",
    )
    wait_timeout_seconds: Positive = Field(default=3_600.0, description="wait of one step for the step before it")

    @field_validator("fleet_workers")
    @classmethod
    def _some(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and not 1 <= workers <= 10_000:
            raise ValueError("must be auto or from 1 to 10000")
        return workers

    @field_validator("gpus_per_fm", "gpus_per_vm")
    @classmethod
    def _can_be_given(cls, gpus: float) -> float:
        if (0 < gpus < 0.0001) or (gpus > 1 and gpus != int(gpus)):
            raise ValueError("must be 0, a part of one GPU from 0.0001 on, or a whole number of GPUs")
        return gpus

    @property
    def fm_placement(self) -> Placement:
        """Of the FM's trainer, and of each replica."""
        return Placement(self.gpus_per_fm, self.fm_accelerator, self.fm_nodes)

    @property
    def vm_placement(self) -> Placement:
        """Of each of the fleet's workers."""
        return Placement(self.gpus_per_vm, self.vm_accelerator, self.vm_nodes)

    @model_validator(mode="after")
    def _has_gpus_of_its_type(self) -> "ResourcesConfig":
        for kind, placement in (("fm", self.fm_placement), ("vm", self.vm_placement)):
            if placement.accelerator and not placement.gpus:
                raise ValueError(
                    f"{kind}_accelerator {placement.accelerator!r} needs GPUs; set gpus_per_{kind}, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _grows(self) -> "ResourcesConfig":
        if self.fm_replicas_most is not None and self.fm_replicas_most < self.fm_replicas:
            raise ValueError(
                f"fm_replicas_most {self.fm_replicas_most} is less than fm_replicas {self.fm_replicas}; raise it"
            )
        least, workers = self.fleet_workers_least, self.fleet_workers
        if least is not None and workers != "auto" and least > workers:
            raise ValueError(f"fleet_workers_least {least} is more than fleet_workers {workers}; lower it")
        return self
