from pathlib import Path

import pytest

from data_schemas.errors import UserError
from data_schemas.strict_model import StrictModel
from harp.configuration import load_recipe


class Inner(StrictModel):
    window: float = 0.1


class Recipe(StrictModel):
    name: str
    alignment: Inner = Inner()
    optional: Inner | None = None
    several: tuple[Inner, ...] = ()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rh20t.yaml").write_text("name: rh20t\nalignment: {window: 0.3}\n")
    return tmp_path


def test_reads_by_name_and_by_path_with_overrides(folder: Path):
    assert load_recipe(Recipe, folder, "rh20t").alignment.window == 0.3
    by_path = load_recipe(
        Recipe, Path("/nowhere"), str(folder / "rh20t.yaml"), ["alignment.window=0.5", "name=x"]
    )
    assert (by_path.name, by_path.alignment.window) == ("x", 0.5)


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("rh20", [], "did you mean 'rh20t'"),
        ("rh20t", ["alignment.windw=1"], "did you mean 'window'"),
        ("rh20t", ["alignment.window=wide"], "alignment.window"),
        ("rh20t", ["alignment.window=.inf"], "alignment.window.*a finite number"),
        ("rh20t", ["name.x=1"], "single value"),
        ("rh20t", ["alignment"], "key.path=value"),
        ("rh20t", ["optional.windw=1"], "did you mean 'window'"),
        ("rh20t", ["several=[{windw: 1}]"], "'several.0.windw': did you mean 'window'"),
        ("missing.yaml", [], "no recipe file"),
    ],
)
def test_mistakes_give_one_sentence(folder: Path, name: str, overrides: list[str], expected: str):
    with pytest.raises(UserError, match=expected) as caught:
        load_recipe(Recipe, folder, name, overrides)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_no_text_gives_one_sentence(tmp_path: Path):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("folder", "binary"):
        with pytest.raises(UserError, match=rf"{name}\.yaml cannot be read as text"):
            load_recipe(Recipe, tmp_path, str(tmp_path / f"{name}.yaml"))
