"""Reading a recipe: YAML, edits by `--set path=value`, and mistakes told in one line."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from exfm_ray.config import Chosen, GridRecipe, Recipe, StudyConfig, TheoryRecipe
from exfm_ray.errors import UserError

Kind = TypeVar("Kind", bound=BaseModel)

LARGEST_RECIPE_BYTES = 10 * 2**20


def read_recipe(path: str, edits: Sequence[str] = ()) -> Recipe:
    """A simulation's recipe from a YAML file, edited.

    Raises:
        UserError: the file, an edit or a field is wrong, or it is a theorem's.
    """
    recipe = read_any_recipe(path, edits)
    if isinstance(recipe, TheoryRecipe):
        raise UserError(f"RECIPE: {path} is of a theorem and has no models; name one of a simulation")
    if isinstance(recipe, GridRecipe):
        raise UserError(f"RECIPE: {path} is a grid of several FMs; name a recipe with one `fm`")
    return recipe


def read_any_recipe(
    path: str, edits: Sequence[str] = (), study: str | None = None
) -> Recipe | GridRecipe | TheoryRecipe:
    """A recipe from a YAML file, edited; one with the field `theorem` is a theorem's, one with `fms` a grid's.

    Args:
        study: the directory of one, whose chosen point the recipe's VMs take before it is edited.

    Raises:
        UserError: the file, an edit or a field is wrong.
    """
    content = _read_mapping(path, "RECIPE", "sims/quickstart.yaml", "name: …")
    if study is not None:
        apply_chosen(content, study)
    for edit in edits:
        apply_edit(content, edit)
    if "theorem" in content:
        return _validated(TheoryRecipe, content)
    return _validated(GridRecipe, content) if "fms" in content else validated(content)


def read_recipe_or_study(
    path: str, edits: Sequence[str] = (), study: str | None = None
) -> Recipe | GridRecipe | TheoryRecipe | StudyConfig:
    """Whatever a YAML file holds, edited; one with the field `space` or `recipe` is a study.

    Args:
        study: as `read_any_recipe` takes it.

    Raises:
        UserError: a file, an edit or a field is wrong, or a study would take what another one chose.
    """
    content = _read_mapping(path, "RECIPE", "sims/quickstart.yaml", "name: …")
    if "space" not in content and "recipe" not in content:
        return read_any_recipe(path, edits, study)
    if study is not None:
        raise UserError(f"--set-from: {path} is a study, which searches what {study} chose; leave it out")
    return read_study(path, edits)


def read_study(path: str, edits: Sequence[str] = ()) -> StudyConfig:
    """A study from a YAML file, edited. Its `recipe` is that of one simulation, or the path of it from the file on.

    Raises:
        UserError: a file, an edit or a field is wrong.
    """
    content = _read_mapping(path, "STUDY", "tuning/figure12.yaml", "name: …")
    if isinstance(recipe := content.get("recipe"), str):
        content["recipe"] = _read_mapping(str(Path(path).parent / recipe), "recipe", "sims/quickstart.yaml", "name: …")
    for edit in edits:
        apply_edit(content, edit)
    return _validated(StudyConfig, content)


def read_table_schema(path: str) -> dict[str, Any]:
    """What a YAML file says about the columns of a reader's own table: a data section without `type` and `path`.

    Raises:
        UserError: the file is no such mapping.
    """
    content = _read_mapping(path, "--schema", "the one that `exfm prepare --infer` drafts", "time: …")
    for field in ("type", "path"):
        if field in content:
            raise UserError(f"--schema: {path} has the field {field!r}, which the command gives; leave it out")
    return content


def _read_mapping(path: str, field: str, example: str, begin: str) -> dict[str, Any]:
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{field}: {path} is no file; name a YAML file such as {example}")
    if file.stat().st_size > LARGEST_RECIPE_BYTES:
        raise UserError(f"{field}: {path} has {file.stat().st_size} bytes; it may have {LARGEST_RECIPE_BYTES} at most")
    content = _parse(file.read_text(errors="replace"), f"{field}: {path}")
    if not isinstance(content, dict):
        raise UserError(f"{field}: {path} holds no mapping of fields; begin with `{begin}`")
    return content


def validated(content: dict[str, Any]) -> Recipe:
    """The simulation's recipe of plain values.

    Raises:
        UserError: a field is wrong.
    """
    return _validated(Recipe, content)


def _validated(kind: type[Kind], content: dict[str, Any]) -> Kind:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(explain(error, content, kind)) from error


def read_data_section(data: dict[str, Any], edits: Sequence[str]) -> Any:
    """The `data` section alone, edited; the same rules and the same mistakes as in a recipe.

    Raises:
        UserError: an edit or a field is wrong.
    """
    content: dict[str, Any] = {"name": "data", "data": data, "vms": [{"name": "vm"}]}
    for edit in edits:
        apply_edit(content, f"data.{edit}")
    return validated(content).data


def apply_edit(content: dict[str, Any], edit: str) -> None:
    """Set one value in place. A step of the path is a key, an index of a list, or the `name` of one of its items.

    Args:
        edit: such as `data.days=4`, `vms.feed.domain=1` or `seeds=[0, 1]`; the value is YAML.

    Raises:
        UserError: it has another form, or its path leads nowhere.
    """
    path, equals, text = edit.partition("=")
    if not equals or not all(path.split(".")):
        raise UserError(f"--set: {edit!r} is not of the form path=value, such as data.days=4")
    value = _parse(text, f"--set {path}")
    *steps, last = path.split(".")
    place: Any = content
    for step in steps:
        if isinstance(place, dict):
            place = place.setdefault(step, {})
        elif isinstance(place, list):
            place = place[_index(place, step, path)]
        else:
            raise UserError(f"--set: {path} leads through {step!r}, but what is before it is the value {place!r}")
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list):
        place[_index(place, last, path)] = value
    else:
        raise UserError(f"--set: {path} ends in {last!r}, but what is before it is the value {place!r}")


def apply_chosen(content: dict[str, Any], study: str) -> None:
    """Give the VMs of a recipe the settings that a study chose for VMs of their names, in place.

    Raises:
        UserError: the directory holds no chosen point, or none for the recipe's VMs.
    """
    from exfm_ray.data.location import Location  # imports pyarrow, and most recipes are wrong or right without it
    from exfm_ray.data.run_directory import RunDirectory

    file = RunDirectory(Location.of(study)).chosen_file
    if not file.is_file():
        raise UserError(f"--set-from: {study} has no {file.name}; name the directory of a study that has ended")
    try:
        chosen = Chosen.model_validate_json(file.read())
    except ValidationError as error:
        raise UserError(f"--set-from: {file} is not what `exfm tune` wrote: {error.errors()[0]['msg']}") from error
    vms = [vm for vm in content.get("vms") or () if isinstance(vm, dict) and vm.get("name") in chosen.vms]
    if not vms:
        raise UserError(f"--set-from: {study} is of {', '.join(chosen.vms)}, and the recipe has no VM of such a name")
    for vm in vms:
        vm["distill"] = chosen.vms[vm["name"]].distill.model_dump()


def _index(items: list[Any], step: str, path: str) -> int:
    names = [item.get("name") for item in items if isinstance(item, dict)]
    if step in names:
        return next(i for i, item in enumerate(items) if isinstance(item, dict) and item.get("name") == step)
    if step.isdigit() and int(step) < len(items):
        return int(step)
    choices = ", ".join(str(name) for name in names if name) or f"0 to {len(items) - 1}"
    raise UserError(f"--set: {path} has no item {step!r}; choose one of {choices}")


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{where} is not YAML{at}: {getattr(error, 'problem', None) or 'unreadable'}") from error


def explain(error: ValidationError, content: dict[str, Any], root: type[BaseModel]) -> str:
    """One line for the first mistake: field, value found, what is allowed; and how many more there are."""
    mistakes = error.errors()
    # an unknown key is nearly always the cause of what else is wrong beside it
    first = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
    line = _explain_one(first, content, root)
    more = len(mistakes) - 1
    return line + (f" (and {more} more {'mistake' if more == 1 else 'mistakes'})" if more else "")


def _explain_one(mistake: Any, content: dict[str, Any], root: type[BaseModel]) -> str:
    field = ".".join(str(step) for step in _without_tags(mistake["loc"], content)) or "recipe"
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "extra_forbidden":
        key, known = str(mistake["loc"][-1]), _known_fields(mistake["loc"][:-1], root)
        nearest = difflib.get_close_matches(key, known, n=1)
        mend = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(sorted(known))}"
        return f"{field}: there is no such field; {mend}"
    if kind == "missing":
        return f"{field}: is missing; give it a value"
    if kind == "union_tag_invalid":
        nearest = difflib.get_close_matches(context["tag"], context["expected_tags"].replace("'", "").split(", "), n=1)
        mend = f"; did you mean {nearest[0]!r}?" if nearest else ""
        return f"{field}.type: {context['tag']!r} is unknown, allowed are {context['expected_tags']}{mend}"
    if kind == "union_tag_not_found":
        return f"{field}.type: is missing; say which one it is"
    message = mistake["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    found = mistake.get("input")
    shown = "" if isinstance(found, dict | list) else f"{found!r}: "
    return f"{field}: {shown}{message}"


def _without_tags(loc: Sequence[Any], content: Any) -> list[Any]:
    """The path as the user wrote it: pydantic puts a union's tag between a field and its own fields."""
    path: list[Any] = []
    for position, step in enumerate(loc):
        is_last = position == len(loc) - 1
        if isinstance(content, dict | list) and isinstance(step, str) and step not in content and not is_last:
            continue
        path.append(step)
        if isinstance(content, dict):
            content = content.get(step)
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            content = content[step]
        else:
            content = None
    return path


def _known_fields(loc: Sequence[Any], root: type[BaseModel]) -> list[str]:
    """Names that the section at a path allows."""
    models: list[type[BaseModel]] = [root]
    for step in loc:
        if isinstance(step, int):
            continue
        tagged = [model for model in models if _tag(model) == step]
        inner = tagged or [inner for model in models for inner in _section_models(model, str(step))]
        # a step that is no field is a key of a mapping, whose values are what the step before it named
        is_field = any(str(step) in model.model_fields for model in models)
        models = inner if tagged or is_field else models
    return sorted({name for model in models for name in model.model_fields})


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("type")
    return field.default if field is not None else None


def _section_models(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    """The models inside a field's annotation, through unions and tuples."""
    info = model.model_fields.get(field)
    found: list[type[BaseModel]] = []
    pending: list[Any] = [info.annotation] if info is not None else []
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        pending.extend(getattr(annotation, "__args__", ()))
    return found
