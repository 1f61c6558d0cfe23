import hashlib

import numpy as np
import pytest

from normlib import catalog, data
from normlib.splits import Split


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_mnist_ships_with_the_package_array_for_array(name):
    array = data.load_array("mnist", name)
    facts = catalog.DATASETS["mnist"]
    assert hashlib.sha256(array.tobytes()).hexdigest() == facts.sha256[name]
    assert array.dtype == np.uint8
    assert array.shape[0] == facts.sizes[name.split("_")[1]]
    assert array.shape[1:] == (facts.image_shape if name.startswith("x") else ())


def test_the_checksums_are_those_of_the_original_database():
    """As published with the four idx files, see normlib/datasets/README.md."""
    assert catalog.DATASETS["mnist"].sha256 == {
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
        data._load_array.__wrapped__("mnist", "x_test", catalog.DATASETS["mnist"].sha256["x_test"])
