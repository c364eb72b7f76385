"""Named YAML recipes, checked by pydantic, changed by `key.path=value`.

One way for curation and training alike. Every mistake gives one sentence that names the key, what was found
and, for a misspelt key, the closest known one.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from data_schemas.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def recipe_names(folder: Path) -> list[str]:
    """Names of the recipes that ship in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_recipe(model: type[Model], folder: Path, name_or_path: str, overrides: Sequence[str] = ()) -> Model:
    """Read a recipe that ships with HARP by its name, or any YAML file by its path.

    Args:
        model: pydantic model with extra keys forbidden.
        folder: where the shipped recipes lie.
        name_or_path: `tabletop`, or `my/recipe.yaml`.
        overrides: `key.path=value` with a YAML value, applied in order.

    Raises:
        UserError: unknown recipe, file that is no YAML mapping, unknown key, value of the wrong type.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = folder / f"{name_or_path}.yaml"
        if not path.is_file():
            known = recipe_names(folder)
            raise UserError(
                f"There is no recipe '{name_or_path}': {_closest(name_or_path, known)}"
                f"the recipes are {', '.join(known)}, or give the path of a YAML file."
            )
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"There is no recipe file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text ({error}); give a YAML file.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}; a recipe is a mapping of keys to values.")
    for override in overrides:
        _apply(values, override)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error, model, path.stem)) from None


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set got '{override}'; it takes key.path=value, e.g. --set training.steps=500.")
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(
                f"--set {key}: '{parent}' is a single value ({child!r}), it has no keys below it."
            )
        node = child
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {key}: '{text}' is not a valid YAML value.") from None


def _explain(error: ValidationError, model: type[BaseModel], recipe: str) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, problem["loc"][:-1])
        closest = _closest(str(problem["loc"][-1]), known)
        return f"Recipe '{recipe}' has no key '{where}': {closest}known are {', '.join(known)}."
    if not where:
        # What does not go together is of the whole recipe, which would drown the sentence.
        return f"Recipe '{recipe}': {problem['msg'].removeprefix('Value error, ')}."
    # What a section lacks, and what does not go together in it, is told without all that it holds.
    of_section = isinstance(problem["input"], dict) and problem["type"] in ("missing", "value_error")
    found = "" if of_section else f" (got {problem['input']!r})"
    return f"Recipe '{recipe}', key '{where}': {problem['msg'].removeprefix('Value error, ')}{found}."


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    for part in location:
        if (
            isinstance(part, str) and part in model.model_fields
        ):  # else the place in a list, or a choice of a union
            model = next(_models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Models of a field's type, also of `Model | None` and `tuple[Model, ...]`."""
    if get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _closest(word: str, known: Sequence[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{match[0]}'? " if match else ""
