"""What the report of a theorem's run shows: measured beside predicted."""

from typing import Any

import yaml

from exfm_ray.config import Theorem31, TheoryRecipe
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError
from exfm_ray.report.theorem31 import theorem31_findings
from exfm_ray.report.theorem32 import theorem32_findings


def theory_content(run: RunDirectory) -> dict[str, Any]:
    """All that the template names.

    Raises:
        UserError: the run has no results yet.
    """
    resolved = run.resolved()["recipe"]
    recipe = TheoryRecipe.model_validate(resolved)
    if not run.results_file.is_file():
        raise UserError(f"out: {run.root} has no results.jsonl; let the same `exfm run` command finish, then report")
    lines = run.results()
    if isinstance(recipe.theorem, Theorem31):
        found = theorem31_findings(recipe.theorem, lines)
    else:
        found = theorem32_findings(lines)
    return {
        "name": recipe.name,
        "sentence": found.sentence,
        "findings": found.findings,
        "drawings": found.drawings,
        "table": found.table,
        "recipe": yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True),
    }
