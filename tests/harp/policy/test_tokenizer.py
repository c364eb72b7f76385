from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from data_schemas.errors import BadInput, UserError
from harp.policy.config import LLAMA_2_7B, POLICIES, PROMPT, SMOLLM2_135M
from harp.policy.tokenizer import append, load_tokenizer
from tests.harp.policy.tiny_policy import tiny_config


def test_published_token_ids():
    assert list(POLICIES["llama-2-7b"].code_ids) == list(range(32001, 32017))
    assert LLAMA_2_7B.pad_id == 32000
    assert LLAMA_2_7B.rows == 32064
    assert POLICIES["smollm2-135m"].code_ids[0] == SMOLLM2_135M.vocabulary + 1


def test_prompt_is_prismatics_and_padded_on_the_right():
    tokens = load_tokenizer(tiny_config()).prompts(["push it", "Pick  UP the red block"])
    texts = [
        "In: What action should the robot take to push it?\nOut: ",
        "In: What action should the robot take to pick up the red block?\nOut: ",
    ]
    assert tokens.lengths.tolist() == [1 + len(text) for text in texts]
    assert tokens.ids[:, 0].tolist() == [256, 256]
    assert tokens.ids[0, tokens.lengths[0] :].unique().tolist() == [258]
    assert tokens.is_token.sum(1).tolist() == tokens.lengths.tolist()
    assert tokens.ids[0, 1] != tokens.ids[0, 2]


def test_suffix_stands_before_the_padding():
    tokens = load_tokenizer(tiny_config()).prompts(["a", "a longer one"])
    extended = append(tokens, torch.tensor([[300, 301], [302, 303]]), 258)
    for row, suffix in enumerate(([300, 301], [302, 303])):
        length = tokens.lengths[row]
        assert extended.ids[row, length : length + 2].tolist() == suffix
        assert torch.equal(extended.ids[row, :length], tokens.ids[row, :length])
    assert (extended.lengths - tokens.lengths).tolist() == [2, 2]


@pytest.mark.parametrize(("text", "reason"), [("", "empty_instruction"), (" \n", "empty_instruction")])
def test_instruction_without_words(text, reason):
    with pytest.raises(BadInput, match=reason):
        load_tokenizer(tiny_config()).prompts([text])


def test_saved_tokenizer_lists_the_codes_and_instructions_cannot_name_them(tmp_path):
    config = tiny_config()
    load_tokenizer(config).save(tmp_path)
    saved = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert saved.token_to_id("<PAD>") == config.language_model.pad_id
    assert [saved.token_to_id(f"<ACT_{code}>") for code in range(16)] == list(config.code_ids)
    loaded = load_tokenizer(config, tmp_path)
    plain = load_tokenizer(config).prompts(["push it"])
    assert torch.equal(loaded.prompts(["push it"]).ids, plain.ids)
    assert loaded.prompts(["push <ACT_3><PAD>"]).ids.max() < config.language_model.pad_id
    larger = config.language_model.model_copy(update={"vocabulary": 300})
    with pytest.raises(UserError, match="<ACT_0> at 259, the policy is configured for 300"):
        load_tokenizer(tiny_config(language_model=larger), tmp_path)


def test_a_table_with_more_rows_than_tokens_keeps_its_ids(tmp_path):
    """Embedding tables are often padded to a round number of rows."""
    padded = tiny_config().language_model.model_copy(update={"vocabulary": 300})
    config = tiny_config(language_model=padded)
    load_tokenizer(config).save(tmp_path)
    saved = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert saved.token_to_id("<PAD>") == 300
    assert saved.token_to_id("<ACT_3>") == config.code_ids[3]
    loaded = load_tokenizer(config, tmp_path).prompts(["push it"])
    assert torch.equal(loaded.ids, load_tokenizer(config).prompts(["push it"]).ids)


def test_transformers_reads_the_saved_tokenizer(tmp_path):
    config = tiny_config()
    ours = load_tokenizer(config)
    ours.save(tmp_path)
    theirs: Any = AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (256, 257, 258)
    text = PROMPT.format(instruction="push the red cup") + " "
    assert (
        theirs.encode(text, add_special_tokens=False)
        == ours.prompts(["Push the red  cup"]).ids[0, 1:].tolist()
    )
    assert theirs.convert_tokens_to_ids("<ACT_3>") == config.code_ids[3]
