"""Checkpoints written by hand in every published layout."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from data_schemas.errors import UserError
from harp.policy.action_policy import ParallelPolicy, build_action_policy
from harp.policy.checkpoints import load_policy, load_vla_weights, write_policy
from harp.policy.checkpoints.folder import find_policy
from harp.policy.checkpoints.openvla_config import openvla_config, openvla_preprocessor
from harp.policy.config import POLICIES, PolicyConfig
from harp.policy.normalization import Normalization, Statistics
from harp.policy.prismatic import PrismaticVLA
from harp.policy.tokenizer import load_tokenizer
from harp.weights.tensors import open_tensors
from tests.harp.policy.oft_statistics import oft_statistics
from tests.harp.policy.tiny_policy import ACTION, LANGUAGE, observations, tiny_config, tiny_vla

VIT = {"featurizer": 0, "fused_featurizer": 1}


def openvla_layout(vla: PrismaticVLA, adapters: bool) -> dict[str, Tensor]:
    """OpenVLA's names, written out: what its Hugging Face files hold, unread tails included."""
    own = dict(vla.state_dict())
    state: dict[str, Tensor] = {}
    for vit, index in VIT.items():
        prefix, source = f"vision_backbone.{vit}.", f"vision.backbones.{index}."
        width = own[f"{source}pos_embed"].shape[-1]
        for name in ("pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"):
            state[prefix + name] = own[source + name]
        if index == 0:
            state |= {prefix + name: own[source + name] for name in ("cls_token", "reg_token")}
        for block in range(3):
            parts = [
                f"{m}.{kind}"
                for m in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
                for kind in ("weight", "bias")
            ]
            for part in parts:
                state[f"{prefix}blocks.{block}.{part}"] = own[f"{source}blocks.{block}.{part}"]
            if index == 0:
                for scale in ("ls1", "ls2"):
                    state[f"{prefix}blocks.{block}.{scale}.scale_factor"] = own[
                        f"{source}blocks.{block}.{scale}.gamma"
                    ]
            if adapters:
                for branch in ("attn", "mlp"):
                    for layer in ("down.weight", "down.bias", "up.weight", "up.bias"):
                        part = f"blocks.{block}.{branch}_adapter.{layer}"
                        state[prefix + part] = own[source + part]
        state |= {f"{prefix}norm.weight": torch.ones(width), f"{prefix}norm.bias": torch.zeros(width)}
    state["vision_backbone.fused_featurizer.attn_pool.latent"] = torch.zeros(1, 1, 24)
    for layer in ("fc1", "fc2", "fc3"):
        for kind in ("weight", "bias"):
            state[f"projector.{layer}.{kind}"] = own[f"projector.{layer}.{kind}"]
    state |= {name: tensor for name, tensor in own.items() if name.startswith("language_model.")}
    return {name: tensor.clone() for name, tensor in state.items()}


def native_layout(vla: PrismaticVLA) -> dict[str, dict[str, dict[str, Tensor]]]:
    """Prismatic's `.pt`: three dictionaries below "model"."""
    flat = openvla_layout(vla, adapters=False)
    layers = {"fc1": "0", "fc2": "2", "fc3": "4"}
    vision, projector, llm = {}, {}, {}
    for name, tensor in flat.items():
        head, _, rest = name.partition(".")
        if head == "vision_backbone":
            vit, _, rest = rest.partition(".")
            native = {"featurizer": "dino_featurizer", "fused_featurizer": "siglip_featurizer"}[vit]
            vision[f"{native}.{rest.replace('scale_factor', 'gamma')}"] = tensor
        elif head == "projector":
            layer, kind = rest.split(".")
            projector[f"projector.{layers[layer]}.{kind}"] = tensor
        else:
            llm[f"llm.{rest}"] = tensor
    return {"model": {"vision_backbone": vision, "projector": projector, "llm_backbone": llm}}


def assert_equal(left: PrismaticVLA, right: PrismaticVLA, adapters: bool = True) -> None:
    for name, tensor in left.state_dict().items():
        if adapters or "_adapter." not in name:
            assert torch.equal(tensor, right.state_dict()[name]), name


def shards(state: dict[str, Tensor], folder: Path) -> None:
    names = sorted(state)
    index = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: state[name].contiguous() for name in part}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def test_openvla_shards(tmp_path):
    source, target = tiny_vla(0), tiny_vla(1)
    shards(openvla_layout(source, adapters=False), tmp_path)
    adapters = {name: tensor.clone() for name, tensor in target.state_dict().items() if "_adapter." in name}
    load_vla_weights(target, tmp_path)
    assert_equal(source, target, adapters=False)
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in adapters.items())


def test_every_tensor_is_read_once(tmp_path, monkeypatch):
    """Shapes are compared before anything is copied; reading for that, too, would double the time of a large policy."""
    state = openvla_layout(tiny_vla(0), adapters=True)
    shards(state, tmp_path)
    reader: Any = type(open_tensors(tmp_path))
    reads = Counter()
    read = reader.__getitem__

    def counted(tensors, name):
        reads[name] += 1
        return read(tensors, name)

    monkeypatch.setattr(reader, "__getitem__", counted)
    load_vla_weights(tiny_vla(1), tmp_path)
    assert set(reads.values()) == {1}
    assert len(reads) > 0.9 * len(state)


def test_native_prismatic_file_and_run_folder(tmp_path):
    source = tiny_vla(0)
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "latest-checkpoint.pt"
    torch.save(native_layout(source), path)
    for given in (path, tmp_path):
        target = tiny_vla(1)
        load_vla_weights(target, given)
        assert_equal(source, target, adapters=False)


def test_file_that_runs_code_is_refused(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (print, ("code ran",))

    torch.save({"model": Malicious()}, tmp_path / "bad.pt")
    with pytest.raises(UserError, match="holds more than tensors"):
        load_vla_weights(tiny_vla(), tmp_path / "bad.pt")


def authors_folder(policy: ParallelPolicy, folder: Path, config: PolicyConfig) -> None:
    """As their release: no `policy.json`; heads saved by data-parallel training."""
    shards(openvla_layout(policy.vla, adapters=True), folder)
    assert policy.proprio_projector is not None
    for stem, module in (
        ("action_head", policy.action_head),
        ("proprio_projector", policy.proprio_projector),
    ):
        torch.save({f"module.{name}": t for name, t in module.state_dict().items()}, folder / f"{stem}.pt")
    statistics = {"q01": [-1.0] * 4, "q99": [1.0] * 4}
    state = {"q01": [-1.0] * 5, "q99": [1.0] * 5}
    (folder / "normalization.json").write_text(
        json.dumps({"calvin": {"action": statistics, "proprio": state}})
    )
    load_tokenizer(config).save(folder)


@torch.no_grad()
def test_authors_folder_predicts_as_its_source(tmp_path, monkeypatch):
    config = tiny_config(action=ACTION)
    policy = build_action_policy(tiny_vla(action=ACTION)).eval()
    assert isinstance(policy, ParallelPolicy)
    authors_folder(policy, tmp_path, config)
    loaded = load_policy(tmp_path, config)
    assert loaded.policy is not None
    seen = observations(policy.vla, ["push it", "lift the cup"])
    assert torch.equal(loaded.policy.predict(seen), policy.predict(seen))
    assert loaded.normalization["calvin"].action.dim == 4
    monkeypatch.setitem(POLICIES, "tiny", tiny_config())
    by_hand: dict[str, Any] = {"preset": "tiny", "action": {"chunk": 3, "dim": 4, "proprioception_dim": 5}}
    (tmp_path / "policy.json").write_text(json.dumps(by_hand))
    assert find_policy(tmp_path) == tmp_path
    described = load_policy(tmp_path)
    assert described.policy is not None
    assert torch.equal(described.policy.predict(seen), policy.predict(seen))
    steps = np.random.default_rng(0).normal(size=(50, 5))
    values = {"action": (steps[:, :4], Statistics.of(steps[:, :4])), "proprio": (steps, Statistics.of(steps))}
    (tmp_path / "dataset_statistics.json").write_text(json.dumps({"aloha": oft_statistics(values, 1)}))
    (tmp_path / "normalization.json").unlink()
    by_hand["action"]["bounds"] = "extremes"
    (tmp_path / "policy.json").write_text(json.dumps(by_hand))
    high = load_policy(tmp_path).normalization["aloha"].action.denormalize(np.ones(4))
    np.testing.assert_allclose(high, steps[:, :4].max(0), rtol=1e-6)
    (tmp_path / "policy.json").unlink()
    for step in (tmp_path / "action_head.pt", tmp_path / "proprio_projector.pt"):  # OpenVLA-OFT's names
        step.rename(step.with_name(f"{step.stem}--150000_checkpoint.pt"))
    again = load_policy(tmp_path, config)
    assert again.policy is not None
    assert torch.equal(again.policy.predict(seen), policy.predict(seen))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_our_folder_round_trips_bit_for_bit(tmp_path, dtype):
    policy = build_action_policy(tiny_vla(action=ACTION, dtype=dtype))
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(50, 4, generator=rng).numpy()
    entry = Normalization(Statistics.of(values, [True] * 3 + [False]), Statistics.of(values[:, :3]))
    folder = tmp_path / "policy"
    for _ in range(2):  # the second replaces the first
        write_policy(
            policy, load_tokenizer(policy.vla.policy_config), folder, {"x": entry}, max_shard_size="20KB"
        )
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 1
    assert not list(tmp_path.glob(".partial*"))
    loaded = load_policy(folder)
    assert loaded.policy is not None
    for name, tensor in policy.state_dict().items():
        found = loaded.policy.state_dict()[name]
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor), name


def test_our_names_are_openvlas_and_the_authors(tmp_path):
    vla = tiny_vla()
    write_policy(vla, load_tokenizer(vla.policy_config), tmp_path / "p")
    written = load_file(tmp_path / "p" / "model.safetensors")
    expected = openvla_layout(vla, adapters=True)
    assert expected.keys() <= written.keys()
    assert all("attn_pool" in name for name in written.keys() - expected.keys())
    assert all(
        torch.equal(written[name], tensor) for name, tensor in expected.items() if "attn_pool" not in name
    )


def test_tied_embeddings_are_stored_once(tmp_path):
    language = LANGUAGE.model_copy(update={"tied_embeddings": True})
    vla = tiny_vla(language_model=language)
    write_policy(vla, load_tokenizer(vla.policy_config), tmp_path / "p")
    assert "language_model.lm_head.weight" not in load_file(tmp_path / "p" / "model.safetensors")
    loaded = load_policy(tmp_path / "p").vla
    assert_equal(vla, loaded)
    assert loaded.language_model.lm_head.weight is loaded.backbone.embed_tokens.weight


def test_mismatch_names_the_tensors_and_changes_nothing(tmp_path):
    state = openvla_layout(tiny_vla(0), adapters=False)
    del state["projector.fc1.bias"]
    state["projector.fc4.weight"] = torch.zeros(2)
    state["language_model.model.norm.weight"] = torch.zeros(7)
    shards(state, tmp_path)
    target = tiny_vla(1)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_vla_weights(target, tmp_path)
    message = str(caught.value)
    assert "missing: projector.fc1.bias" in message
    assert "unexpected: projector.fc4.weight" in message
    assert "language_model.model.norm.weight (7,) where (32,) is expected" in message
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in before.items())


def test_folders_that_lack_something(tmp_path):
    with pytest.raises(UserError, match=r"no policy\.json"):
        load_policy(tmp_path)
    policy = build_action_policy(tiny_vla(action=ACTION))
    write_policy(policy, load_tokenizer(policy.vla.policy_config), tmp_path / "p")
    (tmp_path / "p" / "action_head.pt").unlink()
    with pytest.raises(UserError, match=r"Expected one action_head\.pt"):
        load_policy(tmp_path / "p")
    config = json.loads((tmp_path / "p" / "policy.json").read_text())
    (tmp_path / "p" / "policy.json").write_text(json.dumps(config | {"colour": "red"}))
    with pytest.raises(UserError, match="key 'colour'"):
        load_policy(tmp_path / "p")
    for content, found in (('{"preset": "huge"}', "unknown preset 'huge'"), ("{", "cannot be read")):
        (tmp_path / "p" / "policy.json").write_text(content)
        with pytest.raises(UserError, match=found):
            load_policy(tmp_path / "p")


def test_a_policy_is_found_in_its_folder_and_in_that_of_its_run(tmp_path):
    vla = tiny_vla()
    write_policy(vla, load_tokenizer(vla.policy_config), tmp_path / "run" / "policy")
    assert find_policy(tmp_path / "run") == find_policy(str(tmp_path / "run" / "policy"))
    with pytest.raises(UserError, match=r"holds no policy \(policy.json\): .* train stage3`, or one of noop"):
        find_policy(tmp_path, ("noop",))


def test_only_openvlas_architecture_gets_openvlas_configuration():
    written = openvla_config(POLICIES["llama-2-7b"])
    assert written is not None
    assert written["text_config"]["vocab_size"] == 32064
    assert openvla_config(tiny_config()) is None
    assert openvla_config(POLICIES["smollm2-135m"]) is None


def test_the_written_preprocessor_gives_the_pixels_of_ours():
    vla = tiny_vla()
    settings = openvla_preprocessor(vla.policy_config.vision)
    frames = torch.randint(0, 256, (2, 50, 40, 3), dtype=torch.uint8)
    parts = []
    for resize, normalize in zip(
        settings["tvf_resize_params"], settings["tvf_normalize_params"], strict=True
    ):
        pixels = torch.nn.functional.interpolate(
            frames.movedim(-1, 1) / 255, resize["size"], mode="bicubic", antialias=resize["antialias"]
        ).clamp(0, 1)
        mean, deviation = (torch.tensor(normalize[name])[:, None, None] for name in ("mean", "std"))
        parts.append((pixels - mean) / deviation)
    torch.testing.assert_close(vla.vision.preprocess(frames), torch.cat(parts, dim=1))
