"""TensorFlow Lite networks by LiteRT: one image in, all outputs out."""

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class LiteRtModel:
    """A network with one image input, run on the CPU by XNNPACK."""

    def __init__(self, path: Path, num_threads: int) -> None:
        self._interpreter = Interpreter(str(path), num_threads=num_threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Outputs for `image` (H, W, 3) float32, each without its batch axis."""
        self._interpreter.set_tensor(self._input, image[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output)[0] for output in self._outputs]
