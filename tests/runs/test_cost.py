import numpy as np
import pandas as pd
import pytest

from conftest import SMALL
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.runs import cost
from normlib.tf import tf


@pytest.fixture(scope="module")
def measured():
    return cost.measure_cost([Instance(name, **SMALL) for name in ("gn/bn", "none")], rounds=2)


def test_seconds_are_related_to_those_of_the_baseline_in_the_same_round(measured):
    assert measured.index.tolist() == ["gn/bn", "none/none"]
    assert set(measured["against"]) == {"none/none"}
    for kind in ("fit", "evaluate"):
        ratios = measured[[kind, f"{kind}_low", f"{kind}_high"]]
        assert ratios.loc["none/none"].tolist() == [1, 1, 1]
        median, low, high = ratios.loc["gn/bn"]
        assert 0 < low <= high
        assert median == pytest.approx((low + high) / 2)  # of two rounds


def test_what_is_left_at_inference_is_counted(measured):
    """By hand: 739,708 without normalization; GroupNorm has 2 * 10 parameters, BatchNorm 4 * 10, which fold away."""
    counts = measured[["parameters", "parameters_left", "layers", "layers_left"]]
    assert counts.loc["gn/bn"].tolist() == [739_768, 739_728, 2, 1]
    assert counts.loc["none/none"].tolist() == [739_708, 739_708, 0, 0]


def test_a_layer_without_an_offset_gets_one_from_what_folds_into_it():
    """Of BatchNorm's four parameters a channel one is left: 9 * 4 + 4 * 4 become 9 * 4 + 4."""
    keras = tf.keras
    convolution = keras.layers.Conv2D(4, 3, use_bias=False)
    model = keras.Sequential([keras.Input((8, 8, 1)), convolution, keras.layers.BatchNormalization()])
    assert cost._left(model) == (52, 40, 1, 0)


def test_a_kept_table_is_read_again_and_is_not_that_of_runs_with_other_settings(measured, make_record, tmp_path):
    path = tmp_path / "cost.csv"
    assert cost.read_cost(path, []) is None
    measured.to_csv(path)
    runs = [make_record(name, **SMALL) for name in ("gn/bn", "none")]
    pd.testing.assert_frame_equal(cost.read_cost(path, runs), measured)
    for others in (runs[:1], [make_record(name, **SMALL, batch_size=8) for name in ("gn/bn", "none")]):
        assert cost.read_cost(path, others) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.drop(columns="parameters"),
        lambda table: table.assign(fit="fast"),
        lambda table: table.assign(evaluate_high=np.nan),
        lambda table: table.assign(parameters="many"),
        lambda table: table.assign(against="bn/none"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path, measured, damage):
    path = tmp_path / "cost.csv"
    damage(measured).to_csv(path)
    with pytest.raises(RequestError, match="but it is no table that normlib cost wrote: delete it, or measure anew"):
        cost.read_cost(path, [])


@pytest.mark.parametrize("orderings", [[], ["bn", "bn/none"]])
def test_each_ordering_is_measured_once(orderings):
    with pytest.raises(
        RequestError, match=r"instances is .*, but must be one instance or more, each of another ordering"
    ):
        cost.measure_cost([Instance(name) for name in orderings])
