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


def lines(axis):
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def test_errors_are_drawn_as_differences_from_the_baseline_along_the_papers_setting(draw):
    """Errors of 10 and 8 % minus 20 %: mean -11, sd sqrt(4 / 3); t with three degrees is 3.182446."""
    _, (ours, _) = draw()
    bars = {bar.get_label(): bar for bar in ours.containers}
    line = bars["bn/bn"].lines[0]
    np.testing.assert_allclose(line.get_ydata(), [-11, -11])
    np.testing.assert_allclose([*map(float, line.get_xdata())], np.log2([32, 2]), atol=0.06)
    ends = bars["bn/bn"].lines[2][0].get_segments()[0][:, 1]
    reach = 3.182446 * np.sqrt(4 / 3) / 2
    np.testing.assert_allclose(ends, [-11 - reach, -11 + reach], atol=1e-5)
    np.testing.assert_array_equal(bars["none/none"].lines[0].get_ydata(), [0, 0])
    assert ours.get_ylabel() == "evaluation error\nminus that of none/none, points"


def test_without_a_baseline_the_errors_themselves_are_drawn(draw):
    _, (ours, _) = draw(orderings=["bn/bn"])
    np.testing.assert_allclose(curves(ours)["bn/bn"].get_ydata(), [9, 9])
    assert ours.get_ylabel() == "evaluation error, %"


def test_of_several_lines_both_sides_are_differences_from_the_papers_last_one(draw):
    _, (ours, theirs) = draw(BOTH, ["bn/bn", "gn/gn", "none"])
    np.testing.assert_allclose(lines(theirs)["bn/bn"].get_ydata(), [10.6, 0.8, -0.5])
    np.testing.assert_allclose(curves(ours)["bn/bn"].get_ydata(), [0, 0], atol=1e-9)
    np.testing.assert_allclose(curves(ours)["none/none"].get_ydata(), [11, 11])
    assert theirs.get_ylabel() == "error\nminus that of gn/gn, points"


def test_the_papers_numbers_stand_beside_with_where_they_are_from(draw):
    _, (ours, theirs) = draw()
    np.testing.assert_allclose(lines(theirs)["bn/bn"].get_ydata(), [34.7, 24.8, 23.6])
    assert theirs.get_title(loc="left") == "A paper, table 1"
    assert [label.get_text() for label in theirs.get_xticklabels()] == ["2", "8", "32"]
    assert theirs.get_ylabel() == "error, %"
    assert ours.get_xlabel() == "batch size (log scale)"


@pytest.mark.parametrize(
    ("change", "said"),
    [(0.05, "\nbn/bn: the trend opposes the paper's"), (0, "\nbn/bn: no trend is seen here"), (-0.05, "")],
)
def test_a_trend_that_opposes_the_papers_or_is_not_seen_is_said(draw, change, said):
    """The paper's error rises from 32 images to 2: an accuracy that rises there opposes it."""
    _, (ours, _) = draw(change=change)
    assert ours.get_title(loc="left") == f"here: means and 95 % intervals{said}"


def test_the_trend_of_one_line_is_that_of_what_the_paper_shows_and_not_of_a_difference(draw):
    """With the baseline, all accuracies fall: the difference does not change, the error rises as the paper's."""
    _, (ours, _) = draw(change=-0.05, changed=("bn/bn", "none"))
    assert ours.get_title(loc="left") == "here: means and 95 % intervals"


def test_below_four_runs_there_is_no_interval_and_no_trend(draw):
    _, (ours, _) = draw(change=0.05, runs=3)
    (line,) = [bar for bar in ours.containers if bar.get_label() == "bn/bn"]
    assert not [segment for segment in line.lines[2][0].get_segments() if segment.size and np.isfinite(segment).all()]
    assert ours.get_title(loc="left") == "here: means"


def test_an_ordering_looks_the_same_in_both_and_orderings_can_be_told_apart_without_colour(draw):
    _, (ours, theirs) = draw()
    mine, paper = curves(ours), lines(theirs)
    assert mine["bn/bn"].get_color() == paper["bn/bn"].get_color()
    assert mine["bn/bn"].get_marker() == paper["bn/bn"].get_marker() != mine["none/none"].get_marker()


def test_runs_that_vary_something_else_are_not_drawn_along_the_papers_setting(make_frame):
    frame = pd.concat([make_frame({"bn/bn": [0.4]}, epochs=epochs) for epochs in (1, 2)])
    with pytest.raises(RequestError, match="paper: against is 'batch_size', but must be the first setting"):
        beside_paper.plot_beside_paper(frame, "eval_accuracy", [{"epochs": [1, 2]}], PAPER)


def test_without_a_paper_there_is_nothing_to_draw(make_frame):
    with pytest.raises(RequestError, match=r"^paper is None, but no paper.s figures stand beside these runs$"):
        beside_paper.plot_beside_paper(make_frame({"bn": [0.4]}))
