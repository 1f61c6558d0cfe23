import numpy as np
import pandas as pd
import pytest

from normlib.errors import RequestError
from normlib.report import beside_paper
from normlib.studies.study import Paper

VARIES = [{"batch_size": [32, 2]}]
PAPER = Paper("A paper, table 1", "batch_size", {"bn/bn": {32: 23.6, 8: 24.8, 2: 34.7}}, "In all.")
BOTH = Paper("A paper", "batch_size", {**PAPER.lines, "gn/gn": {32: 24.1, 8: 24.0, 2: 24.1}}, "In all.")


@pytest.fixture
def draw(make_frame):
    """Four runs of each ordering under two batch sizes: accuracies of 0.90 and 0.92 twice, with none 0.80."""

    def draw(paper=PAPER, orderings=("bn/bn", "none"), change=0.0, runs=4, changed=("bn/bn",)):
        def evaluation(size):
            def figures(ordering, seed):
                accuracy = 0.8 if ordering == "none" else 0.9 + 0.02 * (seed % 2)
                return {"loss": 0.3, "accuracy": accuracy + change * (size == 2 and ordering in changed)}

            return figures

        losses = dict.fromkeys(orderings, [0.4] * runs)
        frames = [make_frame(losses, evaluation(size), batch_size=size) for size in (32, 2)]
        runs = pd.concat(frames, ignore_index=True)
        return beside_paper.plot_beside_paper(runs, "eval_accuracy", VARIES, paper)

    return draw


def curves(axis):
    return {bar.get_label(): bar.lines[0] for bar in axis.containers}


def whiskers(axis, ordering):
    """Return the ends of each whisker of an ordering, those that draw nothing left out."""
    (bar,) = (bar for bar in axis.containers if bar.get_label() == ordering)
    ends = [segment[:, 1] for segment in bar.lines[2][0].get_segments() if segment.size]
    return [end for end in ends if np.isfinite(end).all()]


def lines(axis):
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def test_errors_are_drawn_as_differences_from_the_baseline_along_the_papers_setting(draw):
    """Errors of 10 and 8 % minus 20 %: mean -11, sd sqrt(4 / 3); t with three degrees is 3.182446."""
    _, (ours, _) = draw()
    line = curves(ours)["bn/bn"]
    np.testing.assert_allclose(line.get_ydata(), [-11, -11])
    np.testing.assert_allclose([*map(float, line.get_xdata())], np.log2([32, 2]), atol=0.06)
    reach = 3.182446 * np.sqrt(4 / 3) / 2
    np.testing.assert_allclose(whiskers(ours, "bn/bn"), [[-11 - reach, -11 + reach]] * 2, atol=1e-5)
    np.testing.assert_array_equal(curves(ours)["none/none"].get_ydata(), [0, 0])
    assert ours.get_ylabel() == "evaluation error\nminus that of none/none, points"
    _, (ours, _) = draw(orderings=["bn/bn"])  # without a baseline the errors themselves are drawn
    np.testing.assert_allclose(curves(ours)["bn/bn"].get_ydata(), [9, 9])
    assert ours.get_ylabel() == "evaluation error, %"


def test_of_several_lines_both_sides_are_differences_from_the_papers_last_one(draw):
    _, (ours, theirs) = draw(BOTH, ["bn/bn", "gn/gn", "none"])
    np.testing.assert_allclose(lines(theirs)["bn/bn"].get_ydata(), [10.6, 0.8, -0.5])
    np.testing.assert_allclose(curves(ours)["bn/bn"].get_ydata(), [0, 0], atol=1e-9)
    np.testing.assert_allclose(curves(ours)["none/none"].get_ydata(), [11, 11])
    assert theirs.get_ylabel() == "error\nminus that of gn/gn, points"


def test_the_papers_numbers_stand_beside_with_where_they_are_from_and_an_ordering_looks_the_same_in_both(draw):
    """And orderings can be told apart without colour."""
    _, (ours, theirs) = draw()
    np.testing.assert_allclose(lines(theirs)["bn/bn"].get_ydata(), [34.7, 24.8, 23.6])
    assert theirs.get_title(loc="left") == "A paper, table 1"
    assert [label.get_text() for label in theirs.get_xticklabels()] == ["2", "8", "32"]
    assert theirs.get_ylabel() == "error, %"
    assert ours.get_xlabel() == "batch size (log scale)"
    mine, paper = curves(ours), lines(theirs)
    assert mine["bn/bn"].get_color() == paper["bn/bn"].get_color()
    assert mine["bn/bn"].get_marker() == paper["bn/bn"].get_marker() != mine["none/none"].get_marker()


@pytest.mark.parametrize(
    ("change", "changed", "said"),
    [
        (0.05, ("bn/bn",), "\nbn/bn: the trend opposes the paper's"),
        (0, (), "\nbn/bn: no trend is seen here"),
        (-0.05, ("bn/bn",), ""),
        (-0.05, ("bn/bn", "none"), ""),  # the error rises as the paper's does, its difference does not
    ],
)
def test_a_trend_that_opposes_the_papers_or_is_not_seen_is_said(draw, change, changed, said):
    """The paper's error rises from 32 images to 2: an accuracy that rises there opposes it."""
    _, (ours, _) = draw(change=change, changed=changed)
    assert ours.get_title(loc="left") == f"here: means and 95 % intervals{said}"


def test_below_four_runs_there_is_no_interval_and_no_trend(draw):
    _, (ours, _) = draw(change=0.05, runs=3)
    assert whiskers(ours, "bn/bn") == []
    assert ours.get_title(loc="left") == "here: means"


def test_runs_without_a_paper_or_that_vary_something_else_are_not_drawn_along_its_setting(make_frame):
    frame = pd.concat([make_frame({"bn/bn": [0.4]}, epochs=epochs) for epochs in (1, 2)])
    with pytest.raises(RequestError, match="paper: against is 'batch_size', but must be the first setting"):
        beside_paper.plot_beside_paper(frame, "eval_accuracy", [{"epochs": [1, 2]}], PAPER)
    with pytest.raises(RequestError, match=r"^paper is None, but no paper.s figures stand beside these runs$"):
        beside_paper.plot_beside_paper(make_frame({"bn": [0.4]}))
