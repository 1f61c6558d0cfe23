"""The table of measures, and what it is tied to: readings of models and rows of records."""

import pytest

from normlib.models import readings
from normlib.runs import measures
from normlib.runs.measures import MEASURES, find_measure


def test_readings_are_those_of_models():
    assert measures.READINGS == readings.READINGS


def test_each_measure_is_its_figure_of_a_records_row(make_record):
    evaluation = {reading: {"loss": 1.0 + i, "accuracy": 0.1 * (1 + i)} for i, reading in enumerate(measures.READINGS)}
    record = make_record(loss=9.0, accuracy=0.9, evaluation=evaluation)
    sources = {"": {"loss": 9.0, "accuracy": 0.9}, **evaluation}
    row = record.row()
    assert {name: row[name] for name in MEASURES} == {
        name: sources[measure.reading][measure.figure] for name, measure in MEASURES.items()
    }


def test_of_losses_the_lower_is_better_of_accuracies_the_higher():
    assert {name: measure.lower_is_better for name, measure in MEASURES.items()} == {
        name: name.endswith("loss") for name in MEASURES
    }


@pytest.mark.parametrize(
    ("name", "reading", "expected"),
    [
        ("train_loss", "inference", "eval_loss"),
        ("eval_accuracy", "recalibrated", "recalibrated_accuracy"),
        ("debiased_loss", "debiased", "debiased_loss"),
    ],
)
def test_a_measure_has_its_like_in_each_reading(name, reading, expected):
    assert find_measure(name).in_reading(reading).column == expected
