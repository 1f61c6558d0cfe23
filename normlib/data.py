"""Data sets, loaded: those that there are, and ``.npz`` files of one's own, read with care."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import psutil

from normlib import stack
from normlib.datasets import DATASETS, DataSet, Split, is_file
from normlib.errors import RequestError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class ArrayError(ValueError):
    """A file that has no such array, or one that must not be read."""


def read_array(path: Path, name: str) -> np.ndarray:
    """Read one array of an ``.npz`` file.

    Args:
        path: The file, as ``numpy.savez`` and ``numpy.savez_compressed`` write it.
        name: The array's name in it.

    Returns:
        The array, of whatever shape and dtype it has.

    Raises:
        ArrayError: There is none of this name; it holds Python objects, which would have to be unpickled; its header
            claims another size than the file holds, or more than the machine has free; or the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            if version not in _HEADERS:
                raise ArrayError(f"{name} is of version {version} of NumPy's format; known are 1.0 and 2.0")
            shape, _, dtype = _HEADERS[version](file)
            _check_claim(name, shape, dtype, archive.getinfo(f"{name}.npy").file_size - file.tell())
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except KeyError:
        raise ArrayError(f"there is no array {name}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise ArrayError(f"{name} cannot be read: {error}") from None
    except ArrayError:
        raise
    except ValueError as error:  # NumPy's, of a wrong header
        raise ArrayError(f"{name} is no array: {error}") from None


def _check_claim(name: str, shape: tuple[int, ...], dtype: np.dtype, held: int) -> None:
    if dtype.hasobject:
        raise ArrayError(f"{name} holds Python objects")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != held:
        raise ArrayError(f"{name} claims {claimed:,} bytes, and the file holds {held:,}")
    if claimed > (free := psutil.virtual_memory().available):
        raise ArrayError(f"{name} claims {claimed:,} bytes, and the machine has {free:,} free")


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


def digest_array(array: np.ndarray) -> str:
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
        sha256={name: digest_array(array) for name, array in arrays.items()},
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


_FOLDER = Path(__file__).parent / "datasets"
# What has to be in ``datasets/`` of Keras' folder for Keras 2 and 3 not to download it.
_CACHED = {
    "fashion_mnist": dict.fromkeys(
        (2, 3),
        "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
        "t10k-labels-idx1-ubyte.gz, into fashion-mnist",
    ),
    "cifar10": {
        2: "cifar-10-python.tar.gz, as cifar-10-batches-py.tar.gz",
        3: "cifar-10-python.tar.gz, as cifar-10-batches-py-target_archive",
    },
}


def load_array(dataset: str, name: str) -> np.ndarray:
    """Load one array of a data set, as it is in its file.

    Args:
        dataset: Name in the catalog, or the path of an ``.npz`` file.
        name: ``x_train``, ``y_train``, ``x_test`` or ``y_test``.

    Returns:
        Read-only: images ``[n, height, width]`` or ``[n, height, width, channels]``, uint8 from 0 to 255 or float; or
        labels, integers ``[n]``.

    Raises:
        RequestError: A data set that is neither in Keras' cache nor can be downloaded, or a file that is none.
        OSError: The data are not those that the catalog describes.
    """
    return _load_array(dataset, name, _known_digests(dataset).get(name))


def digests(dataset: str) -> dict[str, str]:
    """Return the SHA-256 of each array of a data set, by name; loads those of which the catalog does not know it.

    Raises:
        RequestError: As ``load_array``.
    """
    return _known_digests(dataset) or {name: digest_array(load_array(dataset, name)) for name in ARRAYS}


def load_split(dataset: str, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Load a slice of a split, ready for ``model.fit``.

    Args:
        dataset: Name in the catalog, or the path of an ``.npz`` file.
        split: Which examples.

    Returns:
        Images, float32 ``[n, height, width]`` or with channels, uint8 ones divided by 255 as in the source, floats as
        they are; and labels, integers ``[n]``. (The source divides in float64 and Keras casts to float32: the same
        bits.)

    Raises:
        RequestError, OSError: As ``load_array``.
    """
    examples = slice(split.start, split.stop)
    images = load_array(dataset, f"x_{split.name}")[examples]
    images = images / 255.0 if images.dtype == np.uint8 else images
    return images.astype(np.float32), load_array(dataset, f"y_{split.name}")[examples]


def _known_digests(dataset: str) -> dict[str, str]:
    facts = read_facts(dataset) if is_file(dataset) else DATASETS[dataset]
    return facts.sha256


@functools.lru_cache(maxsize=8)
def _load_array(dataset: str, name: str, sha256: str | None) -> np.ndarray:
    """Load an array; where its SHA-256 is known, it has to have it."""
    if dataset == "mnist":
        path, remedy = _FOLDER / f"{dataset}.npz", "install normlib again"
    elif is_file(dataset):
        path, remedy = Path(dataset), "it changed while it was read"
    else:
        path, remedy = None, "remove it from Keras' cache"
    named = path.name if path else dataset
    try:
        array = read_array(path, name) if path else _from_keras(dataset)[name]
    except ArrayError as error:
        raise OSError(f"{named} is damaged: {error}; {remedy}") from None
    digest = digest_array(array)
    if sha256 not in (None, digest):
        raise OSError(f"{named} is damaged: the SHA-256 of {name} is {digest}; {remedy}")
    array = one_a_label(array) if name.startswith("y") else array
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=1)  # an array is asked for at a time
def _from_keras(dataset: str) -> dict[str, np.ndarray]:
    """Load a data set from Keras' cache; Keras downloads what is not in it."""
    from normlib.tf import tf

    try:
        (x_train, y_train), (x_test, y_test) = getattr(tf.keras.datasets, dataset).load_data()
    except Exception as error:  # Keras raises no narrower one
        folder = "~/.keras"
        version = 2 if (stack.version("keras") or "").startswith("2.") else 3
        if version == 3:
            folder = os.environ.get("KERAS_HOME", folder)
        allowed = f"data that are there; to have them without a network, put {_CACHED[dataset][version]} in"
        raise RequestError("dataset", dataset, f"{allowed} {folder}/datasets ({error})") from None
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
