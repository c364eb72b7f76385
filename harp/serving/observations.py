"""What a policy wants to see, and whether a robot's message has it: checked before the request meets the others.

| key | what |
|---|---|
| `image` | third view: uint8 RGB (H, W, 3), sides of at most 8192 |
| `wrist_image` | wrist view, of policies with two cameras; further ones are `image_3`, `image_4`, … |
| `state` | (S,) proprioception in the robot's units, of policies that read one |
| `prompt` | the instruction |

`observation/` before a key is ignored, so that openpi's LIBERO clients need no change. A key that the policy does not
read is refused: a robot that sends its state to a policy without one talks to the wrong policy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_schemas.errors import BadInput
from harp.policy.action_policy import action_config
from harp.policy.config import PolicyConfig
from harp.policy.predict import Request

PREFIX = "observation/"
STATE, PROMPT = "state", "prompt"
NAMED_CAMERAS = ("image", "wrist_image")
MAX_SIDE = 8192
"""Pixels; a column of five million, which a message may hold, takes half a minute to resize and is no JPEG."""
MAX_PROMPT = 300
"""Characters; a longer prompt would make every robot of its batch wait for its tokens."""


@dataclass(frozen=True)
class ObservationSpec:
    """What one policy reads."""

    image_keys: tuple[str, ...]
    state_dim: int | None
    image_size: int
    """Side that the policy resizes images to; sending this size saves time."""

    @staticmethod
    def of(config: PolicyConfig) -> "ObservationSpec":
        """Of a policy of stage 3."""
        further = (f"image_{i}" for i in range(len(NAMED_CAMERAS) + 1, config.cameras + 1))
        return ObservationSpec(
            image_keys=(*NAMED_CAMERAS, *further)[: config.cameras],
            state_dim=action_config(config).proprioception_dim or None,
            image_size=config.vision.image_size,
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of an observation; each is needed."""
        return (*self.image_keys, *((STATE,) if self.state_dim else ()), PROMPT)

    def request(self, message: dict[Any, Any]) -> Request:
        """A robot's observation out of its message.

        Raises:
            BadInput: `bad_keys`, `bad_image`, `bad_state` or `bad_prompt`: what was found, what was expected.
        """
        content = {str(key).removeprefix(PREFIX): value for key, value in message.items()}
        if set(content) != set(self.keys) or len(content) != len(message):
            found = ", ".join(sorted(str(key)[:40] for key in message)) or "none"
            raise BadInput("bad_keys", f"found the keys {found}; expected {', '.join(self.keys)}.")
        return Request(
            images=[_image(key, content[key]) for key in self.image_keys],
            instruction=_prompt(content[PROMPT]),
            state=_state(content[STATE], self.state_dim) if self.state_dim else None,
        )

    def example(self) -> Request:
        """Black images, a state of zeros: for the warm start."""
        black = np.zeros((self.image_size, self.image_size, 3), np.uint8)
        state = np.zeros(self.state_dim) if self.state_dim else None
        return Request([black] * len(self.image_keys), "warm up", state)


def _image(key: str, value: object) -> NDArray[np.uint8]:
    if not isinstance(value, np.ndarray):
        raise BadInput(
            "bad_image", f"{key} is a {type(value).__name__}, expected a uint8 RGB array (H, W, 3)."
        )
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or not value.size:
        first = " (channels come last)" if value.ndim == 3 and value.shape[0] == 3 else ""
        raise BadInput(
            "bad_image", f"{key} is {value.dtype} {value.shape}, expected uint8 RGB (H, W, 3){first}."
        )
    if max(value.shape) > MAX_SIDE:
        raise BadInput(
            "bad_image", f"{key} has the shape {value.shape}, expected sides of at most {MAX_SIDE} pixels."
        )
    return value


def _state(value: object, dim: int) -> NDArray[np.float64]:
    expected = f"expected {dim} finite numbers"
    try:
        state = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise BadInput("bad_state", f"state is a {type(value).__name__}, {expected}.") from None
    if state.shape != (dim,):
        raise BadInput("bad_state", f"state has the shape {state.shape}, {expected}.")
    if not np.isfinite(state).all():
        wrong = np.nonzero(~np.isfinite(state))[0].tolist()
        raise BadInput("bad_state", f"state is not finite in dimensions {wrong}, {expected}.")
    return state


def _prompt(value: object) -> str:
    if not isinstance(value, str):
        raise BadInput("bad_prompt", f"prompt is a {type(value).__name__}, expected text.")
    if not value.strip() or len(value) > MAX_PROMPT:
        found = f"{len(value)} characters" if value.strip() else "no words"
        raise BadInput(
            "bad_prompt", f"prompt has {found}, expected words of at most {MAX_PROMPT} characters."
        )
    return value
