"""A theorem's recipe to its results: seconds to minutes in one process, so that nothing is kept half-way."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from threadpoolctl import threadpool_limits

from exfm_ray.config import Theorem31, TheoryRecipe
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.run_start import claim_run, holding
from exfm_ray.theory.theorem31 import run_theorem31
from exfm_ray.theory.theorem32 import run_theorem32


def run_theory(recipe: TheoryRecipe, run: RunDirectory) -> None:
    """Compute results.jsonl, unless it is there: one line per measurement, the same bytes whenever it is computed.

    Raises:
        UserError: the run directory holds another recipe. Nothing is written.
    """
    with holding(run.root):
        claim_run(run, recipe, None)
        if not run.results_file.is_file():
            with threadpool_limits(1):  # sums run in the same order on machines with more cores
                lines = [line for seed in recipe.seeds for line in _lines(recipe, seed)]
            run.results_file.write("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode())


def _lines(recipe: TheoryRecipe, seed: int) -> Iterable[dict[str, Any]]:
    theorem = recipe.theorem
    if isinstance(theorem, Theorem31):
        return (asdict(bias) for bias in run_theorem31(theorem, seed))
    return (
        {
            **asdict(errors),
            "ratio": errors.ratio,
            "predicted_ratio": errors.setting.predicted_ratio,
            "distill_weight": errors.setting.distill_weight,
        }
        for errors in run_theorem32(theorem, seed)
    )
