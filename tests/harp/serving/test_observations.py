import numpy as np
import pytest

from data_schemas.errors import BadInput
from harp.serving.observations import MAX_PROMPT, ObservationSpec
from tests.harp.serving.running import CONFIG, observation

SPEC = ObservationSpec.of(CONFIG)
IMAGE = np.zeros((28, 28, 3), np.uint8)


def test_keys_follow_the_policy():
    assert SPEC.keys == ("image", "wrist_image", "state", "prompt")
    action = CONFIG.action
    assert action is not None
    blind = CONFIG.model_copy(
        update={"cameras": 1, "action": action.model_copy(update={"proprioception_dim": None})}
    )
    assert ObservationSpec.of(blind).keys == ("image", "prompt")
    many = ObservationSpec.of(CONFIG.model_copy(update={"cameras": 4}))
    assert many.image_keys == ("image", "wrist_image", "image_3", "image_4")


@pytest.mark.parametrize("prefix", ["", "observation/"])
def test_third_view_comes_first_with_and_without_openpis_prefix(prefix):
    sent = observation()
    message = {prefix + key: value for key, value in sent.items() if key != "prompt"}
    request = SPEC.request(message | {"prompt": sent["prompt"]})
    assert request.images[0] is sent["image"]
    assert request.images[1] is sent["wrist_image"]
    assert np.array_equal(np.asarray(request.state), np.asarray(sent["state"]))
    assert request.instruction == sent["prompt"]


def test_a_state_may_be_a_list_or_integers():
    for state in ([0, 1, 2.5, 3, 4], np.arange(5, dtype=np.int32), [np.float32(1)] * 5):
        given = SPEC.request(observation() | {"state": state}).state
        assert np.array_equal(np.asarray(given), np.asarray(state, dtype=float))


@pytest.mark.parametrize(
    ("changes", "reason", "found"),
    [
        ({"image": None}, "bad_image", "image is a NoneType"),
        ({"image": IMAGE.tolist()}, "bad_image", "image is a list"),
        ({"image": IMAGE / 255}, "bad_image", r"image is float64 \(28, 28, 3\), expected uint8"),
        (
            {"wrist_image": IMAGE.transpose(2, 0, 1)},
            "bad_image",
            r"wrist_image is uint8 .*\(channels come last",
        ),
        ({"wrist_image": IMAGE[None]}, "bad_image", r"\(1, 28, 28, 3\)"),
        ({"image": IMAGE[..., :1]}, "bad_image", r"\(28, 28, 1\)"),
        ({"image": IMAGE[:0]}, "bad_image", r"\(0, 28, 3\)"),
        ({"image": np.zeros((70_000, 1, 3), np.uint8)}, "bad_image", r"\(70000, 1, 3\), .* at most 8192"),
        ({"state": np.zeros(7)}, "bad_state", r"shape \(7,\), expected 5"),
        ({"state": np.zeros((1, 5))}, "bad_state", r"shape \(1, 5\)"),
        ({"state": [0, 1, np.nan, np.inf, 0]}, "bad_state", r"dimensions \[2, 3\]"),
        ({"state": "stand"}, "bad_state", "is a str"),
        ({"state": {"x": 1}}, "bad_state", "is a dict"),
        ({"state": [[1], [2, 3]]}, "bad_state", "is a list"),
        ({"prompt": 3}, "bad_prompt", "is a int"),
        ({"prompt": " "}, "bad_prompt", "no words"),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, "bad_prompt", "301 characters, expected .* 300"),
        (
            {"gripper": 1},
            "bad_keys",
            "found the keys gripper, image, prompt, state, wrist_image; expected image",
        ),
        ({"observation/image": IMAGE}, "bad_keys", "observation/image"),
        ({3: 1}, "bad_keys", "found the keys 3,"),
    ],
)
def test_what_the_policy_cannot_take_is_named(changes, reason, found):
    with pytest.raises(BadInput, match=found) as caught:
        SPEC.request(observation() | changes)
    assert caught.value.reason == reason


def test_missing_keys_are_named():
    with pytest.raises(BadInput, match="found the keys none; expected image, wrist_image, state, prompt"):
        SPEC.request({})


def test_the_example_is_a_request_that_passes():
    example = SPEC.example()
    message = dict(zip(SPEC.image_keys, example.images, strict=True))
    SPEC.request(message | {"state": example.state, "prompt": example.instruction})
