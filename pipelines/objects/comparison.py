"""Agreement of two annotators over the demonstrations of two lakes: table, JSON, pictures of the worst."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.table import Table

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput, UserError
from data_schemas.storage import location
from pipelines.engine.lake import Lake
from pipelines.objects.agreement import Agreement, compare_objects, compare_wrists
from pipelines.objects.agreement_sheet import agreement_sheet
from pipelines.runs import RunRecord, latest_run

logger = logging.getLogger(__name__)

Track = WristTrack | ObjectTrack


@dataclass(frozen=True)
class Annotator:
    """The cue rows of one lake under one key per cue."""

    label: str
    run: RunRecord
    demonstrations: Mapping[str, Demonstration]
    tracks: Mapping[str, Mapping[str, Track]]
    """`wrist` and `object`, each demonstration id -> row; a cue that was not asked for is missing."""


@dataclass(frozen=True)
class Compared:
    """One cue of one demonstration."""

    cue: str
    demonstration: Demonstration
    a: Track
    b: Track
    agreement: Agreement


@dataclass(frozen=True)
class Comparison:
    """Everything that both annotators have."""

    a: Annotator
    b: Annotator
    rows: list[Compared]
    only: dict[str, tuple[int, int]]
    """Cue -> demonstrations that only A, only B has a row for."""

    def worst(self, cue: str) -> list[Compared]:
        """Comparisons of a cue, largest distance first; then those in which nothing could be compared."""
        rows = [row for row in self.rows if row.cue == cue]
        return sorted(rows, key=lambda row: (np.isnan(row.agreement.distance), -row.agreement.distance))

    def summary(self) -> list[dict]:
        """Per cue and embodiment: medians over demonstrations, distances in percent of the frame's width."""
        groups: dict[tuple[str, str], list[Agreement]] = {}
        for row in self.rows:
            groups.setdefault((row.cue, row.demonstration.embodiment), []).append(row.agreement)
        return [
            {
                "cue": cue,
                "embodiment": embodiment,
                "demonstrations": len(group),
                "distance_median": _median([one.distance for one in group]),
                "distance_p90": _median([one.distance_p90 for one in group]),
                "visibility_agreement": _median([one.visibility for one in group]),
                "only_a": self.only[cue][0],
                "only_b": self.only[cue][1],
            }
            for (cue, embodiment), group in sorted(groups.items())
        ]

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title=f"A = {self.a.label}, B = {self.b.label}")
        for column in (
            "cue",
            "embodiment",
            "clips",
            "distance",
            "p90",
            "visibility\nagrees",
            "only\nA",
            "only\nB",
        ):
            table.add_column(column, justify="left" if column in ("cue", "embodiment") else "right")
        for row in self.summary():
            table.add_row(
                row["cue"], row["embodiment"], str(row["demonstrations"]), _percent(row["distance_median"]),
                _percent(row["distance_p90"]), f"{row['visibility_agreement']:.0%}", str(row["only_a"]),
                str(row["only_b"]),
            )  # fmt: skip
        table.caption = "distances: median over demonstrations, percent of the frame's width"
        return table


def read_annotator(address: str) -> Annotator:
    """`LAKE` (its latest run) or `LAKE@KEY` (one key of object or wrist tracks).

    Raises:
        UserError: no such lake, or not exactly one such key.
    """
    root, key = address, ""
    if "@" in address and not location(address).is_dir():
        root, _, key = address.rpartition("@")
    if not location(root).is_dir():
        raise UserError(f"There is no lake at {root}: give the folder of a lake, or LAKE@KEY.")
    lake = Lake(root)
    run = latest_run(lake)
    classes: dict[str, type[Track]] = {"wrist": WristTrack, "object": ObjectTrack}
    if key:
        keys = {
            (cue, full)
            for cue, row in classes.items()
            for full in lake.table(row, None, ["stage_key"]).column("stage_key").unique().to_pylist()
        }
        matching = sorted((cue, full) for cue, full in keys if full.startswith(key))
        if len(matching) != 1:
            known = ", ".join(f"{full[:10]} ({cue})" for cue, full in sorted(keys)) or "none"
            raise UserError(f"{len(matching)} keys in {root} begin with '{key}': expected one of {known}.")
        chosen = dict(matching)
    else:
        stages = run.stage_keys
        chosen = {cue: stages[f"{cue}_tracks"] for cue in classes if f"{cue}_tracks" in stages}
        if not chosen:
            raise UserError(
                f"The latest curation in {root} has no cues: it still runs or was stopped before; continue it by "
                "`harp curate`, or give LAKE@KEY."
            )
    demonstrations = lake.read(Demonstration, run.stage_keys["ingest"])
    return Annotator(
        label=address,
        run=run,
        demonstrations={row.demonstration_id: row for row in demonstrations.values()},
        tracks={
            cue: {row.demonstration_id: row for row in lake.read(classes[cue], full).values()}
            for cue, full in chosen.items()
        },
    )


def compare(a: Annotator, b: Annotator) -> Comparison:
    """
    Raises:
        UserError: the two have no demonstration and cue in common.
    """
    rows, only, cut = [], {}, 0
    for cue in sorted(a.tracks.keys() & b.tracks.keys()):
        of_a, of_b = a.tracks[cue], b.tracks[cue]
        only[cue] = len(of_a.keys() - of_b.keys()), len(of_b.keys() - of_a.keys())
        for i in sorted(of_a.keys() & of_b.keys() & a.demonstrations.keys()):
            row, one, other = a.demonstrations[i], of_a[i], of_b[i]
            if len(one.points) != len(other.points):
                cut += 1
                continue
            if isinstance(one, ObjectTrack) and isinstance(other, ObjectTrack):
                agreement = compare_objects(one, other, row.width)
            else:
                assert isinstance(one, WristTrack)
                assert isinstance(other, WristTrack)
                agreement = compare_wrists(one, other, row.width)
            rows.append(Compared(cue, row, one, other, agreement))
    if cut:
        logger.warning(
            "%d cues have another number of frames in %s than in %s: not compared", cut, a.label, b.label
        )
    if not rows:
        raise UserError(
            f"{a.label} and {b.label} have no cue of one demonstration in common: both must be curations of the same "
            "videos, and two keys must be of the same cue."
        )
    return Comparison(a, b, rows, only)


def write(comparison: Comparison, out: Path, pictures: int) -> int:
    """Write `comparison.json` and `worst_<cue>_<rank>.png`; returns the number of pictures.

    Raises:
        UserError: the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The comparison cannot be written to {out} ({error.strerror}): give another folder."
        ) from error
    details = [
        {
            "cue": row.cue,
            "demonstration_id": row.demonstration.demonstration_id,
            "source": row.demonstration.source,
            "a": row.a.source,
            "b": row.b.source,
            "distance": _number(row.agreement.distance),
            "distance_p90": _number(row.agreement.distance_p90),
            "visibility_agreement": _number(row.agreement.visibility),
            "compared_frames": row.agreement.compared_frames,
        }
        for row in comparison.rows
    ]
    summary = [
        {k: _number(v) if isinstance(v, float) else v for k, v in row.items()} for row in comparison.summary()
    ]
    content = {
        "a": comparison.a.label,
        "b": comparison.b.label,
        "summary": summary,
        "demonstrations": details,
    }
    (out / "comparison.json").write_text(json.dumps(content, indent=1) + "\n")
    drawn, root = 0, location(comparison.a.run.raw_root)
    for cue in sorted(comparison.only):
        for rank, row in enumerate(comparison.worst(cue)[:pictures], start=1):
            try:
                sheet = agreement_sheet(row.demonstration, row.a, row.b, row.agreement, row.cue, root)
            except BadInput as error:  # the raw videos need not be here
                logger.warning("%s cannot be drawn: %s", row.demonstration.source, error.detail)
                continue
            cv2.imwrite(str(out / f"worst_{cue}_{rank:02d}.png"), sheet[..., ::-1])
            drawn += 1
    return drawn


def _median(values: list[float]) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f} %"


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if np.isnan(value) else round(value, 4)
