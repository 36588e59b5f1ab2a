"""What can be said of a submission before anything is sent."""

from exfm_ray.config import GridRecipe, Recipe, StudyConfig, TheoryRecipe
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError
from exfm_ray.jobs.submission import Options
from exfm_ray.preflight import check_recipe
from exfm_ray.study_run import check_study, study_storage

FILE_URL = "sqlite:///"
"""what begins the URL of a database in a file; a path from the root on has one more stroke"""


def check_submission(recipe: Recipe | GridRecipe | TheoryRecipe | StudyConfig, out: str, options: Options) -> None:
    """Compare the recipe with itself, and look for paths that mean another place on the cluster.

    Data at a path is the cluster's: the job looks at it, and ends with the same line as `exfm run`.

    Raises:
        UserError: the first mistake.
    """
    _check_place("--out", out)
    if options.store is not None:
        _check_place("--store", options.store)
    _check_of_a_study(recipe, out, options)
    if isinstance(recipe, TheoryRecipe):
        return
    path = getattr((recipe.recipe if isinstance(recipe, StudyConfig) else recipe).data, "path", None)
    if path is not None:
        _check_place("data.path", path)
        return
    if isinstance(recipe, StudyConfig):
        controls = recipe.controls()
        data = open_dataset(controls.data)
        check_recipe(controls, data)
        check_study(recipe, data)
        return
    data = open_dataset(recipe.data)
    for one in recipe.simulations() if isinstance(recipe, GridRecipe) else (recipe,):
        check_recipe(one, data)


def _check_of_a_study(recipe: Recipe | GridRecipe | TheoryRecipe | StudyConfig, out: str, options: Options) -> None:
    """Raises UserError: a recipe is given what only a study has, or a study's trials would lie nowhere."""
    if isinstance(recipe, StudyConfig):
        study_storage(options.storage, RunDirectory(Location.of(out)))
        storage = options.storage or ""
        if storage.startswith(FILE_URL) and not storage.startswith(f"{FILE_URL}/"):
            raise UserError(
                f"--storage: {storage!r} is of a relative path, but the job has a working directory of its own; begin "
                f"with {FILE_URL}/, or name a server's database"
            )
        return
    for name, value in (("storage", options.storage), ("timeout", options.timeout)):
        if value is not None:
            raise UserError(f"--{name}: is of a study, and {recipe.name} is a recipe; leave it out")


def _check_place(field: str, place: str) -> None:
    if "://" not in place and not place.startswith(("/", "~")):
        raise UserError(
            f"{field}: {place!r} is relative, but the job has a working directory of its own; give a path that "
            "begins with / or ~, or a URI such as s3://bucket/run"
        )
