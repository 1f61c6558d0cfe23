"""Data sets of one's own: ``.npz`` files in the layout of ``keras.datasets``, looked at before anything is trained."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import numpy as np

from normlib.arrays import ArrayError, read_array
from normlib.catalog import DataSet
from normlib.errors import RequestError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_MOST_CLASSES = 10_000
_LAYOUT = "an .npz file with x_train, y_train, x_test and y_test"


def read_facts(path: str) -> DataSet:
    """Read what has to be known of a data set before it is trained on; the whole file is read and checked, once.

    Args:
        path: The file. Images are uint8 or float, ``[n, height, width]`` or ``[n, height, width, channels]``, labels
            integers from 0, ``[n]`` or ``[n, 1]``. The number of classes is the largest label and one.

    Raises:
        RequestError: There is no such file, or its arrays are no images with their labels.
    """
    try:
        state = os.stat(path)
    except (OSError, ValueError) as error:
        raise RequestError("dataset", path, f"{_LAYOUT}; there is none: {error}") from None
    return _read_facts(path, state.st_mtime_ns, state.st_size)


def sha256(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's bytes in C order, in hex digits."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def one_a_label(labels: np.ndarray) -> np.ndarray:
    """Return labels ``[n, 1]``, as CIFAR's are, as ``[n]``; others as they are."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


@functools.lru_cache(maxsize=32)
def _read_facts(path: str, *_: int) -> DataSet:
    """Read the facts; the other arguments are those of the file's state, by which a changed file is read again."""
    arrays = {}
    for name in ARRAYS:
        try:
            arrays[name] = read_array(Path(path), name)
        except ArrayError as error:
            raise RequestError("dataset", path, f"{_LAYOUT}; in it, {error}") from None
    for split in ("train", "test"):
        images, labels = arrays[f"x_{split}"], one_a_label(arrays[f"y_{split}"])
        wrong = _wrong_images(images) or _wrong_labels(labels)
        if not wrong and len(images) != len(labels):
            wrong = f"as many labels as images, and {split} has {len(labels):,} for {len(images):,}"
        if wrong:
            raise RequestError("dataset", path, wrong.format(split=split))
    shapes = [arrays[name].shape[1:] for name in ("x_train", "x_test")]
    if shapes[0] != shapes[1]:
        allowed = f"images of one shape, and those of train are {shapes[0]}, of test {shapes[1]}"
        raise RequestError("dataset", path, allowed)
    return DataSet(
        sizes={split: len(arrays[f"x_{split}"]) for split in ("train", "test")},
        image_shape=shapes[0],
        classes=1 + int(max(arrays["y_train"].max(), arrays["y_test"].max())),
        sha256={name: sha256(array) for name, array in arrays.items()},
    )


def _wrong_images(images: np.ndarray) -> str:
    """Return what images ought to be, where these are not so; empty where they are."""
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        return f"uint8 or float images, and those of {{split}} are {images.dtype}"
    if images.ndim not in (3, 4):
        allowed = "images [n, height, width] or [n, height, width, channels]"
        return f"{allowed}, and x_{{split}} has {images.ndim} dimensions"
    if images.size == 0:
        return f"images that have pixels, and x_{{split}} has the shape {images.shape}"
    # As float32, with which models are trained; a larger number would become infinite.
    if images.dtype.kind == "f" and not (np.abs(images) <= np.finfo(np.float32).max).all():
        return "pixels that are finite numbers, and x_{split} has others"
    return ""


def _wrong_labels(labels: np.ndarray) -> str:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        return f"integer labels [n], and y_{{split}} has {labels.dtype} {list(labels.shape)}"
    if labels.size and not 0 <= labels.min() <= labels.max() < _MOST_CLASSES:
        allowed = f"labels from 0 to {_MOST_CLASSES - 1:,}"
        return f"{allowed}, and those of {{split}} go from {labels.min()} to {labels.max()}"
    return ""
