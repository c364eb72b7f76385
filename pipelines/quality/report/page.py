"""Puts the report together: reads the lake, draws, and renders one HTML file that loads nothing from elsewhere."""

import os
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml
from markupsafe import Markup

from data_schemas.errors import BadInput, UserError
from data_schemas.ledger import LedgerEntry
from data_schemas.versions import Manifest
from harp.training.run_folder import check_stage
from pipelines.engine.lake import Lake
from pipelines.engine.worker import EXCEPTION, SYSTEM_ERROR
from pipelines.inputs import VerdictInput
from pipelines.left_out import problems
from pipelines.outlines import RunView
from pipelines.quality.report import figures
from pipelines.quality.report.acting import policy_section
from pipelines.quality.report.contact_sheets import pair_sheet, picture_source
from pipelines.quality.report.curated import Curated, Judged, load_curated
from pipelines.quality.report.learned import evaluation_section, training_section
from pipelines.quality.report.verdict_table import verdict_table
from pipelines.runs import latest_run
from pipelines.shards.publish import load_manifest

TEMPLATES = Path(__file__).parents[1] / "templates"
MAX_PROBLEMS = 30


def write_report(
    lake: Lake,
    out: Path,
    training: Path | None = None,
    dataset: str | None = None,
    max_pairs: int = 12,
    policy: tuple[Path | None, Path] | None = None,
) -> None:
    """Write the page about the latest run of a data set, and what was trained on it where that is given.

    Args:
        lake: where the curation published.
        out: HTML file to write.
        training: folder of a stage-1 run; its curves and, if it was evaluated, its retrieval are shown.
        dataset: default: that of the latest run.
        max_pairs: contact sheets shown; rejected pairs come first, since they want a look most.
        policy: folders of stage 2, if there was one, and of stage 3, whose closed-loop evaluations are shown.

    Raises:
        UserError: nothing was curated, a training's folder is not there or of another stage, or the page cannot be written.
    """
    for stage, folder in enumerate((training, *(policy or ())), start=1):
        if folder is not None and not folder.is_dir():
            raise UserError(f"There is no training at {folder}: give the folder that the training wrote.")
        if folder is not None:
            check_stage(folder, stage)
    run = latest_run(lake, dataset)
    view = RunView.of(lake, run)
    curated = load_curated(lake, run, view)
    manifest = load_manifest(lake, run.version_id) if run.version_id else None
    troubles = problems(lake, run)
    evaluation = evaluation_section(training) if training else None
    acting = policy_section(*policy) if policy else None
    page = (
        _environment()
        .get_template("report.html")
        .render(
            dataset=run.dataset,
            run=run,
            lake=lake.root,
            version=manifest,
            size_mb=sum(shard.num_bytes for shard in manifest.shards) / 1e6 if manifest else 0,
            headline=_headline(curated, manifest, evaluation, acting),
            stages=run.stages,
            problems=[_problem(entry) for entry in troubles[:MAX_PROBLEMS]],
            more_problems=max(0, len(troubles) - MAX_PROBLEMS),
            pairs=_pair_cards(view, worth_showing(curated, max_pairs)),
            rejected_for=Counter(r for v in curated.verdicts for r in v.reasons).most_common(),
            verdicts=verdict_table(lake, run, view, curated.verdicts),
            histograms=[Markup(svg) for svg in _histograms(curated)],
            training=training_section(training) if training else None,
            evaluation=evaluation,
            acting=acting,
            models=curated.models,
            recipe=yaml.safe_dump(run.recipe, sort_keys=False),
            harp_version=installed_version("harp-vla"),
        )
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(f".{out.name}.tmp")
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, out)
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {out} ({error.strerror}): give another path."
        ) from error


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


def _problem(entry: LedgerEntry) -> dict[str, str]:
    """A sentence says what happened; of an unexpected exception the traceback can be unfolded."""
    return {
        "label": entry.label,
        "stage": entry.stage,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "sentence": entry.detail,
        "trace": entry.traceback if entry.reason in (EXCEPTION, SYSTEM_ERROR) else "",
    }


def _headline(
    curated: Curated,
    manifest: Manifest | None,
    evaluation: dict[str, Any] | None,
    acting: dict[str, Any] | None,
) -> list[tuple[str, str]]:
    pairs = curated.pairs
    tiles = [
        (f"{curated.num_clips:,}", "clips read"),
        (f"{sum(v.accepted for v in pairs):,} of {len(pairs):,}", "pairs accepted"),
    ]
    if manifest is not None:
        tiles.append((f"{manifest.counts.get('frames', 0):,}", "frames published"))
        tiles.append((f"{manifest.counts.get('held_out_pairs', 0):,}", "pairs held out for evaluation"))
    if evaluation is not None:
        tiles.append((evaluation["headline"], "average R@1 in %, before → after stage 1"))
    if acting is not None and acting["headline"]:
        tiles.append(acting["headline"])
    return tiles


def worth_showing(curated: Curated, count: int) -> list[Judged]:
    """Pairs to draw: some that were rejected, and of the accepted ones the best, the worst and what lies between."""
    rejected = [v for v in curated.pairs if not v.accepted]
    accepted = [v for v in curated.pairs if v.accepted]
    # Evenly through the range of costs, so that the worst accepted ones are among those shown.
    costs = {i: alignment.cost for i, alignment in curated.alignments.items()}
    accepted.sort(key=lambda v: costs.get(v.subject_id, 0.0))
    rejected = rejected[: count // 2] if len(accepted) > count // 2 else rejected[:count]
    room = min(count - len(rejected), len(accepted))
    chosen = np.linspace(0, len(accepted) - 1, room).round().astype(int) if room else []
    return [*rejected, *(accepted[i] for i in chosen)]


def _pair_cards(view: RunView, verdicts: Sequence[Judged]) -> list[dict[str, Any]]:
    if not verdicts:
        return []
    rows = view.verdict_inputs([verdict.subject_id for verdict in verdicts])
    return [pair_card(rows[verdict.subject_id], verdict) for verdict in verdicts]


def pair_card(pair: VerdictInput, verdict: Judged) -> dict[str, Any]:
    """A pair as the verdict saw it: frames, cues, alignment."""
    human, robot, alignment = pair.human, pair.robot, pair.alignment
    assert human is not None
    assert robot is not None
    facts = [f"human {human.demonstration.num_frames} frames, robot {robot.demonstration.num_frames} frames"]
    if alignment is not None:
        facts.append(f"aligned on the {alignment.cue} cue, cost {alignment.cost:.3f}")
    try:
        sheet, missing = picture_source(pair_sheet(human, robot, alignment)), ""
    except BadInput as error:  # the raw videos need not be here any more
        sheet, missing = "", error.detail
    return {
        "label": robot.demonstration.source,
        "instruction": robot.demonstration.instruction or human.demonstration.instruction,
        "accepted": verdict.accepted,
        "reasons": verdict.reasons,
        "facts": ", ".join(facts),
        "sheet": sheet,
        "missing": missing,
        "plot": Markup(figures.alignment_plot(alignment, human, robot)) if alignment else "",
    }


def _histograms(curated: Curated) -> list[str]:
    costs = []
    for title, cues, limit in (
        ("Alignment cost, tracks", ("wrist", "object"), "max_alignment_cost"),
        ("Alignment cost, image features", ("features",), "max_feature_cost"),
    ):
        aligned = [
            (v.accepted, alignment.cost)
            for v in curated.pairs
            if (alignment := curated.alignments.get(v.subject_id)) and alignment.cue in cues
        ]
        if aligned:
            accepted, rejected = ([c for a, c in aligned if a is wanted] for wanted in (True, False))
            costs.append(figures.cost_histogram(title, accepted, rejected, curated.limits.get(limit)))
    return [
        *costs,
        figures.share_histogram("Wrist or end effector visible", curated.wrists),
        figures.share_histogram("Object keypoints visible", curated.objects),
    ]
