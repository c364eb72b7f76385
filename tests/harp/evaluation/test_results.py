"""What a terminal shows of an evaluation."""

import io

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from harp.evaluation.latent import Codebook, compare_latents
from harp.evaluation.results import IN_TERMINAL, LATENT_IN_TERMINAL, Evaluation
from harp.evaluation.retrieval import retrieve


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    human, codes = rng.normal(size=(6, 4)), rng.integers(0, 4, (2, 6, 3, 2))
    names = ("unadapted", "stage 1", "8×8 mean colour", "mean shift", "ridge")
    rows = {name: retrieve(human, human + i * rng.normal(size=human.shape)) for i, name in enumerate(names)}
    latent = {
        name: compare_latents(codes[0], codes[1], Codebook(rng.normal(size=(4, 3)))) for name in names[:2]
    }
    return Evaluation("key", "version", 6, 8, 1.0, rows, latent)


def printed(table: Table) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=80).print(table)
    return text.getvalue().splitlines()


def test_figures_are_whole_on_a_narrow_terminal(evaluation: Evaluation) -> None:
    rows = {name: row.recall_at_1_interval.text() for name, row in evaluation.rows.items()}
    gaps = {name: row.gap.text() for name, row in evaluation.latent.items()}
    for table, whole in ((evaluation.table(), rows), (evaluation.latent_table(), gaps)):
        lines = printed(table)
        assert not [line for line in lines if "…" in line]
        for name, figure in whole.items():
            (line,) = [line for line in lines if line.strip().startswith(name)]
            assert figure in line
    paired = f"{evaluation.rows['ridge'].paired_distance:.4f}"
    assert paired in "".join(printed(evaluation.table()))


def test_headings_are_words_of_the_columns_in_the_files(evaluation: Evaluation) -> None:
    heading = " ".join(printed(evaluation.table())[:5])
    assert all(word in heading for column in IN_TERMINAL for word in column.split())
    heading = " ".join(printed(evaluation.latent_table())[:5])
    assert all(word in heading for column in LATENT_IN_TERMINAL for word in column.split())
