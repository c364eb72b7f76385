"""The annotators by the names that recipes use. The pretrained ones are imported only where they are chosen."""

import pkgutil
from collections.abc import Callable
from typing import Any

from data_schemas.errors import UserError
from pipelines.engine.stage import LIGHT, Resources
from pipelines.objects.base import ObjectDescriber, ObjectGrounder, PointTracker
from pipelines.objects.config import ObjectConfig
from pipelines.objects.lucas_kanade import LucasKanade
from pipelines.objects.motion_grounding import MotionGrounder
from pipelines.objects.phrase_detector import Thresholds
from pipelines.objects.phrase_grounding import PhraseGrounder


def _made(name: str, *arguments: Any) -> Any:
    """An instance of `package.module:Class`, which may import torch."""
    return pkgutil.resolve_name(f"pipelines.objects.{name}")(*arguments)


def _grounding_dino(config: ObjectConfig) -> ObjectGrounder:
    detector = config.detector
    thresholds = Thresholds(detector.box_threshold, detector.text_threshold)
    return PhraseGrounder(_made("grounding_dino:GroundingDino", detector.model, thresholds), detector.stride)


def _groundingdino_py(config: ObjectConfig) -> ObjectGrounder:
    detector = config.detector
    thresholds = Thresholds(detector.box_threshold, detector.text_threshold)
    return PhraseGrounder(_made("groundingdino_py:GroundingDinoPy", thresholds), detector.stride)


DESCRIBERS: dict[str, Callable[[ObjectConfig], ObjectDescriber]] = {
    "openai": lambda config: _made("openai_describer:OpenAIDescriber", config.describe),
    "transformers": lambda config: _made("qwen_describer:QwenDescriber", config.describe),
}
GROUNDERS: dict[str, Callable[[ObjectConfig], ObjectGrounder]] = {
    "motion": lambda config: MotionGrounder(config.min_score),
    "groundingdino": _grounding_dino,
    "groundingdino-py": _groundingdino_py,
}
TRACKERS: dict[str, Callable[[ObjectConfig], PointTracker]] = {
    "lucas-kanade": lambda _: LucasKanade(),
    "tapir": lambda config: _made("tapir:Tapir", config.tapir),
    "tapir-causal": lambda config: _made("tapir_causal:CausalTapir", config.tapir),
}


def resources(config: ObjectConfig) -> Resources:
    """What a worker with these parts needs."""
    in_process = (
        config.grounder != "motion" or config.tracker != "lucas-kanade" or config.describer == "transformers"
    )
    return Resources(cpus=1.0, gpus=None, memory_gb=8.0) if in_process else LIGHT


def check_names(config: ObjectConfig) -> None:
    """
    Raises:
        UserError: a part is unknown.
    """
    for what, name, table in (
        ("grounder", config.grounder, GROUNDERS),
        ("tracker", config.tracker, TRACKERS),
    ):
        if name not in table:
            raise UserError(f"Unknown object {what} '{name}': choose one of {', '.join(sorted(table))}.")
