import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from normlib.analysis import statistics
from normlib.errors import RequestError


def test_mean_sd_and_interval_by_hand(make_frame):
    """1, 2, 3, 4: mean 2.5, sd sqrt(5/3); t at 97.5 % with 3 degrees of freedom is 3.182446."""
    summary = statistics.summarize(make_frame({"bn/none": [1.0, 2.0, 3.0, 4.0]}), "train_loss").loc["bn/none"]
    half_width = 3.182446 * math.sqrt(5 / 3) / 2
    assert summary["runs"] == 4
    assert summary["mean"] == 2.5
    assert summary["sd"] == pytest.approx(math.sqrt(5 / 3))
    assert (summary["low"], summary["high"]) == pytest.approx((2.5 - half_width, 2.5 + half_width), rel=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20).filter(lambda values: np.std(values) > 1e-6))
def test_the_interval_is_that_of_scipys_t_test(values):
    described = statistics._describe(np.asarray(values))
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (described["low"], described["high"]) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


def test_orderings_come_as_in_the_source_others_next_the_baseline_last(make_frame):
    frame = make_frame({name: [0.4] for name in ("none/none", "bn/bn", "bn/gn", "gn/bn", "gn/none", "bn/none")})
    expected = ["bn/none", "gn/none", "gn/bn", "bn/gn", "bn/bn", "none/none"]
    assert statistics.summarize(frame, "train_loss").index.tolist() == expected


def test_one_run_has_a_mean_and_no_interval(make_frame):
    summary = statistics.summarize(make_frame({"bn/none": [0.4]}), "train_loss").loc["bn/none"]
    assert (summary["runs"], summary["mean"]) == (1, 0.4)
    assert summary[["sd", "low", "high"]].isna().all()


def test_a_diverged_run_is_not_left_out(make_frame):
    summary = statistics.summarize(make_frame({"bn/none": [0.4, math.nan, 0.5]}), "train_loss").loc["bn/none"]
    assert summary["runs"] == 3
    assert summary[["mean", "sd", "low", "high"]].isna().all()


def test_runs_of_different_settings_are_not_averaged(make_frame):
    mixed = pd.concat([make_frame({"bn/none": [0.4]}), make_frame({"bn/none": [0.3]}, epochs=2)])
    with pytest.raises(RequestError, match="records is 'epochs of 1 and 2', but must be one epochs in a comparison"):
        statistics.summarize(mixed, "train_loss")


@pytest.mark.parametrize("name", ["data", "stack", "threads"])
def test_runs_of_other_data_stacks_or_threads_are_not_averaged(make_frame, name):
    mixed = pd.concat([make_frame({"bn/none": [0.4]}), make_frame({"gn/none": [0.3]}).assign(**{name: "another"})])
    with pytest.raises(RequestError, match=f"records is .*{name} of .*another.*, but must be one {name} in a comparison"):
        statistics.summarize(mixed, "train_loss")


def test_runs_follow_the_source_where_only_ordering_and_provider_differ(make_frame):
    assert statistics.follows_source(make_frame({"bn": [0.4], "gn": [0.4]}))
    assert not statistics.follows_source(make_frame({"bn": [0.4]}, momentum=0.9))


def test_no_runs_are_refused(make_frame):
    with pytest.raises(RequestError, match="records is 'empty'"):
        statistics.summarize(make_frame({}), "train_loss")
