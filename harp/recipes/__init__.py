"""Named configurations of training: `laptop` and `paper` of stage 1, three sizes of policy of stages 2 and 3."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harp.training.config import Stage1Config
    from harp.training.stage2_config import Stage2Config
    from harp.training.stage3_config import Stage3Config

RECIPES = Path(__file__).parent


def load_stage1_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> "Stage1Config":
    """Read a shipped recipe by name, or a YAML file by path, changed by `key.path=value` overrides.

    Raises:
        UserError: unknown recipe or key, or a value of the wrong type.
    """
    from harp import configuration
    from harp.training.config import Stage1Config

    return configuration.load_recipe(Stage1Config, RECIPES, name_or_path, overrides)


def load_stage2_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> "Stage2Config":
    """As `load_stage1_recipe`, of `stage2/`."""
    from harp import configuration
    from harp.training.stage2_config import Stage2Config

    return configuration.load_recipe(Stage2Config, RECIPES / "stage2", name_or_path, overrides)


def load_stage3_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> "Stage3Config":
    """As `load_stage1_recipe`, of `stage3/`."""
    from harp import configuration
    from harp.training.stage3_config import Stage3Config

    return configuration.load_recipe(Stage3Config, RECIPES / "stage3", name_or_path, overrides)
