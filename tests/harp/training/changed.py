"""Recipes of tests with some settings changed."""

from typing import Any


def changed(values: dict[str, Any], changes: dict[str, object]) -> dict[str, Any]:
    """The values with changes by `section__key` or `key`."""
    values = dict(values)
    for name, value in changes.items():
        *section, key = name.split("__")
        if section:
            values[section[0]] = {**values[section[0]], key: value}
        else:
            values[key] = value
    return values
