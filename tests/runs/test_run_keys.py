"""The key of a run: SHA-256 over all that decides its bits, and over nothing else."""

import hashlib
import json

import numpy as np

from normlib import stack
from normlib.models.instance import Instance
from normlib.runs import record


def test_a_key_is_sha256_over_what_decides_the_run():
    instance = Instance("gn/bn", epochs=2)
    facts = {
        "seed": 3,
        "data": instance.data_facts.sha256,
        "versions": stack.versions("auto"),
        "threads": 1,
        "settings": {"ordering": "gn/bn", "epochs": 2},
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert record.run_key(instance, 3, 1) == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_keys_differ_where_runs_differ():
    keys = {
        record.run_key(Instance(), 0, 1),
        record.run_key(Instance(), 1, 1),
        record.run_key(Instance(), 0, 2),
        record.run_key(Instance("gn"), 0, 1),
        record.run_key(Instance(batch_size=64), 0, 1),
        record.run_key(Instance(optimizer="sgd"), 0, 1),
        record.run_key(Instance(epsilon=1e-5), 0, 1),
    }
    assert len(keys) == 7


def test_only_the_arrays_that_a_run_reads_are_named():
    instance = Instance(fit_split="test[:10]", evaluate_split="test[10:20]")
    assert set(record.data_used(instance)) == {"x_test", "y_test"}


def test_settings_that_have_their_defaults_are_not_in_a_key():
    """So that those that were added later leave the keys of old records as they were."""
    later = {"optimizer": "adam", "weight_decay": 0.0, "epsilon": 0.001, "channels_per_group": None}
    assert record.run_key(Instance(**later), 0, 1) == record.run_key(Instance(), 0, 1)


def test_a_file_of_data_is_in_the_key_by_its_name_and_arrays_not_by_its_path(tmp_path):
    random = np.random.default_rng(0)
    arrays = {"x_train": random.random((9, 8, 8)), "x_test": random.random((9, 8, 8))}
    arrays |= dict.fromkeys(("y_train", "y_test"), np.arange(9))
    keys = []
    for folder, changes in (("a", {}), ("b", {}), ("c", {"y_test": np.arange(9)[::-1]})):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "mine.npz", **arrays | changes)
        path = str(tmp_path / folder / "mine.npz")
        keys.append(record.run_key(Instance(dataset=path, fit_split="train", evaluate_split="test"), 0, 1))
    assert keys[0] == keys[1] != keys[2]


def test_of_a_file_all_arrays_are_in_the_key_since_all_labels_tell_the_number_of_classes(tmp_path):
    random = np.random.default_rng(0)
    arrays = {f"x_{split}": random.random((9, 8, 8)) for split in ("train", "test")}
    keys = []
    for number, labels in enumerate((np.arange(9) % 3, np.arange(9))):
        np.savez(tmp_path / f"{number}.npz", **arrays, y_train=np.arange(9) % 3, y_test=labels)
        (tmp_path / str(number)).mkdir()
        path = (tmp_path / f"{number}.npz").rename(tmp_path / str(number) / "mine.npz")
        instance = Instance(dataset=str(path), fit_split="train[:5]", evaluate_split="train[5:]")
        keys.append(record.run_key(instance, 0, 1))
    assert len(set(keys)) == 2


def test_what_has_no_digest_in_the_catalog_is_loaded_for_it(monkeypatch):
    """CIFAR-10, as Keras gives it, with labels ``[n, 1]``."""
    from normlib import data
    from normlib.tf import tf

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, 32, 32, 3), np.uint8)
    labels = np.arange(8, dtype=np.uint8)[:, None]
    monkeypatch.setattr(tf.keras.datasets.cifar10, "load_data", lambda: ((images, labels), (images[::-1], labels)))
    data._load_array.cache_clear()
    data._from_keras.cache_clear()
    used = record.data_used(Instance(dataset="cifar10", fit_split="train", evaluate_split="train"))
    data._load_array.cache_clear()
    data._from_keras.cache_clear()
    assert used == {
        "x_train": hashlib.sha256(images.tobytes()).hexdigest(),
        "y_train": hashlib.sha256(labels.tobytes()).hexdigest(),
    }
