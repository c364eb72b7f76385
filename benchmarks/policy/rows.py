"""Rows of the paper's table 3 that can run here, and what each does in the three stages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """How a policy is trained before and on the demonstrations; the rest is the same for all.

    Settings are `key.path=value` changes to the recipe of a stage.
    """

    stage1: str | None
    """Row of stage 1 (`harp.recipes.rows`) that gives the encoder and the labels; none leaves the encoder as pretrained."""
    stage2: tuple[str, ...] | None
    """Changes to stage 2; none leaves latent pretraining out."""
    stage3: tuple[str, ...] = ()
    paper: float | None = None
    """Average success in percent, on a real robot."""

    @property
    def reads_codes(self) -> bool:
        """Whether the action head reads latent actions, for which stage 3 needs the stage-1 run."""
        return "head.kind=latent" in self.stage3


ROWS = {
    "harp": Row("harp-srpd", (), paper=76.3),
    "harp-l2": Row("harp-l2", (), paper=70.0),
    "not-frozen": Row("harp-srpd", ("vision=all", "data.keep_features=false"), paper=73.3),
    "univla-style": Row("none", (), ("head.kind=latent", "data.cameras=1"), paper=38.4),
    "no-pretraining": Row("harp-srpd", None),
    "oft-style": Row(None, None, paper=60.9),
}
"""`no-pretraining` is HARP without stage 2, which shows what latent actions bring; `oft-style` lacks the aligned encoder,
too (the paper's was pretrained on labelled robot data instead)."""

CURVE = ("harp", "no-pretraining")
"""Rows that are trained on fewer demonstrations, too."""
