"""Codes against a brute-force search; straight-through gradient; revival of dead codes."""

import pytest
import torch

from harp.latent_action.quantizer import VectorQuantizer, code_usage

K, D = 5, 3
Q = 4


def make(dead_after: int = 3, books: int = 1) -> VectorQuantizer:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(K, D, dead_after, books)
    torch.nn.init.normal_(quantizer.codebook.weight)
    return quantizer


def test_chooses_the_nearest_code():
    quantizer = make()
    latents = torch.randn(4, 2, D)
    quantized = quantizer(latents)
    for b in range(4):
        for q in range(2):
            distances = [
                float((latents[b, q] - code).square().sum()) for code in quantizer.codebook.weight.detach()
            ]
            assert quantized.codes[b, q] == distances.index(min(distances))
    torch.testing.assert_close(quantized.vectors, quantizer.codebook.weight[quantized.codes])
    torch.testing.assert_close(quantized.straight_through, quantized.vectors)


def test_gradient_goes_straight_through_to_the_latents_only():
    quantizer = make()
    latents = torch.randn(4, D, requires_grad=True)
    weights = torch.randn(4, D)
    (quantizer(latents).straight_through * weights).sum().backward()
    torch.testing.assert_close(latents.grad, weights)
    assert quantizer.codebook.weight.grad is None


def test_first_batch_initializes_every_code():
    quantizer = make()
    torch.nn.init.constant_(quantizer.codebook.weight, 100.0)  # far away from all latents
    latents = torch.randn(64, D)
    assert quantizer.revive(latents, torch.Generator().manual_seed(0)) == list(range(K))
    assert quantizer(latents).codes.unique().numel() == K
    distances = torch.cdist(quantizer.codebook.weight, latents)
    assert distances.amin(1).max() < 1e-2, "every code sits on a latent"


def test_a_code_is_moved_after_so_many_unused_steps_and_then_chosen():
    quantizer = make(dead_after=3)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(64, D)
    quantizer.revive(latents, generator)
    with torch.no_grad():
        quantizer.codebook.weight[2] = 1e3
    moved = [quantizer.revive(latents, generator) for _ in range(4)]
    assert moved == [[], [], [2], []]
    assert (quantizer(latents).codes == 2).any()


def test_codes_in_use_stay_where_they_are():
    quantizer = make(dead_after=2)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(64, D)
    quantizer.revive(latents, generator)
    before = quantizer.codebook.weight.clone()
    for _ in range(10):
        quantizer.revive(latents, generator)
    assert torch.equal(before, quantizer.codebook.weight)


def test_fewer_distinct_latents_than_codes_is_no_error():
    quantizer = make()
    latents = torch.randn(2, D).repeat(8, 1)
    assert len(quantizer.revive(latents, torch.Generator().manual_seed(0))) == 2


def test_the_decoders_input_is_the_code_to_the_last_bit():
    quantizer = make()
    latents = torch.randn(64, D, requires_grad=True) * 100
    quantized = quantizer(latents)
    assert torch.equal(quantized.straight_through, quantizer.codebook.weight[quantized.codes])


@pytest.mark.parametrize(("revived", "perplexity"), [(True, 4.9), (False, 1.01)])
def test_a_collapsed_codebook_recovers(revived: bool, perplexity: float):
    """All latents on one code, the others far away: with revival all codes come into use, without it none ever does.

    The latents are five clusters, trained against by the codebook loss alone, as in training.
    """
    quantizer, generator = make(dead_after=4), torch.Generator().manual_seed(0)
    centres = torch.randn(K, D, generator=generator) * 3
    with torch.no_grad():
        quantizer.codebook.weight.fill_(50.0)
        quantizer.codebook.weight[1] = 0
        quantizer.steps_unused.zero_()
    optimizer = torch.optim.AdamW([quantizer.codebook.weight], lr=0.05, weight_decay=0)
    for _ in range(60):
        latents = centres.repeat(8, 1) + 0.1 * torch.randn(8 * K, D, generator=generator)
        quantized = quantizer(latents)
        optimizer.zero_grad()
        (latents - quantized.vectors).square().mean().backward()
        optimizer.step()
        if revived:
            quantizer.revive(latents, generator)
    usage, found = code_usage(quantizer(centres).codes, K)
    assert usage == (1.0 if revived else 1 / K)
    assert (found >= perplexity) if revived else (found <= perplexity)


def test_books_of_their_own_code_what_is_left_by_a_loop():
    quantizer = make(books=Q)
    books = quantizer.codebook.weight.detach().view(Q, K, D)
    latents = torch.randn(6, Q, D)
    quantized = quantizer(latents)
    for b in range(6):
        said = torch.zeros(D)
        for q in range(Q):
            distances = [float((latents[b, q] - said - code).square().sum()) for code in books[q]]
            assert quantized.codes[b, q] == distances.index(min(distances))
            said = said + books[q, quantized.codes[b, q]]
            assert torch.equal(quantized.vectors[b, q], said)
            assert torch.equal(quantized.straight_through[b, q], said)
    rows = quantizer.rows(quantized.codes)
    torch.testing.assert_close(quantizer.codebook.weight[rows].cumsum(-2), quantized.vectors)
    assert torch.equal(make().rows(quantized.codes), quantized.codes), (
        "one book has the same rows for all queries"
    )


def test_a_book_learns_from_its_own_query_alone():
    quantizer = make(books=Q)
    latents = torch.randn(6, Q, D, requires_grad=True)
    quantized = quantizer(latents)
    quantized.vectors[:, 2].sum().backward()
    gradient = quantizer.codebook.weight.grad
    assert gradient is not None
    assert gradient.view(Q, K, D).abs().sum((1, 2)).nonzero().flatten().tolist() == [2]
    assert latents.grad is None


def test_books_say_more_together_the_more_there_are():
    """Of four equal latents one book says the same four times; four books come nearer with each."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(256, 1, D, generator=generator).expand(-1, Q, -1)
    quantizer, optimizer_steps = make(books=Q), 100
    optimizer = torch.optim.AdamW(quantizer.parameters(), lr=0.02, weight_decay=0)
    for _ in range(optimizer_steps):
        optimizer.zero_grad()
        (latents - quantizer(latents).vectors).square().mean().backward()
        optimizer.step()
        quantizer.revive(latents, generator)
    quantized = quantizer(latents)
    left = (latents - quantized.vectors).square().mean((0, 2)) / latents.var()
    assert (left[1:] < 0.6 * left[:-1]).all()
    assert len(quantized.codes.unique(dim=0)) > 100
    usage, _ = code_usage(quantizer.rows(quantized.codes), Q * K)
    assert usage == 1.0


def test_a_dead_code_of_any_book_is_moved_onto_what_is_left():
    quantizer, generator = make(dead_after=2, books=Q), torch.Generator().manual_seed(0)
    latents = torch.randn(64, 1, D).expand(-1, Q, -1)
    assert quantizer.revive(latents, generator) == list(range(Q * K)), (
        "the first batch gives every book its codes"
    )
    with torch.no_grad():
        quantizer.codebook.weight[2 * K + 1] = 1e3
    moved = [quantizer.revive(latents, generator) for _ in range(3)]
    assert moved[1] == [2 * K + 1]
    said = quantizer(latents).vectors[:, 1].detach()
    assert torch.cdist(quantizer.codebook.weight[2 * K + 1 : 2 * K + 2], latents[:, 2] - said).min() < 1e-5


def test_usage_and_perplexity():
    usage, perplexity = code_usage(torch.tensor([0, 0, 1, 1]), 4)
    assert (usage, perplexity) == (0.5, pytest.approx(2.0))
    usage, perplexity = code_usage(torch.tensor([[3, 3], [3, 3]]), 4)
    assert (usage, perplexity) == (0.25, pytest.approx(1.0))
