import itertools

import numpy as np
import pytest

from normlib.report import plots
from normlib.runs.store import to_frame

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


def test_bars_in_the_sources_order_are_means_over_runs_and_the_baseline_is_a_line_unless_it_stands_alone(
    make_frame, bars
):
    accuracy, loss = bars
    means = np.array([0.43, 0.43, 0.46, 0.47])
    assert labels(accuracy) == labels(loss) == ["bn/none", "gn/none", "gn/bn", "bn/gn"]
    assert [bar.get_height() for bar in loss.patches] == pytest.approx(means)
    assert [bar.get_height() for bar in accuracy.patches] == pytest.approx(1 - means / 4)
    assert [text.get_text() for text in loss.texts] == ["0.430", "0.430", "0.460", "0.470"]
    (line,) = (line for line in loss.lines if "none/none" in line.get_label())
    assert line.get_ydata() == pytest.approx([0.40, 0.40])
    _, axes = plots.plot_bars(make_frame({"none": [0.4, 0.5]}))
    assert labels(axes[0]) == ["none/none"]


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


def test_the_sources_figure_is_a_marker_at_its_ordering_behind_it_the_spread_of_its_own_stack(bars):
    """By the code: 0.4598 belongs to gn/bn, whatever its label says. The spread was read from the file with awk."""
    for axis, expected in zip(bars, ([0.8783, 0.8714, 0.8695, 0.8658], [0.4021, 0.4263, 0.4598, 0.4683]), strict=True):
        (marks,) = (c for c in axis.collections if c.get_label() == "the source's single run")
        assert marks.get_offsets()[:, 1].tolist() == expected
        assert marks.get_offsets()[:, 0].round().tolist() == [0, 1, 2, 3]
        (lines,) = (c for c in axis.collections if c.get_label().startswith("20 runs on the source's own stack"))
        spreads = [segment[:, 1].tolist() for segment in lines.get_segments()]
        assert len(spreads) == 4
        assert all(low < high for low, high in spreads)
    assert spreads[0] == pytest.approx([0.4036, 0.4683], abs=5e-5)


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
