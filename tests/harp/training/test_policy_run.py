"""How a policy begins: what it sees differs as much from patch to patch as what it reads from word to word."""

from pathlib import Path

import pytest
import torch

from harp.policy.checkpoints import write_policy
from harp.policy.prismatic import Projector
from harp.policy.tokenizer import load_tokenizer
from harp.training.policy_run import Start, build_vla
from tests.harp.policy.tiny_policy import tiny_config, tiny_vla


def test_layers_of_a_scaled_projector_tell_patches_apart() -> None:
    torch.manual_seed(0)
    projector = Projector(24, 64, 32)
    patches = 3.0 + 0.1 * torch.randn(5, 40, 24)
    before = projector(patches).flatten(0, 1)
    assert (before - before.mean(0)).std() < 0.1 * before.mean(0).std()  # what made it necessary
    projector.scale_to(patches, 0.5)
    gelu = torch.nn.functional.gelu
    first = projector.fc1(patches)
    second = projector.fc2(gelu(first))
    for output, spread in ((first, 1.0), (second, 1.0), (projector(patches), 0.5)):
        rows = output.flatten(0, 1)
        assert (rows - rows.mean(0)).std().item() == pytest.approx(spread, rel=1e-4)
        assert rows.mean(0).abs().max() < 1e-4


def test_a_policy_begins_with_patches_as_large_as_words() -> None:
    torch.manual_seed(0)
    vla, _ = build_vla(tiny_config(), Start())
    pictures = torch.randint(0, 256, (4, 3, 5, 2), dtype=torch.uint8).permute(0, 2, 3, 1)
    pictures = pictures.repeat_interleave(9, 1).repeat_interleave(9, 2)[..., [0, 1, 1]]
    images = vla.vision.preprocess(pictures)
    tokens = vla.visual_tokens(images[:, None], torch.zeros(4, dtype=torch.bool)).detach().flatten(0, 1)
    words = vla.backbone.embed_tokens.weight.std()
    assert words.item() == pytest.approx(1.0, abs=0.05)
    assert 0.4 < (tokens - tokens.mean(0)).std() / words < 2.5


def test_a_projector_that_was_trained_stays_as_it_is(tmp_path: Path) -> None:
    trained = tiny_vla()
    write_policy(trained, load_tokenizer(trained.policy_config), tmp_path)
    vla, _ = build_vla(trained.policy_config, Start(base=tmp_path))
    for name, tensor in trained.projector.state_dict().items():
        torch.testing.assert_close(vla.projector.state_dict()[name], tensor)
