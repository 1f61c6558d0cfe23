import pandas as pd
import pytest

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


def test_runs_of_different_conditions_are_kept_apart_in_the_studys_order(make_frame):
    varies = [{"batch_size": [64, 32]}]
    records = pd.concat([make_frame({"bn": [0.4, 0.5], "none": [0.3]}, batch_size=size) for size in (32, 64)])
    parts = conditions.split_records(records, varies)
    assert list(parts) == ["batch_size 64", "batch_size 32"]
    assert [len(part) for part in parts.values()] == [3, 3]
    assert parts["batch_size 32"]["batch_size"].eq(32).all()


def test_where_nothing_varies_all_runs_are_one_part(make_frame):
    records = make_frame({"bn": [0.4, 0.5]})
    assert list(conditions.split_records(records)) == [""]
    with pytest.raises(RequestError, match="records is 'empty'"):
        conditions.split_records(records.iloc[:0])


def test_runs_of_a_condition_that_the_study_lacks_are_refused(make_frame):
    with pytest.raises(RequestError, match=r"records is 'batch_size 16', but must be .* batch_size 32; batch_size 64"):
        conditions.split_records(make_frame({"bn": [0.4]}, batch_size=16), [{"batch_size": [32, 64]}])


def test_runs_of_one_condition_that_differ_in_another_setting_are_refused(make_frame):
    records = pd.concat([make_frame({name: [0.4]}, batch_size=32, epochs=n) for name, n in (("bn", 1), ("gn", 2))])
    with pytest.raises(RequestError, match="records is 'epochs of 1 and 2', but a comparison has one value of epochs"):
        conditions.split_records(records, [{"batch_size": [32, 64]}])


def test_a_setting_that_may_be_none_keeps_its_values(make_frame):
    frame = pd.concat(make_frame({"bn": [0.4]}, groups=groups) for groups in (None, 2))
    assert list(conditions.split_records(frame, [{"groups": [None, 2]}])) == ["groups None", "groups 2"]


@pytest.mark.parametrize(
    ("varies", "message"),
    [
        ([{}], r"varies is \[\{\}\], but must be a list such as"),
        ([{"batch_size": 32}], r"varies is \[\{'batch_size': 32\}\], but must be a list such as"),
        ([{"batchsize": [32]}], r"varies is 'batchsize', but .* no such column \(did you mean 'batch_size'\?\)"),
    ],
)
def test_runs_are_not_split_by_what_is_no_setting(make_frame, varies, message):
    with pytest.raises(RequestError, match=f"^{message}"):
        conditions.split_records(make_frame({"bn": [0.4]}), varies)
