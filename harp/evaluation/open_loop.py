"""How far are a policy's actions from those of demonstrations? Open loop: the policy acts on nothing.

At every step of an episode the policy sees what the demonstrator saw and predicts a chunk, which is compared with the
actions that followed, in normalized units (q01 and q99 of the training demonstrations are -1 and 1). This needs no
simulation and resolves differences that closed loop would need hundreds of trials for; whether errors add up until
the robot fails, only closed loop says. Episodes that the policy was trained on flatter it: skip those.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.table import Table

from data_schemas.episodes import VIDEOS, Episode
from data_schemas.errors import UserError
from data_schemas.whole_files import replacing
from harp.data.policy_episodes import EpisodeSet, action_chunk, decode_video
from harp.evaluation.intervals import Estimate, bootstrap_mean
from harp.evaluation.pictures import COLOURS, INK
from harp.policy.checkpoints.folder import find_policy
from harp.policy.predict import Predictor, Request
from harp.training.distributed import default_device
from harp.training.policy_run import checkpoint_identity

RESULT, TABLE, PICTURE = "evaluation.json", "evaluation.md", "actions.png"
BATCH = 32
DRAWN = 4
"""Episodes in the picture, the first of so many tasks."""


@dataclass(frozen=True)
class EpisodeError:
    """Mean absolute errors over one episode, normalized units."""

    name: str
    task: str
    chunk: float
    """Over all actions of all chunks."""
    first: float
    """Over the first action of each chunk."""


@dataclass(frozen=True)
class OpenLoopResult:
    """Errors of a policy on N episodes."""

    policy: str
    """Identity of its weights."""
    episodes: tuple[EpisodeError, ...]
    dimensions: dict[str, float]
    """Error of each number of an action, over all chunks."""

    @property
    def chunk(self) -> Estimate:
        """Mean over episodes, with the bootstrap's interval."""
        return bootstrap_mean(np.array([episode.chunk for episode in self.episodes]))

    @property
    def first(self) -> Estimate:
        return bootstrap_mean(np.array([episode.first for episode in self.episodes]))

    def table(self) -> Table:
        """For a terminal: a row per task."""
        title = f"Open loop, {len(self.episodes)} episodes: mean absolute error, normalized actions"
        table = Table(title=title, box=SIMPLE, pad_edge=False)
        for column in ("", "episodes", "chunk", "first action"):
            table.add_column(column, justify="left" if not column else "right")
        for cells in self._rows():
            table.add_row(*cells, style="bold" if cells[0] == "all" else None)
        return table

    def markdown(self) -> str:
        """The same table, and the error of each number of an action."""
        rows = [f"| {' | '.join(cells)} |" for cells in self._rows()]
        dimensions = ", ".join(f"{name} {error:.3f}" for name, error in self.dimensions.items())
        head = ["| | episodes | chunk | first action |", "|---|---|---|---|"]
        return "\n".join([*head, *rows, "", f"By dimension: {dimensions}.", ""])

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        with replacing(path) as draft:
            draft.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def _rows(self) -> list[tuple[str, ...]]:
        by_task = defaultdict(list)
        for episode in self.episodes:
            by_task[episode.task].append(episode)
        groups = [*sorted(by_task.items()), ("all", self.episodes)]
        return [
            (
                name,
                str(len(group)),
                bootstrap_mean(np.array([one.chunk for one in group])).text(3),
                bootstrap_mean(np.array([one.first for one in group])).text(3),
            )
            for name, group in groups
        ]


def evaluate_open_loop(
    policy: str,
    demonstrations: Path,
    out: Path,
    *,
    skip: int = 0,
    episodes: int | None = None,
    dataset: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OpenLoopResult:
    """Compare a policy with demonstrations; writes `evaluation.json`, `evaluation.md` and `actions.png` to `out`.

    Args:
        policy: folder of a finished stage-3 run, or of the policy in it.
        demonstrations: folder in the layout of `data_schemas.episodes`.
        skip: leave out the first so many successful episodes of each task, by name: those that
            `data.episodes_per_task` of stage 3 took.
        episodes: of each task, after these; all by default.
        dataset: whose statistics, where the policy holds several.

    Raises:
        UserError: no such policy, demonstrations of another robot, or none left.
    """
    folder = find_policy(policy)
    predictor = Predictor.load(folder, dataset, default_device())
    collection = EpisodeSet.open(demonstrations, out)
    dims = len(collection.collection.actions)
    if dims != predictor.normalization.action.dim:
        raise UserError(
            f"The policy predicts {predictor.normalization.action.dim} numbers an action, {demonstrations} has {dims}."
        )
    state, found = predictor.policy.action.proprioception_dim, len(collection.collection.proprioception)
    if state not in (None, found):
        raise UserError(f"The policy reads a state of {state} numbers, {demonstrations} has {found}.")
    interface = predictor.policy.action.interface
    if interface and (
        differences := interface.differences(collection.collection.interface, state is not None)
    ):
        raise UserError(
            f"The policy was trained for another robot than that of {demonstrations}: {differences}."
        )
    chosen = choose_episodes(collection.episodes, skip, episodes)
    if not chosen:
        raise UserError(
            f"{demonstrations} has no more than {skip} successful episodes of any task; skip fewer or simulate more."
        )
    errors, by_dimension, drawn = [], [], {}
    progress(0, len(chosen))
    for done, episode in enumerate(chosen, 1):
        predicted_TKA, actual_TKA, exists_TK = predict_episode(predictor, episode)
        error_TKA = np.abs(predicted_TKA - actual_TKA)
        errors.append(
            EpisodeError(
                episode.info.name,
                episode.info.task,
                float(error_TKA[exists_TK].mean()),
                float(error_TKA[:, 0].mean()),
            )
        )
        by_dimension.append(error_TKA[exists_TK])
        drawn.setdefault(episode.info.task, (predicted_TKA[:, 0], actual_TKA[:, 0]))
        progress(done, len(chosen))
    means = np.concatenate(by_dimension).mean(0).tolist()
    result = OpenLoopResult(
        checkpoint_identity(folder),
        tuple(errors),
        dict(zip(collection.collection.actions, means, strict=True)),
    )
    out.mkdir(parents=True, exist_ok=True)
    draw_actions(dict(list(drawn.items())[:DRAWN]), collection.collection.actions, out / PICTURE)
    (out / TABLE).write_text(result.markdown())
    result.write(out / RESULT)
    return result


def choose_episodes(available: Sequence[Episode], skip: int, number: int | None) -> list[Episode]:
    """Of each task those after the first `skip`, at most `number`."""
    seen: dict[str, int] = defaultdict(int)
    chosen = []
    for episode in available:
        place = seen[episode.info.task] = seen[episode.info.task] + 1
        if place > skip and (number is None or place <= skip + number):
            chosen.append(episode)
    return chosen


def predict_episode(predictor: Predictor, episode: Episode) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalized chunks at every step: predicted and true (T, K, A), and which actions exist (T, K)."""
    policy, statistics = predictor.policy, predictor.normalization.action
    cameras = VIDEOS[: policy.vla.policy_config.cameras]
    views = [decode_video(episode.video(camera), episode.info.steps) for camera in cameras]
    reads_state = bool(policy.action.proprioception_dim)
    requests = [
        Request(
            [view[t] for view in views],
            episode.info.instruction,
            episode.proprioception[t] if reads_state else None,
        )
        for t in range(episode.info.steps)
    ]
    parts = [predictor.act_batch(requests[first : first + BATCH]) for first in range(0, len(requests), BATCH)]
    chunks = [action_chunk(episode.actions, t, policy.action.chunk) for t in range(episode.info.steps)]
    actual, exists = (np.stack(part) for part in zip(*chunks, strict=True))
    return statistics.normalize(np.concatenate(parts), clip=False), statistics.normalize(actual), exists


def draw_actions(
    episodes: dict[str, tuple[np.ndarray, np.ndarray]], names: Sequence[str], path: Path
) -> None:
    """A column per episode and a row per number of an action: what was done, and the first action predicted there."""
    figure = Figure(figsize=(1.2 + 3.4 * len(episodes), 0.8 + len(names)), dpi=130, layout="constrained")
    panels = figure.subplots(len(names), len(episodes), squeeze=False, sharex="col", sharey="row")
    for column, (task, (predicted, actual)) in enumerate(episodes.items()):
        panels[0, column].set_title(task, color=INK, fontsize=11)
        panels[-1, column].set_xlabel("step", color=INK, fontsize=9)
        for row, name in enumerate(names):
            axes = panels[row, column]
            axes.plot(actual[:, row], color=INK, lw=1.4, label="demonstration")
            axes.plot(predicted[:, row], color=COLOURS[0], lw=1.4, label="policy")
            axes.set_ylim(-1.2, 1.2)  # one scale for all: noise of a dimension that stands still stays small
            axes.grid(color="#e6e8eb", lw=0.8)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
            if column == 0:
                axes.set_ylabel(name.replace("_", " "), color=INK, fontsize=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path)
