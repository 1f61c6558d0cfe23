"""The answer in plain lines: what is said of each verdict, and of the better side; figures are worked out by hand."""

import pandas as pd
import pytest

from normlib.analysis.comparison import Comparison
from normlib.report.answer import short_answer, verdict_lines
from normlib.studies.results import read_results

BETTER = [0.30, 0.31, 0.32, 0.31, 0.30, 0.32]
WORSE = [value + 0.2 + 0.01 * (i % 2) for i, value in enumerate(BETTER)]


@pytest.mark.parametrize(
    ("contrast", "measure", "expected"),
    [
        ("bn - gn", "train_loss", "order: differs; bn/none is better than gn/none by 0.2050 ["),
        ("gn - bn", "train_loss", "order: differs; bn/none is better than gn/none by 0.2050 ["),
        ("gn - bn", "train_accuracy", "order: differs; bn/none is better than gn/none by 0.05"),
    ],
)
def test_the_better_side_comes_first_whichever_way_the_contrast_was_declared(make_frame, contrast, measure, expected):
    runs = Comparison(make_frame({"bn": BETTER, "gn": WORSE}), {"order": contrast}, measure, 0.01)
    (line,) = verdict_lines(runs)
    assert line.startswith(expected)


def test_a_difference_too_small_to_matter_is_told_with_the_margin_that_it_lies_within(make_frame):
    runs = Comparison(make_frame({"bn": BETTER, "gn": WORSE}), {"order": "bn - gn"}, "train_loss", 0.5)
    (line,) = verdict_lines(runs)
    assert line.startswith("order: differs negligibly; bn/none is better than gn/none by 0.2050 [")
    assert line.endswith("], within the margin 0.5")


def test_one_run_each_says_nothing(make_frame):
    runs = Comparison(make_frame({"bn": [0.3], "gn": [0.4]}), {"order": "bn - gn"}, "train_loss", 0.01)
    assert verdict_lines(runs) == [
        "Nothing can be said of a difference: two runs of each side, paired by seed, are the fewest."
    ]


def test_under_several_conditions_they_are_counted(make_frame):
    frames = [
        make_frame({"bn": BETTER, "gn": WORSE}, learning_rate=0.001),
        make_frame({"bn": WORSE, "gn": BETTER}, learning_rate=0.003),
        make_frame({"bn": BETTER, "gn": BETTER}, learning_rate=0.01),
    ]
    varies = [{"learning_rate": [0.001, 0.003, 0.01]}]
    runs = Comparison(pd.concat(frames, ignore_index=True), {"order": "bn - gn"}, "train_loss", 0.01, varies)
    assert verdict_lines(runs) == [
        "order, under 3 conditions: 1 differs, bn/none is better than gn/none; "
        "1 differs, gn/none is better than bn/none; 1 undecided"
    ]


SHORT = {
    "source": [
        "two layers against one: differs",
        "BatchNorm against none: differs",
        "GroupNorm against none: differs",
        "More contrasts below: 2.",
        "By means, the baseline none/none is best",
    ],
    "placement-resnet20": [
        "kind: differs",
        "More contrasts below: 3.",
        "By means, bn/gn is best",
        "Diverged: 3 of 8 runs",
        "Nothing is said of contrasts that a diverged run stands in.",
    ],
}


@pytest.mark.parametrize("study", SHORT)
def test_a_short_answer_has_five_lines_the_decided_contrasts_first_and_says_what_it_leaves_out(study):
    for line, start in zip(short_answer(read_results(study)), SHORT[study], strict=True):
        assert line.startswith(start)
