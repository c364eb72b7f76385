"""Flow `label`: latent-action labels of a published version by a stage-1 run."""

from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.artifacts import create_table_artifact

from harp.data.version import PublishedVersion, version_folder
from harp.progress import ProgressBars
from pipelines.engine.executors import make_executor
from pipelines.label import label_version


@flow(name="label", validate_parameters=True)
def label(
    lake: str,
    model: str,
    version: str = "latest",
    horizons: list[float] | None = None,
    executor: Literal["local", "ray"] = "ray",
    gpus: float = 0.0,
) -> str:
    """Label every transition of a version that has no label yet; the key of the labels.

    Args:
        lake: folder of the lake with the version.
        model: folder of a finished stage-1 run.
        version: id, or `latest`.
        horizons: seconds between the two frames; by default the middle of the range that stage 1 drew from.
        executor: `ray` (embedded, or the cluster at RAY_ADDRESS) or `local` (in this process).
        gpus: of each worker.
    """
    opened = PublishedVersion.open(version_folder(Path(lake), version))
    with ProgressBars() as bars, make_executor(executor) as workers:
        done = label_version(
            opened,
            Path(model),
            workers,
            horizons=tuple(horizons or ()),
            gpus=gpus,
            progress=lambda finished, total: bars("latent_actions", finished, total),
        )
    labels = done.labels
    row = {
        "version": labels.version_id,
        "model": labels.model,
        "clips": labels.clips,
        "transitions": labels.transitions,
        "without labels": ", ".join(f"{reason} {number}" for reason, number in labels.left_out.items()),
        "seconds": round(done.summary.seconds, 1),
    }
    create_table_artifact([row], key="labels", description=f"labels {labels.key}")
    return labels.key
