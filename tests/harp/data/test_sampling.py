"""The draw of a step: pure, complete over an epoch, within the horizon, inside the clip."""

import hashlib

import pytest

from data_schemas.errors import UserError
from harp.data.config import DataConfig
from harp.data.sampling import TransitionSampler, horizon_frames
from harp.data.version import PublishedVersion
from tests.harp.tiny_version import write_version


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    folder = write_version(
        tmp_path_factory.mktemp("lake"), pairs=7, held_out=2, humans=2, robots=2, frames=40, fps=10.0
    )
    return PublishedVersion.open(folder)


CONFIG = DataConfig(pairs_per_batch=3, singles_per_batch=2, context_frames=3, horizon_seconds=(0.5, 1.5))


def test_the_draw_depends_on_seed_and_step_alone(version):
    first, second = TransitionSampler(version, CONFIG, 0), TransitionSampler(version, CONFIG, 0)
    backwards = {step: second.draw(step) for step in reversed(range(10))}
    assert all(first.draw(step) == backwards[step] for step in range(10))
    assert TransitionSampler(version, CONFIG, 1).draw(0) != first.draw(0)


def test_an_epoch_shows_no_pair_twice_and_never_a_held_out_one(version):
    sampler = TransitionSampler(version, CONFIG, 0)
    train = {s.subject_id for s in version.subjects("train", "pair")}
    seen = set()
    for epoch in range(6):
        ids = [draw.subject.subject_id for step in (0, 1) for draw in sampler.draw(2 * epoch + step).pairs]
        assert len(set(ids)) == len(ids) == 6
        seen |= set(ids)
    assert seen == train


def test_frames(version):
    sampler = TransitionSampler(version, CONFIG, 0)
    horizons = set()
    for step in range(60):
        draw = sampler.draw(step)
        assert all(len(single.frames) == 2 for single in draw.singles)
        for pair in draw.pairs:
            t, later, *context = pair.frames
            horizons.add(later - t)
            assert 0 <= t < later < 40
            for third, frame in enumerate(context):
                assert third * 40 / 3 - 1 < frame < (third + 1) * 40 / 3, "one frame from each third"
    assert (min(horizons), max(horizons)) == (5, 15), "0.5 to 1.5 s at 10 Hz"


@pytest.mark.parametrize(
    ("seconds", "fps", "last", "expected"),
    [(1.0, 10.0, 63, 10), (1.0, 30.0, 63, 30), (0.01, 10.0, 63, 1), (9.0, 10.0, 20, 20)],
)
def test_horizon_in_frames(seconds, fps, last, expected):
    assert horizon_frames(seconds, fps, last) == expected


def test_batches_shrink_to_what_there_is(version):
    config = DataConfig(pairs_per_batch=100, singles_per_batch=100)
    draw = TransitionSampler(version, config, 0).draw(5)
    assert (len(draw.pairs), len(draw.singles)) == (7, 4)


def test_nothing_to_train_on_is_one_sentence(tmp_path):
    version = PublishedVersion.open(write_version(tmp_path, pairs=0, held_out=2, frames=2))
    with pytest.raises(UserError, match=r"Nothing to train on: .*2 pair \(held_out\)"):
        TransitionSampler(version, CONFIG, 0)


def test_the_default_draws_stay_what_they_were(version):
    """A run that continues after an update must see the data that it would have seen."""
    sampler = TransitionSampler(version, CONFIG, 0)
    digest = hashlib.sha256()
    for step in range(40):
        draw = sampler.draw(step)
        clips = [(clip.subject.subject_id, clip.frames) for clip in (*draw.pairs, *draw.singles)]
        digest.update(repr(clips).encode())
    assert digest.hexdigest() == "d0d48707e7bad79f2edc5843e193a38cc680c9a92a0af73ef1ff05943c3caed7"


def test_transitions_cross_the_borders_of_segments(tmp_path):
    version = PublishedVersion.open(
        write_version(tmp_path, pairs=3, held_out=0, frames=10, segment_frames=4, fps=10.0)
    )
    config = DataConfig(pairs_per_batch=3, singles_per_batch=0, horizon_seconds=(0.3, 0.6))
    sampler = TransitionSampler(version, config, 0)
    crossings = set()
    for step in range(60):
        for draw in sampler.draw(step).pairs:
            (first, t), (second, later) = map(draw.subject.locate, draw.frames[:2])
            assert first.segment * 4 + t == draw.frames[0]
            assert second.segment * 4 + later == draw.frames[1]
            crossings.add((first.segment, second.segment))
    assert {(0, 1), (1, 2), (0, 2)} <= crossings
