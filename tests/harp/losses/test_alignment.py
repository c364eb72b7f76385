"""Alignment objectives against the paper's equations written as loops over pairs."""

import math

import pytest
import torch

from harp.losses.alignment import OBJECTIVES, PairedFeatures, build_objective
from harp.losses.config import AlignmentConfig

B, D = 5, 7
MARGINS = {"source_margin": 0.1, "discriminative_margin": 0.3, "robot_to_human": 0.7, "human_to_robot": 1.3}


def features(seed: int = 0, pairs: int = B) -> PairedFeatures:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(3, pairs, D, generator=generator, dtype=torch.float64)
    return PairedFeatures(*torch.nn.functional.normalize(raw, dim=-1))


def distance(u: torch.Tensor, v: torch.Tensor) -> float:
    dot = sum(float(a) * float(b) for a, b in zip(u, v, strict=True))
    return 1 - dot / math.sqrt(sum(float(a) ** 2 for a in u) * sum(float(b) ** 2 for b in v))


def oracle(f: PairedFeatures, objective: str) -> float:
    total, pairs = 0.0, len(f.robot)
    for i in range(pairs):
        paired = distance(f.robot[i], f.human[i])
        if objective == "l2":
            total += sum(float(a - b) ** 2 for a, b in zip(f.robot[i], f.human[i], strict=True))
        if objective in ("sr", "srpd"):
            reference = distance(f.robot_frozen[i], f.human[i])
            total += max(0.0, MARGINS["source_margin"] + paired - reference)
        if objective == "srpd" and pairs > 1:
            others = [j for j in range(pairs) if j != i]
            to_human = sum(distance(f.robot[i], f.human[j]) for j in others) / len(others)
            to_robot = sum(distance(f.robot[j], f.human[i]) for j in others) / len(others)
            margin = MARGINS["discriminative_margin"]
            total += MARGINS["robot_to_human"] * max(0.0, margin + paired - to_human)
            total += MARGINS["human_to_robot"] * max(0.0, margin + paired - to_robot)
    return total / pairs


@pytest.mark.parametrize("objective", ["none", "l2", "sr", "srpd"])
@pytest.mark.parametrize("pairs", [1, 2, B])
def test_equals_the_equations(objective, pairs):
    f = features(pairs=pairs)
    loss = build_objective(AlignmentConfig(objective=objective, **MARGINS))(f).loss
    assert loss.item() == pytest.approx(oracle(f, objective), abs=1e-12)


def test_one_pair_leaves_out_the_discriminative_term():
    f = features(pairs=1)
    sr, srpd = (build_objective(AlignmentConfig(objective=name, **MARGINS))(f) for name in ("sr", "srpd"))
    assert sr.loss.item() == srpd.loss.item()
    assert "other_distance" not in srpd.metrics


@pytest.mark.parametrize("objective", ["l2", "sr", "srpd"])
def test_gradient_is_the_derivative(objective):
    f = features(seed=1)
    # Margins that keep every hinge away from its kink.
    config = AlignmentConfig(objective=objective, source_margin=3.0, discriminative_margin=3.0)
    module = build_objective(config)

    def loss(robot):
        return module(PairedFeatures(robot, f.human, f.robot_frozen)).loss

    assert torch.autograd.gradcheck(loss, (f.robot.clone().requires_grad_(),))


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_no_gradient_reaches_frozen_features(objective):
    f = features()
    robot, human, frozen = (x.clone().requires_grad_() for x in (f.robot, f.human, f.robot_frozen))
    loss = build_objective(AlignmentConfig(objective=objective, **MARGINS))(
        PairedFeatures(robot, human, frozen)
    ).loss
    if loss.requires_grad:
        loss.backward()
    assert human.grad is None
    assert frozen.grad is None


def test_metrics_count_active_hinges_and_distances():
    f = features()
    metrics = build_objective(AlignmentConfig(objective="srpd", **MARGINS))(f).metrics
    paired = [distance(f.robot[i], f.human[i]) for i in range(B)]
    other = [distance(f.robot[i], f.human[j]) for i in range(B) for j in range(B) if i != j]
    reference = [distance(f.robot_frozen[i], f.human[i]) for i in range(B)]
    active = sum(0.1 + p - r > 0 for p, r in zip(paired, reference, strict=True)) / B
    assert metrics["paired_distance"] == pytest.approx(sum(paired) / B)
    assert metrics["other_distance"] == pytest.approx(sum(other) / len(other))
    assert metrics["active_sr"] == pytest.approx(active)


def test_autocast_does_not_round_the_distances():
    f = PairedFeatures(*(x.float() for x in (features().robot, features().human, features().robot_frozen)))
    module = build_objective(AlignmentConfig(objective="srpd", **MARGINS))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = module(f).loss
    assert rounded.item() == module(f).loss.item()
