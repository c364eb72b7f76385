import pytest
import torch

from harp.policy.latent_tokens import generate_codes, latent_loss
from harp.policy.prismatic import PrismaticVLA
from harp.policy.tokenizer import Tokens, append, load_tokenizer
from tests.harp.policy.tiny_policy import images, tiny_config, tiny_vla

INSTRUCTIONS = ["push it", "pick up the red block", "open the drawer"]
CODES = torch.tensor([[1, 2, 3, 4], [15, 0, 7, 7], [3, 9, 12, 5]])


@pytest.fixture(scope="module")
def vla() -> PrismaticVLA:
    return tiny_vla()


def prompts(texts: list[str] = INSTRUCTIONS) -> Tokens:
    return load_tokenizer(tiny_config()).prompts(texts)


def visual(vla: PrismaticVLA) -> torch.Tensor:
    return vla.visual_tokens(images(3), torch.tensor([True, False, True])).detach()


@torch.no_grad()
def test_loss_is_the_log_likelihood_of_the_codes_one_by_one(vla):
    """Each code by a forward of its own over an unpadded sequence that ends before it."""
    tokens, patches = prompts(), visual(vla)
    nll = torch.zeros(3, 4)
    best = torch.zeros(3, 4, dtype=torch.long)
    for row in range(3):
        ids = tokens.ids[row : row + 1, : tokens.lengths[row]]
        for step in range(4):
            words = vla.backbone.embed_tokens(torch.cat([ids, 259 + CODES[row : row + 1, :step]], dim=1))
            sequence = torch.cat([words[:, :1], patches[row : row + 1], words[:, 1:]], dim=1)
            logits = vla.language_model(inputs_embeds=sequence).logits[0, -1]
            nll[row, step] = -logits.log_softmax(-1)[259 + CODES[row, step]]
            best[row, step] = logits[259 : 259 + 16].argmax()
    result = latent_loss(vla, patches, tokens, CODES)
    torch.testing.assert_close(result.loss, nll.sum(1).mean(), atol=1e-5, rtol=1e-5)
    assert torch.equal(result.correct, best == CODES)
    torch.testing.assert_close(result.accuracy, (best == CODES).float().mean(0))


@torch.no_grad()
def test_codes_of_others_and_later_codes_do_not_matter(vla):
    changed = CODES.clone()
    changed[0] = 0
    changed[1, 3] = 9
    before, after = (latent_loss(vla, visual(vla), prompts(), codes) for codes in (CODES, changed))
    torch.testing.assert_close(before.hidden[1, :3], after.hidden[1, :3])
    torch.testing.assert_close(before.hidden[2], after.hidden[2])
    assert not torch.allclose(before.hidden[1, 3], after.hidden[1, 3])


def test_generation_equals_search_without_cache(vla):
    tokens, patches = prompts(), visual(vla)
    generated = generate_codes(vla, patches, tokens)
    for row in range(3):
        ids = tokens.ids[row : row + 1, : tokens.lengths[row]]
        codes: list[int] = []
        for _ in range(4):
            so_far = torch.tensor([[259 + code for code in codes]], dtype=torch.long)
            text = append(Tokens(ids, tokens.lengths[row : row + 1]), so_far, pad_id=258)
            with torch.no_grad():
                embeddings = vla.embed(patches[row : row + 1], text).embeddings
                logits = vla.language_model(inputs_embeds=embeddings).logits[0, -1]
            codes.append(int(logits[259 : 259 + 16].argmax()))
        assert generated.codes[row].tolist() == codes


def test_overfitted_batch_is_predicted_and_generated_alike():
    vla = tiny_vla().train()
    tokens, patches = prompts(), visual(vla)
    optimizer = torch.optim.AdamW([p for p in vla.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = latent_loss(vla, patches, tokens, CODES).loss
        loss.backward()
        optimizer.step()
    vla.eval()
    forced, free = latent_loss(vla, patches, tokens, CODES), generate_codes(vla, patches, tokens)
    assert forced.loss < 0.1
    assert forced.accuracy.tolist() == [1.0] * 4
    assert torch.equal(free.codes, CODES)
    # the embeddings a head reads are the same in training and in action, the last one included
    torch.testing.assert_close(free.hidden, forced.hidden, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(free.visual_hidden, forced.visual_hidden, atol=1e-4, rtol=1e-4)


def test_only_projector_and_language_model_train_by_default(vla):
    trained = {name.split(".")[0] for name, p in vla.named_parameters() if p.requires_grad}
    assert trained == {"projector", "language_model"}
    other = tiny_vla()
    other.train_vision("adapters")
    assert all("_adapter." in name for name, p in other.vision.named_parameters() if p.requires_grad)
    assert any(p.requires_grad for p in other.vision.parameters())


@torch.no_grad()
def test_human_images_take_the_frozen_path_in_a_mixed_batch(vla):
    mixed = vla.visual_tokens(images(2), torch.tensor([False, True]))
    frozen = vla.projector(vla.vision.frozen(images(2)[:, 0]))
    adapted = vla.projector(vla.vision.adapted(images(2)[:, 0]))
    torch.testing.assert_close(mixed[0], frozen[0])
    torch.testing.assert_close(mixed[1], adapted[1])
    assert not torch.allclose(frozen[1], adapted[1])
