"""One study run in two places, A and B: which figures agree, and which contrasts have the same verdict."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib.analysis import agreement
from normlib.analysis.comparison import Comparison
from normlib.analysis.contrasts import read_contrasts

SIZES = [{"batch_size": [32, 64]}]
FIGURES = st.lists(st.integers(0, 1000).map(lambda number: number / 1000), min_size=2, max_size=6).map(np.array)


def figures(a, b, varies=(), **arguments):
    return agreement.compare_figures(Comparison(a, varies=varies), Comparison(b, varies=varies), **arguments)


def contrasts(a, b, varies=()):
    declared = read_contrasts({"gain": "bn/none - none/none"}, ["bn/none", "none/none"])
    return agreement.compare_contrasts(*(Comparison(frame, declared, varies=varies) for frame in (a, b)))


def row(frame, ordering="bn/none", measure="train_loss"):
    (found,) = frame[(frame["ordering"] == ordering) & (frame["measure"] == measure)].to_dict("records")
    return found


def test_two_means_are_compared_by_welchs_interval_worked_out_by_hand():
    """1, 2, 3 against 2, 4, 6, 8: means 2 and 5, variances 1 and 20/3, so the error of B - A is sqrt(1/3 + 5/3).

    Its degrees of freedom are (1/3 + 5/3)^2 / ((1/3)^2 / 2 + (5/3)^2 / 3) = 4.0754717, and their t is 2.756285.
    """
    found = agreement.welch(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0, 8.0]))
    reach = 2.756285 * 2**0.5
    assert [found["difference"], found["low"], found["high"]] == pytest.approx([3, 3 - reach, 3 + reach], rel=1e-6)
    assert found["p"] == pytest.approx(0.09991286, rel=1e-6)


@given(FIGURES, FIGURES)
def test_swapped_sides_turn_the_sign_and_the_interval_holds_zero_where_p_is_above_a_twentieth(a, b):
    there, back = agreement.welch(a, b), agreement.welch(b, a)
    turned = [-back["difference"], -back["high"], -back["low"], back["p"]]
    assert [there[name] for name in ("difference", "low", "high", "p")] == pytest.approx(turned)
    assert (there["low"] <= 0 <= there["high"]) == (there["p"] >= 0.05)


def test_without_any_spread_means_are_equal_or_they_are_not():
    """Three times 0.1 has a mean that is another float than 0.1."""
    same = agreement.welch(np.array([0.1, 0.1]), np.array([0.1, 0.1, 0.1]))
    assert same == {"difference": 0, "low": 0, "high": 0, "p": 1}
    other = agreement.welch(np.array([1.0, 1.0]), np.array([3.0, 3.0]))
    assert other == {"difference": 2, "low": 2, "high": 2, "p": 0}


@pytest.mark.parametrize("values", [[0.4], [], [0.4, np.nan], [0.4, np.inf]])
def test_one_run_or_a_diverged_one_has_no_interval(values):
    assert np.isnan(list(agreement.welch(np.array(values), np.array([0.4, 0.5])).values())).all()


def test_there_is_a_row_for_each_measure_and_ordering_with_the_figures_of_both_sides(make_frame):
    """0.45 and 0.47: mean 0.46, and 12.7062 (t, one degree of freedom) times 0.01 around it."""
    a = make_frame({"bn": [0.45, 0.47], "none": [0.4, 0.5]})
    b = make_frame({"bn": [0.5, 0.5, 0.5], "none": [0.4, 0.5]})
    found = figures(a, b)
    assert found["measure"].unique().tolist() == ["train_loss", "train_accuracy", "eval_loss", "eval_accuracy"]
    assert found["ordering"].tolist() == 4 * ["bn/none", "none/none"]
    loss = row(found)
    assert (loss["runs_a"], loss["runs_b"], loss["mean_b"]) == (2, 3, 0.5)
    assert [loss["mean_a"], loss["low_a"], loss["high_a"]] == pytest.approx([0.46, 0.332938, 0.587062], abs=1e-6)
    assert loss["difference"] == pytest.approx(0.04)


def test_the_verdict_is_that_of_its_own_interval_and_holms_p_is_beside_it(make_frame):
    """By hand, p of 1, 2, 3 against 4.4, 5.4, 6.4 (t 4.164, four degrees of freedom) is 0.0141, of eight 0.1128."""
    a = make_frame({"bn": [1.0, 2.0, 3.0], "none": [1.0, 2.0, 3.0]}, evaluation=lambda *_: {"loss": 1, "accuracy": 1})
    b = a.assign(train_loss=a["train_loss"] + 3.4 * (a["ordering"] == "bn/none"))
    found = figures(a, b)
    assert row(found)["p"] == pytest.approx(0.014101, abs=1e-5)
    assert row(found)["holm_p"] == pytest.approx(8 * 0.014101, abs=1e-4)
    assert found["verdict"].value_counts().to_dict() == {"agrees": 7, "differs": 1}


def test_only_what_both_sides_have_is_compared_and_the_rest_can_be_told(make_frame):
    a = pd.concat([make_frame({"bn": [0.4, 0.5], "gn": [0.4, 0.5]}), make_frame({"bn": [9.0, 9.1]}, batch_size=64)])
    b = pd.concat([make_frame({"bn": [0.4, 0.5]}), make_frame({"none": [0.4, 0.5]}, batch_size=64)])
    (found,) = figures(a, b, SIZES, measures=["train_loss"]).to_dict("records")
    assert (found["condition"], found["ordering"], found["runs_a"]) == ("batch_size 32", "bn/none", 2)
    assert found["verdict"] == "agrees"
    sides = [Comparison(side, varies=SIZES) for side in (a, b)]
    assert agreement.only_in(*sides) == ["gn/none", "bn/none (batch_size 64)"]
    assert agreement.only_in(*reversed(sides)) == ["none/none"]


def test_whether_a_contrast_depends_on_the_place_is_told_by_its_change_seed_by_seed(make_frame):
    """Pairs differ by 1, 2, 3 in A and by 2.1, 3.2, 4.0, 8 in B: by 1.1, 1.2 and 1.0 more with the seeds of both."""
    a = make_frame({"bn": [2.0, 3.0, 4.0], "none": [1.0, 1.0, 1.0]})
    b = make_frame({"bn": [3.1, 4.2, 5.0, 9.0], "none": [1.0, 1.0, 1.0, 1.0]})
    found = contrasts(a, b).loc[0]
    assert found[["pairs_a", "mean_a", "pairs_b"]].tolist() == [3, 2, 4]
    reach = 4.302653 * 0.1 / 3**0.5
    assert found[["difference", "low", "high"]].tolist() == pytest.approx([1.1, 1.1 - reach, 1.1 + reach], rel=1e-6)
    assert found["verdict"] == "differs"
    other_seeds = contrasts(a, b.assign(seed=b["seed"] + 50)).loc[0]
    assert (other_seeds["pairs_b"], other_seeds["verdict"]) == (4, "undecided")


LOWER, HIGHER = [0.40, 0.41, 0.40, 0.42, 0.41, 0.40], [0.50, 0.50, 0.51, 0.50, 0.51, 0.50]
CLOSE = [0.4004, 0.4103, 0.4004, 0.4203, 0.4104, 0.4003]


@pytest.mark.parametrize(
    ("baseline_b", "verdict", "same"),
    [(HIGHER, "differs", True), ([v - 0.2 for v in HIGHER], "differs", False), (CLOSE, "differs negligibly", False)],
)
def test_the_verdict_is_the_same_where_word_and_direction_are(make_frame, baseline_b, verdict, same):
    found = contrasts(make_frame({"bn": LOWER, "none": HIGHER}), make_frame({"bn": LOWER, "none": baseline_b}))
    assert found.loc[0, ["verdict_a", "verdict_b", "same_verdict"]].tolist() == ["differs", verdict, same]


def test_contrasts_stand_under_each_condition_also_where_a_side_lacks_it(make_frame):
    a = pd.concat(make_frame({"bn": LOWER, "none": HIGHER}, batch_size=size) for size in (32, 64))
    b = make_frame({"bn": LOWER, "none": HIGHER}, batch_size=64)
    found = contrasts(a, b, varies=SIZES)
    assert found["condition"].tolist() == ["batch_size 32", "batch_size 64"]
    assert found[["pairs_a", "pairs_b"]].to_numpy().tolist() == [[6, 0], [6, 6]]
    assert found["verdict_b"].tolist() == ["undecided", "differs"]
    assert found.loc[0, "verdict"] == "undecided"
    assert found["same_verdict"].tolist() == [False, True]
