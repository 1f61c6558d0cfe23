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
from normlib.errors import RequestError
from normlib.runs.store import SOURCE_RECORDS, load_records
from normlib.studies.study import read_study

ORDERINGS = ["bn/none", "gn/none", "gn/bn", "bn/gn", "none/none"]
ORDER = Contrast("order", ("bn/gn",), ("gn/bn",))
differences = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
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
        ("bn/gn", "contrast order is 'bn/gn', but must be a difference such as"),
        ("bn/gn - gn/bn - none/none", "must be a difference such as"),
        ("bn/gn - max(gn/bn)", "must be a difference such as"),
        (3, "contrast order is 3, but must be a difference such as"),
        ("bn/gn - bn/gn", "contrast order is 'bn/gn - bn/gn', but each ordering may stand in it only once"),
        ("bn/gn - gn/gn", "an ordering of contrast order is 'gn/gn', but must be one of bn/none, gn/none"),
    ],
)
def test_what_is_no_contrast_of_the_studys_orderings_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        Contrast.parse("order", text, ORDERINGS)


def test_differences_are_taken_pair_by_pair_and_of_group_means(make_frame):
    frame = make_frame({"bn": [1.0, 2.0], "gn": [3.0, 8.0], "none": [1.5, 2.5]})
    contrast = Contrast("two", ("bn/none", "gn/none"), ("none/none",))
    assert verdicts.paired_differences(frame, contrast, "train_loss").to_dict() == {0: 0.5, 1: 2.5}


def test_a_seed_with_a_missing_run_is_left_out_a_diverged_run_is_not(make_frame):
    frame = make_frame({"bn/gn": [1.0, 2.0, math.nan, 4.0], "gn/bn": [0.5, 1.0, 1.5]})
    found = verdicts.paired_differences(frame, ORDER, "train_loss")
    assert found.index.tolist() == [0, 1, 2]
    assert found.tolist()[:2] == [0.5, 1.0]
    assert math.isnan(found[2])


def test_estimate_by_hand(make_frame):
    """Differences 1, 2, 3, 6: mean 3, sd sqrt(14/3), t with three degrees 3.182446; two of 16 sign patterns as far."""
    frame = make_frame({"bn/gn": [2.0, 3.0, 4.0, 7.0], "gn/bn": [1.0, 1.0, 1.0, 1.0]})
    row = verdicts.estimate(frame, {"order": "bn/gn - gn/bn"}, "train_loss", margin=0.5).loc["order"]
    half_width = 3.182446 * math.sqrt(14 / 3) / 2
    assert (row["pairs"], row["mean"]) == (4, 3)
    assert (row["low"], row["high"]) == pytest.approx((3 - half_width, 3 + half_width), rel=1e-6)
    assert row["p"] == row["holm_p"] == row["smallest_p"] == 2 / 16
    assert row["verdict"] == "undecided"


def test_without_spread_the_t_tests_p_is_zero_or_of_no_difference_one():
    assert verdicts.describe(np.array([1.0, 1.0, 1.0]))["t_p"] == pytest.approx(0, abs=1e-12)
    assert verdicts.describe(np.array([0.0, 0.0]))["t_p"] == 1


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


def test_holm_by_hand():
    """Smallest times 4, next times 3, and never below the one before; one without p still counts in the family."""
    assert verdicts.holm(np.array([0.04, 0.01, 0.03, 0.5])).tolist() == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert verdicts.holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert verdicts.holm(np.array([0.02, math.nan])).tolist() == pytest.approx([0.04, math.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.02, 0.04, 0.001, "differs"),
        (-0.04, -0.02, 0.049, "differs"),
        (0.001, 0.009, 0.001, "differs negligibly"),
        (-0.004, 0.009, 0.3, "level"),
        (-0.004, 0.011, 0.3, "undecided"),
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
    """Differences of 0.1 and -0.2, and a condition without runs; p = 2/64 each, so 6/64 by Holm."""
    noise = [0.001, 0.002, 0.003, 0.004, 0.005, 0.006]
    parts = [
        make_frame({"bn/gn": [1 + by + n for n in noise], "gn/bn": [1.0] * 6}, batch_size=size)
        for size, by in ((32, 0.1), (64, -0.2))
    ]
    found = verdicts.estimate(pd.concat(parts), [ORDER], "train_loss", 0.01, [{"batch_size": [64, 32, 16]}])
    assert found["condition"].tolist() == ["batch_size 64", "batch_size 32", "batch_size 16"]
    assert found["pairs"].tolist() == [6, 6, 0]
    assert found["mean"].tolist() == pytest.approx([-0.1965, 0.1035, math.nan], nan_ok=True)
    assert found["holm_p"].tolist() == pytest.approx([6 / 64, 6 / 64, math.nan], nan_ok=True)
    assert found["verdict"].iloc[2] == "undecided"


def test_of_accuracies_the_higher_is_the_better(make_frame):
    """Made-up accuracies are 1 - loss / 4; a tie counts half."""
    frame = make_frame({"bn/gn": [0.4, 0.4, 0.6, 0.5], "gn/bn": [0.5] * 4})
    for measure in ("train_loss", "train_accuracy"):
        assert verdicts.estimate(frame, [ORDER], measure, 0.01)["first_better"].tolist() == [0.625]


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


@pytest.mark.parametrize(
    ("losses", "margin", "family", "needed"),
    [
        # Mean 0.1, sd 0.1: t * 0.1 / sqrt(n) < 0.1 first at n = 7 (2.447 / 2.646; at 6: 2.571 / 2.449);
        ([1.0, 1.2, 1.0, 1.2, 1.1], 0.05, 1, 7),
        # of two contrasts, with t at 98.75 %, first at n = 9 (2.752 / 3).
        ([1.0, 1.2, 1.0, 1.2, 1.1], 0.05, 2, 9),
        # Mean 0, sd 0.1: t * 0.1 / sqrt(n) < 0.05 first at n = 18 (2.110 / 4.243; at 17: 2.120 / 4.123).
        ([0.9, 1.1, 0.9, 1.1, 1.0], 0.05, 1, 18),
        ([1.25, 1.26, 1.25, 1.26, 1.25, 1.26, 1.25], 0.01, 1, 7),
        ([0.0, 2.0, 0.0, 2.0, 1.0001], 0.001, 1, math.inf),
    ],
    ids=["to differ", "of two contrasts", "to be level", "decided already", "hopeless"],
)
def test_a_contrast_needs_as_many_seeds_as_decide_it(make_frame, losses, margin, family, needed):
    frame = make_frame({"bn/gn": losses, "gn/bn": [1.0] * len(losses)})
    assert verdicts.seeds_needed(frame, ORDER, margin, family=family) == needed


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from([0.01, 0.1, 1.0]), st.integers(1, 5))
def test_an_undecided_contrast_needs_more_seeds_than_it_has(values, margin, family):
    values = np.array(values)
    needed = verdicts._pairs_to_decide(values.mean(), values.std(ddof=1), len(values), margin, family)
    assert needed > len(values)


@pytest.mark.parametrize("margin", [0, -0.01, math.nan, math.inf, "0.01", None, True])
def test_a_margin_is_a_positive_number(make_frame, margin):
    frame = make_frame({"bn": [0.4, 0.5], "none": [0.5, 0.4]})
    with pytest.raises(RequestError, match=r"^margin is .*, but must be a positive, finite number"):
        verdicts.estimate(frame, {"a": "bn - none"}, "train_loss", margin)
