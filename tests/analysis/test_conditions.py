import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib.analysis import conditions
from normlib.errors import RequestError

LAG = [{"batch_size": [32, 128], "fit_split": ["test[:320]", "test[:1280]"]}, {"momentum": [0.9, 0.99]}]


def test_settings_of_a_group_go_together_and_groups_are_crossed():
    assert conditions.expand(LAG) == [
        {"batch_size": 32, "fit_split": "test[:320]", "momentum": 0.9},
        {"batch_size": 32, "fit_split": "test[:320]", "momentum": 0.99},
        {"batch_size": 128, "fit_split": "test[:1280]", "momentum": 0.9},
        {"batch_size": 128, "fit_split": "test[:1280]", "momentum": 0.99},
    ]
    assert conditions.expand([]) == [{}]


def test_a_condition_is_called_by_the_first_setting_of_each_group():
    assert conditions.label(conditions.expand(LAG)[2], LAG) == "batch_size 128, momentum 0.9"
    assert conditions.label({"learning_rate": 3e-4}, [{"learning_rate": [3e-4]}]) == "learning_rate 0.0003"
    assert conditions.label({}, []) == ""


@given(st.lists(st.integers(1, 3), max_size=3))
def test_there_are_as_many_conditions_as_the_product_of_the_groups(sizes):
    varies = [{f"setting_{i}": list(range(size))} for i, size in enumerate(sizes)]
    expanded = conditions.expand(varies)
    expected = 1
    for size in sizes:
        expected *= size
    assert len({tuple(condition.items()) for condition in expanded}) == len(expanded) == expected


def test_runs_of_different_conditions_are_kept_apart_in_the_studys_order(make_frame):
    varies = [{"batch_size": [64, 32]}]
    records = pd.concat([make_frame({"bn": [0.4, 0.5], "none": [0.3]}, batch_size=size) for size in (32, 64)])
    parts = conditions.split_records(records, varies)
    assert list(parts) == ["batch_size 64", "batch_size 32"]
    assert [len(part) for part in parts.values()] == [3, 3]
    assert parts["batch_size 32"]["batch_size"].eq(32).all()


def test_where_nothing_varies_all_runs_are_one_part(make_frame):
    records = make_frame({"bn": [0.4, 0.5]})
    assert list(conditions.split_records(records, ())) == [""]
    with pytest.raises(RequestError, match="records is 'empty'"):
        conditions.split_records(records.iloc[:0], ())


def test_runs_of_a_condition_that_the_study_lacks_are_refused(make_frame):
    with pytest.raises(RequestError, match=r"records is 'batch_size 16', but must be .* batch_size 32; batch_size 64"):
        conditions.split_records(make_frame({"bn": [0.4]}, batch_size=16), [{"batch_size": [32, 64]}])


def test_runs_of_one_condition_that_differ_in_another_setting_are_refused(make_frame):
    records = pd.concat([make_frame({name: [0.4]}, batch_size=32, epochs=n) for name, n in (("bn", 1), ("gn", 2))])
    with pytest.raises(RequestError, match="records is 'epochs of 1 and 2', but must be one epochs in a comparison"):
        conditions.split_records(records, [{"batch_size": [32, 64]}])


def test_the_settings_that_runs_share_are_said_in_words(make_frame):
    records = make_frame({"bn": [0.4, 0.5], "gn": [0.5, 0.5]}, momentum=0.9)
    assert conditions.in_words(records) == (
        "source_cnn with no activation after its convolutions, fitted on mnist test, 1 epoch, batches of 32, "
        "Adam at 0.001, BatchNorm's momentum 0.9"
    )


def test_of_a_model_with_activations_of_its_own_none_are_said_and_settings_that_differ_are(make_frame):
    settings = {"model": "resnet20", "optimizer": "sgd", "weight_decay": 1e-4, "channels_per_group": 4}
    assert conditions.in_words(make_frame({"bn": [0.4], "gn": [0.5]}, **settings)) == (
        "resnet20, fitted on mnist test, 1 epoch, batches of 32, SGD with momentum 0.9 at 0.001, channels per group 4, "
        "weight decay 0.0001"
    )
    varies = [{"batch_size": [32], "learning_rate": [0.001]}]
    assert "SGD with momentum 0.9" in conditions.in_words(make_frame({"bn": [0.4]}, **settings), varies)


def test_what_varies_is_left_to_each_finding(make_frame):
    said = conditions.in_words(make_frame({"bn": [0.4]}, batch_size=64), [{"batch_size": [32, 64]}])
    assert "batches" not in said
    assert "Adam at 0.001" in said
    assert conditions.in_words(make_frame({"bn": [0.4]}), [{"activation": ["none"]}]).startswith(
        "source_cnn, fitted on"
    )


def test_settings_that_go_together_are_said_in_words(make_frame):
    varies = [{"batch_size": [32, 64], "fit_split": ["test[:320]", "test[:640]"]}]
    said = conditions.in_words(make_frame({"bn": [0.4]}, batch_size=64, fit_split="test[:640]"), varies)
    assert "fitted on mnist (batch_size 32 with fit_split test[:320]; batch_size 64 with fit_split test[:640])" in said


def test_a_setting_that_may_be_none_keeps_its_values(make_frame):
    frame = pd.concat(make_frame({"bn": [0.4]}, groups=groups) for groups in (None, 2))
    assert list(conditions.split_records(frame, [{"groups": [None, 2]}])) == ["groups None", "groups 2"]
