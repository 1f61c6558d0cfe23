import pytest

from normlib.report import curves


def test_learning_curves_show_interval_means_and_the_running_figure(make_record):
    """Running loss 0.8 after 156 * 32 images and 0.4 after all 10,000: 0.8, and then nearly nothing."""
    _, axes = curves.plot_learning_curves([make_record("gn/bn", loss=0.4)])
    means, running = axes[0].lines
    assert running.get_ydata().tolist() == [0.8, 0.4]
    assert means.get_xdata().tolist() == [4992, 10_000]
    assert means.get_ydata().tolist() == pytest.approx([0.8, (0.4 * 10_000 - 0.8 * 4992) / 5008])


def test_readings_stand_on_one_axis_with_the_running_figure(make_record):
    records = [make_record("bn/none", seed, loss) for seed, loss in enumerate((0.4, 0.6))]
    for record in records:
        record.evaluation["recalibrated"] = {"loss": 0.1 + record.seed / 10, "accuracy": 0.9}
    _, axis = curves.plot_readings(records)
    assert labels_of_rows(axis) == [
        "running training loss", "evaluation: inference", "evaluation: debiased", "evaluation: recalibrated"
    ]  # fmt: skip
    assert [line.get_xdata()[0] for line in axis.lines] == pytest.approx([0.5, 0.25, 0.25, 0.15])
    assert axis.collections[3].get_offsets().tolist() == [[0.1, 3], [0.2, 3]]


def labels_of_rows(axis):
    return [text.get_text() for text in axis.get_yticklabels()]
