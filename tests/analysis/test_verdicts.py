"""Verdicts: by hand, against SciPy's own tests, and look by look."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from normlib.analysis import verdicts

NOISE = np.array([-0.003, -0.001, 0.001, 0.003, -0.002, 0.002, -0.001, 0.001])
families = st.lists(st.lists(st.integers(-50, 50), min_size=2, max_size=9), min_size=1, max_size=5)


def test_a_contrast_by_hand():
    """Differences 1, 2, 3, 6: mean 3, sd sqrt(14/3), t with three degrees 3.182446."""
    row = verdicts.judge([np.array([1.0, 2.0, 3.0, 6.0])], margin=0.5).iloc[0]
    half_width = 3.182446 * math.sqrt(14 / 3) / 2
    assert (row["pairs"], row["mean"], row["first_lower"]) == (4, 3, 0)
    assert (row["low"], row["high"]) == pytest.approx((3 - half_width, 3 + half_width), rel=1e-6)
    assert row["skewness"] == pytest.approx((-8 - 1 + 0 + 27) / 4 / 3.5**1.5)
    assert row["verdict"] == "undecided"


@given(families, st.sampled_from([1.0, 20.0]))
def test_p_values_are_scipys_corrected_by_holm(family, margin):
    family = [np.array(pairs, float) + np.linspace(0, 0.5, len(pairs)) for pairs in family]  # never without spread
    judged = verdicts.judge(family, margin)
    differs = [scipy.stats.ttest_1samp(pairs, 0).pvalue for pairs in family]
    level = [
        max(
            scipy.stats.ttest_1samp(pairs, margin, alternative="less").pvalue,
            scipy.stats.ttest_1samp(pairs, -margin, alternative="greater").pvalue,
        )
        for pairs in family
    ]
    np.testing.assert_allclose(judged["differs_p"], verdicts.holm(np.array(differs)), rtol=1e-6)
    np.testing.assert_allclose(judged["level_p"], verdicts.holm(np.array(level)), rtol=1e-6)


def test_holm_by_hand():
    """Smallest times 4, next times 3, and never below the one before; one without p still counts in the family."""
    assert verdicts.holm(np.array([0.04, 0.01, 0.03, 0.5])).tolist() == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert verdicts.holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert verdicts.holm(np.array([0.02, math.nan])).tolist() == pytest.approx([0.04, math.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("mean", "margin", "verdict"),
    [
        (0.03, 0.01, "differs"),
        (-0.03, 0.01, "differs"),
        (0.004, 0.01, "differs negligibly"),
        (0.0005, 0.01, "level"),
        (0.0005, 0.0015, "undecided"),
        (0.004, 0.0045, "differs"),
    ],
)
def test_the_four_words(mean, margin, verdict):
    """Eight pairs of sd 0.0021 around the mean."""
    assert verdicts.judge([NOISE + mean], margin)["verdict"].tolist() == [verdict]


def test_the_family_is_all_contrasts_and_each_look_has_its_share_of_the_error():
    """P is 0.0108 alone: below 0.02, but three times of it is not, and it is not below a quarter of 0.02."""
    pairs = NOISE + 0.00252
    assert scipy.stats.ttest_1samp(pairs, 0).pvalue == pytest.approx(0.0108, abs=0.0001)
    assert verdicts.judge([pairs], 0.001)["verdict"][0] == "differs"
    assert verdicts.judge([pairs, NOISE, NOISE], 0.001)["verdict"][0] == "undecided"
    assert verdicts.judge([pairs, np.array([1.0]), np.array([])], 0.001)["verdict"][0] == "undecided"
    assert verdicts.judge([pairs], 0.001, looks=4)["verdict"][0] == "undecided"


def test_pairs_without_spread_are_told_by_the_sign_test_as_far_as_it_can():
    """Of eight pairs 2 / 256 and 1 / 256, times three, two and one by Holm; of two pairs nothing can be told."""
    judged = verdicts.judge([np.full(8, 0.25), np.zeros(8), np.full(8, 0.75)], margin=0.5)
    assert judged["differs_p"].tolist() == [6 / 256, 1, 6 / 256]
    assert judged["level_p"].tolist() == [3 / 256, 3 / 256, 1]
    assert (judged["low"] == judged["mean"]).all()
    assert verdicts.judge([np.full(8, 0.25)], 0.5)["verdict"].tolist() == ["differs negligibly"]
    few = verdicts.judge([np.array([0.81 - 0.80, 0.82 - 0.81])], 0.5)  # alike, but for rounding
    assert few["verdict"].tolist() == ["undecided"]


@pytest.mark.parametrize("pairs", [[], [0.1], [0.1, math.nan, 0.2], [0.1, math.inf, 0.2]])
def test_few_pairs_or_a_diverged_run_leave_a_contrast_undecided(pairs):
    row = verdicts.judge([np.array(pairs), NOISE], margin=0.01).iloc[0]
    assert (row["pairs"], row["verdict"]) == (len(pairs), "undecided")
    assert row[["mean", "sd", "low", "high", "skewness", "first_lower", "differs_p", "level_p"]].isna().all()


@given(families, st.randoms())
def test_what_is_said_does_not_depend_on_the_order_of_contrasts_and_turns_with_the_sign(family, random):
    family = [np.array(pairs, float) for pairs in family]
    judged = verdicts.judge(family, 10)
    order = random.sample(range(len(family)), len(family))
    shuffled = verdicts.judge([family[place] for place in order], 10)
    assert shuffled["verdict"].tolist() == judged["verdict"].iloc[order].tolist()
    turned = verdicts.judge([-pairs for pairs in family], 10)
    assert turned["verdict"].tolist() == judged["verdict"].tolist()


LOOKS = [range(100, 108), range(100, 116)]


def by_seed(values):
    return pd.Series(values, index=range(100, 100 + len(values)), dtype=float)


def test_what_a_look_decided_stays_and_later_pairs_are_shown_apart():
    """The first contrast differs at 8 seeds, by later ones it would not; the second is level at 16 only."""
    first = by_seed([*(NOISE + 0.03), *(NOISE - 0.03)])
    second = by_seed([*(8 * NOISE), *(-8 * NOISE)])
    judged = verdicts.judge_at_looks([first, second], 0.02, LOOKS)
    assert judged["verdict"].tolist() == ["differs", "level"]
    assert judged["look"].tolist() == [8, 16]
    assert judged["pairs"].tolist() == [8, 16]
    assert judged["mean"].tolist() == pytest.approx([0.03, 0])
    assert judged["later_pairs"].tolist() == [8, 0]
    assert judged["later_mean"][0] == pytest.approx(-0.03)
    alone = verdicts.judge([first[:8].to_numpy(), second[:8].to_numpy()], 0.02, looks=2)
    assert alone["verdict"].tolist() == ["differs", "undecided"]


def test_a_look_is_taken_when_all_contrasts_have_all_its_pairs():
    clear = by_seed(NOISE + 0.03)
    judged = verdicts.judge_at_looks([clear, by_seed(NOISE[:7])], 0.02, LOOKS)
    assert judged["verdict"].tolist() == ["undecided", "undecided"]
    assert judged["look"].isna().all()
    assert judged["pairs"].tolist() == [8, 7]
    lost = by_seed([*(NOISE + 0.03), *NOISE[:7], math.nan])
    judged = verdicts.judge_at_looks([by_seed(0.02 * np.ones(16) + [*NOISE, *NOISE]), lost], 0.001, LOOKS)
    assert judged["later_mean"].isna().tolist() == [False, True]  # one of its later pairs diverged
    fifteen = by_seed([*(0.02 * np.sign(NOISE)), *NOISE[:7]])
    judged = verdicts.judge_at_looks([fifteen], 0.001, LOOKS)
    assert (judged["look"][0], judged["pairs"][0]) == (8, 8)
