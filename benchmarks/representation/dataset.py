"""The data of the representation benchmark: four simulated sets, each curated into a lake of its own.

    python -m benchmarks.representation.dataset DATA [--processes 2]

Makes DATA/<set> (raw clips in RH20T's layout) and DATA/lakes/<set>. Running again does only what is missing; a set of
which too few pairs pass the verdicts is extended until enough do.

All sets have the same systematic shift between human and robot recordings and share no seed; the two clips of a pair
stand in one room, as in RH20T. The shift's strength is such that the encoder before training stands near the paper's
43.6 % R@1 of 93 pairs. `held` has the paper's 93 pairs; `second` is there because 93 pairs cannot tell rows apart that
differ by 4 points.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.representation.workers import Report, run_jobs
from data_schemas.errors import UserError
from data_schemas.versions import Manifest
from harp.data.version import PublishedVersion, version_folder
from pipelines.curate import Curation, curate
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.recipe import load_curate_recipe
from simulation.appearance import Appearance
from simulation.tabletop import STATE_FILE, TabletopConfig, generate

SHIFT = 0.65
"""Strength of the systematic shift: at 0.6 the encoder before training found 41.4 % of the partners among 93 validation
pairs, and 53.2 % among 93 others."""


@dataclass(frozen=True)
class SetSpec:
    """One of the four sets."""

    seed: int
    pairs: int
    """Simulated at first."""
    needed: int
    """Accepted pairs at least."""
    singles: int = 0
    """Human clips without partner, and as many of the robot."""
    is_training: bool = False


SETS = {
    "train": SetSpec(seed=101, pairs=430, needed=400, singles=60, is_training=True),
    "val": SetSpec(seed=202, pairs=100, needed=93),
    "held": SetSpec(seed=303, pairs=100, needed=93),
    "second": SetSpec(seed=404, pairs=320, needed=300),
}
EVALUATED_PAIRS = {"val": 93, "held": 93, "second": 300}
"""The first so many accepted pairs, by sorted id, are evaluated on."""

TRAINING_RECIPE = ("shards.held_out_fraction=0", "verdict.publish_unpaired_halves=true")
"""Changes to the recipe `tabletop`. RH20T's layout pairs by name, so clips made without partner look like halves."""
EVALUATION_RECIPE = ("shards.held_out_fraction=1",)


def lake_of(data: Path, name: str) -> Path:
    """Where a set is published."""
    return data / "lakes" / name


def open_set(data: Path, name: str) -> PublishedVersion:
    """The published version of a set.

    Raises:
        UserError: it has not been made.
    """
    return PublishedVersion.open(version_folder(lake_of(data, name), "latest"))


def make_set(data: Path, name: str, spec: SetSpec, shift: float, size: int, report: Report) -> Manifest:
    """Simulate and curate until enough pairs are accepted."""
    raw, pairs = data / name, spec.pairs
    while True:
        pairs = max(pairs, _paired_items(raw))
        config = TabletopConfig(
            out=raw,
            pairs=pairs,
            seed=spec.seed,
            unpaired_human=spec.singles,
            unpaired_robot=spec.singles,
            size=size,
            rate=5.0,
            appearance=Appearance(systematic=shift),
        )
        generate(config, lambda done, total: report("simulation", done, total, ""))
        recipe = load_curate_recipe("tabletop", TRAINING_RECIPE if spec.is_training else EVALUATION_RECIPE)
        lake = Lake(lake_of(data, name))
        with LocalExecutor() as executor:
            curation = Curation(
                recipe,
                raw.resolve(),
                lake,
                executor,
                progress=lambda stage, done, total: report(stage, done, total, ""),
            )
            manifest = curate(curation)
        missing = spec.needed - manifest.counts["pairs"]
        if missing <= 0:
            return manifest
        if pairs >= 2 * spec.pairs:
            raise UserError(
                f"Set {name}: of {pairs} pairs {manifest.counts['pairs']} were accepted, {spec.needed} are needed; "
                f"`harp status --lake {lake.root}` says why the others were not."
            )
        pairs += missing + missing // 5 + 1


def _paired_items(raw: Path) -> int:
    """Pairs simulated in an earlier run, which may have extended the set."""
    state = raw / STATE_FILE
    if not state.is_file():
        return 0
    return sum(item["kind"] == "paired" for item in json.loads(state.read_text())["items"].values())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the four sets; continued if it was begun")
    parser.add_argument("--processes", type=int, default=1, help="sets made at the same time")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--pairs", type=int, help="so many pairs in every set: for trying it out")
    parser.add_argument("--shift", type=float, default=SHIFT, help="strength of the systematic shift")
    parser.add_argument("--size", type=int, default=224, help="side of the clips in pixels")
    arguments = parser.parse_args()
    specs = {name: _shrunk(SETS[name], arguments.pairs) for name in arguments.sets}
    jobs = {
        name: (arguments.data, name, spec, arguments.shift, arguments.size) for name, spec in specs.items()
    }
    manifests = run_jobs(make_set, jobs, arguments.processes)
    table = Table(title=f"Systematic shift {arguments.shift}")
    for column in ("set", "version", "accepted pairs", "singles", "frames"):
        table.add_column(column, justify="left" if column in ("set", "version") else "right")
    for name, manifest in manifests.items():
        counts = manifest.counts
        singles = counts["human"] + counts["robot"]
        numbers = (counts["pairs"], singles, counts["frames"])
        table.add_row(name, manifest.version_id, *(str(number) for number in numbers))
    Console().print(table)


def _shrunk(spec: SetSpec, pairs: int | None) -> SetSpec:
    if pairs is None:
        return spec
    return SetSpec(spec.seed, pairs, max(2, pairs // 2), min(spec.singles, pairs // 4), spec.is_training)


if __name__ == "__main__":
    main()
