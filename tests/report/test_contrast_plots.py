import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from normlib.analysis.verdicts import Contrast
from normlib.report import contrast_plots, plots

KIND = Contrast.parse("kind", "bn/none - gn/none", ["bn/none", "gn/none"])
VARIES = [{"batch_size": [32, 64]}, {"activation": ["none", "relu"]}]


def test_contrasts_show_every_pair_the_mean_its_interval_and_the_margin(make_frame):
    """0.10, 0.20, 0.30 against 0.05, 0.10, 0.15: differences 0.05, 0.10, 0.15; t with two degrees is 4.302653."""
    frame = make_frame({"bn": [0.10, 0.20, 0.30], "gn": [0.05, 0.10, 0.15]})
    _, axis = contrast_plots.plot_contrasts(frame, [KIND], "train_loss", margin=0.02)
    pairs = next(c for c in axis.collections if len(c.get_offsets()) == 3)
    assert pairs.get_offsets()[:, 0].tolist() == pytest.approx([0.05, 0.10, 0.15])
    segments = next(c.get_segments() for c in axis.collections if hasattr(c, "get_segments") and c.get_segments())
    half_width = 4.302653 * 0.05 / np.sqrt(3)
    assert segments[0][:, 0].tolist() == pytest.approx([0.1 - half_width, 0.1 + half_width], rel=1e-6)
    assert axis.patches[0].get_extents().transformed(axis.transData.inverted()).x1 == pytest.approx(0.02)
    assert [text.get_text() for text in axis.get_yticklabels()] == ["kind\nbn/none - gn/none: undecided"]


@pytest.fixture
def varied(make_frame):
    """By 0.1 bn/none wins without activation at 32, and the baseline with ReLU there; at 64 nothing is clear."""
    losses = {
        (32, "none"): {"bn": [0.3, 0.31], "none": [0.5, 0.5], "gn": [0.4, 0.42]},
        (32, "relu"): {"bn": [0.4, 0.42], "none": [0.3, 0.31], "gn": [0.5, 0.5]},
        (64, "none"): {"bn": [0.3, 0.5], "none": [0.5, 0.31], "gn": [0.6, 0.6]},
    }
    return pd.concat(
        make_frame(values, batch_size=size, activation=activation) for (size, activation), values in losses.items()
    )


def test_with_conditions_each_contrast_has_a_row_for_each(varied):
    _, axis = contrast_plots.plot_contrasts(varied, [KIND], "train_loss", 0.01, VARIES)
    assert [text.get_text() for text in axis.get_yticklabels()] == [
        "kind\nbatch_size 32, activation none: undecided",
        "kind\nbatch_size 32, activation relu: undecided",
        "kind\nbatch_size 64, activation none: undecided",
        "kind\nbatch_size 64, activation relu: undecided",
    ]


def test_the_map_has_a_cell_for_each_condition_that_was_run_with_its_winner(varied):
    _, axis = contrast_plots.plot_winners(varied, "train_loss", VARIES)
    cells = {(round(p.get_x() + 0.48), round(p.get_y() + 0.47)): p for p in axis.patches}
    colours = {name: to_rgb(look[0]) for name, look in plots.styles(["bn/none", "none/none"]).items()}
    winners = {place: [n for n, c in colours.items() if c == cell.get_facecolor()[:3]] for place, cell in cells.items()}
    assert winners == {(0, 0): ["bn/none"], (1, 0): ["none/none"], (0, 1): ["bn/none"]}
    assert [label.get_text() for label in axis.get_xticklabels()] == ["activation none", "activation relu"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["batch_size 32", "batch_size 64"]
    assert {place for place, cell in cells.items() if cell.get_hatch()} == {(0, 1)}


def test_a_cell_says_how_far_the_winner_is_ahead(varied):
    """0.4 - 0.3 and 0.42 - 0.31: mean 0.105, sd 0.00707; t with one degree is 12.7062."""
    _, axis = contrast_plots.plot_winners(varied, "train_loss", VARIES)
    texts = [text.get_text() for text in axis.texts]
    assert texts[0] == "bn/none"
    reach = 12.7062 * np.std([0.10, 0.11], ddof=1) / 2**0.5
    lead = f"0.105 [{0.105 - reach:.3f}, {0.105 + reach:.3f}] ahead of"
    assert texts[1] == f"{lead}\ngn/none, 0.195 of none/none\nfirst with 2 of 2 seeds"
