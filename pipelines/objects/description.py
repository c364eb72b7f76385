"""What a vision-language model is asked about a clip without words, and what it may answer."""

import json
from collections.abc import Sequence

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.video.shrink import shrunk

PROMPT = (
    "These frames, in order of time, show one manipulation by a human hand or a robot. Which single object is "
    'manipulated, that is grasped, moved, pressed or used as a tool? Answer in JSON with the key "object": a short '
    'English noun phrase that tells it from the other things in view, such as "red mug", without an article, the '
    "hand or the robot. Use an empty string if no object is manipulated."
)


class ObjectDescription(BaseModel):
    """The schema of an answer."""

    model_config = ConfigDict(extra="forbid")

    object: str = Field(pattern=r"^[A-Za-z0-9 ,'\-]{0,80}$")
    """Noun phrase; empty where nothing is manipulated. The pattern bounds its length, since vLLM's grammars (xgrammar)
    refuse a pattern beside `maxLength`, or silently drop the latter."""


class UnusableAnswer(ValueError):
    """The model's answer does not fit the schema."""


def parse(answer: str) -> str:
    """The phrase in a model's answer, which may be wrapped in a code fence.

    Raises:
        UnusableAnswer: the answer is not JSON of the schema.
    """
    begin, end = answer.find("{"), answer.rfind("}")
    try:
        description = ObjectDescription.model_validate(json.loads(answer[begin : end + 1]))
    except (ValidationError, json.JSONDecodeError) as error:
        raise UnusableAnswer(f"{answer[:200]!r} does not fit the schema of an object description") from error
    return " ".join(description.object.lower().split())


def pictures(frames: Sequence[np.ndarray] | np.ndarray, max_side: int) -> list[Image.Image]:
    """Frames (S, H, W, 3) as pictures of at most `max_side` pixels on the longer side."""
    return [Image.fromarray(shrunk(frame, max_side)[0]) for frame in frames]
