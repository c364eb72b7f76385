"""Colour names against the colours that HTML gives them, bright and in shade."""

import matplotlib.colors
import numpy as np
import pytest

from pipelines.objects.colour_words import GREYS, HUES, colour_likeness, named_colour

HTML = {
    "red": "red",
    "orange": "darkorange",
    "yellow": "gold",
    "green": "green",
    "turquoise": "darkturquoise",
    "blue": "mediumblue",
    "purple": "purple",
    "pink": "palevioletred",
    "brown": "saddlebrown",
    "black": "black",
    "grey": "gray",
    "white": "white",
}


@pytest.mark.parametrize(("name", "html"), HTML.items())
def test_a_colour_is_most_like_its_own_name(name: str, html: str) -> None:
    colour = 255 * np.array(matplotlib.colors.to_rgb(html))
    likeness = {
        other: colour_likeness(np.array([[colour]]).astype(np.uint8), other)[0, 0].item()
        for other in (*HUES, *GREYS)
    }
    assert likeness[name] > 0.4
    assert max(likeness, key=lambda other: likeness[other]) == name


@pytest.mark.parametrize("name", ["yellow", "green", "turquoise", "blue", "purple"])
def test_shade_does_not_change_the_hue(name: str) -> None:
    colour = np.array(HUES[name])
    assert colour_likeness(np.array([[0.6 * colour]]).astype(np.uint8), name)[0, 0] > 0.7


def test_names_are_read_out_of_phrases() -> None:
    assert named_colour("the light GRAY mug") == "grey"
    assert named_colour("teal-coloured block") == "turquoise"
    assert named_colour("the reddish brick") is None
    assert named_colour("") is None
