"""A comparison: everything that follows from runs and their contrasts, each computed once."""

import math

import numpy as np
import pandas as pd
import pytest

from normlib.analysis.comparison import Comparison, as_comparison, conclusion, estimate, seeds_needed
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


def differences(frame, text, varies=()):
    return Comparison(frame, {"name": text}, varies=varies).differences


def test_differences_are_taken_pair_by_pair_and_of_group_means(make_frame):
    """Of the third seed a run is missing, of the fourth one diverged."""
    frame = make_frame({"bn": [1.0, 2.0, 1.0, math.nan], "gn": [3.0, 8.0, 1.0, 1.0], "none": [1.5, 2.5, 1.0, 1.0]})
    (found,) = differences(frame.drop(index=2), "mean(bn, gn) - none")
    assert found.to_dict() == pytest.approx({0: 0.5, 1: 2.5, 3: math.nan}, nan_ok=True)


def test_differences_of_differences_are_taken_across_conditions(make_frame):
    """(0.9 - 0.5) - (0.6 - 0.4) and (0.8 - 0.5) - (0.6 - 0.5); without runs of a condition there are no pairs."""
    two = make_frame({"bn": [0.5, 0.5], "gn": [0.9, 0.8]}, batch_size=32)
    frame = pd.concat([two, make_frame({"bn": [0.4, 0.5], "gn": [0.6, 0.6]}, batch_size=64)])
    text = "(gn - bn) at batch_size 32 - (gn - bn) at batch_size 64"
    (found,) = differences(frame, text, SIZES)
    assert found.tolist() == pytest.approx([0.2, 0.2])
    assert [len(pairs) for pairs in differences(two, "bn - gn", SIZES)] == [2, 0]


def test_without_batch_norm_there_is_no_gap_and_there_are_no_readings(make_frame):
    compared = Comparison(make_frame({"gn": [0.4, 0.5], "none": [0.4, 0.5]}), {"gain": "gn - none"})
    assert compared.gap.empty
    assert compared.reading_changes.empty


@pytest.mark.parametrize(("measure", "sign"), [("train_loss", 1), ("eval_accuracy", -1)])
def test_whether_a_contrast_depends_on_the_reading_is_told_by_its_change_seed_by_seed(lagging, measure, sign):
    changes = Comparison(lagging, AGAINST_NONE, measure, 0.02).reading_changes
    assert changes["reading"].tolist() == ["debiased", "recalibrated"]
    assert (sign * changes["mean"]).tolist() == pytest.approx([-0.2, -0.3])
    assert (sign * changes["inference"]).tolist() == pytest.approx([0.2, 0.2], abs=0.002)
    assert changes["verdict"].tolist() == ["differs", "differs"]


def test_of_verdicts_with_other_words_the_change_alone_says_whether_they_differ(make_frame):
    """As Keras evaluates it bn/none is level with none, recalibrated undecided; it changes by noise alone."""
    noise = np.random.default_rng(0).normal(0, 0.01, 8)

    def evaluated(ordering, seed):
        return evaluation(0.3, 0.3, 0.3 + noise[seed] * (ordering == "bn"))

    frame = make_frame({"bn": [0.4] * 8, "none": [0.4] * 8}, evaluation=evaluated)
    compared = Comparison(frame, AGAINST_NONE, "eval_loss", 0.001)
    assert compared.estimates["verdict"].tolist() == ["level"]
    assert as_comparison(compared, measure="recalibrated_loss").estimates["verdict"].tolist() == ["undecided"]
    assert compared.reading_changes["verdict"].tolist() == ["level", "undecided"]


def test_a_contrast_of_means_names_the_ordering_without_which_its_verdict_turns(make_frame):
    """gn/gn has not learned: the mean of both differs by it alone."""
    noise = np.random.default_rng(2).normal(0, 0.002, (3, 8))
    losses = {"bn/gn": 0.3 + noise[0], "bn/bn": 0.3 + noise[1], "gn/gn": 0.9 + noise[2]}
    frame = make_frame({name: values.tolist() for name, values in losses.items()})
    compared = Comparison(frame, {"mixed": "bn/gn - mean(bn/bn, gn/gn)"}, margin=0.05)
    assert compared.estimates["verdict"].tolist() == ["differs"]
    turning = compared.turning
    assert turning[["name", "ordering", "verdict"]].to_numpy().tolist() == [["mixed", "gn/gn", "level"]]
    assert turning["mean"].iloc[0] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("verdict", "mean", "concluded"),
    [
        ("differs", -1, "differs, lower"),
        ("differs", 1, "differs, higher"),
        ("differs negligibly", 1, "level"),
        ("level", -1, "level"),
        ("undecided", 1, "undecided"),
    ],
)
def test_a_conclusion_is_the_verdict_with_its_direction_where_that_matters(verdict, mean, concluded):
    assert conclusion(pd.Series({"verdict": verdict, "mean": mean})) == concluded


def test_with_looks_each_contrast_is_judged_at_them(make_frame):
    noise = np.random.default_rng(0).normal(0, 0.002, 16)
    frame = make_frame({"bn": (0.3 + noise).tolist(), "gn": (0.301 - noise).tolist(), "none": [0.4] * 16})
    contrasts = {"far": "bn - none", "near": "bn - gn"}
    compared = Comparison(frame, contrasts, looks=[range(8), range(16)])
    assert compared.estimates["look"].tolist()[0] == 8
    assert compared.estimates["later_pairs"].tolist()[0] == 8
    assert as_comparison(compared, measure="eval_loss").looks == compared.looks


@pytest.mark.parametrize(
    ("losses", "needed", "next_look"),
    [
        ([0.3] * 4, 8, None),  # no look yet
        ([0.3] * 8, 8, None),  # decided
        ([0.3, 0.5] * 4, 16, 16),  # not
        ([0.3] * 7 + [math.nan], 8, None),  # a run diverged, so nothing can decide it
        ([0.3, 0.5] * 8, 16, None),  # the last look
    ],
)
def test_a_study_with_looks_needs_seeds_until_all_that_can_be_decided_is(make_frame, losses, needed, next_look):
    noise = np.random.default_rng(0).normal(0, 0.002, len(losses))
    frame = make_frame({"bn": (losses + noise).tolist(), "none": [0.4] * len(losses)})
    compared = Comparison(frame, AGAINST_NONE, looks=[range(8), range(16)])
    assert compared.needed_seeds == needed
    found = compared.estimates.get("next_look", pd.Series([math.nan]))
    assert found.tolist() == pytest.approx([math.nan if next_look is None else next_look], nan_ok=True)


def test_of_accuracies_the_higher_is_the_better(make_frame):
    """Made-up accuracies are 1 - loss / 4; a tie counts half."""
    frame = make_frame({"bn/gn": [0.4, 0.4, 0.6, 0.5], "gn/bn": [0.5] * 4})
    for measure in ("train_loss", "train_accuracy"):
        assert estimate(frame, {"order": "bn/gn - gn/bn"}, measure, 0.01)["first_better"].tolist() == [0.625]


@pytest.mark.parametrize(
    ("losses", "family", "needed"),
    [([1.25, 1.26] * 4, 1, 8), ([1.25, 1.26] * 4, 10**12, 9), ([1.0], 1, math.nan)],
    ids=["the present ones decide", "but not for so many contrasts", "one pair"],
)
def test_a_contrast_needs_so_many_seeds_for_a_new_study(make_frame, losses, family, needed):
    frame = make_frame({"bn/gn": losses, "gn/bn": [1.0] * len(losses)})
    found = seeds_needed(frame, "bn/gn - gn/bn", 0.05, family=family)
    assert found == pytest.approx(needed, nan_ok=True)


def test_runs_are_compared_as_declared_unless_something_else_is_asked(varied):
    compared = Comparison(varied, AGAINST_NONE, "eval_loss", 0.02, SIZES)
    assert as_comparison(compared) is compared
    other = as_comparison(compared, measure="eval_accuracy", margin=0.5)
    assert (other.measure.column, other.margin, other.varies) == ("eval_accuracy", 0.5, SIZES)
    assert other.contrasts == compared.contrasts
    plain = as_comparison(varied, varies=SIZES)
    assert (plain.measure.column, plain.margin, plain.contrasts) == ("train_loss", 0.01, [])
