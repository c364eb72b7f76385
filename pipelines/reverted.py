"""Notices a run that takes a data set's latest version back to settings that an earlier version had.

`harp reprocess --set` publishes a version with other settings. A curation whose recipe does not know of them, as that of the
next night, publishes by its own: the latest version is then again one with the settings of before. That is what it was
asked for, so it is done, but it has to be said.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from data_schemas.versions import Manifest
from pipelines.engine.lake import Lake
from pipelines.shards.publish import is_published, list_versions, load_manifest
from pipelines.version_diff import changed_settings

WITHOUT_EFFECT = ("max_failed_fraction", "limits.")
"""Beginnings of recipe keys that change no row."""

SHOWN = 5
"""Settings that the warning names."""


class Reverted(BaseModel):
    """The version that was its data set's latest until the run, and in what the run's settings are others."""

    model_config = ConfigDict(extra="forbid")

    version_id: str
    settings: dict[str, tuple[Any, Any]]
    """Path of a recipe key -> its value in that version and in the run's recipe; None where there is no such key."""

    def __str__(self) -> str:
        """One sentence for people: what happened, and how to keep the settings."""
        shown = [
            f"{key}={_text(old)} (this run: {_text(new)})"
            for key, (old, new) in list(self.settings.items())[:SHOWN]
        ]
        more = len(self.settings) - len(shown)
        return (
            f"Version {self.version_id}, the latest until this run, was made with other settings: {', '.join(shown)}"
            + (f" and {more} more" if more else "")
            + ". If they are to stay, give them to every run: by --set, in `parameters.overrides` of the deployment in "
            "prefect.yaml, or in a recipe of your own."
        )


def reverted(
    lake: Lake, before: str | None, manifest: Manifest, recipe: dict, is_new: bool
) -> Reverted | None:
    """What the publication of a version took back, if anything.

    Args:
        before: the data set's latest version until then.
        manifest: of the version that is the latest now.
        recipe: of the run that published it; another one may have written the manifest.
        is_new: whether the run wrote it. A version that stood before is an earlier one; a new one goes back if an
            earlier one had its settings, as when a clip joined the data set in between.
    """
    if before is None or before == manifest.version_id or not is_published(lake, before):
        return None
    settings = _changed(load_manifest(lake, before).recipe, recipe)
    if not settings or (is_new and not _had_before(lake, manifest, recipe)):
        return None
    return Reverted(version_id=before, settings=settings)


def _had_before(lake: Lake, manifest: Manifest, recipe: dict) -> bool:
    """Whether another version of the data set has these settings."""
    return any(
        other.dataset == manifest.dataset
        and other.version_id != manifest.version_id
        and not _changed(other.recipe, recipe)
        for other in list_versions(lake)
    )


def _changed(a: dict, b: dict) -> dict[str, tuple[Any, Any]]:
    """Settings of `a` that have an effect and another value in `b`.

    A key that `a` has not came with a later release, which gave it a default; only options of a reader are kept as given.
    """
    return {
        key: (old, new)
        for key, (old, new) in changed_settings(a, b).items()
        if not key.startswith(WITHOUT_EFFECT) and (old is not None or key.startswith("reader."))
    }


def _text(value: Any) -> str:
    """As `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)
