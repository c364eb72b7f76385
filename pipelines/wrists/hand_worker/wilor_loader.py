"""Loader of WiLoR-mini for `server`: both hands of every frame, detector and network in batches.

Runs in the environment of WiLoR-mini; imports nothing of HARP. `predict` of the package takes one image at a time; here
the detector sees all frames at once and the network all hands at once, with the package's own crop and projection.

The package's network and its detector want BGR images: `WiLor.forward` flips the channels itself, and ultralytics
takes numpy images as OpenCV reads them. (The package's README converts to RGB first; its model test does not.)
The keypoints come in pixels with centres at integers, as the crop is cut by `cv2.warpAffine` around the box centre.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.filters import gaussian
from wilor_mini.pipelines.wilor_hand_pose3d_estimation_pipeline import WiLorHandPose3dEstimationPipeline
from wilor_mini.utils import utils

MAX_HANDS = 64
"""Crops that the network sees at a time."""


def load(weights: str, mano: str, min_confidence: float, rescale_factor: float) -> WiLoRMini:
    """The pipeline with weights from a folder.

    Args:
        weights: folder with `wilor_final.ckpt`, `detector.pt` and `mano_mean_params.npz`.
        mano: `MANO_RIGHT.pkl`.
        min_confidence: of the detector.
        rescale_factor: side of a crop in sides of the hand's box.
    """
    on_gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / "pretrained_models"
        expected.mkdir()
        for file in [*Path(weights).iterdir(), Path(mano)]:
            os.symlink(file.resolve(), expected / ("MANO_RIGHT.pkl" if file == Path(mano) else file.name))
        pipeline = WiLorHandPose3dEstimationPipeline(
            device=torch.device("cuda" if on_gpu else "cpu"),
            dtype=torch.float16 if on_gpu else torch.float32,
            wilor_pretrained_dir=folder,
            verbose=False,
        )
    return WiLoRMini(pipeline, min_confidence, rescale_factor)


class WiLoRMini:
    """Hands of a batch of frames."""

    def __init__(
        self, pipeline: WiLorHandPose3dEstimationPipeline, min_confidence: float, rescale_factor: float
    ) -> None:
        self._pipeline = pipeline
        self._min_confidence = min_confidence
        self._rescale_factor = rescale_factor

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        """(N, 44) hands per frame of (B, H, W, 3) uint8 RGB."""
        images = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]
        detections = self._pipeline.hand_detector(images, conf=self._min_confidence, verbose=False)
        boxes = [found.boxes.data.float().cpu().numpy().reshape(-1, 6) for found in detections]
        which = np.repeat(np.arange(len(images)), [len(found) for found in boxes])
        boxes_N6 = np.concatenate(boxes)
        hands = np.zeros((len(boxes_N6), 44), np.float32)
        for start in range(0, len(boxes_N6), MAX_HANDS):
            part = slice(start, start + MAX_HANDS)
            hands[part] = self._hands([images[i] for i in which[part]], boxes_N6[part])
        return [hands[which == i] for i in range(len(images))]

    def _hands(self, images: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """(N, 44) hands in boxes (N, 6) of x0 y0 x1 y1, confidence, class (1: right)."""
        pipeline, right = self._pipeline, boxes[:, 5]
        centers = (boxes[:, :2] + boxes[:, 2:4]) / 2
        sides = self._rescale_factor * (boxes[:, 2:4] - boxes[:, :2]).max(axis=1)
        crops = [
            self._crop(image, center, side, is_right)
            for image, center, side, is_right in zip(images, centers, sides, right, strict=True)
        ]
        batch = torch.from_numpy(np.stack(crops)).to(device=pipeline.device, dtype=pipeline.dtype)
        output = pipeline.wilor_model(batch)
        joints, camera = (output[k].float().cpu().numpy() for k in ("pred_keypoints_3d", "pred_cam"))
        # Left hands were shown mirrored.
        mirror = 2 * right - 1
        joints[:, :, 0] *= mirror[:, None]
        camera[:, 1] *= mirror
        size = np.array([images[0].shape[1], images[0].shape[0]])
        focal = pipeline.FOCAL_LENGTH / pipeline.IMAGE_SIZE * size.max()
        sizes = np.tile(size, (len(boxes), 1))
        translation = utils.cam_crop_to_full(camera, centers, sides, sizes, focal)
        keypoints = utils.perspective_projection(
            joints,
            translation=translation,
            focal_length=np.full((len(boxes), 2), focal),
            camera_center=sizes / 2,
        )
        return np.column_stack([keypoints.reshape(len(boxes), 42), boxes[:, 4], right])

    def _crop(self, image: np.ndarray, center: np.ndarray, side: float, is_right: float) -> np.ndarray:
        side_out = self._pipeline.IMAGE_SIZE
        shrink = side / side_out / 2
        if shrink > 1.1:
            image = gaussian(image, sigma=(shrink - 1) / 2, channel_axis=2, preserve_range=True)
        crop, _ = utils.generate_image_patch_cv2(
            image, *center, side, side, side_out, side_out, is_right == 0, 1.0, 0, cv2.BORDER_CONSTANT
        )
        return crop.astype(np.float32)
