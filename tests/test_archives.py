"""A data set of one's own is looked at as a whole, before anything is trained on it."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib import data
from normlib.errors import RequestError
from normlib.models.instance import Instance

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

    def put(name="mine.npz", **changes):
        path = tmp_path / name
        np.savez(path, **{name: array for name, array in {**GREY, **changes}.items() if array is not None})
        return str(path)

    return put


def test_sizes_shape_classes_and_digests_are_read_from_the_arrays(put):
    """The largest label is 3, so there are four classes."""
    facts = data.read_facts(put())
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


NAN = np.where(RANDOM.random((7, 9, 8)) < 0.01, np.nan, 0.5)
REFUSED = {
    "array missing": ({"y_test": None}, "in it, there is no array y_test"),
    "object dtype": ({"y_train": np.array([1, "a"] * 10, object)}, "y_train holds Python objects"),
    "lengths disagree": ({"y_train": np.arange(19)}, "as many labels as images, and train has 19 for 20"),
    "no examples": (
        {"x_test": GREY["x_test"][:0], "y_test": GREY["y_test"][:0]},
        "images that have pixels, and x_test has the shape (0, 9, 8)",
    ),
    "no pixels": ({"x_train": GREY["x_train"][:, :0]}, "images that have pixels, and x_train has the shape (20, 0, 8)"),
    "label below": ({"y_train": np.arange(20) - 1}, "labels from 0 to 9,999, and those of train go from -1 to 18"),
    "label above": ({"y_test": np.full(7, 10_000)}, "labels from 0 to 9,999, and those of test go from 10000 to 10000"),
    "labels are floats": ({"y_train": np.arange(20.0)}, "integer labels [n], and y_train has float64 [20]"),
    "labels are one-hot": ({"y_train": np.eye(20, dtype=int)}, "integer labels [n], and y_train has int64 [20, 20]"),
    "NaN pixels": ({"x_test": NAN}, "pixels that are finite numbers, and x_test has others"),
    "infinite pixels": ({"x_test": np.full((7, 9, 8), np.inf)}, "pixels that are finite numbers"),
    "too large for float32": ({"x_test": np.full((7, 9, 8), 1e300)}, "pixels that are finite numbers"),
    "signed pixels": ({"x_train": GREY["x_train"].astype(int)}, "uint8 or float images, and those of train are int64"),
    "complex pixels": ({"x_train": GREY["x_train"] * 1j}, "uint8 or float images, and those of train are complex128"),
    "text": ({"x_train": np.full((20, 9, 8), "a")}, "uint8 or float images"),
    "two dimensions": ({"x_test": GREY["x_test"][0]}, "and x_test has 2 dimensions"),
    "five dimensions": ({"x_test": GREY["x_test"][:, None, None]}, "and x_test has 5 dimensions"),
    "shapes differ": ({"x_test": GREY["x_test"][:, :5]}, "those of train are (9, 8), of test (5, 8)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_data_set_is_refused_in_one_line_when_the_instance_is_made(put, name):
    changes, said = REFUSED[name]
    with pytest.raises(RequestError) as refusal:
        Instance(dataset=put(**changes), fit_split="train", evaluate_split="test")
    assert str(refusal.value).startswith("dataset is '")
    assert said in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_file_that_is_not_there_or_no_archive_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"dataset is '.*none.npz', but must be an .npz file with x_train, .* there is"):
        Instance(dataset=str(tmp_path / "none.npz"))
    (tmp_path / "text.npz").write_text("not a zip file")
    with pytest.raises(RequestError, match="in it, x_train cannot be read"):
        Instance(dataset=str(tmp_path / "text.npz"))


def test_images_too_small_for_the_model_are_refused(put):
    path = put(x_train=GREY["x_train"][:, :4], x_test=GREY["x_test"][:, :4])
    allowed = r"dataset is 'mine.npz', but must be images of at least 5 x 5 for source_cnn, and these are 4 x 8"
    with pytest.raises(RequestError, match=allowed):
        Instance(dataset=path, fit_split="train", evaluate_split="test")


@given(st.binary(max_size=200))
def test_any_file_is_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    path.write_bytes(content)
    with pytest.raises(RequestError) as refusal:
        data.read_facts(str(path))
    assert str(refusal.value).isprintable()
