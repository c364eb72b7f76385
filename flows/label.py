"""Flow `label`: latent-action labels of a published version by a stage-1 run."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.artifacts import tolerated
from flows.parameters import DatasetName, Executor, Gpus, Precision, Seconds, Text
from flows.retries import RETRIES
from flows.versions import find_version, stage1_run
from harp.data.version import PublishedVersion
from harp.progress import ProgressBars
from pipelines.engine.executors import make_executor
from pipelines.label import Labelling, label_version


@flow(name="label", validate_parameters=True)
def label(
    lake: Text,
    model: Text | None = None,
    version: Text = "latest",
    horizons: list[Seconds] | None = None,
    executor: Executor = "ray",
    gpus: Gpus = None,
    precision: Precision = "fp32",
    dataset: DatasetName | None = None,
) -> str:
    """Label every transition of a version that has no label yet; the key of the labels.

    Args:
        lake: folder of the lake with the version.
        model: folder of a finished stage-1 run; by default that of flow `train` on the version.
        version: id, or `latest`.
        horizons: seconds between the two frames; by default the middle of the range that stage 1 drew from.
        executor: `ray` (embedded, or the cluster at RAY_ADDRESS) or `local` (in this process).
        gpus: of each worker on Ray; by default one where the cluster has any, 0 labels on CPUs.
        precision: of the models; `bf16` is quicker where the processor has it, as `auto` finds out, and agrees in 97 % of the codes.
        dataset: whose latest version, where the lake has several data sets.
    """
    folder = find_version(lake, version, dataset)
    run = Path(model) if model else stage1_run(folder)
    done = label_clips(folder, run, horizons or [], executor, gpus, precision)
    labels = done.labels
    row = {
        "version": labels.version_id,
        "model": labels.model,
        "clips": labels.clips,
        "transitions": labels.transitions,
        "without labels": ", ".join(f"{reason} {number}" for reason, number in labels.left_out.items()),
        "seconds": round(done.summary.seconds, 1),
    }
    with tolerated("the table of labels"):
        create_table_artifact([row], key="labels", description=f"labels {labels.key}")
    return labels.key


@task(cache_policy=NO_CACHE, **RETRIES)
def label_clips(
    version: Path, model: Path, horizons: list[float], executor: Executor, gpus: Gpus, precision: Precision
) -> Labelling:
    """All clips that have no labels yet."""
    with ProgressBars() as bars, make_executor(executor) as workers:
        return label_version(
            PublishedVersion.open(version),
            model,
            workers,
            horizons=tuple(horizons),
            gpus=gpus,
            precision=precision,
            progress=lambda finished, total: bars("latent_actions", finished, total),
        )
