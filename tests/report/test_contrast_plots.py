import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from test_agreement_report import KERAS

from normlib.analysis.comparison import Comparison
from normlib.report import contrast_plots, style
from normlib.runs.measures import MAIN_MEASURES

KIND = {"kind": "bn/none - gn/none"}
SIZES = [{"batch_size": [32, 64]}]
VARIES = [{"batch_size": [32, 64]}, {"activation": ["none", "relu"]}]


def test_contrasts_show_every_pair_the_mean_its_interval_and_the_margin(make_frame):
    """0.10, 0.20, 0.30, 0.20 against half of each: mean 0.1, sd sqrt(0.005 / 3); t with three degrees is 3.182446."""
    frame = make_frame({"bn": [0.10, 0.20, 0.30, 0.20], "gn": [0.05, 0.10, 0.15, 0.10]})
    _, axis = contrast_plots.plot_contrasts(frame, KIND, "train_loss", margin=0.02)
    pairs = next(c for c in axis.collections if len(c.get_offsets()) == 4)
    assert pairs.get_offsets()[:, 0].tolist() == pytest.approx([0.05, 0.10, 0.15, 0.10])
    segments = next(c.get_segments() for c in axis.collections if hasattr(c, "get_segments") and c.get_segments())
    half_width = 3.182446 * np.sqrt(0.005 / 3) / 2
    assert segments[0][:, 0].tolist() == pytest.approx([0.1 - half_width, 0.1 + half_width], rel=1e-6)
    assert axis.patches[0].get_extents().transformed(axis.transData.inverted()).x1 == pytest.approx(0.02)
    assert [text.get_text() for text in axis.get_yticklabels()] == ["differs: kind\nbn/none - gn/none"]
    assert axis.get_xlabel() == "← first better      difference in running training loss      first worse →"
    _, axis = contrast_plots.plot_contrasts(frame, KIND, "eval_accuracy", margin=0.02)
    assert axis.get_xlabel() == "← first worse      difference in evaluation accuracy      first better →"


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_below_four_pairs_every_pair_is_a_dot_and_nothing_is_an_interval(make_frame, runs):
    frame = make_frame({"bn": [0.1, 0.2, 0.3][:runs], "gn": [0.2, 0.2, 0.2][:runs]})
    figure, axis = contrast_plots.plot_contrasts(frame, KIND, "train_loss", margin=0.02)
    lines = (line for lines in axis.collections if hasattr(lines, "get_segments") for line in lines.get_segments())
    assert not [line for line in lines if line.size and np.isfinite(line).all()]
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    mean = ["mean difference"] if runs > 1 else []
    assert entries == ["margin: differences that do not matter, ± 0.02", "one pair of runs", *mean]


@pytest.fixture
def varied(make_frame):
    """By 0.1 bn/none wins without activation at 32, and the baseline with ReLU there; at 64 nothing is clear."""
    losses = {
        (32, "none"): {"bn": [0.3, 0.31], "none": [0.5, 0.5], "gn": [0.4, 0.42]},
        (32, "relu"): {"bn": [0.4, 0.42], "none": [0.3, 0.31], "gn": [0.5, 0.5]},
        (64, "none"): {"bn": [0.3, 0.5], "none": [0.5, 0.31], "gn": [0.6, 0.6]},
    }
    return pd.concat(
        make_frame({name: 2 * values for name, values in runs.items()}, batch_size=size, activation=activation)
        for (size, activation), runs in losses.items()
    )


def test_under_conditions_each_contrast_has_a_row_for_each(varied):
    _, axis = contrast_plots.plot_contrasts(varied, KIND, "train_loss", 0.01, VARIES)
    assert [text.get_text() for text in axis.get_yticklabels()] == [
        "differs: kind\nbatch_size 32, activation none",
        "differs: kind\nbatch_size 32, activation relu",
        "undecided: kind\nbatch_size 64, activation none",
        "undecided: kind\nbatch_size 64, activation relu",
    ]


def test_the_map_has_a_cell_for_each_condition_that_was_run_with_its_winner_and_how_far_it_is_ahead(varied):
    """0.4 - 0.3 and 0.42 - 0.31, twice: mean 0.105; t with three degrees is 3.182446."""
    _, axis = contrast_plots.plot_winners(varied, "train_loss", VARIES)
    cells = {(round(p.get_x() + 0.48), round(p.get_y() + 0.47)): p for p in axis.patches}
    colours = {name: to_rgb(look[0]) for name, look in style.styles(["bn/none", "none/none"]).items()}
    winners = {place: [n for n, c in colours.items() if c == cell.get_facecolor()[:3]] for place, cell in cells.items()}
    assert winners == {(0, 0): ["bn/none"], (1, 0): ["none/none"], (0, 1): ["bn/none"]}
    assert [label.get_text() for label in axis.get_xticklabels()] == ["activation none", "activation relu"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["batch_size 32", "batch_size 64"]
    assert {place for place, cell in cells.items() if cell.get_hatch()} == {(0, 1)}
    reach = 3.182446 * np.std([0.10, 0.11, 0.10, 0.11], ddof=1) / 2
    lead = f"0.105 [{0.105 - reach:.3f}, {0.105 + reach:.3f}] ahead of"
    said = f"{lead}\ngn/none, 0.195 of none/none\nfirst with 4 of 4 seeds"
    assert [text.get_text() for text in axis.texts[:2]] == ["bn/none", said]


def test_a_cell_of_few_runs_has_no_interval_and_equal_means_are_said_to_be_equal(make_frame):
    frame = pd.concat(make_frame({"bn": [0.3], "gn": [loss]}, batch_size=n) for n, loss in ((32, 0.4), (64, 0.3)))
    _, axis = contrast_plots.plot_winners(frame, "train_loss", SIZES)
    texts = [text.get_text() for text in axis.texts]
    assert texts[1::2] == ["0.100 ahead of\ngn/none", "exactly as good as\ngn/none"]


def test_places_are_written_into_their_cells_and_none_of_them_is_left_out(make_frame):
    _, axis = contrast_plots.plot_places(make_frame({"bn": [0.40, 0.44], "none": [0.42, 0.42]}), "train_loss")
    assert [text.get_text() for text in axis.texts] == ["50%"] * 4
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2"]
    assert axis.get_images()[0].get_array().tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.fixture
def sides(make_frame):
    losses = {"bn": [0.45, 0.47] * 2, "gn": [0.40, 0.41] * 2, "none": [0.40, np.nan] * 2}
    a, b = make_frame(losses), make_frame(losses, environment=KERAS)
    b.loc[b["ordering"] == "gn/none", "train_loss"] += 1
    return Comparison(a), Comparison(b)


def test_each_measure_has_a_panel_with_a_unit_and_each_ordering_a_row_that_says_where_it_does_not_agree(sides):
    figure, axes = contrast_plots.plot_agreement(*sides)
    assert [axis.get_title(loc="left") for axis in axes] == [
        "running training loss", "running training accuracy", "evaluation loss", "evaluation accuracy",
    ]  # fmt: skip
    assert [axis.get_xlabel() for axis in axes] == 2 * ["cross-entropy, nats", "share of images"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["bn/none", "gn/none", "none/none"]
    assert "B: tensorflow 2.21.0, keras 3.15.1" in figure.alternative_text
    said = [{text.get_position()[1]: text.get_text() for text in axis.texts} for axis in axes]
    assert said == [{1: "differs", 2: "undecided"}, {2: "undecided"}, {2: "undecided"}, {2: "undecided"}]


def test_both_sides_stand_beside_each_other_with_their_means_and_intervals(sides):
    """0.45 and 0.47, twice: mean 0.46, sd sqrt(0.0004 / 3); t with three degrees is 3.182446."""
    _, axes = contrast_plots.plot_agreement(*sides)
    a, b = (line for line in axes[0].lines if line.get_marker() in "os" and len(line.get_xdata()) == 3)
    assert (a.get_marker(), to_hex(a.get_color())) == ("o", "#0072b2")
    assert (b.get_marker(), to_hex(b.get_color())) == ("s", "#d55e00")
    assert [a.get_xdata()[0], b.get_xdata()[1]] == pytest.approx([0.46, 1.405])
    assert all(a.get_ydata() < b.get_ydata())
    segments = [segment for lines in axes[0].collections for segment in lines.get_segments() if len(segment)]
    ends = [segment[:, 0].tolist() for segment in segments if segment[0, 1] == a.get_ydata()[0]]
    reach = 3.182446 * np.sqrt(0.0004 / 3) / 2
    assert ends == [pytest.approx([0.46 - reach, 0.46 + reach], abs=1e-6)]


def test_rows_name_their_condition_and_show_only_what_both_sides_have(make_frame):
    """And one run a side can be drawn."""
    a = pd.concat(make_frame({"bn": [0.4], "gn": [0.4]}, batch_size=size) for size in (32, 64))
    b = pd.concat(make_frame({"bn": [0.4]}, batch_size=size) for size in (32, 64))
    sides = (Comparison(side, varies=SIZES) for side in (a, b))
    figure, axes = contrast_plots.plot_agreement(*sides, MAIN_MEASURES[:3])
    assert len(axes) == 3
    rows = [label.get_text() for label in axes[0].get_yticklabels()]
    assert rows == ["batch_size 32: bn/none", "batch_size 64: bn/none"]
    figure.draw_without_rendering()
