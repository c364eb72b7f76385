"""A stage-1 configuration that takes a step in a few milliseconds, with a real ViT and a real text encoder."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizer

from harp.training.config import Stage1Config
from tests.harp.training.changed import changed

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "push",
    "lift",
    "press",
    "flip",
    "the",
    "disc",
    "gently",
]


def write_text_encoder(folder: Path) -> Path:
    """A random two-layer BERT whose vocabulary is that of the tiny version's instructions."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(sizes).save_pretrained(folder)
    return folder


def tiny_config(text_encoder: Path, **changes: object) -> Stage1Config:
    """Random 32-d ViT at 56 px, 24-d latent action model. `changes` are `section__key=value` or `key=value`."""
    vit = {
        "width": 32,
        "depth": 3,
        "heads": 2,
        "mlp_width": 64,
        "position_grid": 4,
        "class_token": True,
        "layer_scale": True,
    }
    values: dict = {
        "vision": {"image_size": 56, "backbones": [{"architecture": vit, "adapter_reduction": 4}]},
        "text": {"model": str(text_encoder), "max_tokens": 16},
        "latent_action": {
            "width": 24,
            "heads": 2,
            "encoder_blocks": 1,
            "decoder_blocks": 1,
            "latent_dim": 8,
            "codebook_size": 8,
            "num_keypoints": 3,
        },
        "data": {
            "pairs_per_batch": 4,
            "singles_per_batch": 2,
            "context_frames": 2,
            "horizon_seconds": [0.2, 0.6],
        },
        "losses": {},
        "training": {
            "steps": 8,
            "learning_rate": 3e-3,
            "adapter_learning_rate": 3e-3,
            "warmup_steps": 2,
            "checkpoint_every": 3,
            "precision": "fp32",
        },
        "evaluation_frames": 4,
    }
    return Stage1Config.model_validate(changed(values, changes))
