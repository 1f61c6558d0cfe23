import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex

from normlib.report import curves

LOSSES = {"bn": [0.40, 0.44, 0.40, 0.44], "none": [0.42, 0.42, 0.42, 0.42]}


@pytest.fixture
def runs(make_record):
    return [make_record(name, seed, loss) for name, values in LOSSES.items() for seed, loss in enumerate(values)]


def test_interval_means_take_the_running_figure_apart(make_record):
    """Losses by image: 32 of 4, 32 of 2, 6 of 1 in a first epoch of 70 images; 32 of 1, 38 of 0.5 in a second."""
    curve = {
        "epoch": [1, 1, 1, 2, 2],
        "step": [1, 2, 3, 1, 3],
        "loss": [4, 3, (4 * 32 + 2 * 32 + 1 * 6) / 70, 1, (1 * 32 + 0.5 * 38) / 70],
        "accuracy": [0.0, 0.25, 0.5, 1.0, 1.0],
    }
    record = dataclasses.replace(make_record(fit_split="test[:70]", batch_size=32), curve=curve)
    means = curves.interval_means(record)
    assert means["images"].tolist() == [32, 64, 70, 102, 140]
    assert means["loss"].tolist() == pytest.approx([4, 2, 1, 1, 0.5])
    assert means["accuracy"].tolist()[:2] == pytest.approx([0.0, 0.5])


def test_learning_curves_show_interval_means_and_the_running_figure(make_record):
    """Running loss 0.8 after 156 * 32 images and 0.4 after all 10,000: 0.8, and then nearly nothing."""
    _, axes = curves.plot_learning_curves([make_record("gn/bn", loss=0.4)])
    means, running = axes[0].lines
    assert running.get_ydata().tolist() == [0.8, 0.4]
    assert means.get_xdata().tolist() == [4992, 10_000]
    assert means.get_ydata().tolist() == pytest.approx([0.8, (0.4 * 10_000 - 0.8 * 4992) / 5008])


def test_learning_curves_are_means_over_seeds_with_their_interval(runs):
    """From the made-up running figures 2r and r after 4,992 and 10,000 images, by hand: (10000 r - 9984 r) / 5008."""
    _, (axis,) = curves.plot_training(runs)
    lines = {line.get_label(): line for line in axis.lines}
    assert list(lines) == ["bn/none", "none/none"]
    expected = [(10_000 * loss - 4_992 * 2 * loss) / 5_008 for loss in LOSSES["bn"]]
    assert lines["bn/none"].get_xydata().tolist() == [[10_000, pytest.approx(np.mean(expected))]]
    (band,) = (c for c in axis.collections if to_hex(c.get_facecolor()[0]) == lines["bn/none"].get_color().lower())
    reach = 3.182446 * np.std(expected, ddof=1) / 2  # t with three degrees of freedom
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(np.mean(expected) + reach, rel=1e-5)


def test_below_four_runs_there_is_no_band(make_record):
    _, (axis,) = curves.plot_training([make_record("bn", seed, 0.4 + seed) for seed in range(3)])
    assert not axis.collections


def test_curves_of_many_orderings_are_differences_from_the_baseline_pair_by_pair(make_record):
    """The last image's losses are (10000 r - 9984 r) / 5008, so that 0.1 more in r is 0.1 * 16 / 5008 more there."""
    kinds = ("bn", "gn", "bn/bn", "gn/gn", "bn/gn")
    runs = [make_record(kind, seed, 0.5 + seed) for seed in (0, 1) for kind in kinds]
    _, (axis,) = curves.plot_training([*runs, *(make_record("none", seed, 0.4 + seed) for seed in (0, 1))])
    assert {line.get_label(): line.get_ydata().tolist() for line in axis.lines} == {
        **{name: [pytest.approx(0.1 * 16 / 5008)] for name in ("bn/none", "gn/none", "bn/bn", "gn/gn", "bn/gn")},
        "none/none": [0],
    }
    assert axis.get_ylabel() == "training loss, minus that of none/none"


@pytest.mark.parametrize("others", [(), ("gn", "bn/bn", "gn/gn", "bn/gn")])
def test_a_diverged_run_is_not_left_out_of_the_mean(make_record, others):
    """Among many orderings, whose differences are drawn, as among few."""
    runs = [make_record(kind, seed, 0.4) for kind in ("none", *others) for seed in range(4)]
    runs += [make_record("bn", seed, np.nan if seed else 0.4) for seed in range(4)]
    _, (axis,) = curves.plot_training(runs)
    (line,) = (line for line in axis.lines if line.get_label() == "bn/none")
    assert np.isnan(line.get_ydata()).all()


def test_each_condition_has_a_panel(make_record):
    runs = [make_record("bn", seed, 0.4, batch_size=size) for seed in (0, 1) for size in (4, 8, 16, 32)]
    _, axes = curves.plot_training(runs, [{"batch_size": [4, 8, 16, 32]}])
    assert [axis.get_title(loc="left") for axis in axes] == [f"batch_size {size}" for size in (4, 8, 16, 32)]
