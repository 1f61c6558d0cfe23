import itertools

import numpy as np
import pandas as pd
import pytest

import normlib
from normlib.errors import RequestError
from normlib.report import plots
from normlib.runs.store import to_frame
from normlib.studies.study import Paper

LOSSES = {
    "none/none": [0.39, 0.41, 0.40],
    "bn/gn": [0.45, 0.47, 0.49],
    "gn/bn": [0.44, 0.46, 0.48],
    "gn/none": [0.42, 0.43, 0.44],
    "bn/none": [0.40, 0.43, 0.46],
}


@pytest.fixture
def bars(make_frame):
    """Axes of accuracy and loss, for the source's orderings and the baseline."""
    return plots.plot_bars(make_frame(LOSSES))[1]


def labels(axis):
    return [text.get_text() for text in axis.get_xticklabels()]


def test_there_is_a_bar_for_each_of_the_four_orderings_in_the_sources_order_and_a_line_for_the_baseline(bars):
    for axis in bars:
        assert labels(axis) == ["bn/none", "gn/none", "gn/bn", "bn/gn"]
        assert len(axis.patches) == 4
    (line,) = (line for line in bars[1].lines if "none/none" in line.get_label())
    assert line.get_ydata() == pytest.approx([0.40, 0.40])


def test_the_baseline_is_a_bar_only_where_it_stands_alone(make_frame):
    _, axes = plots.plot_bars(make_frame({"none": [0.4, 0.5]}))
    assert labels(axes[0]) == ["none/none"]


def test_a_bars_height_is_the_mean_over_runs(bars):
    accuracy, loss = bars
    means = np.array([0.43, 0.43, 0.46, 0.47])
    assert [bar.get_height() for bar in loss.patches] == pytest.approx(means)
    assert [bar.get_height() for bar in accuracy.patches] == pytest.approx(1 - means / 4)
    assert [text.get_text() for text in loss.texts] == ["0.430", "0.430", "0.460", "0.470"]


def test_every_run_is_a_dot_on_its_bar(bars):
    _, loss = bars
    dots = [c for c in loss.collections if hasattr(c, "get_offsets") and len(c.get_offsets()) == 3]
    assert [sorted(dot.get_offsets()[:, 1].tolist()) for dot in dots] == [
        LOSSES[ordering] for ordering in ("bn/none", "gn/none", "gn/bn", "bn/gn")
    ]
    for place, dot in enumerate(dots):
        assert np.all(np.abs(dot.get_offsets()[:, 0] - place) < 0.35)


def test_the_whisker_is_the_interval_of_the_mean_from_four_runs_on(make_frame, bars):
    """0.45, 0.47, 0.49, 0.47: sd sqrt(0.0008 / 3); t at 97.5 % with 3 degrees of freedom is 3.182446."""
    _, (loss,) = plots.plot_bars(make_frame({"gn/gn": [0.45, 0.47, 0.49, 0.47]}), "train_loss")
    whiskers = next(c for c in loss.collections if type(c).__name__ == "LineCollection")
    low, high = whiskers.get_segments()[0][:, 1]
    half_width = 3.182446 * np.sqrt(0.0008 / 3) / np.sqrt(4)
    assert (low, high) == pytest.approx((0.47 - half_width, 0.47 + half_width), rel=1e-6)
    assert not any("whisker" in str(part.get_label()) for part in bars[1].containers)  # three runs each


def test_the_sources_figure_is_a_marker_at_its_ordering(bars):
    """By the code: 0.4598 belongs to gn/bn, whatever its label says."""
    for axis, expected in zip(bars, ([0.8783, 0.8714, 0.8695, 0.8658], [0.4021, 0.4263, 0.4598, 0.4683]), strict=True):
        (marks,) = (c for c in axis.collections if c.get_label() == "the source's single run")
        assert marks.get_offsets()[:, 1].tolist() == expected
        assert marks.get_offsets()[:, 0].round().tolist() == [0, 1, 2, 3]


def test_behind_the_sources_figure_stands_the_spread_of_its_own_stack(bars):
    """From the lowest to the highest of twenty runs, read from the kept file with awk."""
    spreads = []
    for axis in bars:
        (lines,) = (c for c in axis.collections if c.get_label().startswith("20 runs on the source's own stack"))
        spreads.append([segment[:, 1].tolist() for segment in lines.get_segments()])
    accuracy, loss = spreads
    assert len(accuracy) == len(loss) == 4
    assert loss[0] == pytest.approx([0.4036, 0.4683], abs=5e-5)
    assert all(low < high for low, high in accuracy + loss)


def test_a_loss_axis_starts_at_zero_and_a_cut_axis_says_so(bars):
    accuracy, loss = bars
    assert loss.get_ylim()[0] == 0
    start = accuracy.get_ylim()[0]
    assert 0 < start < min(1 - m / 4 for values in LOSSES.values() for m in values)
    assert accuracy.get_title(loc="left") == f"running training accuracy (axis starts at {start:.2f})"


@pytest.mark.parametrize(("measures", "settings"), [("eval_loss", {}), ("train_loss", {"activation": "relu"})])
def test_nothing_of_the_source_stands_beside_other_figures_and_other_settings(make_frame, measures, settings):
    _, (axis,) = plots.plot_bars(make_frame(LOSSES, **settings), measures)
    assert not [c for c in axis.collections if "the source's" in str(c.get_label())]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("losses", [{"bn": [0.4]}, {"bn": [0.4, np.nan]}, {"bn": [np.nan], "none": [np.inf]}])
def test_one_run_or_a_diverged_one_can_be_drawn(make_frame, losses, tmp_path):
    figure, _ = plots.plot_bars(make_frame(losses))
    figure.savefig(tmp_path / "bars.png")


def test_long_names_stand_on_several_lines_and_do_not_overlap(make_frame):
    names = {"bn/none": "Centred/none", "gn/none": "without_offset/none", "gn/bn": "without_offset/Centred"}
    figure, axes = plots.plot_bars(make_frame(LOSSES).replace({"ordering": names}))
    figure.draw_without_rendering()
    for axis in axes:
        ticks = axis.get_xticklabels()
        assert "without_offset/\nCentred" in [tick.get_text() for tick in ticks]
        extents = [tick.get_window_extent() for tick in ticks]
        assert all(first.x1 <= second.x0 for first, second in itertools.pairwise(extents))


def test_readings_stand_on_one_axis_with_the_running_figure(make_record):
    records = [make_record("bn/none", seed, loss) for seed, loss in enumerate((0.4, 0.6))]
    for record in records:
        record.evaluation["recalibrated"] = {"loss": 0.1 + record.seed / 10, "accuracy": 0.9}
    _, axis = plots.plot_readings(records)
    assert [text.get_text() for text in axis.get_yticklabels()] == [
        "running training loss", "evaluation: inference", "evaluation: debiased", "evaluation: recalibrated"
    ]  # fmt: skip
    means = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "None"]
    assert means == pytest.approx([0.5, 0.25, 0.25, 0.15])
    circles = [line for line in axis.lines if line.get_marker() == "o"]
    assert circles[3].get_xydata().tolist() == [[0.1, 3], [0.2, 3]]


def test_the_gap_shows_three_readings_with_batch_norm_and_one_without(make_record):
    readings = {"inference": 0.5, "debiased": 0.4, "recalibrated": 0.3}
    evaluation = {reading: {"loss": loss, "accuracy": 0.9} for reading, loss in readings.items()}
    runs = [make_record("bn", seed, evaluation=evaluation) for seed in (0, 1)] + [make_record("none", 0, 0.5)]
    _, axis = plots.plot_gap(to_frame(runs))
    drawn = {
        (line.get_marker(), round(x, 4)) for line in axis.lines for x in line.get_xdata() if line.get_marker() in "o^s"
    }
    assert {("o", 0.5), ("^", 0.4), ("s", 0.3), ("o", 0.25)} <= drawn
    assert [label.get_text() for label in axis.get_yticklabels()] == ["bn/none", "none/none"]


VARIES = [{"batch_size": [32, 2]}]
PAPER = Paper("A paper, table 1", "batch_size", {"bn/bn": {32: 23.6, 8: 24.8, 2: 34.7}}, "In all.")


@pytest.fixture
def drawn(make_frame):
    """Two orderings under two batch sizes; accuracies of the two seeds 0.90 and 0.92, with none 0.80 and 0.80."""

    def evaluation(ordering, seed):
        return {"loss": 0.3, "accuracy": 0.8 if ordering == "none" else 0.9 + 0.02 * seed}

    frames = [make_frame({"bn/bn": [0.4, 0.5], "none": [0.4, 0.4]}, evaluation, batch_size=size) for size in (32, 2)]
    return plots.plot_beside_paper(pd.concat(frames, ignore_index=True), "eval_accuracy", VARIES, PAPER)


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
    bars = {bar.get_label(): bar.lines[0] for bar in ours.containers}
    for look in ("get_color", "get_marker"):  # the same in both; markers tell orderings apart without colour
        assert getattr(bars["bn/bn"], look)() == getattr(lines(theirs)["bn/bn"], look)()
    assert bars["bn/bn"].get_marker() != bars["none/none"].get_marker()


def test_without_a_paper_or_along_another_setting_nothing_is_drawn(make_frame):
    frame = pd.concat([make_frame({"bn/bn": [0.4]}, epochs=epochs) for epochs in (1, 2)])
    with pytest.raises(RequestError, match="paper: against is 'batch_size', but must be the first setting"):
        plots.plot_beside_paper(frame, "eval_accuracy", [{"epochs": [1, 2]}], PAPER)
    with pytest.raises(RequestError, match=r"^paper is None, but no paper.s figures stand beside these runs$"):
        plots.plot_beside_paper(make_frame({"bn": [0.4]}))


@pytest.mark.parametrize("name", ["source", "batch-size"])
def test_results_are_drawn_as_their_table_with_the_same_settings(name):
    results = normlib.read_results(name)
    records, study = results.records, results.study
    family = {"measure": study.measure, "varies": study.varies}
    pairs = [
        (normlib.plot_gap, {"varies": study.varies}),
        (normlib.plot_contrasts, {"contrasts": study.contrasts, "margin": study.margin, **family}),
        (normlib.plot_winners, family),
    ]
    pairs += [(normlib.plot_beside_paper, {**family, "paper": study.reported})] if study.reported else []
    pairs += [] if study.varies else [(normlib.plot_places, {"measure": study.measure}), (normlib.plot_bars, {})]
    for plot, settings in pairs:
        assert drawn_numbers(plot(results)[0]) == drawn_numbers(plot(records, **settings)[0])


def drawn_numbers(figure):
    lines = [line.get_xydata().tolist() for axis in figure.axes for line in axis.lines]
    patches = [patch.get_bbox().get_points().tolist() for axis in figure.axes for patch in axis.patches]
    return repr([lines, patches, [text.get_text() for axis in figure.axes for text in axis.texts]])
