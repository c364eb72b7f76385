"""`harp train stage2` and `harp train stage3`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harp.options import AddressOption, LakeOption, SetOption, VersionDatasetOption, WorkersOption
from harp.pasting import pasted
from harp.training.launch import launcher

if TYPE_CHECKING:
    from harp.training.policy_run import PolicyResult

console = Console()

OutOption = Annotated[
    Path, typer.Option(help="Folder of the run: checkpoints, logs, policy. A killed run continues.")
]
Stage1Option = Annotated[
    Path | None, typer.Option(help="Finished stage-1 run whose vision encoder the policy takes.")
]
BaseOption = Annotated[
    Path | None,
    typer.Option(
        help="Checkpoint of OpenVLA, Prismatic or HARP to start from; default: the recipe's weights."
    ),
]


def train_stage2(
    out: OutOption,
    stage1: Stage1Option = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Key of a labelling by `harp label`, or 'latest'; may be repeated for a mixture. Default: the newest "
            "by the stage-1 run."
        ),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Version id or 'latest': takes its newest labels where none are named.")
    ] = None,
    dataset: VersionDatasetOption = None,
    lake: LakeOption = Path("lake"),
    recipe: Annotated[str, typer.Option(help="tiny, smollm2-135m, llama-2-7b, or a YAML file.")] = "tiny",
    base: BaseOption = None,
    set_: SetOption = None,
    workers: WorkersOption = 1,
    address: AddressOption = None,
) -> None:
    """Pretrain a policy on latent actions: from a picture and an instruction to what happens next.

    Human and robot videos are mixed as the labels have them. The vision encoder comes from stage 1, adapters
    included, and stays frozen: the paper's ablations are --set adapters=identity, and --set vision=all with
    --set data.keep_features=false. Another mixture is
    --set 'data.sources=[{labels: KEY, sides: \\[robot], weight: 3}, {labels: KEY, sides: \\[human]}]'. OUT/policy then
    holds the policy, OUT/result.json its accuracy on held-out subjects.

    Examples:

      harp train stage2 --lake lake --stage1 runs/stage1 --out runs/stage2

      harp train stage2 --labels 3fa2c1 --labels 90be77 --stage1 runs/stage1 --recipe smollm2-135m --workers 4
    """
    from data_schemas.versions import LATEST
    from harp.data.version import PublishedVersion, version_folder
    from harp.recipes import load_stage2_recipe
    from harp.training.policy_run import Start
    from harp.training.progress import bars
    from harp.training.stage2 import train_stage2 as run
    from harp.training.stage2_config import begun_labels

    config = load_stage2_recipe(recipe, set_ or [])
    version = version or (LATEST if dataset else None)
    if version == LATEST and begun_labels(out):
        version = None  # a run that has begun keeps the labels it began with
    folder = version_folder(lake, version, dataset) if version else None
    version_id = PublishedVersion.open(folder).version_id if folder else None
    with bars() as observers:
        result = run(
            config,
            lake,
            out,
            labels=tuple(labels or ()),
            version_id=version_id,
            start=Start(stage1=stage1, base=base),
            launch=launcher(workers, out, address),
            observers=observers,
        )
    report(
        result,
        f"Next: harp train stage3 --policy {pasted(result.policy)} --demonstrations DIR --out runs/stage3",
    )


def train_stage3(
    policy: Annotated[
        str,
        typer.Option(
            help="Folder of stage 2 (its run or the policy in it), or of stage 3, whose action head is trained on; or "
            "tiny, smollm2-135m, llama-2-7b to begin without latent pretraining."
        ),
    ],
    demonstrations: Annotated[Path, typer.Option(help="Folder of robot demonstrations with actions.")],
    out: OutOption,
    recipe: Annotated[str, typer.Option(help="tiny, smollm2-135m, llama-2-7b, or a YAML file.")] = "tiny",
    per_task: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many demonstrations of each task.")
    ] = None,
    stage1: Stage1Option = None,
    base: BaseOption = None,
    frames: Annotated[
        Path | None,
        typer.Option(help="Where decoded videos are kept for all runs; default: episode_frames beside OUT."),
    ] = None,
    set_: SetOption = None,
    workers: WorkersOption = 1,
    address: AddressOption = None,
) -> None:
    """Train the action head on robot demonstrations: chunks of 10 actions from both cameras and the robot's state.

    Actions and states are normalized by the quantiles of these demonstrations, which OUT/policy keeps: it is all that
    closed-loop evaluation and serving need. Large policies train low-rank updates (LoRA), which are merged at the end;
    the merge is verified. --stage1 is for a policy that begins without pretraining (its vision encoder), and for
    UniVLA's head, --set head.kind=latent (its codes).

    Examples:

      harp simulate demonstrations --per-task 50 --out raw/demonstrations

      harp train stage3 --policy runs/stage2 --demonstrations raw/demonstrations --out runs/stage3

      harp train stage3 --policy tiny --stage1 runs/stage1 --demonstrations raw/demonstrations --out runs/scratch
    """
    from harp.recipes import load_stage3_recipe
    from harp.training.policy_run import Start
    from harp.training.progress import bars
    from harp.training.stage3 import train_stage3 as run

    count = [f"data.episodes_per_task={per_task}"] if per_task else []
    config = load_stage3_recipe(recipe, [*count, *(set_ or [])])
    with bars("demonstrations") as observers:
        result = run(
            config,
            policy,
            demonstrations,
            out,
            start=Start(stage1=stage1, base=base),
            frames_folder=frames,
            launch=launcher(workers, out, address),
            observers=observers,
        )
    report(result, f"The policy is in {escape(str(result.policy))}.")


def report(result: "PolicyResult", following: str) -> None:
    """What a run came to, and what to do with it."""
    from harp.training.curves import draw_run

    if result.already_finished:
        done = f"Nothing to do: {result.run} holds this run, finished after {result.steps} steps."
    else:
        done = f"Trained {result.steps} steps; curves: {draw_run(result.run)}."
    console.print(escape(done), soft_wrap=True)
    for name, value in (result.final | result.tests).items():
        if name in ("loss", "accuracy", "action_l1") or name in result.tests:
            console.print(f"  {name.replace('_', ' ')}: {value:.4g}", highlight=False)
    console.print(following, soft_wrap=True, highlight=False)
