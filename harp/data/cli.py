"""`harp features …`: the frozen-feature cache as a stage of its own."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harp.options import LakeOption, SetOption, VersionDatasetOption

app = typer.Typer(no_args_is_help=True, help="Features of the frozen encoder, kept for all training runs.")
console = Console()


@app.callback()
def _group() -> None:
    """Keeps `build` a subcommand."""


@app.command()
def build(
    version: Annotated[
        str, typer.Option(help="Version id, 'latest', or the path of a version's folder.")
    ] = "latest",
    dataset: VersionDatasetOption = None,
    lake: LakeOption = Path("lake"),
    features: Annotated[
        Path,
        typer.Option(help="Where features lie; a run in runs/NAME looks for them in runs/frozen_features."),
    ] = Path("runs/frozen_features"),
    recipe: Annotated[str, typer.Option(help="laptop, paper, or a YAML file.")] = "laptop",
    set_: SetOption = None,
) -> None:
    """Run the frozen encoder over the training frames of a version once, so that stage 1 need not.

    Kept are the pooled features of pairs and human videos and, if training.human_token_cache_gb allows, the
    patch tokens of the human frames. Start it several times, on several machines if they share the folder: each
    takes other shards. What a killed one had finished stays.

    Example:

      harp features build --version latest --lake lake --set training.human_token_cache_gb=20
    """
    import torch

    from harp.data.feature_build import FeaturePlan
    from harp.data.feature_build import build as build_features
    from harp.data.shards import ShardReader
    from harp.data.version import PublishedVersion, version_folder
    from harp.progress import ProgressBars
    from harp.recipes import load_stage1_recipe
    from harp.training.distributed import default_device
    from harp.training.stage1 import encoder_identity, frozen_encoder
    from harp.vision.encoder import load_vision_encoder

    config = load_stage1_recipe(recipe, set_ or [])
    opened = PublishedVersion.open(version_folder(lake, version, dataset), config.data.other_versions)
    torch.manual_seed(config.seed)  # as a run does: an encoder without pretrained weights is drawn
    encoder = load_vision_encoder(config.vision).to(default_device())
    reader = ShardReader(opened, config.data.verify)
    encode = frozen_encoder(encoder, config.training.precision)
    plan = FeaturePlan.make(
        opened,
        reader,
        encode,
        identity=encoder_identity(encoder, config.training.precision),
        folder=features,
        max_token_bytes=int(config.training.human_token_cache_gb * 1e9),
    )
    if plan is None:
        console.print(f"Nothing to do: {opened.describe()} has no pairs and no human videos to train on.")
        return
    with ProgressBars() as bars:
        report = build_features(
            plan, reader, encode, lambda done, total: bars("frozen features", done, total)
        )
    if report.shards_built:
        console.print(
            f"Encoded {report.frames:,} frames of {report.shards_built} of {report.shards_in_all} shards in "
            f"{report.seconds:.0f} s: {report.frames / report.seconds:.1f} frames/s."
        )
    else:
        console.print(f"Nothing to do: the features of all {report.shards_in_all} shards are there.")
    kept = "pooled features and human patch tokens" if plan.keep_tokens else "pooled features"
    console.print(
        f"{plan.num_bytes / 1e6:,.1f} MB of {kept} in [bold]{escape(str(plan.folder))}[/]", soft_wrap=True
    )
