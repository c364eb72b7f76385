"""Named configurations of training: `laptop` and `paper`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harp.training.config import Stage1Config

RECIPES = Path(__file__).parent


def load_stage1_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> "Stage1Config":
    """Read a shipped recipe by name, or a YAML file by path, changed by `key.path=value` overrides.

    Raises:
        UserError: unknown recipe or key, or a value of the wrong type.
    """
    from harp import configuration
    from harp.training.config import Stage1Config

    return configuration.load_recipe(Stage1Config, RECIPES, name_or_path, overrides)
