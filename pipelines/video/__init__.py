"""Exact frame access."""

from pipelines.video.index import VideoIndex, index_video
from pipelines.video.reader import VideoReader, open_demonstration, open_video

__all__ = ["VideoIndex", "VideoReader", "index_video", "open_demonstration", "open_video"]
