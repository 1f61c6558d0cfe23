"""Data sets and their slices. MNIST ships with the package."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np

from normlib import catalog
from normlib.arrays import ArrayError, read_array
from normlib.splits import Split

_FOLDER = Path(__file__).parent / "datasets"


@functools.cache
def load_array(dataset: str, name: str) -> np.ndarray:
    """Load one array of a data set, as it is in the file.

    Args:
        dataset: Name in the catalog.
        name: ``x_train``, ``y_train``, ``x_test`` or ``y_test``.

    Returns:
        uint8, read-only: images ``[n, height, width]`` with values 0 to 255, or labels ``[n]``.

    Raises:
        OSError: The file is not the one that the catalog describes.
    """
    path = _FOLDER / f"{dataset}.npz"
    try:
        array = read_array(path, name)
    except ArrayError as error:
        raise OSError(f"{path.name} is damaged: {error}; install normlib again") from None
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    if digest != catalog.DATASETS[dataset].sha256[name]:
        raise OSError(f"{path.name} is damaged: the SHA-256 of {name} is {digest}; install normlib again")
    array.flags.writeable = False
    return array


def load_split(dataset: str, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Load a slice of a split, ready for ``model.fit``.

    Args:
        dataset: Name in the catalog.
        split: Which examples.

    Returns:
        Images, float32 ``[n, height, width]``, divided by 255 as in the source, and labels, uint8 ``[n]``. (The source
        divides in float64 and Keras casts to float32: the same bits.)
    """
    examples = slice(split.start, split.stop)
    images = load_array(dataset, f"x_{split.name}")[examples] / 255.0
    return images.astype(np.float32), load_array(dataset, f"y_{split.name}")[examples]
