import numpy as np
import pytest

from normlib.errors import RequestError
from normlib.models.instance import Instance


def test_defaults_are_the_source_protocol():
    """It fits on the test split, one epoch, batches of 32, Adam at 0.001."""
    assert Instance().settings == {
        "ordering": "bn/none",
        "model": "source_cnn",
        "activation": "none",
        "dataset": "mnist",
        "fit_split": "test",
        "evaluate_split": "train[:10000]",
        "epochs": 1,
        "batch_size": 32,
        "learning_rate": 0.001,
        "groups": None,
        "momentum": 0.99,
        "provider": "auto",
        "optimizer": "adam",
        "weight_decay": 0.0,
        "epsilon": 0.001,
        "channels_per_group": None,
        "statistics_batch": None,
        "fit_sample": None,
        "schedule": "constant",
        "warmup": 0,
    }


def test_changes_are_the_settings_that_differ_from_the_defaults_and_the_ordering_is_kept_in_its_full_form():
    assert Instance("bn").changes == {}
    assert Instance("gn", epochs=2).changes == {"ordering": "gn/none", "epochs": 2}


def test_a_file_of_data_is_in_the_settings_by_its_name_and_in_a_kernels_parameters_by_its_whole_path(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    random = np.random.default_rng(0)
    arrays = {f"x_{split}": random.random((9, 8, 8)) for split in ("train", "test")}
    np.savez("data/mine.npz", **arrays, **dict.fromkeys(("y_train", "y_test"), np.arange(9)))
    instance = Instance(dataset="data/mine.npz", fit_split="train[:50%]", evaluate_split="test")
    assert instance.settings["dataset"] == "mine.npz"
    assert instance.changes["dataset"] == "mine.npz"
    assert instance.parameters["dataset"] == str(tmp_path / "data" / "mine.npz")
    assert (len(instance.fit_examples), instance.data_facts.classes) == (4, 9)


def test_the_number_of_groups_is_the_models_or_as_asked():
    assert Instance().groups_of(10) == 5
    assert Instance(groups=2).groups_of(10) == 2
    assert Instance(channels_per_group=2).groups_of(10) == 5
    assert Instance("gn", "resnet20", channels_per_group=8).groups_of(64) == 8


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 313),  # 312 batches of 32 and one of 16
        ({"fit_split": "test[:64]", "epochs": 3}, 6),
        ({"fit_sample": 100, "batch_size": 50, "epochs": 2}, 4),
    ],
)
def test_the_steps_of_a_run_are_those_of_all_epochs(settings, steps):
    assert Instance(**settings).steps == steps


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"statistics_batch": 5}, "statistics_batch is 5, but must be a divisor of batch_size, 32"),
        (
            {"statistics_batch": 8, "ordering": "gn/ln"},
            "statistics_batch is 8, but gn/ln has no bn, which takes statistics of a batch",
        ),
        ({"statistics_batch": 8, "model": "my:own"}, "but must be None for my:own, whose BatchNorm layers are its own"),
        ({"statistics_batch": 1, "model": "dense"}, "but dense has no positions, so that a part would be one number"),
        ({"fit_split": "test[:64]", "fit_sample": 65}, "fit_sample is 65, but must be a whole number from 1 to 64"),
        ({"fit_split": "test[:64]", "warmup": 3}, "warmup is 3, but must be at most 2, since the run has 2 steps"),
        ({"fit_split": "test[:64]", "warmup": 2, "schedule": "cosine"}, "warmup is 2, but must be at most 1, since"),
        (
            {"fit_split": "train[:5000]"},
            r"evaluate_split is 'train\[:10000\]', but 5,000 of its images are also trained on, since fit_split is",
        ),
        ({"schedule": "linear"}, "schedule is 'linear', but must be one of constant, cosine"),
    ],
)
def test_settings_that_do_not_fit_the_run_are_refused(settings, message):
    with pytest.raises(RequestError, match=message):
        Instance(**settings)


def test_an_instance_is_made_of_variables_that_are_named_as_its_settings():
    variables = {**Instance("gn", epochs=2).settings, "seeds": 3}
    assert Instance.from_variables(variables) == Instance("gn", epochs=2)
    del variables["epochs"]
    with pytest.raises(RequestError, match="variables is 'epochs', but there is none of this name"):
        Instance.from_variables(variables)


def test_numpys_numbers_are_kept_as_pythons():
    instance = Instance(epochs=np.int64(2), learning_rate=np.float32(0.5), groups=np.int32(2))
    assert [type(value) for value in (instance.epochs, instance.learning_rate, instance.groups)] == [int, float, int]
    assert instance == Instance(epochs=2, learning_rate=0.5, groups=2)


def test_it_follows_the_source_where_only_ordering_and_provider_differ():
    assert Instance("gn/gn", provider="keras").follows_source
    assert not Instance(epochs=2).follows_source
