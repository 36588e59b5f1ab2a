"""What travels to the cluster with a job: this package and one recipe or study, nothing else that lies beside them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from pydantic import BaseModel

import exfm_ray
from exfm_ray.errors import UserError

RECIPE_FILE = "recipe.yaml"
SUFFIXES = frozenset({".py", ".typed", ".j2", ".css", ".js"})
MOST_BYTES = 16 * 2**20
"""of all files; the package has a tenth of it, and a recipe has few kilobytes"""


@contextmanager
def parcel(recipe: BaseModel | None) -> Iterator[Path]:
    """A directory for the time of the block; the same package and recipe give the same content, which Ray keeps once.

    Raises:
        UserError: it would be too large.
    """
    package = Path(exfm_ray.__file__).parent
    with tempfile.TemporaryDirectory(prefix="exfm_ray-") as made:
        directory = Path(made)
        for file in sorted(package.rglob("*")):
            if file.suffix in SUFFIXES and file.is_file():
                place = directory / package.name / file.relative_to(package)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
        if recipe is not None:
            (directory / RECIPE_FILE).write_text(recipe_text(recipe))
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
        if size > MOST_BYTES:
            raise UserError(
                f"RECIPE: package and recipe have {size:,} bytes to send; {MOST_BYTES:,} are allowed, so shorten the "
                f"recipe or remove what does not belong into {package}"
            )
        yield directory


def recipe_text(recipe: BaseModel) -> str:
    """The recipe with its edits, as YAML that reads back as the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
