import numpy as np
import pytest
from matplotlib.colors import to_hex

from normlib.report import plots
from normlib.runs.store import to_frame

LOSSES = {"bn": [0.40, 0.44], "none": [0.42, 0.42]}


@pytest.fixture
def runs(make_record):
    return [
        make_record(ordering, seed, loss) for ordering, values in LOSSES.items() for seed, loss in enumerate(values)
    ]


def test_places_are_written_into_their_cells_and_none_of_them_is_left_out(make_frame):
    _, axis = plots.plot_places(make_frame(LOSSES), "train_loss")
    assert [text.get_text() for text in axis.texts] == ["50%"] * 4
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2"]
    assert axis.get_images()[0].get_array().tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_learning_curves_are_means_over_seeds_with_their_interval(runs):
    """From the made-up running figures 2r and r after 4,992 and 10,000 images, by hand: (10000 r - 9984 r) / 5008."""
    _, (axis,) = plots.plot_training(runs)
    lines = {line.get_label(): line for line in axis.lines}
    assert list(lines) == ["bn/none", "none/none"]
    expected = [(10_000 * loss - 4_992 * 2 * loss) / 5_008 for loss in LOSSES["bn"]]
    assert lines["bn/none"].get_xydata().tolist() == [[10_000, pytest.approx(np.mean(expected))]]
    (band,) = (c for c in axis.collections if to_hex(c.get_facecolor()[0]) == lines["bn/none"].get_color().lower())
    reach = 12.7062 * np.std(expected, ddof=1) / 2**0.5
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(np.mean(expected) + reach, rel=1e-5)


def test_each_condition_has_a_panel(make_record):
    runs = [make_record("bn", seed, 0.4, batch_size=size) for seed in (0, 1) for size in (4, 8, 16, 32)]
    _, axes = plots.plot_training(runs, [{"batch_size": [4, 8, 16, 32]}])
    assert [axis.get_title(loc="left") for axis in axes] == [f"batch_size {size}" for size in (4, 8, 16, 32)]


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


@pytest.mark.parametrize("losses", [{"bn": [0.4]}, {"bn": [0.4, np.nan], "none": [0.3, 0.3]}])
def test_one_run_or_a_diverged_one_can_be_drawn(make_record, losses, tmp_path):
    runs = [
        make_record(ordering, seed, loss) for ordering, values in losses.items() for seed, loss in enumerate(values)
    ]
    figures = [plots.plot_training(runs)[0], plots.plot_gap(to_frame(runs))[0]]
    figures.append(plots.plot_places(to_frame(runs), "train_loss")[0])
    for figure in figures:
        figure.savefig(tmp_path / "figure.png")
