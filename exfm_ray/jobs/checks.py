"""What can be said of a submission before anything is sent."""

from exfm_ray.config import GridRecipe, Recipe, TheoryRecipe
from exfm_ray.data.dataset import open_dataset
from exfm_ray.errors import UserError
from exfm_ray.preflight import check_recipe


def check_submission(recipe: Recipe | GridRecipe | TheoryRecipe, out: str, store: str | None = None) -> None:
    """Compare the recipe with itself, and look for paths that mean another place on the cluster.

    Data at a path is the cluster's: the job looks at it, and ends with the same line as `exfm run`.

    Raises:
        UserError: the first mistake.
    """
    _check_place("--out", out)
    if store is not None:
        _check_place("--store", store)
    if isinstance(recipe, TheoryRecipe):
        return
    path = getattr(recipe.data, "path", None)
    if path is not None:
        _check_place("data.path", path)
        return
    data = open_dataset(recipe.data)
    for one in recipe.simulations() if isinstance(recipe, GridRecipe) else (recipe,):
        check_recipe(one, data)


def _check_place(field: str, place: str) -> None:
    if "://" not in place and not place.startswith(("/", "~")):
        raise UserError(
            f"{field}: {place!r} is relative, but the job has a working directory of its own; give a path that "
            "begins with / or ~, or a URI such as s3://bucket/run"
        )
