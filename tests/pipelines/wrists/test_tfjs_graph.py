"""A small TensorFlow.js graph, made by hand, against the same arithmetic in numpy."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.wrists.tfjs_graph import TfjsGraph

RNG = np.random.default_rng(0)


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def node(name: str, op: str, *inputs: str, **attributes: object) -> dict:
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def convolution(
    name: str, op: str, *inputs: str, stride: int, padding: str, fused: tuple[str, ...] = ()
) -> dict:
    return node(
        name,
        op,
        *inputs,
        strides={"list": {"i": ["1", str(stride), str(stride), "1"]}},
        padding={"s": text(padding)},
        fused_ops={"list": {"s": [text(f) for f in fused]}},
    )


def write(
    folder: Path, nodes: list[dict], constants: dict[str, np.ndarray], quantized: tuple[str, ...] = ()
) -> Path:
    """A model; quantized constants hold bytes that stand for `byte * 0.5 - 3`."""
    manifest, data = [], b""
    for name, array in constants.items():
        entry: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "dtype": "float32" if array.dtype != np.int32 else "int32",
        }
        if name in quantized:
            entry["quantization"] = {"dtype": "uint8", "scale": 0.5, "min": -3}
        manifest.append(entry)
        data += array.tobytes()
    nodes = [*nodes, *(node(name, "Const") for name in constants)]
    (folder / "w.bin").write_bytes(data)
    groups = [{"paths": ["w.bin"], "weights": manifest}]
    (folder / "m.json").write_text(json.dumps({"modelTopology": {"node": nodes}, "weightsManifest": groups}))
    return folder / "m.json"


def convolved(x: np.ndarray, weight: np.ndarray, stride: int, same: bool) -> np.ndarray:
    """(H, W, C) by (h, w, C, D), pixel by pixel; with `same` the odd pixel is padded at the end."""
    kernel = weight.shape[:2]
    if same:
        total = [
            max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(x.shape[:2], kernel, strict=True)
        ]
        x = np.pad(x, [*((t // 2, t - t // 2) for t in total), (0, 0)])
    height, width = ((n - k) // stride + 1 for n, k in zip(x.shape[:2], kernel, strict=True))
    out = np.zeros((height, width, weight.shape[3]))
    for i in range(height):
        for j in range(width):
            patch = x[i * stride : i * stride + kernel[0], j * stride : j * stride + kernel[1]]
            out[i, j] = np.tensordot(patch, weight, 3)
    return out


@pytest.mark.parametrize(("stride", "padding"), [(1, "SAME"), (2, "SAME"), (2, "VALID")])
def test_convolutions_are_tensorflows(tmp_path: Path, stride: int, padding: str) -> None:
    x = RNG.normal(size=(7, 10, 3)).astype(np.float32)
    weight = RNG.normal(size=(3, 3, 3, 4)).astype(np.float32)
    depth = RNG.normal(size=(3, 3, 4, 1)).astype(np.float32)
    bias = RNG.normal(size=4).astype(np.float32)
    nodes = [
        convolution(
            "c", "_FusedConv2D", "x", "w", "b", stride=stride, padding=padding, fused=("BiasAdd", "Relu6")
        ),
        convolution("d", "DepthwiseConv2dNative", "c", "k", stride=1, padding="SAME"),
    ]
    graph = TfjsGraph(write(tmp_path, nodes, {"w": weight, "b": bias, "k": depth}), "x", ["c", "d"])
    c, d = graph(torch.from_numpy(x)[None])
    expected = np.clip(convolved(x, weight, stride, padding == "SAME") + bias, 0, 6)
    np.testing.assert_allclose(c[0], expected, atol=1e-4)
    each = [convolved(expected[..., [n]], depth[:, :, [n]], 1, True) for n in range(4)]
    np.testing.assert_allclose(d[0], np.concatenate(each, axis=-1), atol=1e-4)


def test_the_rest_and_quantized_constants(tmp_path: Path) -> None:
    x = RNG.normal(size=(2, 6)).astype(np.float32)
    constants = {
        "q": np.array([0, 6, 10, 16, 255, 7], np.uint8),
        "shape": np.array([2, 3, 2], np.int32), "order": np.array([1, 0, 2], np.int32),
        "axis": np.array(1, np.int32), "begin": np.array([0, 1], np.int32), "size": np.array([-1, 2], np.int32),
    }  # fmt: skip
    nodes = [
        node("sum", "AddV2", "x", "q"),
        node("reshaped", "Reshape", "sum", "shape"),
        node("turned", "Transpose", "reshaped", "order"),
        node("parts", "Unpack", "turned", axis={"i": "0"}),
        node("packed", "Pack", "parts:2", "parts", axis={"i": "1"}),
        node("joined", "ConcatV2", "x", "sum", "axis"),
        node("cut", "Slice", "joined", "begin", "size"),
        node("wide", "ExpandDims", "cut", "axis"),
        node("soft", "Sigmoid", "wide", "^a_control_input"),
        node("product", "Mul", "cut", "cut"),
        node("less", "Sub", "product", "cut"),
        node("grown", "Exp", "cut"),
    ]
    graph = TfjsGraph(write(tmp_path, nodes, constants, ("q",)), "x", ["packed", "soft", "less", "grown"])
    packed, soft, less, grown = (value.numpy() for value in graph(torch.from_numpy(x)))
    total = x + (constants["q"] * 0.5 - 3)
    turned = total.reshape(2, 3, 2).transpose(1, 0, 2)
    np.testing.assert_allclose(packed, np.stack([turned[2], turned[0]], axis=1), rtol=1e-6)
    cut = np.concatenate([x, total], axis=1)[:, 1:3]
    np.testing.assert_allclose(soft, 1 / (1 + np.exp(-cut[:, None])), rtol=1e-5)
    np.testing.assert_allclose(less, cut**2 - cut, rtol=1e-5)
    np.testing.assert_allclose(grown, np.exp(cut), rtol=1e-5)


def test_unknown_operations_are_named_when_the_model_is_loaded(tmp_path: Path) -> None:
    model = write(tmp_path, [node("y", "FancyPool", "x")], {})
    with pytest.raises(ValueError, match="FancyPool"):
        TfjsGraph(model, "x", ["y"])
