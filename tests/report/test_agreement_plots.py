import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from test_agreement import KERAS, SIZES

from normlib.report import agreement


@pytest.fixture
def sides(make_frame):
    losses = {"bn": [0.45, 0.47], "gn": [0.40, 0.41], "none": [0.40, np.nan]}
    a, b = make_frame(losses), make_frame(losses, environment=KERAS)
    b.loc[b["ordering"] == "gn/none", "train_loss"] += 1
    return a, b


def test_each_measure_has_a_panel_with_a_unit_and_each_ordering_a_row(sides):
    figure, axes = agreement.plot_agreement(*sides)
    assert [axis.get_title(loc="left") for axis in axes] == [
        "running training loss", "running training accuracy", "evaluation loss", "evaluation accuracy",
    ]  # fmt: skip
    assert [axis.get_xlabel() for axis in axes] == 2 * ["cross-entropy, nats", "share of images"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["bn/none", "gn/none", "none/none"]
    assert "B: tensorflow 2.21.0, keras 3.15.1" in figure.alternative_text


def test_both_sides_stand_beside_each_other_with_their_means_and_intervals(sides):
    """0.45 and 0.47: mean 0.46, and 12.7062 (t, one degree of freedom) times 0.01 around it."""
    _, axes = agreement.plot_agreement(*sides)
    a, b = (line for line in axes[0].lines if line.get_marker() in "os" and len(line.get_xdata()) == 3)
    assert (a.get_marker(), to_hex(a.get_color())) == ("o", "#0072b2")
    assert (b.get_marker(), to_hex(b.get_color())) == ("s", "#d55e00")
    assert [a.get_xdata()[0], b.get_xdata()[1]] == pytest.approx([0.46, 1.405])
    assert all(a.get_ydata() < b.get_ydata())
    segments = [segment for lines in axes[0].collections for segment in lines.get_segments() if len(segment)]
    ends = [segment[:, 0].tolist() for segment in segments if segment[0, 1] == a.get_ydata()[0]]
    assert ends == [pytest.approx([0.46 - 0.127062, 0.46 + 0.127062], abs=1e-6)]


def test_what_does_not_agree_is_said_in_words_in_its_row(sides):
    _, axes = agreement.plot_agreement(*sides)
    said = [{text.get_position()[1]: text.get_text() for text in axis.texts} for axis in axes]
    assert said == [{1: "differs", 2: "undecided"}, {2: "undecided"}, {2: "undecided"}, {2: "undecided"}]


def test_rows_name_their_condition_and_show_only_what_both_sides_have(make_frame):
    a = pd.concat(make_frame({"bn": [0.4, 0.5], "gn": [0.4, 0.5]}, batch_size=size) for size in (32, 64))
    b = pd.concat(make_frame({"bn": [0.4, 0.5]}, batch_size=size) for size in (32, 64))
    _, axes = agreement.plot_agreement(a, b, SIZES, ["train_loss"])
    assert len(axes) == 1
    rows = [label.get_text() for label in axes[0].get_yticklabels()]
    assert rows == ["batch_size 32: bn/none", "batch_size 64: bn/none"]


def test_sides_are_named_by_what_tells_their_places_apart(make_frame):
    frame = make_frame({"bn": [0.4, 0.5]})
    other = frame.assign(processor="another processor", threads=2)
    assert agreement.name_sides(frame, other) == (
        "A: a processor, threads: 1",
        "B: another processor, threads: 2",
    )
    stack = "tensorflow 2.15.1, tensorflow-addons 0.23.0"
    assert agreement.name_sides(frame, frame) == (f"A: {stack}", f"B: {stack}")


def test_one_run_a_side_can_be_drawn(make_frame, tmp_path):
    frame = make_frame({"bn": [0.4]})
    figure, axes = agreement.plot_agreement(frame, frame, measures=agreement.FIGURES[:3])
    assert len(axes) == 3
    figure.savefig(tmp_path / "figure.png")
