"""Curves of runs."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from data_schemas.errors import UserError
from harp.training.curves import draw_curves, running_mean


def write_run(folder, **metrics):
    folder.mkdir()
    rows = [
        {"step": step, **{name: values[step] for name, values in metrics.items()}}
        for step in range(len(next(iter(metrics.values()))))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_running_mean_equals_a_loop():
    values = np.random.default_rng(0).normal(size=30)
    expected = [values[max(0, i - 4) : i + 1].mean() for i in range(30)]
    np.testing.assert_allclose(running_mean(values, 5), expected)


def test_runs_with_other_metrics_share_a_picture(tmp_path):
    runs = {
        "a": write_run(tmp_path / "a", loss=[3.0, 2.0, 1.0], alignment=[1.0, 0.5, 0.2]),
        "b": write_run(tmp_path / "b", loss=[3.0, 2.5], accuracy=[0.1, 0.4]),
    }
    draw_curves(runs, tmp_path / "both.png")
    draw_curves({"a": runs["a"]}, tmp_path / "one.png")
    both, one = imread(tmp_path / "both.png"), imread(tmp_path / "one.png")
    assert both.shape[1] > one.shape[1]  # a panel more
    orange = (both[..., 0] > 0.7) & (both[..., 1] < 0.55) & (both[..., 2] < 0.3)
    assert orange.sum() > 50  # the second run is drawn


def test_a_folder_without_metrics_is_named(tmp_path):
    with pytest.raises(UserError, match="no training metrics"):
        draw_curves({"run": tmp_path}, tmp_path / "curves.png")


def test_the_folder_of_the_picture_is_made(tmp_path):
    run = write_run(tmp_path / "run", loss=[3.0, 2.0])
    draw_curves({"run": run}, tmp_path / "new" / "curves.png")
    assert (tmp_path / "new" / "curves.png").is_file()


@pytest.mark.parametrize("name", ["curves.xyz", "curves"])
def test_a_format_that_is_not_drawn_is_refused(name, tmp_path):
    run = write_run(tmp_path / "run", loss=[3.0, 2.0])
    with pytest.raises(UserError, match=r"\.png, \.svg, \.pdf"):
        draw_curves({"run": run}, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
