"""A comparison: everything that follows from runs and their contrasts, each computed once."""

import math

import numpy as np
import pandas as pd
import pytest

from normlib.analysis import comparison
from normlib.analysis.comparison import Comparison, as_comparison, depends_on_reading
from normlib.runs.measures import READINGS

SIZES = [{"batch_size": [32, 64]}]
AGAINST_NONE = {"against none": "bn - none"}


def evaluation(*losses):
    return {reading: {"loss": loss, "accuracy": 1 - loss} for reading, loss in zip(READINGS, losses, strict=True)}


@pytest.fixture
def lagging(make_frame):
    """bn/none is worse than the baseline as Keras evaluates it, level debiased, better recalibrated."""
    noise = np.random.default_rng(0).normal(0, 0.001, size=(2, 8))

    def evaluated(ordering, seed):
        if ordering == "none":
            return evaluation(*[0.30 + noise[1, seed]] * 3)
        return evaluation(0.50 + noise[0, seed], 0.30 + noise[0, seed], 0.20 + noise[0, seed])

    return make_frame({"bn": [0.4] * 8, "none": [0.4] * 8}, evaluation=evaluated)


@pytest.fixture
def varied(lagging):
    return pd.concat([lagging, lagging.assign(batch_size=64)])


def test_each_thing_is_computed_once(varied, monkeypatch):
    calls = []

    def count(name, function):
        return lambda *arguments: calls.append(name) or function(*arguments)

    for name in ("split_records", "estimate_parts", "winners", "summarize"):
        monkeypatch.setattr(comparison, name, count(name, getattr(comparison, name)))
    compared = Comparison(varied, AGAINST_NONE, "eval_loss", 0.02, SIZES)
    for _ in range(2):
        for name in ("estimates", "winners", "recalibrated_winners", "reading_dependent", "gap"):
            getattr(compared, name)
        compared.summary("eval_loss")
    # Estimates: in three readings, the own among them. Summaries: one a condition, four parts of the gap in each.
    assert {name: calls.count(name) for name in calls} == {
        "split_records": 1,
        "estimate_parts": 3,
        "winners": 2,
        "summarize": 2 + 2 * 4,
    }


def test_summaries_and_winners_are_kept_apart_by_condition(varied):
    compared = Comparison(varied, measure="eval_loss", varies=SIZES)
    conditions = ["batch_size 32", "batch_size 64"]
    expected = [(condition, ordering) for condition in conditions for ordering in ("bn/none", "none/none")]
    assert compared.summary("eval_loss").index.tolist() == expected
    assert compared.winners["winner"].to_dict() == dict.fromkeys(conditions, "none/none")
    assert compared.recalibrated_winners["winner"].to_dict() == dict.fromkeys(conditions, "bn/none")
    training = Comparison(varied, varies=SIZES)
    assert training.recalibrated_winners is training.winners


def test_the_gap_is_split_run_by_run_for_orderings_with_batch_norm(make_frame):
    """By hand: 0.50 - 0.32 and 0.60 - 0.34; 0.32 - 0.30 and 0.34 - 0.31; t with one degree is 12.7062."""
    runs = {0: (0.50, 0.32, 0.30), 1: (0.60, 0.34, 0.31)}
    losses = {"gn+bn/none": [0.4, 0.4], "gn": [0.4, 0.4]}
    gap = Comparison(make_frame(losses, evaluation=lambda ordering, seed: evaluation(*runs[seed]))).gap
    assert gap.index.tolist() == [("", "gn+bn/none")]
    row = gap.iloc[0]
    parts = ("inference", "debiasing", "recalibration", "rest")
    assert [row[part, "mean"] for part in parts] == pytest.approx([0.55, 0.22, 0.025, 0.305])
    assert row["debiasing", "runs"] == 2
    assert row["debiasing", "high"] - row["debiasing", "mean"] == pytest.approx(12.7062 * 0.04, rel=1e-4)


def test_without_batch_norm_there_is_no_gap_and_there_are_no_readings(make_frame):
    compared = Comparison(make_frame({"gn": [0.4, 0.5], "none": [0.4, 0.5]}), {"gain": "gn - none"})
    assert compared.gap.empty
    assert (compared.estimates_by_reading, compared.reading_dependent) == ({}, [])


@pytest.mark.parametrize(("measure", "sign"), [("train_loss", 1), ("eval_accuracy", -1)])
def test_a_contrast_that_depends_on_the_reading_has_its_row_in_each(lagging, measure, sign):
    (rows,) = Comparison(lagging, AGAINST_NONE, measure, 0.02).reading_dependent
    means = {reading: sign * row["mean"] for reading, row in rows.items()}
    assert means == pytest.approx({"inference": 0.2, "debiased": 0, "recalibrated": -0.1}, abs=0.002)
    assert [row["verdict"] for row in rows.values()] == ["differs", "differs negligibly", "differs"]


@pytest.mark.parametrize(
    ("conclusions", "depends"),
    [
        ([("differs", 1.0), ("differs", -1.0)], True),
        ([("differs", 1.0), ("undecided", 0.5)], True),
        ([("differs", 1.0), ("differs", 0.5)], False),
        ([("level", 0.011), ("level", -0.011)], False),
        ([("differs", 0.03), ("undecided", 0.025)], False),  # moved by less than the margin
        ([("differs", 0.03), ("differs negligibly", 0.025)], True),  # but decided otherwise
        ([("level", 0.003), ("differs negligibly", 0.004)], False),  # neither matters
        ([("undecided", math.nan), ("level", 0.0)], True),
        ([("undecided", math.nan), ("undecided", math.nan)], False),
    ],
)
def test_a_difference_that_moves_by_less_than_the_margin_leaves_the_conclusion(conclusions, depends):
    rows = [pd.Series({"verdict": verdict, "mean": mean}) for verdict, mean in conclusions]
    assert depends_on_reading(rows, 0.02) == depends


def test_runs_are_compared_as_declared_unless_something_else_is_asked(varied):
    compared = Comparison(varied, AGAINST_NONE, "eval_loss", 0.02, SIZES)
    assert as_comparison(compared) is compared
    other = as_comparison(compared, measure="eval_accuracy", margin=0.5)
    assert (other.measure.column, other.margin, other.varies) == ("eval_accuracy", 0.5, SIZES)
    assert other.contrasts == compared.contrasts
    plain = as_comparison(varied, varies=SIZES)
    assert (plain.measure.column, plain.margin, plain.contrasts) == ("train_loss", 0.01, [])
