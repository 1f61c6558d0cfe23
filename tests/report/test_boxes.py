"""What stands in each box is told by the picture's tests, test_diagrams.py; here, what the boxes are."""

import pytest

from normlib.models.instance import Instance
from normlib.models.kinds import EMPTY, KINDS
from normlib.report.diagrams import PLAIN, Box, boxes

COLOURS = [Box("", kind).colour for kind in (*KINDS, EMPTY, PLAIN)]


def test_every_kind_has_a_colour_of_its_own():
    assert len(set(COLOURS)) == len(COLOURS)


def test_each_box_says_which_kind_it_is_and_what_an_empty_slot_is():
    kinds = [box.kind for box in boxes(Instance("gn+bn/none"))]
    assert kinds == [PLAIN, PLAIN, "gn", "bn", PLAIN, EMPTY, PLAIN, PLAIN]


@pytest.mark.parametrize("colour", COLOURS)
def test_black_text_on_every_colour_has_a_contrast_of_more_than_ten_to_one(colour):
    """WCAG 2.2, relative luminance and contrast ratio."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    assert (luminance + 0.05) / 0.05 > 10
