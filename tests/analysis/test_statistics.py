import math

import pandas as pd
import pytest

from normlib.analysis import statistics
from normlib.errors import RequestError
from normlib.runs.measures import MEASURES


def test_mean_sd_and_interval_by_hand(make_frame):
    """1, 2, 3, 4: mean 2.5, sd sqrt(5/3); t at 97.5 % with 3 degrees of freedom is 3.182446."""
    summary = statistics.summarize(make_frame({"bn/none": [1.0, 2.0, 3.0, 4.0]}), "train_loss").loc["bn/none"]
    half_width = 3.182446 * math.sqrt(5 / 3) / 2
    assert summary["runs"] == 4
    assert summary["mean"] == 2.5
    assert summary["sd"] == pytest.approx(math.sqrt(5 / 3))
    assert (summary["low"], summary["high"]) == pytest.approx((2.5 - half_width, 2.5 + half_width), rel=1e-6)


def test_orderings_come_as_in_the_source_others_next_the_baseline_last(make_frame):
    frame = make_frame({name: [0.4] for name in ("none/none", "bn/bn", "bn/gn", "gn/bn", "gn/none", "bn/none")})
    expected = ["bn/none", "gn/none", "gn/bn", "bn/gn", "bn/bn", "none/none"]
    assert statistics.summarize(frame, "train_loss").index.tolist() == expected


def test_one_run_has_no_interval_and_a_diverged_run_is_not_left_out(make_frame):
    summary = statistics.summarize(make_frame({"bn": [0.4], "gn": [0.4, math.nan, 0.5]}), "train_loss")
    assert summary["runs"].tolist() == [1, 3]
    assert summary["mean"].tolist() == pytest.approx([0.4, math.nan], nan_ok=True)
    assert summary[["sd", "low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("name", ["epochs", "data", "stack", "threads"])
def test_runs_of_other_settings_data_stacks_or_threads_are_not_compared(make_frame, name):
    mixed = pd.concat([make_frame({"bn": [0.4]}), make_frame({"gn": [0.3]}).assign(**{name: "another"})])
    with pytest.raises(
        RequestError, match=f"records is .*{name} of .*another.*, but a comparison has one value of {name}"
    ):
        statistics.comparable_runs(mixed)


def test_no_runs_and_a_run_that_stands_twice_are_refused(make_frame):
    with pytest.raises(RequestError, match="records is 'empty', but must be at least one run"):
        statistics.comparable_runs(make_frame({}))
    frame = make_frame({"bn": [0.4]})
    with pytest.raises(RequestError, match="records is 'bn/none, seed 0, twice', but a comparison has each run once"):
        statistics.comparable_runs(pd.concat([frame, frame]))


def test_runs_follow_the_source_where_only_ordering_and_provider_differ(make_frame):
    assert statistics.follows_source(make_frame({"bn": [0.4], "gn": [0.4]}))
    assert not statistics.follows_source(make_frame({"bn": [0.4]}, momentum=0.9))


def test_a_run_has_diverged_if_any_of_its_figures_is_not_finite_whatever_the_others_say(make_frame):
    """NaN weights still give an accuracy."""
    frame = make_frame({"bn": [0.4, 0.5]})
    frame.loc[1, "debiased_loss"] = math.nan
    figures = statistics.comparable_runs(frame)[list(MEASURES)]
    assert figures.loc[0].notna().all()
    assert figures.loc[1].isna().all()
    assert frame.loc[1, "train_loss"] == 0.5


def test_runs_of_different_conditions_are_kept_apart_in_the_studys_order(make_frame):
    varies = [{"batch_size": [64, 32]}]
    records = pd.concat([make_frame({"bn": [0.4, 0.5], "none": [0.3]}, batch_size=size) for size in (32, 64)])
    parts = statistics.split_records(records, varies)
    assert list(parts) == ["batch_size 64", "batch_size 32"]
    assert [len(part) for part in parts.values()] == [3, 3]
    assert parts["batch_size 32"]["batch_size"].eq(32).all()


def test_where_nothing_varies_all_runs_are_one_part(make_frame):
    records = make_frame({"bn": [0.4, 0.5]})
    assert list(statistics.split_records(records)) == [""]
    with pytest.raises(RequestError, match="records is 'empty'"):
        statistics.split_records(records.iloc[:0])


def test_a_setting_that_may_be_none_keeps_its_values(make_frame):
    frame = pd.concat(make_frame({"bn": [0.4]}, groups=groups) for groups in (None, 2))
    assert list(statistics.split_records(frame, [{"groups": [None, 2]}])) == ["groups None", "groups 2"]


@pytest.mark.parametrize(
    ("varies", "message"),
    [
        ([{}], r"varies is \[\{\}\], but must be a list such as"),
        ([{"batch_size": 32}], r"varies is \[\{'batch_size': 32\}\], but must be a list such as"),
        ([{"batchsize": [32]}], r"varies is 'batchsize', but .* no such column \(did you mean 'batch_size'\?\)"),
        ([{"batch_size": [16, 64]}], r"records is 'batch_size 32', but must be .* batch_size 16; batch_size 64"),
    ],
)
def test_runs_are_not_split_by_what_is_no_setting_or_not_theirs(make_frame, varies, message):
    with pytest.raises(RequestError, match=f"^{message}"):
        statistics.split_records(make_frame({"bn": [0.4]}), varies)
