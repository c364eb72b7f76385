"""Rows of the paper's tables as changes to a recipe: objectives (tables 1 and A3), ablations, amounts of paired data.

What the paper leaves open of the ablations is read so: `self-only` lets pairs explain their own future; `cross-only`
leaves single demonstrations without prediction, their cues still count; `paired-only` has no single demonstrations.
"""

from data_schemas.errors import UserError

_ALIGNMENT = "losses.alignment"
_PAIRED = ("data.singles_per_batch=0",)
_ALIGNMENT_ALONE = (*_PAIRED, "latent_action=null")

ROWS: dict[str, tuple[str, ...]] = {
    "none": (f"{_ALIGNMENT}.objective=none",),
    "hr": (f"{_ALIGNMENT}.objective=hr", *_ALIGNMENT_ALONE),
    "hr-style": (f"{_ALIGNMENT}.objective=hr_style", *_ALIGNMENT_ALONE),
    "harp-hr": (f"{_ALIGNMENT}.objective=hr",),
    "harp-hr-style": (f"{_ALIGNMENT}.objective=hr_style",),
    "harp-l2": (f"{_ALIGNMENT}.objective=l2",),
    "harp-sr": (f"{_ALIGNMENT}.objective=sr",),
    "harp-srpd": (f"{_ALIGNMENT}.objective=srpd",),
    "harp-srpd-soft": (f"{_ALIGNMENT}.objective=srpd", f"{_ALIGNMENT}.negative_temperature=0.01"),
    "harp-srpd-hard": (f"{_ALIGNMENT}.objective=srpd", f"{_ALIGNMENT}.negative_temperature=0"),
    "self-only": ("paired_prediction=self",),
    "cross-only": ("paired_prediction=cross", "single_prediction=none"),
    "paired-only": _PAIRED,
    "no-auxiliary": ("losses.auxiliary=0",),
    "paired-25": ("data.paired_fraction=0.25",),
    "paired-5": ("data.paired_fraction=0.05",),
}
"""Name → `key.path=value` changes; ours are `harp-srpd-soft` and `harp-srpd-hard`."""


def row_overrides(name: str) -> list[str]:
    """Changes of a row.

    Raises:
        UserError: no such row.
    """
    if name not in ROWS:
        raise UserError(f"There is no row '{name}'; the rows are {', '.join(ROWS)}.")
    return list(ROWS[name])
