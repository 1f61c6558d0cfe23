"""Data sets, loaded: those of the catalog, and ``.npz`` files of one's own, read with care."""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import psutil

from normlib.datasets import DATASETS, DataSet, Split, is_file, parse_split
from normlib.errors import RequestError, checked, one_of, seed_range, whole_number

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_FOLDER = Path(__file__).parent / "datasets"
_MOST_CLASSES = 10_000


def load_array(dataset: str, name: str) -> np.ndarray:
    """Load one of the ``ARRAYS`` of a data set, as it is in its file.

    Returns:
        Read-only: images ``[n, height, width]`` or ``[n, height, width, channels]``, uint8 from 0 to 255 or float; or
        labels, integers ``[n]``.

    Raises:
        RequestError: A data set that is neither in Keras' cache nor can be downloaded, or a file that is none.
        OSError: The data are not those that the catalog describes.
    """
    return (_load_file(*_state(dataset))[1] if is_file(dataset) else _load_known(dataset))[name]


@checked
def load_split(
    dataset: str, split: Split | str, sample: int | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Load a slice of a split, or a sample of it, ready for ``model.fit``.

    Args:
        dataset: Name in the catalog, or the path of an ``.npz`` file.
        split: Which examples, such as ``"train[:1000]"``.
        sample: So many of them, drawn without replacement, in their order; None: all.
        seed: What the sample is drawn by, with NumPy's generator.

    Returns:
        Images, float32 ``[n, height, width]`` or with channels, uint8 ones divided by 255 as in the source, floats as
        they are; and labels, integers ``[n]``. (The source divides in float64 and Keras casts to float32: the same
        bits.)

    Raises:
        RequestError: No data set, no slice of it, or a sample that it does not hold, and as ``load_array``.
        OSError: As ``load_array``.
    """
    facts = read_facts(dataset)
    split = parse_split(split, facts.sizes) if isinstance(split, str) else split
    examples: slice | np.ndarray = slice(split.start, split.stop)
    if sample is not None:
        sample = whole_number("sample", sample, minimum=1, maximum=len(split))
        chosen = np.random.default_rng(seed_range(seed, setting="seed")[0]).choice(len(split), sample, replace=False)
        examples = split.start + np.sort(chosen)
    images = load_array(dataset, f"x_{split.name}")[examples]
    images = images / 255.0 if images.dtype == np.uint8 else images
    return images.astype(np.float32), load_array(dataset, f"y_{split.name}")[examples]


def digests(dataset: str) -> dict[str, str]:
    """Return the SHA-256 of each array of a data set, by name; loads those of which the catalog does not know it.

    Raises:
        RequestError: As ``load_array``.
    """
    return read_facts(dataset).sha256 or {name: _digest(load_array(dataset, name)) for name in ARRAYS}


def _digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's bytes in C order, in hex digits."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def read_facts(dataset: str) -> DataSet:
    """Return what has to be known of a data set before it is trained on; a file is read and checked whole, once.

    Args:
        dataset: Name in the catalog, or the path of an ``.npz`` file. In a file, images are uint8 or float, ``[n,
            height, width]`` or ``[n, height, width, channels]``, labels integers from 0, ``[n]`` or ``[n, 1]``. The
            number of classes is the largest label and one.

    Raises:
        RequestError: There is no such data set, or its arrays are no images with their labels.
    """
    if is_file(dataset):
        return _load_file(*_state(dataset))[0]
    one_of("dataset", dataset, DATASETS, "or the path of an .npz file")
    return DATASETS[dataset]


def _state(path: str) -> tuple[str, int, int]:
    """Return a file's path, and by what it is seen that it changed."""
    try:
        state = os.stat(path)
    except (OSError, ValueError) as error:
        raise RequestError("dataset", path, problem=f"there is no such file: {error}") from None
    return path, state.st_mtime_ns, state.st_size


@functools.lru_cache(maxsize=8)
def _load_file(path: str, *_: int) -> tuple[DataSet, dict[str, np.ndarray]]:
    try:
        arrays = _read_arrays(Path(path))
    except OSError as error:
        problem = f"{error}; it must be an .npz file with {', '.join(ARRAYS[:-1])} and {ARRAYS[-1]}"
        raise RequestError("dataset", path, problem=problem) from None
    arrays = _prepare(arrays)
    if problem := _problem(arrays):
        raise RequestError("dataset", path, problem=problem)
    facts = DataSet(
        sizes={split: len(arrays[f"x_{split}"]) for split in ("train", "test")},
        image_shape=arrays["x_train"].shape[1:],
        classes=1 + int(max(arrays["y_train"].max(), arrays["y_test"].max())),
        sha256={name: _digest(array) for name, array in arrays.items()},
    )
    return facts, arrays


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file, which anybody may have made.

    Raises:
        OSError: One of them is not there; it holds Python objects, which would have to be unpickled; it is larger than
            the memory that is free; or the file is damaged.
    """
    arrays = {}
    for name in ARRAYS:
        try:
            with zipfile.ZipFile(path) as archive:
                if (file := f"{name}.npy") not in archive.namelist():
                    raise ValueError("there is none of this name")
                size, free = archive.getinfo(file).file_size, psutil.virtual_memory().available
                if size > free:
                    raise ValueError(f"it has {size:,} bytes, and the machine has {free:,} free")
                arrays[name] = np.lib.format.read_array(archive.open(file), allow_pickle=False)
        except Exception as error:  # of a damaged file, zipfile, zlib and NumPy raise many
            raise OSError(f"the array {name} cannot be read: {error}") from None
    return arrays


def _problem(arrays: dict[str, np.ndarray]) -> str:
    """Return what is wrong with images and labels, as a clause; empty where nothing is."""
    for split in ("train", "test"):
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            return f"x_{split} must be uint8 or float, and is {images.dtype}"
        if images.ndim not in (3, 4) or images.size == 0:
            allowed = "[n, height, width] or [n, height, width, channels], none of them 0"
            return f"x_{split} must have the shape {allowed}, and has {list(images.shape)}"
        # As float32, with which models are trained; a larger number would become infinite.
        if images.dtype.kind == "f" and not (np.abs(images) <= np.finfo(np.float32).max).all():
            return f"x_{split} has pixels that are no finite numbers"
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            allowed = f"integer labels [{len(images)}], one an image"
            return f"y_{split} must be {allowed}, and is {labels.dtype} {list(labels.shape)}"
        if not 0 <= labels.min() <= labels.max() < _MOST_CLASSES:
            return f"y_{split} must be from 0 to {_MOST_CLASSES - 1:,}, and goes from {labels.min()} to {labels.max()}"
    train, test = (arrays[f"x_{split}"].shape[1:] for split in ("train", "test"))
    return "" if train == test else f"images of train have the shape {train}, of test {test}"


@functools.lru_cache(maxsize=3)
def _load_known(dataset: str) -> dict[str, np.ndarray]:
    """Load a data set of the catalog; where its SHA-256 are known, it has to have them."""
    if DATASETS[dataset].download:
        arrays, remedy = _load_from_keras(dataset), "remove it from Keras' cache"
    else:
        arrays, remedy = _read_arrays(_FOLDER / f"{dataset}.npz"), "install normlib again"
    for name, sha256 in DATASETS[dataset].sha256.items():
        if (digest := _digest(arrays[name])) != sha256:
            raise OSError(f"{dataset} is damaged: the SHA-256 of {name} is {digest}; {remedy}")
    return _prepare(arrays)


def _load_from_keras(dataset: str) -> dict[str, np.ndarray]:
    """Load a data set from Keras' cache; Keras downloads what is not in it."""
    from normlib.tf import tf

    try:
        (x_train, y_train), (x_test, y_test) = getattr(tf.keras.datasets, dataset).load_data()
    except Exception as error:  # Keras raises no narrower one
        where = f"put {DATASETS[dataset].download} in Keras' folder, which is ~/.keras/datasets unless you changed it"
        problem = f"it is not there: {error}. Without a network, {where}"
        raise RequestError("dataset", dataset, problem=problem) from None
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _prepare(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays read-only, and labels ``[n, 1]``, as CIFAR's are, as ``[n]``."""
    for name in ("y_train", "y_test"):
        if arrays[name].ndim == 2 and arrays[name].shape[1] == 1:
            arrays[name] = arrays[name][:, 0]
    for array in arrays.values():
        array.flags.writeable = False
    return arrays
