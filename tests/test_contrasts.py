import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from normlib import contrasts
from normlib.contrasts import Contrast
from normlib.errors import RequestError

ORDERINGS = ["bn/none", "gn/none", "gn/bn", "bn/gn", "none/none"]
ORDER = Contrast("order", ("bn/gn",), ("gn/bn",))
differences = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("bn/gn - gn/bn", ("bn/gn",), ("gn/bn",)),
        ("mean(bn/gn, gn/bn) - none/none", ("bn/gn", "gn/bn"), ("none/none",)),
        ("mean(bn, gn) - none", ("bn/none", "gn/none"), ("none/none",)),
    ],
)
def test_a_contrast_is_read_in_full_or_short_form_and_written_in_full(text, first, second):
    contrast = Contrast.parse("name", text, ORDERINGS)
    assert (contrast.first, contrast.second) == (first, second)
    assert Contrast.parse("name", str(contrast), ORDERINGS) == contrast


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bn/gn", "contrast order is 'bn/gn'; allowed: a difference such as"),
        ("bn/gn - gn/bn - none/none", "allowed: a difference such as"),
        ("bn/gn - max(gn/bn)", "allowed: a difference such as"),
        (3, "contrast order is 3; allowed: a difference such as"),
        ("bn/gn - bn/gn", "contrast order is 'bn/gn - bn/gn'; allowed: each ordering once"),
        ("bn/gn - mean(gn/bn, gn/bn)", "allowed: each ordering once"),
        ("bn/gn - gn/gn", "contrast order is 'gn/gn'; allowed: the study's bn/none, gn/none"),
    ],
)
def test_what_is_no_contrast_of_the_studys_orderings_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        Contrast.parse("order", text, ORDERINGS)


def test_differences_are_taken_pair_by_pair_and_of_group_means(make_frame):
    frame = make_frame({"bn": [1.0, 2.0], "gn": [3.0, 8.0], "none": [1.5, 2.5]})
    contrast = Contrast("two", ("bn/none", "gn/none"), ("none/none",))
    assert contrasts.paired_differences(frame, contrast, "train_loss").to_dict() == {0: 0.5, 1: 2.5}


def test_a_seed_with_a_missing_run_is_left_out_a_diverged_run_is_not(make_frame):
    frame = make_frame({"bn/gn": [1.0, 2.0, math.nan, 4.0], "gn/bn": [0.5, 1.0, 1.5]})
    found = contrasts.paired_differences(frame, ORDER, "train_loss")
    assert found.index.tolist() == [0, 1, 2]
    assert found.tolist()[:2] == [0.5, 1.0]
    assert math.isnan(found[2])


def test_a_measure_that_the_records_lack_is_refused(make_frame):
    with pytest.raises(RequestError, match=r"measure is 'loss'; allowed: train_loss, train_accuracy"):
        contrasts.paired_differences(make_frame({"bn/gn": [1.0], "gn/bn": [1.0]}), ORDER, "loss")


def test_runs_of_different_settings_are_not_paired(make_frame, make_record):
    from normlib.records import to_frame

    frame = to_frame([make_record("bn/gn", 0), make_record("gn/bn", 0, batch_size=64)])
    with pytest.raises(RequestError, match="batch_size of 32 and 64"):
        contrasts.paired_differences(frame, ORDER, "train_loss")


def test_a_run_that_stands_twice_is_refused(make_frame):
    frame = make_frame({"bn/gn": [1.0], "gn/bn": [1.0]})
    with pytest.raises(RequestError, match="records is 'bn/gn, seed 0, twice'; allowed: each run once"):
        contrasts.paired_differences(pd.concat([frame, frame]), ORDER, "train_loss")


def test_estimate_by_hand(make_frame):
    """Differences 1, 2, 3, 6: mean 3, sd sqrt(14/3), t with three degrees 3.182446; two of 16 sign patterns as far."""
    frame = make_frame({"bn/gn": [2.0, 3.0, 4.0, 7.0], "gn/bn": [1.0, 1.0, 1.0, 1.0]})
    row = contrasts.estimate(frame, [ORDER], "train_loss", margin=0.5).loc["order"]
    half_width = 3.182446 * math.sqrt(14 / 3) / 2
    assert (row["pairs"], row["mean"]) == (4, 3)
    assert (row["low"], row["high"]) == pytest.approx((3 - half_width, 3 + half_width), rel=1e-6)
    assert row["p"] == row["holm_p"] == row["smallest_p"] == 2 / 16
    assert row["first_lower"] == 0
    assert row["verdict"] == "undecided"


@given(differences)
def test_the_interval_is_that_of_scipys_paired_t_test(values):
    described = contrasts.describe(np.array(values))
    if np.std(values) > 1e-6:
        expected = scipy.stats.ttest_rel(values, np.zeros(len(values))).confidence_interval(0.95)
        assert (described["low"], described["high"]) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


@given(differences)
@example([-0.1, -0.2, 0.1, 0.2])
def test_p_is_the_share_of_sign_patterns_whose_mean_is_as_far_from_zero(values):
    values = np.array(values)
    means = [abs(np.mean(values * signs)) for signs in itertools.product((1, -1), repeat=len(values))]
    expected = np.mean(np.array(means) >= abs(values.mean()) - 1e-9)
    assert contrasts.describe(values)["p"] == pytest.approx(expected)


def test_ties_count_half_in_the_share_of_pairs():
    assert contrasts.describe(np.array([-1.0, -2.0, 0.0, 3.0]))["first_lower"] == 0.625


def test_holm_by_hand():
    """Smallest times 4, next times 3, and never below the one before."""
    adjusted = contrasts.holm(np.array([0.04, 0.01, 0.03, 0.5]))
    assert adjusted.tolist() == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert contrasts.holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_a_contrast_without_p_still_counts_as_one_of_the_family():
    adjusted = contrasts.holm(np.array([0.02, math.nan]))
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
    assert contrasts.verdicts(np.array([low]), np.array([high]), np.array([p]), margin=0.01).tolist() == [verdict]


@pytest.mark.parametrize("losses", [[0.4], [0.4, math.nan, 0.5], [0.4, math.inf, 0.5]])
def test_one_pair_or_a_diverged_run_leaves_a_contrast_undecided(make_frame, losses):
    frame = make_frame({"bn/gn": losses, "gn/bn": [0.3] * len(losses)})
    row = contrasts.estimate(frame, [ORDER], "train_loss", margin=0.01).loc["order"]
    assert row["verdict"] == "undecided"
    assert row[["mean", "low", "high", "p", "holm_p", "seeds_needed"]].isna().all()


def test_differences_without_spread_have_an_interval_without_width(make_frame):
    frame = make_frame({"bn/gn": [0.5] * 8, "gn/bn": [0.25] * 8})
    row = contrasts.estimate(frame, [ORDER], "train_loss", margin=0.01).loc["order"]
    assert (row["low"], row["mean"], row["high"]) == (0.25, 0.25, 0.25)
    assert row["verdict"] == "differs"


def test_a_difference_needs_as_many_seeds_as_take_zero_out_of_the_interval(make_frame):
    """Mean 0.1, sd 0.1, margin 0.05: t * 0.1 / sqrt(n) < 0.1 first at n = 7 (2.447 / 2.646; at 6: 2.571 / 2.449)."""
    frame = make_frame({"bn/gn": [1.0, 1.2, 1.0, 1.2, 1.1], "gn/bn": [1.0] * 5})
    assert contrasts.seeds_needed(frame, ORDER, margin=0.05) == 7


def test_a_small_difference_needs_as_many_as_put_the_interval_within_the_margin(make_frame):
    """Mean 0, sd 0.1, margin 0.05: t * 0.1 / sqrt(n) < 0.05 first at n = 18 (2.110 / 4.243; at 17: 2.120 / 4.123)."""
    frame = make_frame({"bn/gn": [0.9, 1.1, 0.9, 1.1, 1.0], "gn/bn": [1.0] * 5})
    assert contrasts.seeds_needed(frame, ORDER, margin=0.05) == 18


def test_a_decided_contrast_needs_no_more_and_a_hopeless_one_no_number(make_frame):
    decided = make_frame({"bn/gn": [0.5, 0.51, 0.5, 0.51, 0.5, 0.51, 0.5], "gn/bn": [0.25] * 7})
    assert contrasts.seeds_needed(decided, ORDER, margin=0.01) == 7
    hopeless = make_frame({"bn/gn": [0.0, 2.0, 0.0, 2.0, 1.0001], "gn/bn": [1.0] * 5})
    assert contrasts.seeds_needed(hopeless, ORDER, margin=0.001) == math.inf


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from([0.01, 0.1, 1.0]), st.integers(1, 5))
def test_an_undecided_contrast_needs_more_seeds_than_it_has(values, margin, family):
    values = np.array(values)
    needed = contrasts._pairs_to_decide(values.mean(), values.std(ddof=1), len(values), margin, family)
    assert needed > len(values)
