"""Do human and robot videos meet? Retrieval, paired distance and latent actions on held-out pairs (paper A.4).

Three rows without learning stand beside the encoder's: mean colours, mean shift and ridge regression of frozen
features. Whatever is fitted is fitted on the pairs that the run was trained on. Every run is evaluated with ρ, the
mean over patches and frames, whichever pooling it was trained with.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from safetensors.torch import load_file

from data_schemas.errors import UserError
from data_schemas.identity import content_id, file_sha256
from harp.data.shards import ShardReader
from harp.data.sources import pools
from harp.data.version import PublishedVersion, Subject
from harp.evaluation.adapted import AdaptedPairs, Codes, LatentActionReader, adapted_pairs
from harp.evaluation.baselines import mean_shift, ridge
from harp.evaluation.features import FrozenPairs, frozen_pairs
from harp.evaluation.frames import Planned, plan_frames
from harp.evaluation.latent import LatentAlignment, compare_latents, latent_features
from harp.evaluation.pictures import plot_paired_distances, plot_umap
from harp.evaluation.results import ADAPTED, UNADAPTED, Evaluation
from harp.evaluation.retrieval import Retrieval, retrieve
from harp.training.config import Stage1Config
from harp.training.distributed import default_device
from harp.training.run_folder import read_run
from harp.training.stage1 import ADAPTERS, LATENT_ACTION, encoder_identity, frozen_encoder
from harp.training.stage1_models import finished_config, load_encoder
from harp.vision.encoder import HarpVisionEncoder

PROTOCOL = "4"
"""Changes when the same inputs would give other figures."""


RESULT = "evaluation.json"
PICTURES = ("umap.png", "umap_latent.png", "paired_distance.png")
"""In the order in which they are drawn."""
IN_BOX_PLOT = (UNADAPTED, ADAPTED, "mean shift", "ridge")
"""Mean colours are another space, whose distances do not compare."""

Progress = Callable[[str, int, int], None]


def evaluate_representation(
    run: Path,
    version_root: Path | None = None,
    out: Path | None = None,
    *,
    max_pairs: int | None = None,
    pictures: bool = True,
    feature_folder: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a finished stage-1 run on held-out pairs; a second call reads what the first wrote.

    Args:
        run: folder of the run.
        version_root: folder of the version; the one that the run was trained on by default.
        out: where `evaluation.json`, `evaluation.md` and the pictures go. Default: `<run>/evaluation` for the version
            that the run was trained on, `<run>/evaluation/<version id>` for others.
        max_pairs: take the first so many pairs by sorted id.
        pictures: draw `umap.png`, `umap_latent.png` and `paired_distance.png`.
        feature_folder: where frozen features are kept for all runs; `frozen_features` beside `run` by default.
        progress: called with what is read, the pairs done and the pairs in all, before and after every pair.

    Raises:
        UserError: unfinished run, a version that is gone, fewer than two held-out pairs, or a version, of whatever
            lake, that holds out pairs which the run was trained on.
    """
    config = finished_config(run)
    _, trained_on = read_run(run)
    trained_id = json.loads((run / "config.json").read_text())["version"]
    version = PublishedVersion.open(version_root or trained_on)
    is_own = version.version_id == trained_id
    held_out = _plan(version.subjects("held_out", "pair")[:max_pairs], config, config.evaluation_frames)
    if len(held_out) < 2:
        raise UserError(
            f"Retrieval needs at least two held-out pairs; there is {version.describe()}. Curate more pairs or hold out "
            "more of them (`harp curate … --set shards.held_out_fraction=0.34`), and train on that version."
        )
    out = out or (run / "evaluation" if is_own else run / "evaluation" / version.version_id)
    key = _key(run, config, trained_id, version.version_id, held_out)
    if (before := _finished(out, key, pictures)) is not None:
        return before

    training_version = PublishedVersion.open(
        version.folder if is_own else trained_on, config.data.other_versions
    )
    train = _plan(_trained_pairs(training_version, config, version, held_out), config, num_transitions=0)
    device = default_device()
    encoder = load_encoder(run, adapters=False).to(device).eval()
    folder = feature_folder or run.parent / "frozen_features"
    fitted = None
    if len(train) > 1:
        shown = _about(progress, "training pairs")
        fitted = _frozen(encoder, config, training_version, train, folder, shown)
    tested = _frozen(encoder, config, version, held_out, folder, _about(progress, "held-out pairs"))
    encoder.load_adapter_state_dict(load_file(run / ADAPTERS))
    latent_actions = LatentActionReader.open(run, config, encoder.dim, device)
    reader = ShardReader(version, config.data.verify)
    shown = _about(progress, "adapted")
    adapted = adapted_pairs(
        encoder, latent_actions, reader, held_out, tested, config.training.precision, shown
    )

    evaluation = Evaluation(
        key=key,
        version_id=version.version_id,
        num_pairs=len(held_out),
        num_frames=config.evaluation_frames,
        horizon_seconds=_horizon(config),
        rows=_rows(fitted, tested, adapted),
        latent=_latent_rows(adapted.codes),
    )
    out.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:  # of an evaluation of something else
        (out / name).unlink(missing_ok=True)
    if pictures:
        _draw(evaluation, tested, adapted, [pair.instruction for pair, _ in held_out], out, config.seed)
    (out / "evaluation.md").write_text(evaluation.markdown())
    evaluation.write(out / "evaluation.json")
    return evaluation


def _about(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return partial(progress, name) if progress else None


def _plan(pairs: Iterable[Subject], config: Stage1Config, num_transitions: int) -> list[Planned]:
    horizon = _horizon(config)
    return [(pair, plan_frames(pair, config.evaluation_frames, horizon, num_transitions)) for pair in pairs]


def _trained_pairs(
    training_version: PublishedVersion,
    config: Stage1Config,
    version: PublishedVersion,
    held_out: Sequence[Planned],
) -> list[Subject]:
    """What the run drew its pairs from; nothing that it drew from is among the held-out pairs of `version`."""
    pairs, singles = pools(training_version, config.data)
    drawn = {clip.subject.subject_id for pool in (*pairs, *singles) for clip in pool.members}
    seen = [pair.subject_id for pair, _ in held_out if pair.subject_id in drawn]
    if seen:  # in any lake: equal ids mean equal recordings
        raise UserError(
            f"The run was trained on {len(seen)} of the {len(held_out)} held-out pairs of version {version.version_id}, "
            f"e.g. {seen[0]}; evaluate it on version {training_version.version_id}, or train on the former."
        )
    return [clip.subject for pool in pairs for clip in pool.members]


def _horizon(config: Stage1Config) -> float:
    """The centre of the horizons that training draws."""
    return sum(config.data.horizon_seconds) / 2


def _key(
    run: Path, config: Stage1Config, trained_id: str, version_id: str, held_out: Sequence[Planned]
) -> str:
    trained = (file_sha256(run / name) for name in (ADAPTERS, LATENT_ACTION) if (run / name).is_file())
    pairs = (f"{pair.subject_id} {plan}" for pair, plan in held_out)
    return content_id(
        "evaluation", PROTOCOL, config.model_dump_json(), trained_id, version_id, *trained, *pairs
    )


def _finished(out: Path, key: str, pictures: bool) -> Evaluation | None:
    if not (out / RESULT).is_file() or (pictures and not (out / PICTURES[-1]).is_file()):
        return None
    content = json.loads((out / RESULT).read_text())
    return Evaluation.from_json(content) if content.get("key") == key else None


def _frozen(
    encoder: HarpVisionEncoder,
    config: Stage1Config,
    version: PublishedVersion,
    pairs: Sequence[Planned],
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> FrozenPairs:
    precision = config.training.precision
    return frozen_pairs(
        frozen_encoder(encoder, precision),
        ShardReader(version, config.data.verify),
        pairs,
        identity=" ".join([*(p.version_id for p in version.parts), encoder_identity(encoder, precision)]),
        folder=folder,
        progress=progress,
    )


def _rows(fitted: FrozenPairs | None, tested: FrozenPairs, adapted: AdaptedPairs) -> dict[str, Retrieval]:
    rows = {
        UNADAPTED: retrieve(tested.human, tested.robot),
        ADAPTED: retrieve(tested.human, adapted.robot),
        "8×8 mean colour": retrieve(tested.human_colour, tested.robot_colour),
    }
    if fitted is not None:
        pairs = (fitted.human, fitted.robot, tested.robot)
        rows["mean shift"] = retrieve(tested.human, mean_shift(*pairs))
        rows["ridge"] = retrieve(tested.human, ridge(*pairs))
    return rows


def _latent_rows(codes: Codes | None) -> dict[str, LatentAlignment]:
    if codes is None:
        return {}
    motion = (codes.human_motion, codes.robot_motion)
    return {
        UNADAPTED: compare_latents(codes.human, codes.robot_frozen, codes.codebook, motion),
        ADAPTED: compare_latents(codes.human, codes.robot, codes.codebook, motion),
    }


def _draw(
    evaluation: Evaluation,
    tested: FrozenPairs,
    adapted: AdaptedPairs,
    labels: list[str],
    out: Path,
    seed: int,
) -> None:
    robots = {"before: F(H) and F(R)": tested.robot, "after: F(H) and T(R)": adapted.robot}
    plot_umap(tested.human, robots, labels, out / PICTURES[0], seed)
    if (codes := adapted.codes) is not None:
        human, frozen, robot = (
            latent_features(each, codes.codebook) for each in (codes.human, codes.robot_frozen, codes.robot)
        )
        robots = {"codes of F(H) and F(R)": frozen, "codes of F(H) and T(R)": robot}
        plot_umap(human, robots, labels, out / PICTURES[1], seed)
    distances = {name: row.paired_distances for name, row in evaluation.rows.items() if name in IN_BOX_PLOT}
    plot_paired_distances(distances, out / PICTURES[2])
