import dataclasses

import numpy as np
import pandas as pd
import pytest

from conftest import SMALL
from normlib.models.instance import Instance
from normlib.runs.train import train
from normlib.studies import verification


@pytest.fixture
def kept(make_record):
    noise = np.random.default_rng(0).normal(0, 0.01, 10)
    return [make_record("bn", seed, 0.4 + noise[seed]) for seed in range(10)]


def test_a_run_that_gives_the_same_figures_is_equal_to_the_bit(kept):
    assert verification.judge(kept[0], dataclasses.replace(kept[0], seconds={}), kept) == verification.EQUAL


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [(0.405, verification.INSIDE), (0.5, verification.OUTSIDE), (float("nan"), verification.OUTSIDE)],
)
def test_other_figures_are_inside_or_outside_the_spread_of_the_same_instance(kept, make_record, loss, verdict):
    others = [make_record("gn", seed, 0.5) for seed in range(10)]
    assert verification.judge(kept[0], make_record("bn", 0, loss, accuracy=0.88), kept + others) == verdict


def test_a_run_that_diverged_again_is_equal(make_record):
    diverged = make_record("bn", 0, float("nan"))
    assert verification.judge(diverged, make_record("bn", 0, float("nan")), [diverged]) == verification.EQUAL


def test_the_spread_is_the_prediction_interval():
    """By hand: mean 2, sd 1, three values; t at 99.95 % with two degrees is 31.599, times sqrt(4 / 3) is 36.488."""
    values = np.array([1.0, 2.0, 3.0])
    assert verification._is_inside(values, 2 + 36.48)
    assert not verification._is_inside(values, 2 + 36.49)


def test_kept_runs_are_trained_again_and_compared(tmp_path, monkeypatch):
    """A real run, kept and trained again; then with a figure changed, which only the record's checksum would tell."""
    record = train(Instance("none", **SMALL), seed=3)
    monkeypatch.setattr(verification, "KEPT", tmp_path)
    monkeypatch.setattr(verification, "kept_studies", lambda: ["mine"])
    (tmp_path / "mine.jsonl").write_text(record.to_json() + "\n")
    (row,) = verification.verify("mine", runs=1).to_dict("records")
    assert (row["ordering"], row["seed"], row["same_place"]) == ("none/none", 3, True)
    assert row["verdict"] == verification.EQUAL
    assert row["kept_loss"] == row["loss"] == record.training["loss"][-1]
    changed = dataclasses.replace(record, training={**record.training, "loss": [0.0]})
    (tmp_path / "mine.jsonl").write_text(changed.to_json() + "\n")
    assert verification.verify("mine", runs=1)["verdict"].tolist() == [verification.OUTSIDE]


@pytest.mark.parametrize(
    ("verdicts", "same_place", "said"),
    [
        (
            [verification.EQUAL] * 2,
            True,
            "2 equal to the bit, 0 inside the study's spread, 0 outside the study's spread.",
        ),
        ([verification.EQUAL, verification.INSIDE], True, "so all bits should be equal."),
        ([verification.OUTSIDE], False, "Another processor, stack or number of threads rounds otherwise"),
    ],
)
def test_together_they_are_counted_and_another_place_explains_other_bits(verdicts, same_place, said):
    assert said in verification.conclude(pd.DataFrame({"verdict": verdicts, "same_place": same_place}))
