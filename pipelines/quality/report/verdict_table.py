"""The verdicts one by one, as far as a page can show them; the lake has the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_schemas.demonstrations import Demonstration
from data_schemas.pairs import Verdict
from pipelines.engine.lake import Lake
from pipelines.outlines import RunView, SubjectOutline
from pipelines.quality.report.curated import Judged
from pipelines.runs import RunRecord

MAX_ROWS = 500
"""400 kB of the page; with 200,000 rows no browser opens it."""


def verdict_table(lake: Lake, run: RunRecord, view: RunView, verdicts: Sequence[Judged]) -> dict[str, Any]:
    """Columns and lines of the first `verdicts`, how many more there are, and how to read these."""
    shown = [verdict.subject_id for verdict in verdicts[:MAX_ROWS]]
    rows = lake.read(Verdict, run.stage_keys["verdicts"], shown) if shown else {}
    names = list(dict.fromkeys(name for row in rows.values() for name in row.metric_names))
    subjects = [view.subjects[i] for i in shown]
    instructions = _instructions(lake, run, subjects)
    return {
        "total": len(verdicts),
        "more": len(verdicts) - len(shown),
        "read": f"DeltaTable('{lake.root}/{Verdict.TABLE}').to_pyarrow_table("
        f"[('stage_key', '=', '{run.stage_keys['verdicts']}')])"
        if shown
        else "",
        "columns": [name.replace("_", " ") for name in names],
        "lines": [
            {
                "label": subject.reference.source,
                "instruction": instructions[subject.subject_id],
                "accepted": rows[subject.subject_id].accepted,
                "reasons": rows[subject.subject_id].reasons,
                "metrics": _texts(rows[subject.subject_id].metrics, names),
            }
            for subject in subjects
        ],
    }


def _texts(metrics: dict[str, float], names: Sequence[str]) -> list[str]:
    values = [metrics.get(name, float("nan")) for name in names]
    return ["–" if np.isnan(value) else f"{value:.2f}" for value in values]


def _instructions(lake: Lake, run: RunRecord, subjects: Sequence[SubjectOutline]) -> dict[str, str]:
    """By subject id; the robot's in a pair, the human's where it has none."""
    items = [side.item_id for subject in subjects for side in subject.sides]
    if not items:
        return {}
    columns = lake.columns(Demonstration, run.stage_keys["ingest"], ["item_id", "instruction"], items)
    said = dict(zip(*columns, strict=True))
    return {
        s.subject_id: next((text for side in reversed(s.sides) if (text := said[side.item_id])), "")
        for s in subjects
    }
