import dataclasses

import numpy as np
import pandas as pd
import pytest

from normlib.errors import RequestError
from normlib.report import diagnosis
from normlib.runs.diagnose import Diagnosis

STEPS = [0, 1, 10]


@pytest.fixture
def make_diagnosis(make_record):
    """Return a function that makes up a diagnosis of a two-slot model from its values by quantity and place."""

    def make(ordering, values, layer="a layer"):
        rows = [
            (step, quantity, place, layer, value)
            for (quantity, place), series in values.items()
            for step, value in zip(STEPS, series, strict=True)
        ]
        frame = pd.DataFrame(rows, columns=["step", "quantity", "place", "layer", "value"])
        return Diagnosis(make_record(ordering), frame)

    return make


@pytest.fixture
def diagnoses(make_diagnosis):
    return [
        make_diagnosis(
            ordering,
            {
                ("cosine similarity", 1): [start, 0.2, 0.3],
                ("cosine similarity", 2): [start + 0.1, 0.4, 0.5],
                ("gradient norm", 1): [start * 100, 1.0, 0.01],
                ("gradient norm", 2): [start, 2.0, 0.02],
                **({("moving mean distance", 1): [1.0, 0.9, 0.5]} if ordering == "bn/none" else {}),
                **({("moving variance distance", 1): [40.0, 30.0, 2.0]} if ordering == "bn/none" else {}),
            },
        )
        for ordering, start in (("none/none", 0.5), ("gn/none", 0.3), ("bn/none", 0.1))
    ]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_cosine_similarity_has_a_panel_a_slot_and_a_line_an_ordering(diagnoses):
    figure, axes = diagnosis.plot_cosine_similarity(diagnoses)
    assert [axis.get_title(loc="left") for axis in axes] == ["slot 1", "slot 2"]
    assert legend(figure) == ["bn/none", "gn/none", "none/none"]
    for axis, added in zip(axes, (0, 0.1), strict=True):
        lines = {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}
        assert sorted(lines) == ["bn/none", "gn/none", "none/none"]
        assert lines["gn/none"].get_xdata().tolist() == STEPS
        assert lines["gn/none"].get_ydata()[0] == pytest.approx(0.3 + added)
        assert axis.get_yscale() == "linear"
        assert axis.get_xlabel() == "training steps"
    assert axes[0].get_ylabel() == "mean cosine similarity\nof two samples"
    assert axes[0].get_ylim() == axes[1].get_ylim()


def test_an_ordering_looks_the_same_in_all_figures(make_diagnosis):
    """Those without BatchNorm are not in the last one, and come first in order."""
    some = {("gradient norm", 1): [1.0] * 3, ("moving mean distance", 1): [1.0] * 3}
    made = [make_diagnosis("gn/gn", {("gradient norm", 1): [1.0] * 3}), make_diagnosis("in/bn", some)]
    lines = [
        {line.get_label(): line for line in plot(made)[1][0].lines}["in/bn"]
        for plot in (diagnosis.plot_gradient_norms, diagnosis.plot_moving_statistics)
    ]
    for look in ("color", "linestyle", "marker"):
        first, second = (getattr(line, f"get_{look}")() for line in lines)
        assert first == second


def test_gradient_norms_are_on_a_log_scale_with_a_panel_a_layer(diagnoses):
    figure, axes = diagnosis.plot_gradient_norms(diagnoses)
    assert [axis.get_title(loc="left") for axis in axes] == ["layer 1: a layer", "layer 2: a layer"]
    assert [axis.get_yscale() for axis in axes] == ["log", "log"]
    assert axes[0].get_ylabel() == "norm of the loss' gradient\n(log scale)"
    assert legend(figure) == ["bn/none", "gn/none", "none/none"]
    figure.canvas.draw()
    assert "0.1" in [text.get_text() for text in axes[0].get_yticklabels()]


def test_moving_statistics_have_mean_and_variance_where_batch_norm_stands_or_say_that_there_is_none(diagnoses):
    figure, axes = diagnosis.plot_moving_statistics(diagnoses)
    assert [axis.get_title(loc="left") for axis in axes] == ["moving mean, slot 1", "moving variance, slot 1"]
    assert legend(figure) == ["bn/none"]
    assert [axis.lines[0].get_ydata().tolist() for axis in axes] == [[1.0, 0.9, 0.5], [40.0, 30.0, 2.0]]
    assert axes[0].get_ylabel() == "relative distance from the\npopulation's (log scale)"
    _, (axis,) = diagnosis.plot_moving_statistics(diagnoses[:2])
    assert [text.get_text() for text in axis.texts] == ["no BatchNorm, so no moving averages"]


def test_two_batch_norms_in_one_slot_are_two_lines_in_its_panel(make_diagnosis):
    quantities = ("moving mean distance", "moving variance distance")
    values = {(quantity, 1): [0.5] * 3 for quantity in quantities}
    first, second = (make_diagnosis("bn+bn/none", values, layer) for layer in ("slot_1_1", "slot_1_2"))
    both = dataclasses.replace(first, frame=pd.concat([first.frame, second.frame]))
    figure, axes = diagnosis.plot_moving_statistics(both)
    assert [len(axis.lines) for axis in axes] == [2, 2]
    assert legend(figure) == ["bn+bn/none"]


def test_labels_of_ones_own_tell_diagnoses_of_one_ordering_apart(diagnoses):
    figure, axes = diagnosis.plot_gradient_norms({"rate 0.1": diagnoses[0], "rate 1": diagnoses[0]})
    assert legend(figure) == ["rate 0.1", "rate 1"]
    assert len(axes[0].lines) == 2
    with pytest.raises(
        RequestError, match=r"^diagnoses is 'none/none, none/none', but must be one of each ordering, or a map"
    ):
        diagnosis.plot_gradient_norms([diagnoses[0]] * 2)
    with pytest.raises(RequestError, match=r"^diagnoses is 'empty'"):
        diagnosis.plot_gradient_norms([])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[1.0, np.inf, np.nan], [np.nan] * 3, [0.0] * 3])
def test_a_run_that_diverged_is_drawn_as_far_as_it_went(make_diagnosis, values):
    quantities = ("cosine similarity", "gradient norm", "moving mean distance", "moving variance distance")
    diverged = make_diagnosis("bn/none", {(quantity, 1): values for quantity in quantities})
    for plot in ("plot_cosine_similarity", "plot_gradient_norms", "plot_moving_statistics"):
        figure, _ = getattr(diagnosis, plot)(diverged)
        figure.canvas.draw()
