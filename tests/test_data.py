import gzip
import hashlib
import shutil
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from normlib import data, datasets
from normlib.datasets import Split
from normlib.errors import RequestError
from normlib.models.build import build_model
from normlib.models.instance import Instance
from normlib.runs.train import train
from normlib.tf import tf


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_mnist_ships_with_the_package_array_for_array(name):
    array = data.load_array("mnist", name)
    facts = datasets.DATASETS["mnist"]
    assert hashlib.sha256(array.tobytes()).hexdigest() == facts.sha256[name]
    assert array.dtype == np.uint8
    assert array.shape[0] == facts.sizes[name.split("_")[1]]
    assert array.shape[1:] == (facts.image_shape if name.startswith("x") else ())


def test_the_checksums_are_those_of_the_original_database():
    """As published with the four idx files, see normlib/datasets/README.md."""
    assert datasets.DATASETS["mnist"].sha256 == {
        "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    }


def test_images_have_the_bits_that_the_source_gives_keras():
    images, _ = data.load_split("mnist", Split("test", 0, 1000))
    with np.load(data._FOLDER / "mnist.npz") as arrays:
        source = arrays["x_test"][:1000] / 255.0
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, source.astype(np.float32))


def test_a_slice_holds_the_examples_that_it_names():
    images, labels = data.load_split("mnist", Split("train", 100, 103))
    np.testing.assert_array_equal(images * 255, data.load_array("mnist", "x_train")[100:103])
    np.testing.assert_array_equal(labels, data.load_array("mnist", "y_train")[100:103])


def test_a_damaged_file_is_not_trained_on(tmp_path, monkeypatch):
    np.savez(tmp_path / "mnist.npz", x_test=np.zeros((10_000, 28, 28), np.uint8))
    monkeypatch.setattr(data, "_FOLDER", tmp_path)
    with pytest.raises(OSError, match=r"mnist.npz is damaged: the SHA-256 of x_test"):
        data._load_array.__wrapped__("mnist", "x_test", datasets.DATASETS["mnist"].sha256["x_test"])


FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


@pytest.fixture
def keras_folder(tmp_path, monkeypatch):
    """A Keras folder of its own, without what others may have downloaded."""
    monkeypatch.setenv("HOME", str(tmp_path))
    if "keras.src.backend.config" in sys.modules:  # Keras 3, which has noted its folder
        monkeypatch.setattr(sys.modules["keras.src.backend.config"], "_KERAS_DIR", str(tmp_path / ".keras"))
    data._load_array.cache_clear()
    data._from_keras.cache_clear()
    yield tmp_path / ".keras" / "datasets"
    data._load_array.cache_clear()
    data._from_keras.cache_clear()


@pytest.mark.skipif(not FASHION.exists(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_taken_from_keras_cache_and_is_the_original(keras_folder):
    shutil.copytree(FASHION, keras_folder / "fashion-mnist")
    images, labels = data.load_split("fashion_mnist", Split("test", 0, 10_000))
    assert images.shape == (10_000, 28, 28)
    assert np.bincount(labels).tolist() == [1000] * 10  # as its authors say, section 2
    assert data.digests("fashion_mnist") == datasets.DATASETS["fashion_mnist"].sha256


@pytest.mark.skipif(not FASHION.exists(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_a_run_on_fashion_mnist_says_which_data_it_used(keras_folder):
    shutil.copytree(FASHION, keras_folder / "fashion-mnist")
    splits = {"fit_split": "test[:320]", "evaluate_split": "test[320:400]"}
    record = train(Instance("gn/bn", dataset="fashion_mnist", **splits), 0)
    assert record.instance["dataset"] == "fashion_mnist"
    assert record.data["x_test"] == datasets.DATASETS["fashion_mnist"].sha256["x_test"]


def test_other_data_in_keras_cache_are_not_taken_for_fashion_mnist(keras_folder):
    """Made-up files of the same form, with the header of 8 or 16 bytes that idx files have."""
    folder = keras_folder / "fashion-mnist"
    folder.mkdir(parents=True)
    for split, count in (("train", 60), ("t10k", 10)):
        for name, size, header in (("labels-idx1", 1, 8), ("images-idx3", 784, 16)):
            content = np.random.default_rng(0).integers(0, 10, count * size, np.uint8).tobytes()
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(bytes(header) + content))
    with pytest.raises(OSError, match=r"fashion_mnist is damaged: the SHA-256 of y_test is .*; remove it from Keras'"):
        data.load_array("fashion_mnist", "y_test")


@pytest.mark.parametrize(
    ("dataset", "files"),
    [
        ("fashion_mnist", "t10k-labels-idx1-ubyte.gz, into fashion-mnist in"),
        ("cifar10", "cifar-10-python.tar.gz, as cifar-10-batches-py"),
    ],
)
def test_without_a_network_it_is_said_which_file_to_put_where(keras_folder, monkeypatch, dataset, files):
    def without_network(*_, **__):
        raise urllib.error.URLError("no network")

    for module in ("keras.src.utils.file_utils", "keras.src.utils.data_utils"):  # of Keras 3, of Keras 2
        if hasattr(sys.modules.get(module), "urlretrieve"):
            monkeypatch.setattr(sys.modules[module], "urlretrieve", without_network)
    with pytest.raises(RequestError) as refusal:
        data.load_array(dataset, "y_test")
    said = str(refusal.value)
    assert said.startswith(f"dataset is '{dataset}', but must be data that are there; to have them without a network, put")
    assert files in said
    assert "/datasets (" in said
    assert said.isprintable()


def test_cifars_labels_are_one_an_image(keras_folder, monkeypatch):
    """CIFAR-10 is out of reach here: made-up arrays of its form, as Keras gives them."""
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (7, 32, 32, 3), np.uint8), np.arange(7, dtype=np.uint8)[:, None]
    monkeypatch.setattr(tf.keras.datasets.cifar10, "load_data", lambda: ((images, labels), (images, labels)))
    found, found_labels = data.load_split("cifar10", Split("test", 2, 5))
    np.testing.assert_array_equal(found, (images[2:5] / 255.0).astype(np.float32))
    assert found_labels.tolist() == [2, 3, 4]


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
def test_a_file_of_ones_own_is_trained_on_and_recorded_by_its_name_and_digests(tmp_path, channels):
    """Floats are taken as they are; the labels tell that there are three classes."""
    random = np.random.default_rng(0)
    arrays = {f"x_{split}": random.random((n, 8, 9, *channels)) for split, n in (("train", 40), ("test", 20))}
    arrays |= {f"y_{split}": np.arange(n) % 3 for split, n in (("train", 40), ("test", 20))}
    np.savez_compressed(tmp_path / "mine.npz", **arrays)
    instance = Instance("gn/bn", dataset=str(tmp_path / "mine.npz"), fit_split="train", evaluate_split="test")
    record = train(instance, 0)
    assert record.instance["dataset"] == "mine.npz"
    assert record.data == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    assert str(tmp_path) not in record.to_json()
    images, _ = data.load_split(instance.dataset, instance.fit_examples)
    np.testing.assert_array_equal(images, arrays["x_train"].astype(np.float32))
    assert build_model(instance).output_shape == (None, 3)
