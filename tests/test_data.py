import hashlib
import shutil
import sys
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib import data
from normlib.datasets import DATASETS, Split
from normlib.errors import RequestError
from normlib.models.build import build_model
from normlib.models.instance import Instance
from normlib.runs.train import compare, train
from normlib.tf import tf


@pytest.mark.parametrize("name", data.ARRAYS)
def test_mnist_ships_with_the_package_array_for_array(name):
    """The SHA-256 are those of the original database, as published with its four idx files."""
    array = data.load_array("mnist", name)
    facts = DATASETS["mnist"]
    assert hashlib.sha256(array.tobytes()).hexdigest() == facts.sha256[name]
    assert array.dtype == np.uint8
    assert array.shape[0] == facts.sizes[name.split("_")[1]]
    assert array.shape[1:] == (facts.image_shape if name.startswith("x") else ())


def test_a_slice_has_the_examples_that_it_names_and_the_bits_that_the_source_gives_keras():
    images, labels = data.load_split("mnist", Split("train", 100, 1100))
    with np.load(data._FOLDER / "mnist.npz") as arrays:
        source, source_labels = arrays["x_train"] / 255.0, arrays["y_train"]
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, source[100:1100].astype(np.float32))
    np.testing.assert_array_equal(labels, source_labels[100:1100])


def test_a_damaged_file_is_not_trained_on(tmp_path, monkeypatch):
    images = dict.fromkeys(("x_train", "x_test"), np.zeros((7, 28, 28), np.uint8))
    np.savez(tmp_path / "mnist.npz", **images, **dict.fromkeys(("y_train", "y_test"), np.zeros(7, np.uint8)))
    monkeypatch.setattr(data, "_FOLDER", tmp_path)
    with pytest.raises(OSError, match=r"mnist is damaged: the SHA-256 of x_train is .*; install normlib again"):
        data._load_known.__wrapped__("mnist")


# Data sets that Keras downloads.

FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


@pytest.fixture
def keras_folder(tmp_path, monkeypatch):
    """A Keras folder of its own, without what others may have downloaded."""
    monkeypatch.setenv("HOME", str(tmp_path))
    if "keras.src.backend.config" in sys.modules:  # Keras 3, which has noted its folder
        monkeypatch.setattr(sys.modules["keras.src.backend.config"], "_KERAS_DIR", str(tmp_path / ".keras"))
    data._load_known.cache_clear()
    yield tmp_path / ".keras" / "datasets"
    data._load_known.cache_clear()


@pytest.mark.skipif(not FASHION.exists(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_taken_from_keras_cache_and_is_the_original(keras_folder):
    shutil.copytree(FASHION, keras_folder / "fashion-mnist")
    images, labels = data.load_split("fashion_mnist", Split("test", 0, 10_000))
    assert images.shape == (10_000, 28, 28)
    assert np.bincount(labels).tolist() == [1000] * 10  # as its authors say, section 2


def test_other_data_in_keras_cache_are_not_taken_for_fashion_mnist(keras_folder, monkeypatch):
    other = np.zeros((7, 28, 28), np.uint8), np.zeros(7, np.uint8)
    monkeypatch.setattr(tf.keras.datasets.fashion_mnist, "load_data", lambda: (other, other))
    with pytest.raises(OSError, match=r"fashion_mnist is damaged: the SHA-256 of x_train is .*; remove it from Keras'"):
        data.load_array("fashion_mnist", "y_test")


@pytest.mark.parametrize("dataset", ["fashion_mnist", "cifar10"])
def test_without_a_network_it_is_said_which_file_to_put_where(keras_folder, monkeypatch, dataset):
    def without_network(*_, **__):
        raise urllib.error.URLError("no network")

    module = sys.modules[getattr(tf.keras.datasets, dataset).load_data.__module__]
    monkeypatch.setattr(module, "get_file", without_network)
    with pytest.raises(RequestError) as refusal:
        data.load_array(dataset, "y_test")
    assert str(refusal.value) == (
        f"dataset is '{dataset}', but it is not there: <urlopen error no network>. "
        f"Without a network, put {DATASETS[dataset].download} in Keras' folder, which is ~/.keras/datasets unless you "
        "changed it"
    )


def test_what_has_no_digest_in_the_catalog_is_digested_when_it_is_loaded(keras_folder, monkeypatch):
    """CIFAR-10 is out of reach here: made-up arrays of its form, as Keras gives them, with labels ``[n, 1]``."""
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (7, 32, 32, 3), np.uint8), np.arange(7, dtype=np.uint8)[:, None]
    monkeypatch.setattr(tf.keras.datasets.cifar10, "load_data", lambda: ((images, labels), (images[::-1], labels)))
    found, found_labels = data.load_split("cifar10", Split("train", 2, 5))
    np.testing.assert_array_equal(found, (images[2:5] / 255.0).astype(np.float32))
    assert found_labels.tolist() == [2, 3, 4]
    digests = data.digests("cifar10")
    assert digests["x_train"] == hashlib.sha256(images.tobytes()).hexdigest()
    assert digests["y_test"] == hashlib.sha256(labels.tobytes()).hexdigest()


# Files of one's own.

RANDOM = np.random.default_rng(0)
GREY = {
    "x_train": RANDOM.integers(0, 256, (20, 9, 8), np.uint8),
    "y_train": np.arange(20) % 4,
    "x_test": RANDOM.integers(0, 256, (7, 9, 8), np.uint8),
    "y_test": np.arange(7) % 3,
}


@pytest.fixture
def put(tmp_path):
    """Return a function that writes a data set, some of its arrays changed, and returns its path."""

    def put(save=np.savez, **changes):
        path = tmp_path / "mine.npz"
        save(path, **{name: array for name, array in {**GREY, **changes}.items() if array is not None})
        return str(path)

    return put


def test_sizes_shape_classes_and_digests_are_read_from_the_arrays(put):
    """The largest label is 3, so there are four classes."""
    facts = data.read_facts(put(np.savez_compressed))
    assert facts.sizes == {"train": 20, "test": 7}
    assert facts.image_shape == (9, 8)
    assert facts.classes == 4
    assert facts.sha256["x_test"] == hashlib.sha256(GREY["x_test"].tobytes()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"x_train": RANDOM.random((20, 9, 8, 3)), "x_test": RANDOM.random((7, 9, 8, 3), np.float32)},
        {"y_train": GREY["y_train"][:, None].astype(np.uint8), "y_test": GREY["y_test"][:, None]},
        {"x_train": np.asfortranarray(GREY["x_train"])},
    ],
    ids=["float with channels", "labels as CIFAR's", "another order in memory"],
)
def test_other_layouts_of_keras_datasets_are_taken(put, changes):
    assert data.read_facts(put(**changes)).classes == 4


def test_a_file_that_changed_is_read_again(put):
    assert data.read_facts(put()).classes == 4
    assert data.read_facts(put(y_test=np.full(7, 5))).classes == 6


def test_a_file_is_trained_on_and_recorded_by_its_name_and_digests(put, tmp_path):
    """Floats are taken as they are; the labels tell that there are three classes."""
    arrays = {f"x_{split}": RANDOM.random((n, 8, 9, 3)) for split, n in (("train", 40), ("test", 20))}
    arrays |= {f"y_{split}": np.arange(n) % 3 for split, n in (("train", 40), ("test", 20))}
    instance = Instance("gn/bn", dataset=put(**arrays), fit_split="train", evaluate_split="test")
    record = train(instance, 0)
    assert record.instance["dataset"] == "mine.npz"
    assert record.data == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    assert str(tmp_path) not in record.to_json()
    images, _ = data.load_split(instance.dataset, instance.fit_examples)
    np.testing.assert_array_equal(images, arrays["x_train"].astype(np.float32))
    assert build_model(instance).output_shape == (None, 3)


NAN = np.where(RANDOM.random((7, 9, 8)) < 0.01, np.nan, 0.5)
REFUSED = {
    "array missing": ({"y_test": None}, "the array y_test cannot be read: there is none of this name"),
    "lengths disagree": ({"y_train": np.arange(19)}, "y_train must be integer labels [20], one an image, and is int64"),
    "no examples": ({"x_test": GREY["x_test"][:0]}, "none of them 0, and has [0, 9, 8]"),
    "label below": ({"y_train": np.arange(20) - 1}, "y_train must be from 0 to 9,999, and goes from -1 to 18"),
    "label above": ({"y_test": np.full(7, 10_000)}, "y_test must be from 0 to 9,999, and goes from 10000 to 10000"),
    "labels are floats": (
        {"y_train": np.arange(20.0)},
        "y_train must be integer labels [20], one an image, and is float",
    ),
    "NaN pixels": ({"x_test": NAN}, "x_test has pixels that are no finite numbers"),
    "too large for float32": ({"x_test": np.full((7, 9, 8), 1e300)}, "x_test has pixels that are no finite numbers"),
    "signed pixels": ({"x_train": GREY["x_train"].astype(int)}, "x_train must be uint8 or float, and is int64"),
    "two dimensions": ({"x_test": GREY["x_test"][0]}, "x_test must have the shape [n, height, width] or [n, height,"),
    "shapes differ": ({"x_test": GREY["x_test"][:, :5]}, "images of train have the shape (9, 8), of test (5, 8)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_data_set_is_refused_in_one_line_when_the_instance_is_made(put, name):
    changes, said = REFUSED[name]
    with pytest.raises(RequestError) as refusal:
        Instance(dataset=put(**changes), fit_split="train", evaluate_split="test")
    assert str(refusal.value).startswith("dataset is '")
    assert said in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("height", "model", "said"),
    [
        (4, "source_cnn", "its images are 4 x 8, and source_cnn needs 5 x 5 or more"),
        (9, "vit", "its images are 9 x 8, and vit needs sides that are multiples of 4"),
    ],
)
def test_images_of_a_size_that_the_model_does_not_take_are_refused(put, height, model, said):
    path = put(x_train=GREY["x_train"][:, :height], x_test=GREY["x_test"][:, :height])
    with pytest.raises(RequestError, match=f"^dataset is 'mine.npz', but {said}$"):
        Instance("none", model, dataset=path, fit_split="train", evaluate_split="test")


def test_compare_wants_to_be_told_what_of_ones_own_data_to_train_on(put):
    """By default it would be the test split, the source's."""
    with pytest.raises(RequestError, match=r"^dataset is 'mine.npz', but evaluate_split is not named, as data of your"):
        compare(["bn", "none"], dataset=put(), fit_split="train")


def test_a_sample_is_drawn_by_the_seed_from_the_slice_without_replacement_and_all_of_it_is_the_slice():
    images, labels = data.load_split("mnist", "train[100:200]")
    drawn, drawn_labels = data.load_split("mnist", "train[100:200]", sample=30, seed=4)
    found = [next(i for i, image in enumerate(images) if np.array_equal(image, one)) for one in drawn]
    assert len(found) == len(set(found)) == 30
    assert found == sorted(found)
    np.testing.assert_array_equal(drawn_labels, labels[found])
    again, _ = data.load_split("mnist", "train[100:200]", sample=30, seed=4)
    other, _ = data.load_split("mnist", "train[100:200]", sample=30, seed=5)
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, other)
    np.testing.assert_array_equal(data.load_split("mnist", "train[100:200]", sample=100, seed=4)[0], images)
    with pytest.raises(RequestError, match="sample is 101, but must be a whole number from 1 to 100"):
        data.load_split("mnist", "train[100:200]", sample=101)


def test_pickled_objects_are_never_unpickled(put, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    with pytest.raises(RequestError, match="Object arrays cannot be loaded"):
        data.read_facts(put(y_test=np.array([Evil()], dtype=object)))
    assert not (tmp_path / "executed").exists()


def test_an_array_that_the_machine_has_no_room_for_is_refused_before_it_is_unpacked(put, monkeypatch):
    """A hundred megabytes of zeros, which take a hundred kilobytes in the file."""
    path = put(np.savez_compressed, x_train=np.zeros(10**8, np.uint8))
    assert Path(path).stat().st_size < 10**6
    monkeypatch.setattr(np.lib.format, "read_array", None)  # what unpacks
    monkeypatch.setattr(data.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10**8}))
    with pytest.raises(
        RequestError, match=r"x_train cannot be read: it has 100,000,128 bytes, and .* 100,000,000 free"
    ):
        data.read_facts(path)


def test_damage_within_an_array_is_found(put):
    path = Path(put())
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(RequestError, match="x_train cannot be read: Bad CRC-32"):
        data.read_facts(str(path))


@given(st.binary(max_size=200), st.booleans())
def test_any_file_and_any_array_is_refused_in_one_line(tmp_path_factory, content, packed):
    """Without an archive round it, and as an array in one."""
    path = tmp_path_factory.getbasetemp() / "any.npz"
    path.write_bytes(content)
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_train.npy", b"\x93NUMPY" * (len(content) % 2) + content)
    with pytest.raises(RequestError, match="the array x_train cannot be read") as refusal:
        data.read_facts(str(path))
    assert str(refusal.value).isprintable()
