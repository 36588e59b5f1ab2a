"""The point that a study chose, as it lies in the study's directory and as a recipe takes it."""

from collections.abc import Iterator

from exfm_ray.config.distill import DistillConfig
from exfm_ray.config.section import Section
from exfm_ray.config.study import StudyConfig
from exfm_ray.config.vms import VariantConfig
from exfm_ray.schema import Method


class ChosenSetting(Section):
    """How one VM is best distilled."""

    method: Method
    distill: DistillConfig


class Chosen(Section):
    """What a study found, as far as the days that choose can tell."""

    study: str
    trial: int
    vms: dict[str, ChosenSetting]
    """by name"""

    def variants(self, study: StudyConfig) -> Iterator[VariantConfig]:
        """Its variants from the recipe's seeds, under names of their own."""
        for vm in study.recipe.vms:
            if (setting := self.vms.get(vm.name)) is not None:
                named = vm.model_copy(update={"name": self.name_of(vm.name), "distill": setting.distill})
                for seed in study.recipe.seeds:
                    yield VariantConfig(vm=named, method=setting.method, seed=seed)

    def name_of(self, vm: str) -> str:
        """How its version of a VM is named among results."""
        return f"{vm}-chosen{self.trial:05d}"
