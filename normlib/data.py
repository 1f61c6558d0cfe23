"""Data sets and their slices. MNIST ships with the package, others come through Keras, or from a file of one's own."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np

from normlib import archives, catalog, stack
from normlib.arrays import ArrayError, read_array
from normlib.errors import RequestError
from normlib.splits import Split

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
    return _known_digests(dataset) or {name: archives.sha256(load_array(dataset, name)) for name in archives.ARRAYS}


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
    facts = archives.read_facts(dataset) if catalog.is_file(dataset) else catalog.DATASETS[dataset]
    return facts.sha256


@functools.lru_cache(maxsize=8)
def _load_array(dataset: str, name: str, sha256: str | None) -> np.ndarray:
    """Load an array; where its SHA-256 is known, it has to have it."""
    if dataset == "mnist":
        path, remedy = _FOLDER / f"{dataset}.npz", "install normlib again"
    elif catalog.is_file(dataset):
        path, remedy = Path(dataset), "it changed while it was read"
    else:
        path, remedy = None, "remove it from Keras' cache"
    named = path.name if path else dataset
    try:
        array = read_array(path, name) if path else _from_keras(dataset)[name]
    except ArrayError as error:
        raise OSError(f"{named} is damaged: {error}; {remedy}") from None
    digest = archives.sha256(array)
    if sha256 not in (None, digest):
        raise OSError(f"{named} is damaged: the SHA-256 of {name} is {digest}; {remedy}")
    array = archives.one_a_label(array) if name.startswith("y") else array
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=1)  # an array is asked for at a time
def _from_keras(dataset: str) -> dict[str, np.ndarray]:
    """Load a data set from Keras' cache; Keras downloads what is not in it."""
    from normlib.tensorflow_quietly import tf

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
