from normlib.analysis import conditions

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
