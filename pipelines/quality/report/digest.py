"""A run on one screen, as Markdown with its pictures inside: for places that show Markdown, such as Prefect's UI.

The report (`page`) shows everything; this reads a few columns of the verdicts and the rows of the pairs it draws, so
that a nightly run over 200,000 clips does not pay for a page that nobody may open.
"""

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np

from data_schemas.errors import BadInput
from data_schemas.pairs import Verdict
from pipelines.engine.lake import Lake
from pipelines.inputs import VerdictInput
from pipelines.outlines import RunView
from pipelines.quality.report.contact_sheets import pair_sheet, picture_source
from pipelines.runs import RunRecord
from pipelines.shards.publish import load_manifest

MAX_PAIRS = 3
MAX_WIDTH = 1100
"""Pixels: three pairs are then about 300 kB of Markdown."""

SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]()<>#+-.!|&~$"})


def digest(lake: Lake, record: RunRecord, view: RunView) -> str:
    """The counts of a finished run, why pairs were rejected, and contact sheets of some pairs.

    Sheets are drawn only if the run computed something.
    """
    state = "new" if record.version_is_new else "unchanged"
    lines = [f"## {record.dataset}: version `{record.version_id}` ({state})", ""]
    if record.version_id:
        counts = load_manifest(lake, record.version_id).counts
        lines += [
            f"{counts['pairs']} pairs ({counts['held_out_pairs']} held out), {counts['human']} human and "
            f"{counts['robot']} robot clips without partner, {counts['frames']:,} frames.",
            "",
        ]
    verdicts = [
        verdict
        for verdict in lake.records(Verdict, record.stage_keys["verdicts"], ["kind", "accepted", "reasons"])
        if verdict["item_id"] in view.subjects
    ]
    reasons = Counter(reason for verdict in verdicts for reason in verdict["reasons"])
    if reasons:
        lines += ["| rejected for | subjects |", "|---|---|"]
        lines += [f"| {reason} | {number} |" for reason, number in reasons.most_common()]
        lines.append("")
    if not record.items_processed:
        return "\n".join([*lines, "Nothing was left to do.", ""])
    pairs = [verdict for verdict in verdicts if verdict["kind"] == "pair"]
    for accepted in (True, False):
        ids = [verdict["item_id"] for verdict in pairs if verdict["accepted"] is accepted]
        for inputs in view.verdict_inputs(spread(ids, MAX_PAIRS if accepted else 1)).values():
            lines += _pair(inputs, accepted)
    return "\n".join(lines)


def spread(ids: Sequence[str], number: int) -> list[str]:
    """So many of the ids, evenly through them."""
    chosen = np.linspace(0, len(ids) - 1, min(number, len(ids))).round().astype(int)
    return [ids[int(i)] for i in chosen]


def plain(text: str) -> str:
    """Text from a data set, so that no part of it is read as Markdown or HTML."""
    return " ".join(text.split()).translate(SPECIAL)


def _pair(inputs: VerdictInput, accepted: bool) -> list[str]:
    assert inputs.human is not None
    assert inputs.robot is not None
    robot = inputs.robot.demonstration
    instruction = robot.instruction or inputs.human.demonstration.instruction
    title = f"### {'' if accepted else 'Rejected: '}{plain(instruction or robot.source)}"
    try:
        sheet = pair_sheet(inputs.human, inputs.robot, inputs.alignment)
    except BadInput as error:
        return [title, "", f"{plain(robot.source)} cannot be drawn: {plain(error.detail)}", ""]
    if sheet.shape[1] > MAX_WIDTH:
        height = round(sheet.shape[0] * MAX_WIDTH / sheet.shape[1])
        sheet = cv2.resize(sheet, (MAX_WIDTH, height), interpolation=cv2.INTER_AREA)
    alignment = inputs.alignment
    cue = f"aligned on the {alignment.cue} cue, cost {alignment.cost:.3f}" if alignment else "not aligned"
    return [
        title,
        "",
        f"{plain(robot.source)}, robot above human, on the robot's time line; {cue}.",
        "",
        f"![aligned frames]({picture_source(sheet)})",
        "",
    ]
