import math

import numpy as np
import pandas as pd
import pytest

from normlib.analysis import verdicts
from normlib.analysis.verdicts import Contrast

CONTRAST = Contrast("against none", ("bn/none",), ("none/none",))


def evaluation(inference, debiased, recalibrated):
    losses = {"inference": inference, "debiased": debiased, "recalibrated": recalibrated}
    return {reading: {"loss": loss, "accuracy": 1 - loss} for reading, loss in losses.items()}


@pytest.fixture
def lagging(make_frame):
    """bn/none is worse than the baseline as Keras evaluates it, level debiased, better recalibrated."""
    noise = np.random.default_rng(0).normal(0, 0.001, size=(2, 8))

    def evaluated(ordering, seed):
        if ordering == "none":
            return evaluation(*[0.30 + noise[1, seed]] * 3)
        return evaluation(0.50 + noise[0, seed], 0.30 + noise[0, seed], 0.20 + noise[0, seed])

    return make_frame({"bn": [0.4] * 8, "none": [0.4] * 8}, evaluation=evaluated)


def test_the_gap_is_split_run_by_run_for_orderings_with_batch_norm(make_frame):
    """By hand: 0.50 - 0.32 and 0.60 - 0.34; 0.32 - 0.30 and 0.34 - 0.31; t with one degree is 12.7062."""
    runs = {0: (0.50, 0.32, 0.30), 1: (0.60, 0.34, 0.31)}
    frame = make_frame(
        {"gn+bn/none": [0.4, 0.4], "gn": [0.4, 0.4]}, evaluation=lambda ordering, seed: evaluation(*runs[seed])
    )
    (row,) = verdicts.split_gap(frame).to_dict("records")
    assert (row["ordering"], row["runs"]) == ("gn+bn/none", 2)
    parts = ("inference", "debiasing", "recalibration", "rest")
    assert [row[part] for part in parts] == pytest.approx([0.55, 0.22, 0.025, 0.305])
    assert row["inference"] == pytest.approx(row["debiasing"] + row["recalibration"] + row["rest"])
    assert row["debiasing_high"] - row["debiasing"] == pytest.approx(12.7062 * 0.04, rel=1e-4)


def test_conditions_have_rows_of_their_own(lagging):
    frame = pd.concat([lagging, lagging.assign(batch_size=64, key=lagging["key"] + "x")])
    found = verdicts.split_gap(frame, [{"batch_size": [32, 64]}])
    assert found["condition"].tolist() == ["batch_size 32", "batch_size 64"]


def test_without_batch_norm_there_is_no_gap(make_frame):
    assert verdicts.split_gap(make_frame({"gn": [0.4, 0.5]})).empty


def test_contrasts_are_estimated_in_each_reading_of_the_measures_kind(lagging):
    found = verdicts.estimate_readings(lagging, [CONTRAST], "train_loss", margin=0.02)
    means = {reading: frame["mean"].iloc[0] for reading, frame in found.items()}
    assert means == pytest.approx({"inference": 0.2, "debiased": 0, "recalibrated": -0.1}, abs=0.002)
    accuracies = verdicts.estimate_readings(lagging, [CONTRAST], "eval_accuracy", margin=0.02)
    assert accuracies["inference"]["mean"].iloc[0] == pytest.approx(-0.2, abs=0.002)


def test_a_conclusion_depends_on_the_reading_where_its_verdict_or_direction_does(lagging):
    found = verdicts.estimate_readings(lagging, [CONTRAST], "eval_loss", 0.02)
    assert verdicts.depends_on_reading(found, 0.02).tolist() == [True]


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
    by_reading = {str(i): pd.DataFrame({"verdict": [v], "mean": [m]}) for i, (v, m) in enumerate(conclusions)}
    assert verdicts.depends_on_reading(by_reading, 0.02).tolist() == [depends]
