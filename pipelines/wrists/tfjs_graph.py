"""Runs a TensorFlow.js graph model in torch: the feed-forward part of a detector, without TensorFlow.

The format is a JSON of TensorFlow nodes and a file of weights, here quantized linearly to bytes. Only the operations
that convolutional detectors are made of are known; an unknown one is an error when the model is loaded. Tensors keep
TensorFlow's layout (N, H, W, C); convolutions see them as channels-last, without a copy.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

DTYPES = {"float32": np.float32, "int32": np.int32}


class TfjsGraph:
    """The part of a graph between one node, which is fed, and some others.

    Args:
        model: path of the JSON; the file of weights lies beside it.
        feed: name of the node whose value is given instead of computed.
        outputs: names of the nodes to compute.

    Raises:
        ValueError: an operation between them is not known.
    """

    def __init__(self, model: Path, feed: str, outputs: Sequence[str]) -> None:
        description = json.loads(model.read_text())
        self._nodes: Mapping[str, dict] = {
            node["name"]: node for node in description["modelTopology"]["node"]
        }
        (group,) = description["weightsManifest"]
        (file,) = group["paths"]
        self._constants = read_weights(model.with_name(file), group["weights"])
        self._feed, self._outputs = feed, list(outputs)
        self._order = self._sorted()
        unknown = {self._nodes[name]["op"] for name in self._order} - set(OPERATIONS) - {"Const"}
        if unknown:
            raise ValueError(f"{model.name} has operations that are not known here: {sorted(unknown)}")

    @torch.inference_mode()
    def __call__(self, value: Tensor) -> list[Tensor]:
        """Values of the outputs."""
        values: dict[str, Any] = {self._feed: value}
        for name in self._order:
            node = self._nodes[name]
            if node["op"] == "Const":
                values[name] = self._constants[name]
            else:
                inputs = [_input(values, source) for source in _sources(node)]
                values[name] = OPERATIONS[node["op"]](node.get("attr", {}), *inputs)
        return [values[name] for name in self._outputs]

    def _sorted(self) -> list[str]:
        """Names of the nodes that are needed, each after its inputs."""
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name in order or name == self._feed:
                return
            for source in _sources(self._nodes[name]):
                visit(source.split(":")[0])
            order[name] = None

        for name in self._outputs:
            visit(name)
        return list(order)


def read_weights(path: Path, manifest: Sequence[dict]) -> dict[str, Tensor]:
    """Constants by name; quantized ones become float: `byte * scale + min`."""
    data, offset, weights = path.read_bytes(), 0, {}
    for entry in manifest:
        quantized = entry.get("quantization")
        stored = np.dtype(quantized["dtype"] if quantized else DTYPES[entry["dtype"]])
        count = math.prod(entry["shape"])
        values = np.frombuffer(data, stored, count, offset).reshape(entry["shape"])
        offset += count * stored.itemsize
        if quantized:
            values = (values.astype(np.float64) * quantized["scale"] + quantized["min"]).astype(
                DTYPES[entry["dtype"]]
            )
        weights[entry["name"]] = torch.from_numpy(np.array(values))
    return weights


def _sources(node: dict) -> list[str]:
    return [name for name in node.get("input", []) if not name.startswith("^")]


def _input(values: Mapping[str, Any], source: str) -> Any:
    name, _, index = source.partition(":")
    return values[name][int(index or 0)] if isinstance(values[name], tuple) else values[name]


def _text(value: dict) -> str:
    return base64.b64decode(value["s"]).decode()


def _convolve(attributes: dict, x: Tensor, weight: Tensor, *bias: Tensor, groups: int = 1) -> Tensor:
    """Convolution of (N, H, W, C) with `weight` (out, in / groups, h, w), then what is fused with it."""
    stride = int(attributes["strides"]["list"]["i"][1])
    x = x.permute(0, 3, 1, 2)
    if _text(attributes["padding"]) == "SAME":
        x = functional.pad(x, _same_padding(x.shape[2:], weight.shape[2:], stride))
    x = functional.conv2d(x, weight, stride=stride, groups=groups).permute(0, 2, 3, 1)
    fused = [
        base64.b64decode(s).decode() for s in attributes.get("fused_ops", {}).get("list", {}).get("s", [])
    ]
    for name in fused:
        x = FUSED[name](x, *bias)
    return x


def _same_padding(size: torch.Size, kernel: torch.Size, stride: int) -> list[int]:
    """TensorFlow pads the odd pixel at the end; torch wants (left, right, top, bottom)."""
    padding = []
    for length, width in zip(reversed(size), reversed(kernel), strict=True):
        total = max((math.ceil(length / stride) - 1) * stride + width - length, 0)
        padding += [total // 2, total - total // 2]
    return padding


def _conv2d(attributes: dict, x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    return _convolve(attributes, x, weight.permute(3, 2, 0, 1), *bias)


def _depthwise(attributes: dict, x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    height, width, channels, multiplier = weight.shape
    kernel = weight.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _convolve(attributes, x, kernel, *bias, groups=channels)


def _slice(_: dict, x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    for axis, (start, length) in enumerate(zip(begin.tolist(), size.tolist(), strict=True)):
        x = x.narrow(axis, start, x.shape[axis] - start if length == -1 else length)
    return x


FUSED: dict[str, Callable[..., Tensor]] = {
    "BiasAdd": lambda x, bias: x + bias,
    "Relu6": lambda x, *_: x.clamp(0, 6),
}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "_FusedConv2D": _conv2d,
    "DepthwiseConv2dNative": _depthwise,
    "FusedDepthwiseConv2dNative": _depthwise,
    "AddV2": lambda _, a, b: a + b,
    "Sub": lambda _, a, b: a - b,
    "Mul": lambda _, a, b: a * b,
    "Exp": lambda _, x: x.exp(),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Reshape": lambda _, x, shape: x.reshape(shape.tolist()),
    "Transpose": lambda _, x, order: x.permute(order.tolist()),
    "ExpandDims": lambda _, x, axis: x.unsqueeze(int(axis)),
    "ConcatV2": lambda _, *parts: torch.cat(parts[:-1], dim=int(parts[-1])),
    "Pack": lambda attributes, *parts: torch.stack(parts, dim=int(attributes["axis"]["i"])),
    "Unpack": lambda attributes, x: x.unbind(int(attributes["axis"]["i"])),
    "Slice": _slice,
}
