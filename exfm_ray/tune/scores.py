"""What a trial's variants have reached: next-day NE and calibration, by VM, over the days and seeds that choose."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from exfm_ray.config import VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.run_directory import Outcome


@dataclass(frozen=True)
class Instance:
    """One evaluated day of one seed, of every searched VM."""

    day: int
    seed: int
    ne: tuple[float | None, ...]
    """by VM; None where it is undefined"""
    calibration: tuple[float | None, ...]


def instances(experiment: Experiment, variants: Sequence[VariantConfig], days: Sequence[int]) -> Iterator[Instance]:
    """Those of one trial, by day and then seed.

    Args:
        variants: of the trial, VM by VM, each with the same seeds.
        days: that are evaluated.
    """
    for day in days:
        for seed in dict.fromkeys(variant.seed for variant in variants):
            lines = [
                Outcome.model_validate_json(
                    experiment.run.outcome_file(variant.vm.name, variant.method, variant.seed, day).read()
                ).line
                for variant in variants
                if variant.seed == seed
            ]
            yield Instance(day, seed, tuple(line["ne"] for line in lines), tuple(line["calibration"] for line in lines))


@dataclass(frozen=True)
class Score:
    """Means over instances, by VM."""

    ne: tuple[float, ...]
    standard_error: tuple[float, ...]
    """of the mean over days and seeds, as if they were independent; 0 where there is one"""
    calibration: tuple[float, ...]

    @classmethod
    def of(cls, found: Sequence[Instance]) -> "Score | None":
        """None where an NE or calibration is undefined, as on a day without a positive label."""
        ne, calibration = (
            list(zip(*(getattr(one, name) for one in found), strict=True)) for name in ("ne", "calibration")
        )
        if not found or any(value is None for values in (*ne, *calibration) for value in values):
            return None
        errors = [stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0 for values in ne]
        return cls(tuple(map(fmean, ne)), tuple(errors), tuple(map(fmean, calibration)))

    def violations(self, within: float) -> list[float]:
        """How far each VM is beyond the calibration that is allowed; at most 0 is within it."""
        return [abs(value - 1) - within for value in self.calibration]
