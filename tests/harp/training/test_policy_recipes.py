"""Shipped recipes of stages 2 and 3, and what can be changed in them."""

import pytest
import torch

from data_schemas.errors import UserError
from harp.configuration import recipe_names
from harp.policy.action_head import LatentHead
from harp.policy.config import POLICIES
from harp.recipes import RECIPES, load_stage2_recipe, load_stage3_recipe


def test_every_named_policy_has_recipes_of_both_stages():
    for stage in ("stage2", "stage3"):
        assert set(recipe_names(RECIPES / stage)) == set(POLICIES)
    for name, policy in POLICIES.items():
        assert load_stage2_recipe(name).policy == policy
        assert load_stage3_recipe(name).head.chunk == 10


def test_published_settings_of_the_paper_sizes():
    stage2, stage3 = load_stage2_recipe("llama-2-7b"), load_stage3_recipe("llama-2-7b")
    assert (stage2.vision, stage2.adapters) == ("frozen", "stage1")
    assert stage3.lora is not None
    assert (stage3.lora.rank, stage3.lora.alpha, stage3.lora.vision) == (32, 16, True)
    assert stage3.data.crop_area == 0.9


def test_the_encoder_can_be_trained_in_stage_2():
    changes = ["vision=all", "data.keep_features=false"]
    assert load_stage2_recipe("tiny", changes).vision == "all"
    assert load_stage2_recipe("llama-2-7b", [*changes, "training.sharding=false"]).vision == "all"
    with pytest.raises(UserError) as caught:
        load_stage2_recipe("tiny", ["vision=all"])
    assert str(caught.value) == (
        "Recipe 'tiny': data.keep_features needs a vision encoder that is not trained: give vision=frozen, or "
        "data.keep_features=false."
    )


def test_changes_of_a_preset_keep_the_rest():
    config = load_stage2_recipe("tiny", ["policy.language_model.depth=2", "policy.dtype=bfloat16"])
    assert config.policy.language_model == POLICIES["tiny"].language_model.model_copy(update={"depth": 2})
    assert config.policy.vision == POLICIES["tiny"].vision
    assert config.policy.dtype == "bfloat16"
    sources = "data.sources=[{labels: a, sides: [robot], weight: 3}, {labels: b}]"
    assert [s.weight for s in load_stage2_recipe("tiny", [sources]).data.sources] == [3, 1]
    assert load_stage3_recipe("smollm2-135m", ["lora=null"]).lora is None
    frozen = load_stage3_recipe("smollm2-135m", ["lora.vision=false", "data.keep_features=true"])
    assert frozen.data.keep_features


VIT = (
    "{width: 96, depth: 3, heads: %s, mlp_width: 64, position_grid: 4, class_token: true, layer_scale: true}"
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "language_model.heads=3",
            "'policy.language_model': width 128 is not a multiple of twice its 3 heads: ",
        ),
        (
            "language_model.width=100",
            "'policy.language_model': width 100 is not a multiple of twice its 4 heads",
        ),
        ("language_model.kv_heads=3", "'policy.language_model': 4 heads cannot share 3 kv_heads evenly."),
        (
            "language_model.depth=0",
            r"'policy.language_model.depth': Input should be greater than 0 \(got 0\).",
        ),
        ("language_model.eos_id=258", "bos_id 256 and eos_id 258 are not both among the 258 rows"),
        ("projector_width=-1", "'policy.projector_width': Input should be greater than 0"),
        (
            f"vision.backbones=[{{architecture: {VIT % 5}}}]",
            "'policy.vision.backbones.0.architecture.sizes': width 96 is not a multiple of 5 heads.",
        ),
        ("vision.backbones=[{architecture: vit}]", "unknown architecture 'vit'"),
    ],
)
def test_sizes_that_cannot_work_are_refused_with_the_recipe(change, expected):
    with pytest.raises(UserError, match=expected) as caught:
        load_stage2_recipe("tiny", [f"policy.{change}"])
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("width", [0, -5, 200])
def test_heads_of_the_latent_head_share_its_width(width):
    with pytest.raises(UserError, match=r"'head\.latent_head_width': .*\(got"):
        load_stage3_recipe("tiny", [f"head.latent_head_width={width}"])
    for fitting in (1, 96, 128, 512):
        head = LatentHead(
            8, load_stage3_recipe("tiny", [f"head.latent_head_width={fitting}"]).head.latent_head_width, 2, 3
        )
        assert head(torch.zeros(1, 4, 8), torch.zeros(1, 9, 8)).shape == (1, 2, 3)


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"unknown preset 'huge'; the presets are tiny"):
        load_stage2_recipe("tiny", ["policy.preset=huge"])
    with pytest.raises(UserError, match=r"no key 'training\.lr': .*learning_rate"):
        load_stage3_recipe("tiny", ["training.lr=1"])
    with pytest.raises(UserError, match=r"vision=all is for lora=null"):
        load_stage3_recipe("smollm2-135m", ["vision=all"])
    with pytest.raises(UserError, match=r"keep_features needs a vision encoder that is not trained"):
        load_stage3_recipe("smollm2-135m", ["data.keep_features=true"])
    with pytest.raises(UserError, match=r"There is no recipe 'small'"):
        load_stage3_recipe("small")
