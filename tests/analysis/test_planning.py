"""Planning: by simulation, by hand and by what a verdict then says."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib.analysis import planning, verdicts


@pytest.mark.parametrize(("seeds", "contrasts", "looks"), [(8, 1, 1), (8, 5, 1), (32, 20, 4)])
def test_the_detectable_difference_is_found_in_four_of_five_studies(seeds, contrasts, looks):
    """2,000 simulated studies; all others of the family are far from differing."""
    difference = planning.detectable_difference(seeds, contrasts, looks)
    pairs = np.random.default_rng(seeds).normal(difference, 1, (2000, seeds))
    mean, sd = (np.zeros((2000, contrasts)) + 1e-9, np.ones((2000, contrasts)))
    mean[:, 0], sd[:, 0] = pairs.mean(axis=1), pairs.std(axis=1, ddof=1)
    said = verdicts.decide(*verdicts.p_values(np.full(mean.shape, seeds), mean, sd, 1e-6), looks)[:, 0]
    assert (said == "differs").mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("seeds", "contrasts"), [(8, 1), (16, 5)])
def test_within_the_level_margin_no_difference_is_said_to_be_level_in_four_of_five_studies(seeds, contrasts):
    margin = planning.level_margin(seeds, contrasts)
    pairs = np.random.default_rng(seeds).normal(0, 1, (2000, seeds))
    mean, sd = (np.full((2000, contrasts), 9.0), np.ones((2000, contrasts)))
    mean[:, 0], sd[:, 0] = pairs.mean(axis=1), pairs.std(axis=1, ddof=1)
    _, level_p = verdicts.p_values(np.full(mean.shape, seeds), mean, sd, margin)
    assert (level_p[:, 0] < verdicts.NOMINAL_LEVEL).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("mean", "sd", "pairs", "margin", "family", "needed"),
    [
        # t at 99 % * 0.1 / sqrt(n) < 0.1 first at n = 9 (2.896 / 3; at 8: 2.998 / 2.828);
        (0.1, 0.1, 5, 0.05, 1, 9),
        # mean 0: t at 98.75 % * 0.1 / sqrt(n) < 0.05 first at n = 24 (2.398 / 4.899; at 23: 2.405 / 4.796).
        (0.0, 0.1, 5, 0.05, 1, 24),
        (1.0001, 1.0, 5, 0.001, 1, 9),
        (0.001, 1.0, 5, 0.0001, 1, math.inf),
        (math.nan, math.nan, 1, 0.01, 1, math.nan),
    ],
    ids=["to differ", "to be level", "to differ by one sd", "hopeless", "one pair"],
)
def test_a_contrast_needs_as_many_pairs_as_decide_it(mean, sd, pairs, margin, family, needed):
    found = planning.pairs_to_decide(mean, sd, pairs, margin, family)
    assert found == pytest.approx(needed, nan_ok=True)


@given(st.floats(-1, 1), st.floats(0.01, 1), st.integers(2, 12), st.sampled_from([0.01, 0.1, 1.0]), st.integers(1, 5))
def test_so_many_pairs_like_these_decide_and_one_less_does_not(mean, sd, pairs, margin, family):
    needed = planning.pairs_to_decide(mean, sd, pairs, margin, family)
    assert needed > pairs

    def verdict(count):
        means, sds = np.array([mean, *[9.0] * (family - 1)]), np.array([sd, *[1e6] * (family - 1)])
        return verdicts.decide(*verdicts.p_values(np.full(family, count), means, sds, margin))[0]

    if math.isfinite(needed):
        assert verdict(needed) != "undecided"
        assert needed == pairs + 1 or verdict(needed - 1) == "undecided"


def test_a_plan_names_what_it_can_see_in_the_measures_unit_where_the_spread_is_known():
    known = planning.plan_in_words(10, 5, 0.01, "evaluation accuracy", sds=[0.03, math.nan, 0.02])
    seen, wide = (reach(10, 5) for reach in (planning.detectable_difference, planning.level_margin))
    assert (
        f"a difference of {seen * 0.02:.2g} to {seen * 0.03:.2g} in evaluation accuracy is seen in one of its" in known
    )
    assert f"if the margin is {wide * 0.02:.2g} to {wide * 0.03:.2g} or more (it is 0.01)" in known
    assert known.endswith("are expected to have standard deviations of 0.02 to 0.03.")
    unknown = planning.plan_in_words(10, 1, 0.01, "evaluation accuracy", sds=[math.nan])
    assert f"a difference of {planning.detectable_difference(10, 1):.2g} standard deviations of the pairs is" in unknown
    assert "seen in its contrast with 80 % power" in unknown


@pytest.mark.parametrize(
    ("row", "phrase"),
    [
        ({"seeds_needed": 12.0, "next_look": 16.0}, "the next look is at 16 seeds"),
        ({"seeds_needed": 12.0}, "about 12 seeds for a new study"),
        ({"seeds_needed": math.inf}, "more than 10,000 seeds for a new study"),
        ({"seeds_needed": math.nan, "next_look": math.nan}, ""),
    ],
)
def test_what_would_decide_a_contrast_is_the_next_look_or_a_new_study(row, phrase):
    assert planning.what_would_decide(pd.Series(row)) == phrase


def test_a_plan_says_what_cannot_be_decided():
    assert planning.plan_in_words(1, 5, 0.01, "loss") == (
        "Planned: 1 seed cannot decide any contrast; two are the fewest."
    )
    assert "no contrast is declared" in planning.plan_in_words(10, 0, 0.01, "loss")
