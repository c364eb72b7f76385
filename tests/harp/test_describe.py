"""What `harp model describe` says, against counts made elsewhere."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel
from typer.testing import CliRunner

from data_schemas.errors import UserError
from harp.describe import PUBLISHED_PARAMETERS, Part, describe_stage1
from harp.model_commands import app, millions
from harp.recipes import load_stage1_recipe
from harp.recipes.rows import row_overrides


@pytest.fixture(scope="module")
def paper() -> dict[str, Part]:
    model = describe_stage1(load_stage1_recipe("paper"), "all")
    return {part.name: part for _, part in model.walk()}


def test_parameters_at_paper_scale(paper: dict[str, Part]) -> None:
    vision = paper["vision encoder (HARP-VE)"]
    adapters = [part for part in paper.values() if part.name.startswith("robot-only adapters")]
    assert [millions(part.parameters) for part in adapters] == ["6.34 M", "4.54 M"]
    assert millions(sum(part.parameters for part in adapters)) == "10.89 M"
    assert "adapters 10.89 M in all" in vision.note
    assert vision.trainable == sum(part.trainable for part in adapters)
    backbones = [part.parameters for part in paper.values() if part.name.startswith("ViT")]
    assert [round(number / 1e6, 1) for number in backbones] == [303.2, 412.4]
    assert millions(paper["latent action model (HARP-LAM)"].parameters) == "206.01 M"
    assert paper["all"].parameters == sum(part.parameters for part in paper.values() if not part.parts)


def test_what_the_published_siglip_has_more_is_its_pooling_head() -> None:
    sizes = SiglipVisionConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=27,
        num_attention_heads=16,
        image_size=224,
        patch_size=14,
    )
    with torch.device("meta"):
        published = sum(parameter.numel() for parameter in SiglipVisionModel(sizes).parameters())
    assert published == PUBLISHED_PARAMETERS["siglip-so400m-14"]
    assert [round(number / 1e6, 1) for number in PUBLISHED_PARAMETERS.values()] == [303.2, 427.7]


def test_shapes_tokens_and_sources(paper: dict[str, Part]) -> None:
    assert paper["vision encoder (HARP-VE)"].shapes == "(B, 6, 224, 224) → (B, 256, 2176)"
    assert (paper["dinov2-l14-reg4"].tokens, paper["siglip-so400m-14"].tokens) == (261, 256)
    lam = paper["latent action model (HARP-LAM)"]
    assert lam.shapes == "(B, 2, 256, 2176) → (B, 4), (B, 256, 2176)"
    assert paper["keypoint head"].shapes == "(B, 2, 768) → (B, 2, 8, 2)"
    text = paper["text encoder t5-base"]
    assert (text.trainable, millions(text.parameters)) == (0, "109.63 M")
    sources = {part.source.name: part.source for part in paper.values() if part.source}
    assert list(sources) == ["dinov2-l14-reg4", "siglip-so400m-14", "t5-base"]
    assert {source.license for source in sources.values()} == {"Apache-2.0"}


def test_command_prints_a_table_and_the_same_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARP_CACHE", str(tmp_path))
    arguments = ["describe", "--recipe", "laptop", "--set", "latent_action.codebook_size=32"]
    shown = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    expected = describe_stage1(
        load_stage1_recipe("laptop", ["latent_action.codebook_size=32"]), "stage 1, recipe laptop"
    )
    assert shown == json.loads(json.dumps(asdict(expected)))
    assert shown["parts"][0]["parts"][0]["parts"][0]["source"]["present"] is False
    table = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}).stdout
    for words in ("codebook, 32 codes", "dinov2-s14-imgfocus@0.1.1", "not here", "minilm-l6"):
        assert words in table


def test_an_unknown_text_encoder_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"No text encoder 'bert': neither a folder .* nor one of t5-base"):
        describe_stage1(load_stage1_recipe("laptop", ["text.model=bert"]))


def test_the_row_with_learned_pooling_names_it() -> None:
    model = describe_stage1(load_stage1_recipe("paper", row_overrides("hr")))
    (pooling,) = [part for _, part in model.walk() if part.name == "task-aware pooling"]
    assert pooling.parameters == pooling.trainable == 768 * 2176 + 2176
