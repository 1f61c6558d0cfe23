"""Each ordering's own settings are chosen on other images and with other seeds than those that are reported."""

import dataclasses
import math

import pytest

from normlib.errors import RequestError
from normlib.studies.study import Study
from normlib.studies.tuning import tune, tuning_sentences, tuning_study

RATES = [0.001, 0.003, 0.01]
STUDY = Study(
    "mine",
    "Which?",
    ("bn", "none"),
    defaults={"fit_split": "train[:320]", "evaluate_split": "test[:100]"},
    tune={"varies": [{"learning_rate": RATES}], "evaluate_split": "train[320:420]", "seeds": 2, "first_seed": 50},
    seeds=2,
    first_seed=60,
    measure="eval_loss",
)


@pytest.fixture
def make_tuning(make_record):
    """Return a function that makes up the tuning runs from ``{ordering: {rate: losses}}``."""

    def make(losses):
        settings = {"fit_split": "train[:320]", "evaluate_split": "train[320:420]"}
        return [
            make_record(ordering, seed, evaluation={"loss": loss, "accuracy": 0.5}, learning_rate=rate, **settings)
            for ordering, rates in losses.items()
            for rate, values in rates.items()
            for seed, loss in enumerate(values, start=50)
        ]

    return make


def test_settings_are_chosen_by_a_study_of_their_own():
    stage = tuning_study(STUDY)
    assert {(i.ordering, i.learning_rate) for i in stage.instances} == {
        (ordering, rate) for ordering in ("bn/none", "none/none") for rate in RATES
    }
    assert {(i.fit_split, i.evaluate_split) for i in stage.instances} == {("train[:320]", "train[320:420]")}
    assert [*stage.run_seeds] == [50, 51]


def test_each_ordering_gets_what_is_best_by_its_mean_over_seeds(make_tuning):
    """For bn, 0.003: mean 0.3, though its second seed is worse than with 0.01; for none, 0.001."""
    losses = {
        "bn": {0.001: [0.5, 0.5], 0.003: [0.1, 0.5], 0.01: [0.45, 0.45]},
        "none": {0.001: [0.2, 0.2], 0.003: [0.3, 0.3], 0.01: [0.1, math.inf]},
    }
    study = tune(STUDY, make_tuning(losses))
    assert study.own == {"bn/none": {"learning_rate": 0.003}, "none/none": {"learning_rate": 0.001}}
    assert [(i.ordering, i.learning_rate, i.evaluate_split) for i in study.instances] == [
        ("bn/none", 0.003, "test[:100]"),
        ("none/none", 0.001, "test[:100]"),
    ]
    said = " ".join(tuning_sentences(study))
    assert "Each ordering has its own learning rate, 0.003 for bn/none, 0.001 for none/none" in said
    assert "At an end of what was tried, where a value beyond may be better: none/none." in said


def test_values_are_ties_where_the_paired_interval_of_their_difference_from_the_best_holds_zero(make_tuning):
    """For bn 0.003 is best and 0.001 a tie (differences 0.01, -0.005); for none the others are clearly worse."""
    losses = {
        "bn": {0.001: [0.31, 0.295], 0.003: [0.30, 0.30], 0.01: [0.50, 0.501]},
        "none": {0.001: [0.2, 0.2], 0.003: [0.3, 0.301], 0.01: [0.4, math.inf]},
    }
    study = tune(STUDY, make_tuning(losses))
    assert study.ties == {"bn/none": {"learning_rate": 0.001}}
    (instance,) = study.tied_version().instances
    assert (instance.ordering, instance.learning_rate) == ("bn/none", 0.001)
    (said,) = tuning_sentences(study)
    assert "Ties, whose paired 95 % interval holds zero: bn/none with 0.001. 2 seeds are few to choose by" in said
    one_seed = dataclasses.replace(STUDY, tune={**STUDY.tune, "seeds": 1})
    study = tune(one_seed, [record for record in make_tuning(losses) if record.seed == 50])
    assert study.ties == {}
    assert "One seed tells no ties." in tuning_sentences(study)[0]


def test_the_nearest_tie_is_taken_and_of_two_as_near_the_better(make_tuning):
    losses = {0.001: [0.31, 0.295], 0.003: [0.30, 0.30], 0.01: [0.32, 0.285]}
    study = tune(STUDY, make_tuning({"bn": losses, "none": losses}))
    assert study.own["bn/none"] == {"learning_rate": 0.003}
    assert study.ties["bn/none"] == {"learning_rate": 0.001}


def test_a_kind_of_ones_own_is_tuned_as_all_others(make_tuning):
    losses = {"mine:Norm": {0.001: [0.5, 0.5], 0.003: [0.1, 0.1], 0.01: [0.4, 0.4]}}
    study = tune(dataclasses.replace(STUDY, orderings=("mine:Norm",)), make_tuning(losses))
    assert study.own == {"mine:Norm/none": {"learning_rate": 0.003}}


def test_an_ordering_that_diverged_with_all_values_and_missing_runs_are_told(make_tuning):
    good = {key: [0.5, 0.5] for key in RATES}
    with pytest.raises(RequestError, match="bn/none diverges with all of these values"):
        tune(STUDY, make_tuning({"bn": {key: [math.nan, 0.1] for key in RATES}, "none": good}))
    with pytest.raises(RequestError, match=r"the run learning_rate 0\.01, none/none, seed 51 is missing"):
        tune(STUDY, make_tuning({"bn": good, "none": good | {0.01: [0.5]}}))


def test_of_an_accuracy_the_highest_is_best_but_not_that_of_a_run_whose_loss_diverged(make_tuning):
    study = dataclasses.replace(STUDY, measure="eval_accuracy")
    accuracies = {0.001: 0.5, 0.003: 0.9, 0.01: 0.6}
    losses = {name: {0.001: [0.5, 0.5], 0.003: [math.nan, 0.5], 0.01: [0.5, 0.5]} for name in ("bn", "none")}
    records = [
        dataclasses.replace(
            record,
            evaluation={
                reading: {**figures, "accuracy": accuracies[record.instance["learning_rate"]]}
                for reading, figures in record.evaluation.items()
            },
        )
        for record in make_tuning(losses)
    ]
    assert {settings["learning_rate"] for settings in tune(study, records).own.values()} == {0.01}


def test_settings_are_not_chosen_by_images_that_any_of_the_runs_is_trained_on():
    varies = [{"epochs": [1, 2], "fit_split": ["train[:320]", "train[:400]"]}]
    study = dataclasses.replace(
        STUDY, defaults={"evaluate_split": "train[500:600]"}, tune={**STUDY.tune, "varies": varies}
    )
    with pytest.raises(RequestError, match="but 80 of its images are also trained on"):
        tuning_study(study)


def test_with_other_orderings_a_study_as_run_chooses_anew(make_tuning):
    good = {rate: [0.5, 0.5] for rate in RATES}
    study = tune(STUDY, make_tuning({"bn": good, "none": good}))
    assert study.replace(orderings=["gn", "none"]).own == {}
