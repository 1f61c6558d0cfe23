import numpy as np
import pandas as pd
import pytest

from normlib.report import diagnosis
from normlib.runs.diagnose import Diagnosis


@pytest.fixture
def make_diagnosis(make_record):
    """Return a function that makes up a diagnosis from values ``{(step, place): value}`` of one quantity or more."""

    def make(ordering, evaluation=None, **quantities):
        rows = [
            (step, quantity.replace("_", " "), place, "a layer", value)
            for quantity, values in quantities.items()
            for (step, place), value in values.items()
        ]
        frame = pd.DataFrame(rows, columns=["step", "quantity", "place", "layer", "value"])
        return Diagnosis(make_record(ordering, evaluation=evaluation), frame)

    return make


def test_the_cosine_takeaway_has_the_ends_of_training_and_model(make_diagnosis):
    values = {(0, 1): 0.1, (0, 2): 0.5, (0, 3): 0.2, (4, 1): 0.6, (4, 2): 0.7, (4, 3): 0.3}
    alike = {key: value + 0.1 for key, value in values.items()}
    made = [make_diagnosis("none", cosine_similarity=alike), make_diagnosis("bn/none", cosine_similarity=values)]
    assert diagnosis.cosine_takeaway(made) == (
        "Before the first step, the mean cosine similarity is 0.10000 in the first slot and 0.20000 in the last one "
        "(0.30000 after training) with **bn/none**, 0.20000 in the first slot and 0.30000 in the last one (0.40000 "
        "after training) with **none/none**; in the last slot, samples are most alike with **none/none**."
    )


def test_the_gradient_takeaway_says_how_far_the_least_is_from_the_largest(make_diagnosis):
    made = [
        make_diagnosis("bn/none", gradient_norm={(0, 1): 4.0, (0, 2): 2.0, (9, 1): 0.4, (9, 2): 0.2}),
        make_diagnosis("none", gradient_norm={(0, 1): 0.5, (0, 2): 1.0, (9, 1): 0.05, (9, 2): 0.1}),
    ]
    said = diagnosis.gradient_takeaway(made)
    assert "4.00000 in the first layer and 2.00000 in the last one (0.40000 and 0.20000 after training)" in said
    assert said.endswith("in the first layer it is least with **none/none**, 8.00000 times smaller than the largest.")


def test_of_one_diagnosis_nothing_is_compared(make_diagnosis):
    values = {(0, 1): 0.1, (4, 1): 0.6}
    said = diagnosis.cosine_takeaway(make_diagnosis("bn/none", cosine_similarity=values))
    assert said.endswith("(0.60000 after training) with **bn/none**.")


def test_the_moving_takeaway_has_the_farthest_layer_and_what_it_costs(make_diagnosis):
    evaluation = {name: {"loss": loss, "accuracy": 0.5} for name, loss in zip(
        ("inference", "debiased", "recalibrated"), (2.0, 1.0, 0.25), strict=True
    )}  # fmt: skip
    made = make_diagnosis(
        "bn/bn",
        evaluation,
        moving_mean_distance={(0, 1): 1.0, (0, 2): 1.0, (7, 1): 0.25, (7, 2): 0.5},
        moving_variance_distance={(0, 1): 9.0, (0, 2): 1.0, (7, 1): 6.0, (7, 2): 0.5},
    )
    assert diagnosis.moving_takeaway([make_diagnosis("gn/none"), made]) == (
        "After the last step, with **bn/bn**, a moving mean is up to 0.50000 of the population's length away from it "
        "and a moving variance up to 6.00000; the evaluation loss is 2.00000 as Keras evaluates and 0.25000 with "
        "recalibrated statistics."
    )


def test_without_batch_norm_there_is_nothing_to_say(make_diagnosis):
    said = diagnosis.moving_takeaway(make_diagnosis("gn/none"))
    assert said == "Without BatchNorm there are no moving averages."


def test_figures_that_are_none_are_said_and_not_compared(make_diagnosis):
    made = [
        make_diagnosis(ordering, gradient_norm={(0, 1): start, (9, 1): np.nan})
        for ordering, start in (("bn/none", np.nan), ("none", 2.0))
    ]
    said = diagnosis.gradient_takeaway(made)
    assert "nan in the first layer" in said
    assert "least" not in said
