"""The adapter against transformers' own GroundingDINO with a tiny network of random weights."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

from data_schemas.errors import UserError
from pipelines.objects.grounding_dino import GroundingDino, swin
from pipelines.objects.groundingdino_py import normalized
from pipelines.objects.phrase_detector import Thresholds, caption

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "red", "cup", "small", "block"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(WORDS))
    return path


@pytest.fixture(scope="module")
def tiny() -> GroundingDinoForObjectDetection:
    torch.manual_seed(0)
    backbone = swin(
        image_size=64, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4
    )  # fmt: skip
    text = {
        "model_type": "bert", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 32,
    }  # fmt: skip
    return GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config=backbone, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
            num_queries=12,
        )
    )  # fmt: skip


def test_a_batch_gives_what_its_frames_give_one_by_one(
    tiny: GroundingDinoForObjectDetection, vocabulary: Path
) -> None:
    detector = GroundingDino(thresholds=Thresholds(0.0, 0.0))
    detector.use(tiny, vocabulary, side=96)
    rng = np.random.default_rng(0)
    frames = [
        rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in ((60, 80), (50, 90), (60, 80), (60, 80))
    ]
    phrases = ["red cup", "cup", "Small red block.", "block"]
    together = detector.detect(frames, phrases)
    for frame, phrase, found in zip(frames, phrases, together, strict=True):
        (alone,) = detector.detect([frame], [phrase])
        assert len(found) == len(alone) == 12
        scores = [d.score for d in found]
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose([d.box for d in found], [d.box for d in alone], atol=1e-3)
        np.testing.assert_allclose(scores, [d.score for d in alone], atol=1e-5)
        assert [d.label for d in found] == [d.label for d in alone]
        assert found[0].label == caption(phrase).rstrip(".")


class SquareFinder(torch.nn.Module):
    """In the network's place: says where the bright square lies in the tensor that the network would see."""

    def forward(self, pixel_values: torch.Tensor, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        boxes = []
        for picture in pixel_values.mean(dim=1):
            bright = picture > (picture.max() + picture.min()) / 2
            ys, xs = torch.nonzero(bright, as_tuple=True)
            low, high = torch.stack([xs.min(), ys.min()]), torch.stack([xs.max(), ys.max()]) + 1
            size = torch.tensor(picture.shape[::-1])
            boxes.append(torch.cat([(low + high) / 2 / size, (high - low) / size]))
        logits = torch.full((len(boxes), 1, 256), -10.0)
        logits[:, 0, 1] = 5.0
        return SimpleNamespace(logits=logits, pred_boxes=torch.stack(boxes)[:, None], input_ids=input_ids)


@pytest.mark.parametrize("size", [(480, 640), (224, 224), (517, 333), (720, 1280), (1080, 1920)])
def test_a_planted_square_comes_back_through_the_resizing(vocabulary: Path, size: tuple[int, int]) -> None:
    detector = GroundingDino()
    detector.use(SquareFinder(), vocabulary)
    frame = np.zeros((*size, 3), np.uint8)
    x0, y0, side = size[1] // 3, size[0] // 2, 41
    frame[y0 : y0 + side, x0 : x0 + side] = 255
    ((found,),) = detector.detect([frame], ["red cup"])
    np.testing.assert_allclose(
        found.box, [x0, y0, x0 + side, y0 + side], atol=0.5 if max(size) < 1400 else 1.0
    )


def test_missing_weights_name_the_command_and_the_licence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And are not downloaded in passing, also where a folder of weights holds others only."""
    monkeypatch.setenv("HARP_CACHE", str(tmp_path))
    sentence = r"harp weights pull grounding-dino-tiny.*690 MB, licence Apache-2\.0"
    monkeypatch.delenv("HARP_WEIGHTS_DIR", raising=False)
    with pytest.raises(UserError, match=sentence):
        GroundingDino().load()
    monkeypatch.setenv("HARP_WEIGHTS_DIR", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("harp.weights.resolve", lambda name: pytest.fail(f"{name} would be downloaded"))
        with pytest.raises(UserError, match=sentence):
            GroundingDino().load()
    (tmp_path / "grounding-dino-tiny").mkdir()
    for file in ("model.safetensors", "vocab.txt"):
        (tmp_path / "grounding-dino-tiny" / file).write_bytes(b"")
    with pytest.raises(UserError, match="has SHA-256"):
        GroundingDino().load()


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((480, 640), (800, 1066)),
        ((360, 640), (750, 1333)),
        ((224, 224), (800, 800)),
        ((900, 300), (1332, 444)),
    ],
)
def test_the_authors_package_gets_pictures_in_the_sizes_of_its_own_loader(
    size: tuple[int, int], resized: tuple[int, int]
) -> None:
    """The sizes are what groundingdino-py 0.4.0 made of such files; it cuts fractions of a pixel off."""
    frame = np.full((*size, 3), (255, 0, 51), np.uint8)
    picture = normalized(frame)
    assert picture.shape == (3, *resized)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(picture.mean(dim=(1, 2)), expected, atol=1e-4)
    x0, y0 = size[1] // 3, size[0] // 2
    frame[:] = 0
    frame[y0 : y0 + 41, x0 : x0 + 41] = 255
    ys, xs = np.nonzero(normalized(frame)[0].numpy() > 0)
    back = size[1] / resized[1], size[0] / resized[0]
    np.testing.assert_allclose([xs.min() * back[0], ys.min() * back[1]], [x0, y0], atol=0.7)
    np.testing.assert_allclose(
        [(xs.max() + 1) * back[0], (ys.max() + 1) * back[1]], [x0 + 41, y0 + 41], atol=0.7
    )
