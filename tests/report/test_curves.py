import pytest

from normlib.report import curves


def test_interval_means_take_the_running_figure_apart():
    """Losses by image: 32 of 4, 32 of 2, 6 of 1 in a first epoch of 70 images; 32 of 1, 38 of 0.5 in a second."""
    curve = {
        "epoch": [1, 1, 1, 2, 2],
        "step": [1, 2, 3, 1, 3],
        "loss": [4, 3, (4 * 32 + 2 * 32 + 1 * 6) / 70, 1, (1 * 32 + 0.5 * 38) / 70],
        "accuracy": [0.0, 0.25, 0.5, 1.0, 1.0],
    }
    means = curves.interval_means(curve, batch_size=32, examples=70)
    assert means["images"].tolist() == [32, 64, 70, 102, 140]
    assert means["loss"].tolist() == pytest.approx([4, 2, 1, 1, 0.5])
    assert means["accuracy"].tolist()[:2] == pytest.approx([0.0, 0.5])
