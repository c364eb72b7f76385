"""Descriptions: a server that misbehaves first, and Qwen3-VL's own class with a tiny network."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from data_schemas.errors import BadInput, UserError
from pipelines.objects.config import DescribeConfig
from pipelines.objects.description import UnusableAnswer, parse
from pipelines.objects.openai_describer import OpenAIDescriber
from pipelines.objects.qwen_describer import QwenDescriber

GOOD = json.dumps({"choices": [{"message": {"content": '{"object": "Red  mug"}'}}]})


class Server(ThreadingHTTPServer):
    """Plays recorded answers back and keeps what it was asked."""

    def __init__(self, answers: list[tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.asked: list[tuple[str, dict, dict]] = []
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.asked.append((self.path, dict(self.headers), body))
            status, text = server.answers.pop(0) if server.answers else (200, GOOD)
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0.01")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object, **__: object) -> None: ...


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    servers = []

    def start(*answers: tuple[int, str]) -> tuple[Server, OpenAIDescriber]:
        server = Server(list(answers))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        describer = OpenAIDescriber(DescribeConfig(num_frames=3, max_side=64), pause=0.001)
        describer.load()
        return server, describer

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def clip() -> np.ndarray:
    frames = np.zeros((3, 90, 160, 3), np.uint8)
    frames[..., 0] = 200
    return frames


def test_request_carries_frames_schema_and_key(serve) -> None:
    server, describer = serve()
    assert describer.describe([clip()]) == ["red mug"]
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body["model"] == "Qwen/Qwen3-VL-8B-Instruct"
    schema = body["response_format"]["json_schema"]
    assert schema["strict"]
    assert schema["schema"]["required"] == ["object"]
    assert schema["schema"]["additionalProperties"] is False
    # vLLM's grammars refuse these two on one string.
    assert len(schema["schema"]["properties"]["object"].keys() & {"pattern", "maxLength"}) == 1
    *images, text = body["messages"][0]["content"]
    assert text["type"] == "text"
    assert len(images) == 3
    picture = Image.open(io.BytesIO(base64.b64decode(images[0]["image_url"]["url"].split(",")[1])))
    assert picture.size == (64, 36)
    assert np.abs(np.asarray(picture)[18, 32] - [200, 0, 0]).max() < 12


def test_what_may_pass_is_tried_again(serve) -> None:
    prose = json.dumps({"choices": [{"message": {"content": "It is a mug."}}]})
    server, describer = serve((429, ""), (503, "busy"), (200, prose), (200, "<html>"))
    assert describer.describe([clip()]) == ["red mug"]
    assert len(server.asked) == 5


def test_a_server_that_stays_down_is_a_retryable_failure(serve) -> None:
    server, describer = serve(*[(500, "no")] * 5)
    with pytest.raises(BadInput, match=r"describer_unavailable.*5 tries.*500") as failure:
        describer.describe([clip()])
    assert failure.value.retryable
    assert len(server.asked) == 5


def test_a_wrong_key_ends_the_run_at_once(serve) -> None:
    server, describer = serve((401, "bad key"))
    with pytest.raises(UserError, match=r"401.*OPENAI_API_KEY"):
        describer.describe([clip()])
    assert len(server.asked) == 1


def test_clips_are_asked_for_at_once_and_answered_in_order(serve) -> None:
    server, describer = serve()
    assert describer.describe([clip()] * 5) == ["red mug"] * 5
    assert len(server.asked) == 5
    assert describer.describe([]) == []


def test_no_server_named_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UserError, match="OPENAI_BASE_URL"):
        OpenAIDescriber(DescribeConfig()).load()


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "a mug",
        '{"object": 3}',
        '{"thing": "mug"}',
        '{"object": "mug", "why": "red"}',
        '{"object": "m\\nug"}',
        json.dumps({"object": 81 * "m"}),
    ],
)
def test_answers_that_do_not_fit_are_refused(answer: str) -> None:
    with pytest.raises(UnusableAnswer):
        parse(answer)


def test_an_answer_may_stand_in_a_code_fence() -> None:
    assert parse('```json\n{"object": "Left hand\'s 2-piece lid"}\n```') == "left hand's 2-piece lid"


@pytest.fixture(scope="module")
def qwen() -> QwenDescriber:
    special = [
        "<pad>",
        "<unk>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
    ]
    words = [*special, "<|video_pad|>", *(f"w{i}" for i in range(100))]
    fast = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    fast.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", unk_token="<unk>", additional_special_tokens=words[2:8]
    )
    torch.manual_seed(0)
    text = {
        "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "pad_token_id": 0, "eos_token_id": 3,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e4},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    config = Qwen3VLConfig(
        text_config=text, vision_config=vision, image_token_id=6, video_token_id=7, vision_start_token_id=4,
        vision_end_token_id=5,
    )  # fmt: skip
    describer = QwenDescriber(DescribeConfig(max_side=64))
    describer.use(Qwen3VLForConditionalGeneration(config), tokenizer)
    return describer


def test_qwen_answers_a_batch_as_it_answers_its_clips(qwen: QwenDescriber) -> None:
    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 255, (n, 64, 96, 3), dtype=np.uint8) for n in (2, 1)]
    together = qwen.answers(clips)
    assert together == [qwen.answers([one])[0] for one in clips]
    assert all(together), "a random network says something"
    assert qwen.describe(clips) == [""] * 2, "which does not fit the schema"


def test_pictures_reach_qwen_in_the_sizes_that_it_was_published_with(qwen: QwenDescriber) -> None:
    """At least 256² pixels, sides in multiples of 32; grids count patches of 16."""
    for height, width, grid in ((224, 224, (16, 16)), (360, 640, (22, 40)), (90, 160, (12, 22))):
        picture = Image.fromarray(np.zeros((height, width, 3), np.uint8))
        found = qwen._pictures([picture], return_tensors="pt")["image_grid_thw"]
        assert found.tolist() == [[1, *grid]]
