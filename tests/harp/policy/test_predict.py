import numpy as np
import pytest
import torch

from data_schemas.errors import BadInput, UserError
from harp.policy.action_policy import Observations, build_action_policy
from harp.policy.checkpoints import write_policy
from harp.policy.config import PROMPT
from harp.policy.normalization import Normalization, Statistics
from harp.policy.predict import Predictor, Request
from harp.policy.tokenizer import load_tokenizer
from tests.harp.policy.tiny_policy import ACTION, tiny_vla

RNG = np.random.default_rng(0)
IMAGES = [
    RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8),
    RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8),
]
STATE = np.array([0.3, -2.0, 9.0, 0.0, 1.0])
NORMALIZATION = Normalization(
    Statistics.checked([-2.0, 0, -1, 0], [4.0, 1, 1, 1], [True, True, True, False]),
    Statistics.checked([-1.0] * 5, [1.0] * 5),
)


def predictor(**changes: object) -> Predictor:
    action = ACTION.model_copy(update=changes)
    policy = build_action_policy(tiny_vla(cameras=2, action=action)).eval()
    return Predictor(policy, load_tokenizer(policy.vla.policy_config), NORMALIZATION)


def test_actions_are_those_of_the_policy_in_the_robots_units():
    mine = predictor()
    vla = mine.policy.vla
    frames = [vla.vision.preprocess(torch.from_numpy(image)[None])[0] for image in IMAGES]
    seen = Observations(
        torch.stack(frames)[None],
        load_tokenizer(vla.policy_config).prompts(["push it"]),
        torch.tensor([[0.3, -1.0, 1.0, 0.0, 1.0]]),  # clipped
    )
    normalized = mine.policy.predict(seen)[0].numpy()
    chunk = mine.act(IMAGES, "Push it", STATE)
    assert chunk.shape == (3, 4)
    expected = normalized * [3.0, 0.5, 1.0, 1.0] + [1.0, 0.5, 0.0, 0.0]
    np.testing.assert_allclose(chunk, expected, atol=1e-5)
    assert np.array_equal(chunk, mine.act(IMAGES, "Push it", STATE))


def test_calvin_does_not_clip_the_state():
    clipped, unclipped = (
        predictor(clip_proprioception=clip).act(IMAGES, "push it", STATE) for clip in (True, False)
    )
    assert not np.allclose(clipped, unclipped, atol=1e-3)


def test_batch_equals_one_by_one():
    mine = predictor()
    requests = [Request(IMAGES, "push it", STATE), Request(IMAGES[::-1], "lift the blue cup", STATE / 2)]
    batch = mine.act_batch(requests)
    for row, request in enumerate(requests):
        alone = mine.act(request.images, request.instruction, request.state)
        np.testing.assert_allclose(batch[row], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request(IMAGES[:1], "push it", STATE), "bad_cameras"),
        (Request(IMAGES, "push it"), "bad_state"),
        (Request(IMAGES, "push it", STATE * np.nan), "bad_state"),
        (Request(IMAGES, "  ", STATE), "empty_instruction"),
        (Request(IMAGES, 500 * "x", STATE), "long_instruction"),
        (Request([IMAGES[0], IMAGES[1].astype(float)], "push it", STATE), "bad_image"),
    ],
)
def test_bad_requests_are_named(request_, reason):
    with pytest.raises(BadInput, match=reason):
        predictor().act_batch([request_])


def test_the_longest_prompt_fills_the_sequence():
    mine = predictor()
    config = mine.policy.vla.policy_config
    others = 1 + len(PROMPT.format(instruction="") + " ")
    lengths = []
    hook = mine.policy.vla.backbone.register_forward_pre_hook(
        lambda module, arguments, keywords: lengths.append(keywords["inputs_embeds"].shape[1]),
        with_kwargs=True,
    )
    mine.act(IMAGES, (config.prompt_tokens - others) * "x", STATE)
    hook.remove()
    assert lengths == [config.language_model.max_tokens]
    with pytest.raises(BadInput, match="long_instruction"):
        mine.act(IMAGES, (config.prompt_tokens - others + 1) * "x", STATE)


def test_statistics_of_another_robot_are_refused():
    policy = build_action_policy(tiny_vla(action=ACTION))
    wrong = Normalization(Statistics.checked([0.0] * 7, [1.0] * 7), NORMALIZATION.proprioception)
    with pytest.raises(UserError, match="4 action dimensions, the statistics have 7"):
        Predictor(policy, load_tokenizer(policy.vla.policy_config), wrong)


def test_loaded_policy_acts_alike_and_stage_2_does_not_act(tmp_path):
    mine = predictor()
    tokenizer = load_tokenizer(mine.policy.vla.policy_config)
    write_policy(mine.policy, tokenizer, tmp_path / "p", {"robot": NORMALIZATION})
    chunk = Predictor.load(tmp_path / "p").act(IMAGES, "push it", STATE)
    assert np.array_equal(chunk, mine.act(IMAGES, "push it", STATE))
    vla = tiny_vla()
    write_policy(vla, load_tokenizer(vla.policy_config), tmp_path / "stage2")
    with pytest.raises(UserError, match="stage 2"):
        Predictor.load(tmp_path / "stage2")
