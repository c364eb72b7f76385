"""The grammar against hand labels of real task sentences."""

import json
from pathlib import Path

import pytest

from pipelines.objects.instruction_object import object_phrase

LABELS = json.loads((Path(__file__).parent / "data" / "task_sentences.json").read_text())


@pytest.mark.parametrize(("source", "least"), [("rh20t", 146), ("calvin", 34), ("bridge", 19)])
def test_agrees_with_hand_labels(source: str, least: int) -> None:
    wrong = [
        (row["sentence"], found)
        for row in LABELS[source]
        if (found := object_phrase(row["sentence"])) not in row["object"]
    ]
    assert len(LABELS[source]) - len(wrong) >= least, wrong


@pytest.mark.parametrize(
    ("sentence", "phrase"),
    [
        ("", ""),
        ("do it", ""),
        ("PICK UP THE RED CUP", "red cup"),
        ("Pick it up", ""),
        ("The robot picks up the green mug from the shelf.", "green mug"),
        ("A person is opening the oven", "oven"),
        ("Scoot the tall glass to the left", "tall glass"),
        ("Please carefully wipe the counter with the wet towel", "wet towel"),
        ("Cover the pot with the lid", "lid"),
        ("Use the robot arm to lift a tin can", "tin can"),
        ("pick up the red cup, then put it on the plate", "red cup"),
    ],
)
def test_sentences_of_other_shapes(sentence: str, phrase: str) -> None:
    assert object_phrase(sentence) == phrase
