"""Frames and arrays as bytes that depend on their content alone.

Pillow resizes in fixed-point arithmetic and its JPEG encoder is used with fixed tables, so equal frames give
equal bytes on every machine; `np.savez` writes the time of day into the archive, so npz files are written here.
Frames are squashed to a square, not letterboxed: every pixel of the encoder's input shows the scene, and a cue
divided by the original width and height is at the same place in the resized frame.
"""

import io
import zipfile
from collections.abc import Mapping

import numpy as np
from PIL import Image

from data_schemas.samples import FRAME_SIZE

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that the zip format knows."""


def encode_jpeg(frame: np.ndarray, quality: int) -> bytes:
    """(H, W, 3) uint8 RGB as a 224×224 JPEG, reduced with an antialiasing bicubic filter."""
    image = Image.fromarray(frame).resize((FRAME_SIZE, FRAME_SIZE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def encode_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What `np.load` reads, members by name, not compressed (deflate's output varies with its version)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH)
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(arrays[name]), allow_pickle=False)
    return buffer.getvalue()
