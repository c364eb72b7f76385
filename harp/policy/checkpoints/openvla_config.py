"""What OpenVLA's own loader wants besides our tensors: its `config.json` and `preprocessor_config.json`, and the ViTs' unread tails."""

from typing import Any

import torch
from torch import Tensor

from harp.policy.checkpoints.names import FEATURIZERS
from harp.policy.config import LLAMA_2_7B, PolicyConfig
from harp.vision.config import VisionConfig

_PAPER_ARCHITECTURES = ("dinov2-l14-reg4", "siglip-so400m-14")


def openvla_config(config: PolicyConfig) -> dict[str, Any] | None:
    """OpenVLA's configuration, or None where the architecture is not OpenVLA's."""
    architectures = tuple(backbone.architecture for backbone in config.vision.backbones)
    language = config.language_model.model_copy(update={"weights": None, "attention": LLAMA_2_7B.attention})
    if architectures != _PAPER_ARCHITECTURES or config.vision.image_size != 224 or language != LLAMA_2_7B:
        return None
    return {
        "architectures": ["OpenVLAForActionPrediction"],
        "model_type": "openvla",
        "vision_backbone_id": "dinosiglip-vit-so-224px",
        "llm_backbone_id": "llama2-7b-pure",
        "arch_specifier": "no-align+fused-gelu-mlp",
        "use_fused_vision_backbone": True,
        "image_resize_strategy": "resize-naive",
        "llm_max_length": 2048,
        "pad_token_id": language.pad_id,
        "pad_to_multiple_of": 64,
        "n_action_bins": 256,
        "torch_dtype": config.dtype,
        "text_config": {
            "model_type": "llama",
            "vocab_size": language.rows,
            "pad_token_id": language.pad_id,
            "torch_dtype": config.dtype,
        },
    }


def openvla_preprocessor(config: VisionConfig) -> dict[str, Any]:
    """OpenVLA's `preprocessor_config.json`: each backbone's square size, bicubic interpolation, mean and deviation."""
    number, size = len(config.backbones), config.image_size
    vits = [backbone.vit for backbone in config.backbones]
    means, deviations = [list(vit.pixel_mean) for vit in vits], [list(vit.pixel_std) for vit in vits]
    resize = {"antialias": True, "interpolation": 3, "max_size": None, "size": [size, size]}
    return {
        "processor_class": "PrismaticProcessor",
        "image_processor_type": "PrismaticImageProcessor",
        "use_fused_vision_backbone": number > 1,
        "image_resize_strategy": "resize-naive",
        "input_sizes": number * [[3, size, size]],
        "interpolations": number * ["bicubic"],
        "means": means,
        "stds": deviations,
        "tvf_do_letterbox": False,
        "tvf_letterbox_fill": None,
        "tvf_resize_params": number * [resize],
        "tvf_crop_params": number * [{"output_size": [size, size]}],
        "tvf_normalize_params": [
            {"inplace": False, "mean": mean, "std": deviation}
            for mean, deviation in zip(means, deviations, strict=True)
        ],
    }


def behind_features(config: VisionConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors that published ViTs have behind the features: final norm, and SigLIP's attention pooling.

    Only for untrimmed backbones: a trimmed one is of our own layout.
    """
    state: dict[str, Tensor] = {}
    for featurizer, backbone in zip(FEATURIZERS, config.backbones, strict=False):
        if backbone.trim:
            continue
        width, hidden = backbone.vit.width, backbone.vit.mlp_width
        shapes = {"norm.weight": (width,), "norm.bias": (width,)}
        if not backbone.vit.class_token:
            shapes |= {
                "attn_pool.latent": (1, 1, width),
                "attn_pool.norm.weight": (width,),
                "attn_pool.norm.bias": (width,),
            }
            linear = {"q": (width, width), "kv": (2 * width, width), "proj": (width, width)}
            linear |= {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
            for name, shape in linear.items():
                shapes |= {f"attn_pool.{name}.weight": shape, f"attn_pool.{name}.bias": shape[:1]}
        for name, shape in shapes.items():
            fill = torch.ones if name.endswith("norm.weight") else torch.zeros
            state[f"vision_backbone.{featurizer}.{name}"] = fill(shape, dtype=dtype)
    return state
