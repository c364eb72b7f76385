"""A lake as one run sees it."""

from pathlib import Path

from pipelines.curate import Curation
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.recipe import load_curate_recipe
from tests.pipelines.datasets.made_rh20t import write_video

NUM_PAIRS = 6


def test_pairs_copied_under_another_key_are_pairs_once(tmp_path: Path) -> None:
    lines = ["pair_id,human,robot,instruction"]
    for i in range(NUM_PAIRS):
        videos = [tmp_path / f"{embodiment}{i}.mp4" for embodiment in ("human", "robot")]
        for seed, video in enumerate(videos):
            write_video(video, frames=4, seed=2 * i + seed)
            (tmp_path / f"copy_{video.name}").write_bytes(video.read_bytes())
        human, robot = (video.name for video in videos)
        # The copy of a half alone is no half of a pair.
        lines += [
            f"p{i},{human},{robot},push",
            f"q{i},copy_{human},copy_{robot},push",
            f",,copy_{robot},push",
        ]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    curation = Curation(load_curate_recipe("clips"), tmp_path, Lake(tmp_path / "lake"), LocalExecutor())
    curation.ingest()
    pairing = curation.view.pairing
    assert [pair.human.pair_key for pair in pairing.pairs] == [f"p{i}" for i in range(NUM_PAIRS)]
    assert not pairing.missing_half
