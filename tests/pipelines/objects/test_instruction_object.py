"""The grammar against hand labels of real task sentences, which stay with their data sets."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from pipelines.objects.instruction_object import object_phrase

LABELS = json.loads((Path(__file__).parent / "data" / "object_labels.json").read_text())


def disagreements(sentences: Sequence[str], labels: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """(sentence, phrase found) where the phrase is none of the accepted ones."""
    pairs = zip(sentences, labels, strict=True)
    return [(text, found) for text, accepted in pairs if (found := object_phrase(text)) not in accepted]


def test_agrees_with_labels_of_rh20t(samples: Path) -> None:
    tasks = json.loads((samples / "rh20t_page" / "task_description.json").read_text())
    labels = LABELS["rh20t"]
    sentences = [tasks[task]["task_description_english"] for task in labels]
    assert len(labels) == 149
    wrong = disagreements(sentences, list(labels.values()))
    assert len(wrong) <= 3, wrong


def test_agrees_with_labels_of_calvin(samples: Path) -> None:
    annotations = samples.parent / "calvin" / "new_playtable_validation.yaml"
    if not annotations.is_file():
        pytest.skip(
            "CALVIN's annotations are absent: put new_playtable_validation.yaml into calvin/ beside the samples"
        )
    sentences = yaml.safe_load(annotations.read_text())
    labels = LABELS["calvin"]
    assert len(labels) == 34
    assert disagreements([sentences[task][0] for task in labels], list(labels.values())) == []


def test_agrees_with_labels_of_bridge_file_names(samples: Path) -> None:
    names = sorted(path.stem for path in (samples / "bridge_teaser").glob("*.mp4"))
    wrong = disagreements(names, LABELS["bridge"])
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize(
    ("sentence", "phrase"),
    [
        ("", ""),
        ("Press the button", "button"),
        ("pick up the yellow cylinder and place it on the black mat", "yellow cylinder"),
        ("push the red block to the left", "red block"),
        ("flip the cup upside down", "cup"),
        ("turn on the light bulb", "light bulb"),
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
