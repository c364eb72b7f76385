"""Alignment objectives against the equations written as loops over pairs and frames."""

import math

import pytest
import torch

from harp.losses.alignment import OBJECTIVES, Objective, build_objective
from harp.losses.config import AlignmentConfig
from harp.losses.features import PairedFeatures, PairStreams

B, F, P, D, E = 5, 3, 4, 7, 6
SETTINGS = {
    "source_margin": 0.1,
    "discriminative_margin": 0.3,
    "robot_to_human": 0.7,
    "human_to_robot": 1.3,
    "temperature": 0.4,
}
TEMPERATURES = [None, 0.0, 0.2]


def build(objective: str, **settings: object) -> Objective:
    torch.manual_seed(0)
    return build_objective(
        AlignmentConfig.model_validate({"objective": objective, **SETTINGS, **settings}), D, E
    ).double()


def streams(seed: int = 0, pairs: int = B) -> PairStreams:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(3, pairs, F, P, D, generator=generator, dtype=torch.float64)
    return PairStreams(*tokens, text=torch.randn(pairs, E, generator=generator, dtype=torch.float64))


def features(seed: int = 0, pairs: int = B) -> PairedFeatures:
    raw = torch.randn(3, pairs, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return PairedFeatures(*torch.nn.functional.normalize(raw, dim=-1))


def cosine(u: torch.Tensor, v: torch.Tensor) -> float:
    dot = sum(float(a) * float(b) for a, b in zip(u, v, strict=True))
    return dot / math.sqrt(sum(float(a) ** 2 for a in u) * sum(float(b) ** 2 for b in v))


def distance(u: torch.Tensor, v: torch.Tensor) -> float:
    return 1 - cosine(u, v)


def negative(distances: list[float], temperature: float | None) -> float:
    if temperature is None:
        return sum(distances) / len(distances)
    if temperature == 0:
        return min(distances)
    return -temperature * math.log(sum(math.exp(-d / temperature) for d in distances) / len(distances))


def pair_oracle(f: PairedFeatures, i: int, objective: str, temperature: float | None) -> float:
    others = [j for j in range(len(f.robot)) if j != i]
    paired = distance(f.robot[i], f.human[i])
    total = 0.0
    if objective in ("hr", "hr_style"):
        S = lambda x, y: math.exp(cosine(x, y) / SETTINGS["temperature"])  # noqa: E731
        positive = S(f.human[i], f.robot[i])
        against = S(f.human[i], f.robot_frozen[i]) + sum(S(f.human[i], f.robot[j]) for j in others)
        total -= math.log(positive / (positive + against)) / 2
        total -= math.log(positive / (positive + sum(S(f.robot[i], f.human[j]) for j in others))) / 2
    if objective == "l2":
        total += sum(float(a - b) ** 2 for a, b in zip(f.robot[i], f.human[i], strict=True))
    if objective in ("sr", "srpd"):
        total += max(0.0, SETTINGS["source_margin"] + paired - distance(f.robot_frozen[i], f.human[i]))
    if objective == "srpd" and others:
        to_human = negative([distance(f.robot[i], f.human[j]) for j in others], temperature)
        to_robot = negative([distance(f.robot[j], f.human[i]) for j in others], temperature)
        margin = SETTINGS["discriminative_margin"]
        total += SETTINGS["robot_to_human"] * max(0.0, margin + paired - to_human)
        total += SETTINGS["human_to_robot"] * max(0.0, margin + paired - to_robot)
    return total


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("pairs", [1, 2, B])
def test_equals_the_equations(objective, pairs, temperature):
    f = features(pairs=pairs)
    losses = build(objective, negative_temperature=temperature)(f).losses
    expected = [pair_oracle(f, i, objective, temperature) for i in range(pairs)]
    assert losses.tolist() == pytest.approx(expected, abs=1e-12)


def mean_pooled(tokens: torch.Tensor) -> list[float]:
    """ρ of one video by loops."""
    mean = [sum(float(tokens[f, p, d]) for f in range(F) for p in range(P)) / (F * P) for d in range(D)]
    norm = math.sqrt(sum(x * x for x in mean))
    return [x / norm for x in mean]


def task_pooled(tokens: torch.Tensor, query: list[float]) -> list[float]:
    """Attention of a query over all frames and patches of one video by loops."""
    places = [(f, p) for f in range(F) for p in range(P)]
    logits = [sum(float(tokens[f, p, d]) * query[d] for d in range(D)) / math.sqrt(D) for f, p in places]
    weights = [math.exp(l) / sum(map(math.exp, logits)) for l in logits]
    mean = [
        sum(w * float(tokens[f, p, d]) for w, (f, p) in zip(weights, places, strict=True)) for d in range(D)
    ]
    norm = math.sqrt(sum(x * x for x in mean))
    return [x / norm for x in mean]


@pytest.mark.parametrize("objective", ["srpd", "hr"])
def test_pooling_equals_the_equations(objective):
    module, s = build(objective), streams()
    pooled = module.pool(s)
    state = module.state_dict()
    for name in ("robot", "human", "robot_frozen"):
        for i in range(B):
            tokens = getattr(s, name)[i]
            if objective == "hr":
                weight, bias = state["pooling.to_query.weight"], state["pooling.to_query.bias"]
                query = [
                    sum(float(weight[d, e] * s.text[i, e]) for e in range(E)) + float(bias[d])
                    for d in range(D)
                ]
                expected = task_pooled(tokens, query)
            else:
                expected = mean_pooled(tokens)
            assert getattr(pooled, name)[i].tolist() == pytest.approx(expected, abs=1e-12)


def test_patch_means_are_pooled_like_their_patches():
    s = streams()
    robot, human, frozen = (t.mean(2, keepdim=True) for t in (s.robot, s.human, s.robot_frozen))
    means = PairStreams(robot, human, frozen, s.text)
    torch.testing.assert_close(build("srpd").pool(means).robot, build("srpd").pool(s).robot)


def test_one_pair_leaves_out_the_discriminative_term():
    f = features(pairs=1)
    sr, srpd = (build(name)(f) for name in ("sr", "srpd"))
    assert sr.loss.item() == srpd.loss.item()
    assert "other_distance" not in srpd.metrics


@pytest.mark.parametrize("temperature", [None, 0.2])
@pytest.mark.parametrize("objective", ["hr", "hr_style", "l2", "sr", "srpd"])
def test_gradient_is_the_derivative(objective, temperature):
    s = streams(seed=1, pairs=3)
    # Margins that keep every hinge away from its kink.
    settings = {"source_margin": 3.0, "discriminative_margin": 3.0, "negative_temperature": temperature}
    module = build(objective, **settings)
    parameters = list(module.parameters())

    def loss(robot, *_):
        return module(module.pool(PairStreams(robot, s.human, s.robot_frozen, s.text))).loss

    assert torch.autograd.gradcheck(loss, (s.robot.clone().requires_grad_(), *parameters))


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_no_gradient_reaches_the_frozen_streams(objective):
    s = streams()
    robot, human, frozen = (t.clone().requires_grad_() for t in (s.robot, s.human, s.robot_frozen))
    module = build(objective)
    loss = module(module.pool(PairStreams(robot, human, frozen, s.text))).loss
    if loss.requires_grad:
        loss.backward()
    assert human.grad is None
    assert frozen.grad is None
    assert (robot.grad is not None) == (objective != "none")


def test_task_aware_pooling_learns_from_frozen_streams_too():
    s = streams()
    module = build("hr")
    for name in ("human", "robot_frozen"):
        module.zero_grad()
        getattr(module.pool(s), name).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_metrics_count_active_hinges_and_distances():
    f = features()
    metrics = {name: float(value) for name, value in build("srpd")(f).metrics.items()}
    paired = [distance(f.robot[i], f.human[i]) for i in range(B)]
    other = [distance(f.robot[i], f.human[j]) for i in range(B) for j in range(B) if i != j]
    reference = [distance(f.robot_frozen[i], f.human[i]) for i in range(B)]
    active = sum(0.1 + p - r > 0 for p, r in zip(paired, reference, strict=True)) / B
    assert metrics["paired_distance"] == pytest.approx(sum(paired) / B)
    assert metrics["other_distance"] == pytest.approx(sum(other) / len(other))
    assert metrics["reference_distance"] == pytest.approx(sum(reference) / B)
    assert metrics["active_sr"] == pytest.approx(active)


@pytest.mark.parametrize("objective", ["hr", "srpd"])
def test_autocast_does_not_round(objective):
    module = build(objective).float()
    s = PairStreams(
        *(t.float() for t in (streams().robot, streams().human, streams().robot_frozen, streams().text))
    )
    with torch.autocast("cpu", torch.bfloat16):
        rounded = module(module.pool(s)).loss
    assert rounded.item() == module(module.pool(s)).loss.item()
