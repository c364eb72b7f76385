"""One step of stage 1: routes, gradients, and sameness of cached and computed human features."""

from dataclasses import replace

import pytest
import torch

from harp.data.frozen_features import FrozenFeatures
from harp.data.loader import Stage1Loader
from harp.data.sampling import TransitionSampler
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.latent_action.language import FrozenTextEncoder
from harp.training.stage1 import encoder_identity, frozen_encoder
from harp.training.stage1_module import Stage1
from harp.vision.encoder import load_vision_encoder
from tests.harp.tiny_version import write_version
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    config = tiny_config(write_text_encoder(folder / "bert"))
    version = PublishedVersion.open(
        write_version(folder / "lake", pairs=5, held_out=1, humans=2, robots=2, frames=8)
    )
    torch.manual_seed(0)
    stage = Stage1(config, load_vision_encoder(config.vision), FrozenTextEncoder(config.text.model))
    reader = ShardReader(version)

    def batch(max_token_bytes=10**9):
        features = FrozenFeatures.prepare(
            version,
            reader,
            frozen_encoder(stage.encoder, "fp32"),
            identity=encoder_identity(stage.encoder, "fp32"),
            folder=folder / "features",
            max_token_bytes=max_token_bytes,
        )
        return Stage1Loader(TransitionSampler(version, config.data, 0), reader, features, 3, 9).load(0)

    return stage, batch


def step(stage, batch):
    return stage(batch, stage.count(batch))


def test_gradients_reach_adapters_and_model_but_nothing_frozen(world):
    stage, batch = world
    stage.zero_grad()
    step(stage, batch()).loss.backward()
    trained = {id(p) for group in stage.parameter_groups() for p in group["params"]}
    for name, parameter in stage.named_parameters():
        if id(parameter) in trained:
            assert parameter.grad is not None, name
        else:
            assert parameter.grad is None, name
    adapters = [p for p in stage.encoder.trainable_parameters()]
    assert sum(float(p.grad.abs().sum()) for p in adapters) > 0
    assert all(not p.requires_grad for p in stage.text._model.parameters())


def test_kept_tokens_give_the_loss_of_computed_ones(world):
    stage, batch = world
    kept, computed = step(stage, batch()), step(stage, batch(max_token_bytes=0))
    assert kept.loss.item() == pytest.approx(computed.loss.item(), rel=1e-3)  # kept in bfloat16
    assert kept.metrics["alignment"] == computed.metrics["alignment"]


def test_human_features_are_the_same_after_training(world):
    stage, batch = world
    frames = batch().robot_frames[:4]
    before = frozen_encoder(stage.encoder, "fp32")(frames)
    adapted_before = stage.encoder.adapted(stage.encoder.preprocess(frames))
    optimizer = torch.optim.AdamW(stage.parameter_groups())
    for _ in range(3):
        optimizer.zero_grad()
        step(stage, batch()).loss.backward()
        optimizer.step()
    assert torch.equal(before, adapted_before), "adapters begin at the identity"
    assert torch.equal(before, frozen_encoder(stage.encoder, "fp32")(frames))
    assert not torch.equal(before, stage.encoder.adapted(stage.encoder.preprocess(frames)))


def test_one_batch_can_be_learned(world):
    stage, batch = world
    data = batch()
    optimizer = torch.optim.AdamW(stage.parameter_groups())
    history = []
    for number in range(80):
        output = step(stage, data)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        metrics = {name: value.item() for name, value in output.metrics.items()}
        history.append(metrics | stage.after_step([output], metrics, number, optimizer))
    for name in ("prediction", "keypoints", "effector"):
        assert history[-1][name] < 0.7 * history[0][name], name
    assert history[-1]["code_perplexity"] > 2


def test_a_revived_code_starts_without_momentum(world):
    stage, batch = world
    codebook = stage.latent_action.vq.codebook.weight
    optimizer = torch.optim.AdamW(stage.parameter_groups())
    output = step(stage, batch())
    output.loss.backward()
    optimizer.step()
    for moment in ("exp_avg", "exp_avg_sq"):
        optimizer.state[codebook][moment].fill_(1.0)
    with torch.no_grad():
        stage.latent_action.vq.steps_unused.zero_()
        stage.latent_action.vq.steps_unused[1] = stage.latent_action.vq.dead_after
        codebook[1] = 1e3
    metrics = {name: value.item() for name, value in output.metrics.items()}
    assert stage.after_step([output], metrics, 0, optimizer)["codes_revived"] == 1
    for moment in ("exp_avg", "exp_avg_sq"):
        rows = optimizer.state[codebook][moment]
        assert (rows[1] == 0).all()
        assert (rows[torch.arange(len(rows)) != 1] == 1).all()


def test_before_quantization_the_decoder_reads_latents_and_codes_only_follow(world, monkeypatch):
    stage, batch = world
    model = stage.latent_action
    monkeypatch.setattr(model, "config", model.config.model_copy(update={"quantize_after": 0.5}))
    first_quantized = stage.config.training.steps // 2
    encoder = model.to_codebook.weight

    def prediction_and_gradients(step_number, codebook):
        stage.zero_grad()
        with torch.no_grad():
            model.vq.codebook.weight.copy_(codebook)
        output = step(stage, replace(batch(), step=step_number))
        output.loss.backward()
        return output.metrics["prediction"].item(), encoder.grad.clone(), model.vq.codebook.weight.grad

    before = model.vq.codebook.weight.detach().clone()
    try:
        loss, gradient, to_codes = prediction_and_gradients(first_quantized - 1, before)
        other_loss, other_gradient, _ = prediction_and_gradients(first_quantized - 1, before + 1)
        assert loss == other_loss, "codes are not read"
        torch.testing.assert_close(gradient, other_gradient)
        assert to_codes.abs().sum() > 0, "codes follow"
        loss, gradient, _ = prediction_and_gradients(first_quantized, before)
        other_loss, other_gradient, _ = prediction_and_gradients(first_quantized, before + 1)
        assert loss != other_loss, "codes are read"
        assert not torch.allclose(gradient, other_gradient), "latents are drawn to them"
    finally:
        with torch.no_grad():
            model.vq.codebook.weight.copy_(before)
        stage.zero_grad()


def test_codes_have_a_rate_of_their_own(world, monkeypatch):
    stage, _ = world
    rates = {group["name"]: group["lr"] for group in stage.parameter_groups()}
    assert rates["codebook"] == rates["latent_action"]
    training = stage.config.training.model_copy(update={"codebook_learning_rate": 0.5})
    monkeypatch.setattr(stage, "config", stage.config.model_copy(update={"training": training}))
    rates = {group["name"]: group["lr"] for group in stage.parameter_groups()}
    assert rates["codebook"] == 0.5
    assert rates["latent_action"] == stage.config.training.learning_rate


def test_trained_state_round_trip(world):
    stage, batch = world
    state = {name: tensor.clone() for name, tensor in stage.trained_state().items()}
    expected = step(stage, batch()).loss.item()
    with torch.no_grad():
        for parameter in stage.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    assert step(stage, batch()).loss.item() != expected
    stage.load_trained_state(state)
    assert step(stage, batch()).loss.item() == expected


def test_encoder_identity_follows_frozen_weights_only(world):
    stage, _ = world
    identity = encoder_identity(stage.encoder, "fp32")
    assert identity != encoder_identity(stage.encoder, "bf16")
    with torch.no_grad():
        next(stage.encoder.trainable_parameters()).add_(1)
    assert encoder_identity(stage.encoder, "fp32") == identity
    frozen = next(p for p in stage.encoder.parameters() if not p.requires_grad)
    with torch.no_grad():
        frozen.add_(1)
        assert encoder_identity(stage.encoder, "fp32") != identity
        frozen.sub_(1)
