"""What counts as going back to settings of before, by manifests alone; `test_operations` goes back with real runs."""

import json
from pathlib import Path

import pytest

from data_schemas.versions import Manifest
from flows import artifacts
from pipelines.engine.lake import Lake
from pipelines.reverted import Reverted, reverted
from pipelines.runs import RunRecord

OLD = {"dataset": "toys", "alignment": {"warp": {"time_weight": 0.5}}, "max_failed_fraction": 0.5}
NEW = {"dataset": "toys", "alignment": {"warp": {"time_weight": 0.3}}, "max_failed_fraction": 0.5}
CHANGE = {"alignment.warp.time_weight": (0.3, 0.5)}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Published: `old`, then `new` with another setting."""
    for version_id, recipe in (("old", OLD), ("new", NEW)):
        write(tmp_path, version_id, recipe)
    return Lake(tmp_path)


def write(root: Path, version_id: str, recipe: dict, dataset: str = "toys") -> Manifest:
    manifest = Manifest(
        version_id=version_id, dataset=dataset, created_at="2026", shards=[], index_sha256="", stage_keys={},
        recipe=recipe, licenses={}, counts={},
    )  # fmt: skip
    folder = root / "versions" / version_id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return manifest


def manifest_of(lake: Lake, version_id: str) -> Manifest:
    return Manifest.model_validate_json((lake.folder / f"versions/{version_id}/manifest.json").read_text())


def test_an_earlier_version_is_the_latest_again(lake: Lake) -> None:
    found = reverted(lake, "new", manifest_of(lake, "old"), OLD, is_new=False)
    assert found == Reverted(version_id="new", settings=CHANGE)
    sentence = str(found)
    assert "Version new, the latest until this run" in sentence
    assert "alignment.warp.time_weight=0.3 (this run: 0.5)" in sentence
    for way in ("--set", "parameters.overrides", "prefect.yaml", "recipe of your own"):
        assert way in sentence


def test_a_new_version_with_the_settings_of_an_earlier_one_goes_back_too(lake: Lake) -> None:
    with_one_more_clip = write(lake.folder, "grown", OLD)
    found = reverted(lake, "new", with_one_more_clip, OLD, is_new=True)
    assert found is not None
    assert found.settings == CHANGE


def test_going_on_is_no_going_back(lake: Lake) -> None:
    assert reverted(lake, None, manifest_of(lake, "old"), OLD, is_new=True) is None
    assert reverted(lake, "new", manifest_of(lake, "new"), NEW, is_new=False) is None
    assert reverted(lake, "gone", manifest_of(lake, "old"), OLD, is_new=False) is None
    assert reverted(lake, "new", write(lake.folder, "grown", NEW), NEW, is_new=True) is None
    never_used = {**OLD, "alignment": {"warp": {"time_weight": 0.9}}}
    assert reverted(lake, "new", write(lake.folder, "other", never_used), never_used, is_new=True) is None
    write(lake.folder, "of_others", never_used, dataset="cubes")
    assert reverted(lake, "new", manifest_of(lake, "other"), never_used, is_new=True) is None


def test_settings_that_change_no_row_do_not_count(lake: Lake) -> None:
    strict = {**NEW, "max_failed_fraction": 0.1}
    assert reverted(lake, "new", manifest_of(lake, "old"), strict, is_new=False) is None
    found = reverted(
        lake, "new", write(lake.folder, "grown", OLD), {**OLD, "max_failed_fraction": 0.1}, is_new=True
    )
    assert found is not None
    assert found.settings == CHANGE


def test_a_key_of_a_later_release_is_no_setting_of_before(lake: Lake) -> None:
    later = {
        **OLD,
        "alignment": {"warp": {"time_weight": 0.5, "view_steps": 4}},
        "reader": {"options": {"min": 2}},
    }
    found = reverted(lake, "new", write(lake.folder, "grown", later), later, is_new=False)
    assert found is not None
    assert found.settings == {**CHANGE, "reader.options.min": (None, 2)}
    assert "view_steps" not in str(found)


def test_many_changes_are_counted() -> None:
    settings = {f"verdict.key_{i}": (None, ["a", i]) for i in range(8)}
    sentence = str(Reverted(version_id="new", settings=settings))
    assert 'verdict.key_4=null (this run: ["a", 4]) and 3 more.' in sentence
    assert "key_5" not in sentence


def test_prefects_table_of_counts_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        artifacts, "create_table_artifact", lambda *_, description, **__: shown.append(description)
    )
    record = RunRecord(run_id="run", dataset="toys", recipe={}, raw_root="", executor="", started_at="")
    record.version_id = "old"
    artifacts.counts_table(record)
    record.reverted = Reverted(version_id="new", settings=CHANGE)
    artifacts.counts_table(RunRecord.model_validate(json.loads(record.model_dump_json())))
    assert shown == ["version old (unchanged)", f"version old (unchanged). **Warning:** {record.reverted}"]
