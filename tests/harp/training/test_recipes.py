"""Shipped recipes: they load, build, and refuse with one sentence."""

import pytest
import torch

from data_schemas.errors import UserError
from harp.latent_action.language import Language
from harp.latent_action.model import LatentActionModel
from harp.recipes import load_stage1_recipe
from harp.recipes.rows import ROWS, row_overrides
from harp.vision.encoder import HarpVisionEncoder


def test_paper_recipe_has_the_papers_sizes():
    config = load_stage1_recipe("paper")
    assert config.latent_action
    with torch.device("meta"):
        encoder = HarpVisionEncoder(config.vision)
        model = LatentActionModel(encoder.dim, 768, config.latent_action)
    assert (encoder.dim, encoder.num_patches) == (2176, 256)
    adapters = sum(tensor.numel() for tensor in encoder.adapter_state_dict().values())
    assert round(adapters / 1e6, 2) == 10.89
    assert (model.config.num_queries, model.config.codebook_size, model.config.latent_dim) == (4, 16, 128)
    assert config.losses.commitment == 0.25
    z, language = torch.empty(2, 2, 256, 2176, device="meta"), Language(*_language_on_meta())
    predicted = model.decode(z[:, 0], torch.empty(2, 4, 128, device="meta"), language)
    assert predicted.shape == (2, 256, 2176)


def _language_on_meta() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty(2, 9, 768, device="meta"), torch.ones(2, 9, dtype=torch.bool, device="meta")


@pytest.mark.parametrize("recipe", ["laptop", "paper"])
@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_tables_is_a_valid_recipe(recipe, row):
    assert load_stage1_recipe(recipe, row_overrides(row))


def test_paired_only_rows_have_neither_singles_nor_a_latent_action_model():
    for row in ("hr", "hr-style"):
        config = load_stage1_recipe("laptop", row_overrides(row))
        assert config.latent_action is None
        assert config.data.singles_per_batch == 0


def test_unknown_row_is_one_sentence():
    with pytest.raises(UserError, match="no row 'harp-srdp'; the rows are none, hr, hr-style"):
        row_overrides("harp-srdp")


def test_overrides():
    config = load_stage1_recipe("laptop", ["training.steps=7", "losses.alignment.objective=sr"])
    assert (config.training.steps, config.losses.alignment.objective) == (7, "sr")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.step=7", r"no key 'training.step': did you mean 'steps'\?"),
        ("losses.alignment.objective=srdp", r"losses.alignment.objective.*'srdp'"),
        ("latent_action.heads=5", r"width 192 is not a multiple of 5 heads"),
        ("latent_action.dead_after=0", r"latent_action.dead_after"),
        ("data.horizon_seconds=[2, 1]", r"horizon_seconds must be"),
    ],
)
def test_mistakes_are_one_sentence(override, sentence):
    with pytest.raises(UserError, match=sentence):
        load_stage1_recipe("laptop", [override])
