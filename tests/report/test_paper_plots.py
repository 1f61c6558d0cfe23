import numpy as np
import pandas as pd
import pytest

from normlib.report.plots import plot_beside_paper
from normlib.studies.study import Paper

VARIES = [{"batch_size": [32, 2]}]
PAPER = Paper("A paper, table 1", "batch_size", {"bn/bn": {32: 23.6, 8: 24.8, 2: 34.7}}, "In all.")


@pytest.fixture
def drawn(make_frame):
    """Two orderings under two batch sizes; accuracies of the two seeds 0.90 and 0.92, with none 0.80 and 0.80."""

    def evaluation(ordering, seed):
        return {"loss": 0.3, "accuracy": 0.8 if ordering == "none" else 0.9 + 0.02 * seed}

    frames = [make_frame({"bn/bn": [0.4, 0.5], "none": [0.4, 0.4]}, evaluation, batch_size=size) for size in (32, 2)]
    return plot_beside_paper(pd.concat(frames, ignore_index=True), "eval_accuracy", VARIES, PAPER)


def lines(axis):
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def test_errors_are_drawn_in_percent_along_the_papers_setting_with_their_intervals(drawn):
    """Of 0.90 and 0.92 the mean error is 9 %; t at 95 %, one degree of freedom, is 12.706, so is half the width."""
    _, (ours, _) = drawn
    bars = {bar.get_label(): bar for bar in ours.containers}
    line = bars["bn/bn"].lines[0]
    np.testing.assert_allclose(line.get_ydata(), [9, 9])
    np.testing.assert_allclose([*map(float, line.get_xdata())], np.log2([32, 2]), atol=0.06)
    (low, high) = bars["bn/bn"].lines[2][0].get_segments()[0][:, 1]
    np.testing.assert_allclose([low, high], [9 - 12.706, 9 + 12.706], atol=1e-3)
    np.testing.assert_allclose(bars["none/none"].lines[0].get_ydata(), [20, 20])


def test_the_papers_numbers_stand_beside_with_where_they_are_from(drawn):
    _, (ours, theirs) = drawn
    np.testing.assert_allclose(lines(theirs)["bn/bn"].get_ydata(), [23.6, 24.8, 34.7])
    assert theirs.get_title(loc="left") == "A paper, table 1"
    assert [label.get_text() for label in theirs.get_xticklabels()] == ["2", "8", "32"]
    assert ours.get_ylabel() == "evaluation error, %"
    assert ours.get_xlabel() == "batch size (log scale)"


def test_an_ordering_looks_the_same_in_both_and_orderings_can_be_told_apart_without_colour(drawn):
    _, (ours, theirs) = drawn
    bars = {bar.get_label(): bar.lines[0] for bar in ours.containers}
    assert bars["bn/bn"].get_color() == lines(theirs)["bn/bn"].get_color()
    assert bars["bn/bn"].get_marker() == lines(theirs)["bn/bn"].get_marker() != bars["none/none"].get_marker()
