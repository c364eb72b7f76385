"""Object descriptions from any OpenAI-compatible server (vLLM serves Qwen3-VL this way).

The clips of a batch are asked for at once, in threads: the server batches them on its GPU. Answers are held
to a JSON schema by the server (`response_format`) and checked again here. What may pass (timeouts, refused
connections, 408, 429, 5xx, an answer that does not fit) is tried again after growing pauses, `Retry-After`
honoured; what will not pass (401, 404, …) ends the run with one sentence.

The address comes from `OPENAI_BASE_URL` and the key from `OPENAI_API_KEY`, never from a recipe; there is no
default address, so frames go nowhere that was not named.
"""

import base64
import io
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
from PIL import Image

from data_schemas.errors import BadInput, UserError
from pipelines.objects.base import ObjectDescriber
from pipelines.objects.config import DescribeConfig
from pipelines.objects.description import PROMPT, ObjectDescription, UnusableAnswer, parse, pictures

TRIES = 5
FIRST_PAUSE = 1.0
"""Seconds before the second try; doubles from try to try, plus a random part so that clients do not march in step."""
LONGEST_PAUSE = 30.0
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
CONCURRENCY = 16
PASSING = (408, 425, 429, 500, 502, 503, 504)


class OpenAIDescriber(ObjectDescriber):
    """Asks a server."""

    def __init__(self, config: DescribeConfig, pause: float = FIRST_PAUSE) -> None:
        self.config = config
        self.model = f"{config.model}@openai"
        self.num_frames = config.num_frames
        self._pause = pause

    def check(self) -> None:
        if not os.environ.get("OPENAI_BASE_URL"):
            raise UserError(
                f"The describer 'openai' needs a server: start one (`vllm serve {self.config.model}`, Apache-2.0) and "
                "set OPENAI_BASE_URL to its address, such as http://localhost:8000/v1."
            )

    def load(self) -> None:
        self.check()
        base_url = os.environ["OPENAI_BASE_URL"]
        key = os.environ.get("OPENAI_API_KEY", "")
        self._key = key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=base_url.rstrip("/") + "/", headers=headers, timeout=TIMEOUT)

    def describe(self, clips: Sequence[np.ndarray]) -> list[str]:
        with ThreadPoolExecutor(min(CONCURRENCY, len(clips) or 1)) as pool:
            return list(pool.map(self._describe, clips))

    def _describe(self, frames: np.ndarray) -> str:
        request = self._request(frames)
        problem = ""
        for tries_left in reversed(range(TRIES)):
            retry_after = 0.0
            try:
                response = self._client.post("chat/completions", json=request)
                if response.is_success:
                    return parse(_answer(response))
                problem = f"the server answered {response.status_code}"
                if response.status_code not in PASSING:
                    # Servers repeat the key that they refuse; errors go to the ledger and to logs.
                    text = response.text.replace(self._key, "***") if self._key else response.text
                    raise UserError(
                        f"The describer at {self._client.base_url} answered "
                        f"{response.status_code} ({text[:200]}): check OPENAI_BASE_URL, OPENAI_API_KEY and the model's name "
                        f"'{self.config.model}'."
                    )
                retry_after = _seconds(response.headers.get("Retry-After", ""))
            except (httpx.TransportError, UnusableAnswer) as error:
                problem = f"{type(error).__name__}: {error}"
            if tries_left:
                self._wait(TRIES - 1 - tries_left, retry_after)
        raise BadInput(
            "describer_unavailable", f"no usable answer in {TRIES} tries, last: {problem}", retryable=True
        )

    def _wait(self, tried: int, retry_after: float) -> None:
        pause = self._pause * 2**tried
        time.sleep(min(LONGEST_PAUSE, max(retry_after, pause + random.uniform(0, pause))))

    def _request(self, frames: np.ndarray) -> dict:
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(picture)}}
            for picture in pictures(frames, self.config.max_side)
        ]
        return {
            "model": self.config.model,
            "messages": [{"role": "user", "content": [*content, {"type": "text", "text": PROMPT}]}],
            "temperature": 0,
            "max_tokens": 64,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "object_description",
                    "strict": True,
                    "schema": ObjectDescription.model_json_schema(),
                },
            },
        }


def _answer(response: httpx.Response) -> str:
    try:
        return str(response.json()["choices"][0]["message"]["content"])
    except (ValueError, LookupError, TypeError) as error:
        raise UnusableAnswer(f"not a chat completion: {response.text[:200]!r}") from error


def _seconds(header: str) -> float:
    """A `Retry-After` in seconds; 0 where there is none, or a date."""
    return float(header) if header.replace(".", "", 1).isdigit() else 0.0


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
