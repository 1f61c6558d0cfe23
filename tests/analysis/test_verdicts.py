import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from normlib.analysis import verdicts
from normlib.analysis.verdicts import Contrast
from normlib.runs.store import SOURCE_RECORDS, load_records
from normlib.studies.study import read_study

ORDER = Contrast("order", ("bn/gn",), ("gn/bn",))
differences = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8)


def test_estimate_by_hand(make_frame):
    """Differences 1, 2, 3, 6: mean 3, sd sqrt(14/3), t with three degrees 3.182446; two of 16 sign patterns as far."""
    frame = make_frame({"bn/gn": [2.0, 3.0, 4.0, 7.0], "gn/bn": [1.0, 1.0, 1.0, 1.0]})
    row = verdicts.estimate(frame, [ORDER], "train_loss", margin=0.5).loc["order"]
    half_width = 3.182446 * math.sqrt(14 / 3) / 2
    assert (row["pairs"], row["mean"]) == (4, 3)
    assert (row["low"], row["high"]) == pytest.approx((3 - half_width, 3 + half_width), rel=1e-6)
    assert row["p"] == row["holm_p"] == row["smallest_p"] == 2 / 16
    assert row["first_better"] == 0
    assert row["verdict"] == "undecided"


@given(differences)
def test_the_interval_is_that_of_scipys_paired_t_test(values):
    described = verdicts.describe(np.array(values))
    if np.std(values) > 1e-6:
        expected = scipy.stats.ttest_rel(values, np.zeros(len(values))).confidence_interval(0.95)
        assert (described["low"], described["high"]) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


@given(differences)
@example([1.0, 1.0, 1.0])
@example([0.0, 0.0])
def test_the_second_p_is_that_of_scipys_t_test_and_without_spread_none_or_one(values):
    t_p = verdicts.describe(np.array(values))["t_p"]
    if np.std(values) > 1e-6:
        assert t_p == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, rel=1e-6)
    elif np.ptp(values) == 0:
        assert t_p == pytest.approx(0 if values[0] else 1, abs=1e-12)


@given(differences)
@example([-0.1, -0.2, 0.1, 0.2])
def test_p_is_the_share_of_sign_patterns_whose_mean_is_as_far_from_zero(values):
    values = np.array(values)
    means = [abs(np.mean(values * signs)) for signs in itertools.product((1, -1), repeat=len(values))]
    expected = np.mean(np.array(means) >= abs(values.mean()) - 1e-9)
    assert verdicts.describe(values)["p"] == pytest.approx(expected)


def test_thousands_of_pairs_are_described_too():
    """2 ** pairs is then no floating-point number, and 99,999 patterns of signs would not fit into memory."""
    values = np.random.default_rng(0).normal(0.05, 1, size=3000)
    described = verdicts.describe(values)
    assert described["smallest_p"] == 0
    assert described["p"] == pytest.approx(described["t_p"], abs=0.02)
    assert verdicts.describe(values + 1)["p"] == pytest.approx(2 / 5000)


def test_what_is_said_of_a_contrasts_differences_does_not_depend_on_the_contrasts_beside_it():
    """One of them lacks a run, so that the family is of different numbers of pairs."""
    runs, study = load_records(SOURCE_RECORDS), read_study("source")
    runs = runs[(runs["ordering"] != "gn/none") | (runs["seed"] != 104)]
    columns = ["pairs", "mean", "sd", "low", "high", "p", "t_p", "smallest_p", "first_better"]
    together = verdicts.estimate(runs, study.declared, study.measure, study.margin)[columns]
    alone = [verdicts.estimate(runs, [contrast], study.measure, study.margin)[columns] for contrast in study.declared]
    assert set(together["pairs"]) == {9, 10}
    pd.testing.assert_frame_equal(together, pd.concat(alone), rtol=1e-9)


def test_ties_count_half_in_the_share_of_pairs():
    assert verdicts.describe(np.array([-1.0, -2.0, 0.0, 3.0]))["first_lower"] == 0.625


def test_holm_by_hand():
    """Smallest times 4, next times 3, and never below the one before."""
    adjusted = verdicts.holm(np.array([0.04, 0.01, 0.03, 0.5]))
    assert adjusted.tolist() == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert verdicts.holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_a_contrast_without_p_still_counts_as_one_of_the_family():
    adjusted = verdicts.holm(np.array([0.02, math.nan]))
    assert adjusted[0] == 0.04
    assert math.isnan(adjusted[1])


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.02, 0.04, 0.001, "differs"),
        (-0.04, -0.02, 0.049, "differs"),
        (0.001, 0.009, 0.001, "differs negligibly"),
        (-0.004, 0.009, 0.3, "level"),
        (-0.004, 0.011, 0.3, "undecided"),
        (-0.011, 0.004, 0.3, "undecided"),
        (0.001, 0.011, 0.05, "undecided"),
        (math.nan, math.nan, math.nan, "undecided"),
    ],
)
def test_the_four_words(low, high, p, verdict):
    assert verdicts.decide(np.array([low]), np.array([high]), np.array([p]), margin=0.01).tolist() == [verdict]


def test_where_one_pair_is_far_off_the_sign_flip_test_alone_does_not_decide(make_frame):
    """All eight pairs agree in sign, so p is 2/256; but the mean is one pair's, and t says 0.33."""
    frame = make_frame({"bn/gn": [1.001] * 7 + [1.5], "gn/bn": [1.0] * 8})
    row = verdicts.estimate(frame, [ORDER], "train_loss", margin=0.01).loc["order"]
    assert row["holm_p"] == 2 / 256
    assert row["holm_t_p"] == pytest.approx(scipy.stats.ttest_1samp([0.001] * 7 + [0.5], 0).pvalue)
    assert row["verdict"] == "undecided"


def test_each_contrast_is_estimated_under_each_condition_and_the_family_is_all_of_them(make_frame):
    """Differences of 0.1 under one batch size and -0.2 under the other; p = 2/64 each, so 4/64 by Holm."""
    noise = [0.001, 0.002, 0.003, 0.004, 0.005, 0.006]
    parts = [
        make_frame({"bn/gn": [1 + by + n for n in noise], "gn/bn": [1.0] * 6}, batch_size=size)
        for size, by in ((32, 0.1), (64, -0.2))
    ]
    found = verdicts.estimate(pd.concat(parts), [ORDER], "train_loss", 0.01, [{"batch_size": [64, 32]}])
    assert found["condition"].tolist() == ["batch_size 64", "batch_size 32"]
    assert found["mean"].tolist() == pytest.approx([-0.1965, 0.1035])
    assert found["p"].tolist() == [2 / 64] * 2
    assert found["holm_p"].tolist() == [4 / 64] * 2


def test_of_accuracies_the_higher_is_the_better(make_frame):
    """Made-up accuracies are 1 - loss / 4."""
    frame = make_frame({"bn/gn": [0.4, 0.4, 0.6, 0.5], "gn/bn": [0.5] * 4})
    for measure in ("train_loss", "train_accuracy"):
        assert verdicts.estimate(frame, [ORDER], measure, 0.01)["first_better"].tolist() == [0.625]


def test_conditions_and_contrasts_without_runs_stay_in_the_family(make_frame):
    """One of two conditions was run: p is 2/64, and 4/64 by Holm all the same."""
    frame = make_frame({"bn/gn": [1.1, 1.2, 1.3, 1.4, 1.5, 1.6], "gn/bn": [1.0] * 6}, batch_size=32)
    found = verdicts.estimate(frame, [ORDER], "train_loss", 0.01, [{"batch_size": [32, 64]}])
    assert found["pairs"].tolist() == [6, 0]
    assert found["holm_p"].iloc[0] == 4 / 64
    assert found["verdict"].tolist() == ["undecided", "undecided"]


@pytest.mark.parametrize("losses", [[0.4], [0.4, math.nan, 0.5], [0.4, math.inf, 0.5]])
def test_one_pair_or_a_diverged_run_leaves_a_contrast_undecided(make_frame, losses):
    frame = make_frame({"bn/gn": losses, "gn/bn": [0.3] * len(losses)})
    row = verdicts.estimate(frame, [ORDER], "train_loss", margin=0.01).loc["order"]
    assert row["verdict"] == "undecided"
    assert row[["mean", "low", "high", "p", "holm_p", "seeds_needed"]].isna().all()


def test_differences_without_spread_have_an_interval_without_width(make_frame):
    frame = make_frame({"bn/gn": [0.5] * 8, "gn/bn": [0.25] * 8})
    row = verdicts.estimate(frame, [ORDER], "train_loss", margin=0.01).loc["order"]
    assert (row["low"], row["mean"], row["high"]) == (0.25, 0.25, 0.25)
    assert row["verdict"] == "differs"


def test_a_difference_needs_as_many_seeds_as_take_zero_out_of_the_interval(make_frame):
    """Mean 0.1, sd 0.1, margin 0.05: t * 0.1 / sqrt(n) < 0.1 first at n = 7 (2.447 / 2.646; at 6: 2.571 / 2.449)."""
    frame = make_frame({"bn/gn": [1.0, 1.2, 1.0, 1.2, 1.1], "gn/bn": [1.0] * 5})
    assert verdicts.seeds_needed(frame, ORDER, margin=0.05) == 7


def test_a_contrast_of_a_family_needs_more(make_frame):
    """As above, of two contrasts: t at 98.75 % times 0.1 / sqrt(n) is below 0.1 first at n = 9 (2.752 / 3)."""
    frame = make_frame({"bn/gn": [1.0, 1.2, 1.0, 1.2, 1.1], "gn/bn": [1.0] * 5})
    assert verdicts.seeds_needed(frame, ORDER, margin=0.05, family=2) == 9


def test_a_small_difference_needs_as_many_as_put_the_interval_within_the_margin(make_frame):
    """Mean 0, sd 0.1, margin 0.05: t * 0.1 / sqrt(n) < 0.05 first at n = 18 (2.110 / 4.243; at 17: 2.120 / 4.123)."""
    frame = make_frame({"bn/gn": [0.9, 1.1, 0.9, 1.1, 1.0], "gn/bn": [1.0] * 5})
    assert verdicts.seeds_needed(frame, ORDER, margin=0.05) == 18


def test_a_decided_contrast_needs_no_more_and_a_hopeless_one_no_number(make_frame):
    decided = make_frame({"bn/gn": [0.5, 0.51, 0.5, 0.51, 0.5, 0.51, 0.5], "gn/bn": [0.25] * 7})
    assert verdicts.seeds_needed(decided, ORDER, margin=0.01) == 7
    hopeless = make_frame({"bn/gn": [0.0, 2.0, 0.0, 2.0, 1.0001], "gn/bn": [1.0] * 5})
    assert verdicts.seeds_needed(hopeless, ORDER, margin=0.001) == math.inf


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from([0.01, 0.1, 1.0]), st.integers(1, 5))
def test_an_undecided_contrast_needs_more_seeds_than_it_has(values, margin, family):
    values = np.array(values)
    needed = verdicts._pairs_to_decide(values.mean(), values.std(ddof=1), len(values), margin, family)
    assert needed > len(values)
