"""Taking hold of a run directory: one command at a time, one recipe for ever."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import yaml

from exfm_ray.config import GridRecipe, Recipe, StudyConfig, TheoryRecipe
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.data.store.stored import KINDS, Stored
from exfm_ray.errors import UserError

PACKAGES = ("exfm_ray", "numpy", "pandas", "pyarrow", "ray", "torch")
NOT_IN_RESULTS = (
    "resources",
    "das.lease_seconds",
    "das.poll_seconds",
    "das.swap_timeout_seconds",
    "das.batch_rows",
    "das.batch_wait_seconds",
    "das.queued_rows",
    "das.pointer",
)
"""what a continued run may change, since no result depends on it; sums over other request sizes round otherwise"""
OF_A_STUDY = ("trials", "at_once", *(f"recipe.{path}" for path in NOT_IN_RESULTS))
"""what a continued study may change"""


@contextmanager
def holding(out: Location) -> Iterator[None]:
    """Keep other commands on this machine out of a local run directory; the kernel lets go when the process dies.

    Raises:
        UserError: another command holds it, or it is a file.
    """
    if not out.is_local:
        yield
        return
    if out.is_file():
        raise UserError(f"--out: {out} is a file; name a directory")
    try:
        Path(out.uri).mkdir(parents=True, exist_ok=True)
        lock = open(f"{out}/.lock", "w")  # noqa: SIM115 - held for the block, closed in finally
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written ({os.strerror(error.errno or 0)}); name another") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise UserError(f"--out: another command works in {out}; wait for it or name another directory") from error
    try:
        yield
    finally:
        lock.close()


def claim_run(
    run: RunDirectory,
    recipe: Recipe | GridRecipe | TheoryRecipe | StudyConfig,
    prepared: Location | None,
    vocabulary: Location | None = None,
    stored: Stored | None = None,
) -> None:
    """Write `recipe.yaml`, or check that the one there is the same but for what changes no result.

    Args:
        prepared: the data set, where its days are not the run's own.
        vocabulary: where the ids are counted for several runs; a run that was begun without it goes on with its own.
        stored: what of the run lies in a store.

    Raises:
        UserError: the directory holds the run of another recipe, or one that uses another store, or other work in it.
    """
    content: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "prepared": prepared.uri if prepared else None,
        "vocabulary": vocabulary.uri if vocabulary else None,
        "stored": stored.model_dump(mode="json") if stored else None,
        "versions": {"python": python_version(), **{package: version(package) for package in PACKAGES}},
    }
    if not run.recipe_file.is_file():
        run.recipe_file.write(yaml.safe_dump(content, sort_keys=False).encode())
        return
    held = run.resolved()
    for section, value in content["recipe"].items():
        if found := difference(section, held["recipe"].get(section), value):
            raise UserError(f"--out: {run.root} holds another run: {found}; name another directory, or delete it")
    if held["prepared"] != content["prepared"]:
        raise UserError(f"--out: {run.root} used the days at {held['prepared']}, not {content['prepared']}")
    _check_store(run, run.stored, stored)


def _check_store(run: RunDirectory, held: Stored | None, now: Stored | None) -> None:
    """Raises UserError: a run would go on with other work than it began with."""
    before, after = held.store if held else None, now.store if now else None
    if before != after:
        mend = f"say --store {before} again" if before else "leave --store out"
        found = f"with --store {before}" if before else "without a store"
        raise UserError(f"--store: {run.root} was begun {found}, not {f'with {after}' if after else 'without'}; {mend}")
    if held is None or now is None:
        return
    changed = [kind for kind in KINDS if held.work.get(kind) != now.work.get(kind)]
    if changed:
        raise UserError(
            f"--store: the {changed[0]} that {run.root} uses in the store came of other input files, versions or code "
            "than there are now; bring those back, or name another --out"
        )


def difference(path: str, held: Any, now: Any) -> str | None:
    """The first place where two plain values differ and it matters, in words.

    Args:
        path: of the values in a recipe or a study.
    """
    if path in NOT_IN_RESULTS or path in OF_A_STUDY:
        return None
    if isinstance(held, dict) and isinstance(now, dict):
        fields = [*held, *(name for name in now if name not in held)]
        found = (difference(f"{path}.{name}", held.get(name), now.get(name)) for name in fields)
        return next((one for one in found if one), None)
    if isinstance(held, list) and isinstance(now, list) and len(held) == len(now):
        pairs = zip(held, now, strict=True)
        found = (difference(f"{path}.{index}", *pair) for index, pair in enumerate(pairs))
        return next((one for one in found if one), None)
    return None if held == now else f"its {path} is {held!r}, not {now!r}"
