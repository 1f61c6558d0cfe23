import subprocess
import sys

import numpy as np

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
    }


def test_the_ordering_is_kept_in_its_full_form():
    assert Instance("gn").ordering == "gn/none"
    assert Instance("gn") == Instance("gn/none")


def test_changes_are_the_settings_that_differ_from_the_defaults():
    assert Instance().changes == {}
    assert Instance("gn/bn", epochs=2).changes == {"ordering": "gn/bn", "epochs": 2}


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


def test_numpys_numbers_are_kept_as_pythons():
    instance = Instance(epochs=np.int64(2), learning_rate=np.float32(0.5), groups=np.int32(2))
    assert [type(value) for value in (instance.epochs, instance.learning_rate, instance.groups)] == [int, float, int]
    assert instance == Instance(epochs=2, learning_rate=0.5, groups=2)


def test_it_follows_the_source_where_only_ordering_and_provider_differ():
    assert Instance("gn/gn", provider="keras").follows_source
    assert not Instance(epochs=2).follows_source


def test_settings_are_checked_before_tensorflow_loads():
    code = "import sys, normlib; normlib.Instance('gn/bn', provider='auto'); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
