"""The other side of ``whole``, ``sweep`` and ``fit-only``: the source's cells, Keras' defaults, one after the other.

Usage: ``python benchmarks/plain_keras.py SEEDS FOLDER [--fit-only]``, with ``tests/`` on ``PYTHONPATH``. As normlib
does, it evaluates a model with BatchNorm in each reading, unless it only fits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import source_cells
import tensorflow as tf

from normlib import data
from normlib.models import batch_norm, readings

CELLS = (source_cells.instance_1, source_cells.instance_2, source_cells.instance_3, source_cells.instance_4)


def load() -> tuple[np.ndarray, ...]:
    """Return MNIST as the source has it: the test split, which it fits on, and as many of the others."""
    x_train, y_train, x_test, y_test = (data.load_array("mnist", f"{a}_{s}") for s in ("train", "test") for a in "xy")
    return x_test / 255.0, y_test, x_train[:10_000] / 255.0, y_train[:10_000]


def fit(cell: Callable[[], Any], x: np.ndarray, y: np.ndarray) -> Any:
    """Build and fit the model of a cell as the source does, and return it."""
    model = cell()
    model.summary()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y)
    return model


def run(cell: Callable[[], Any], seed: int, arrays: tuple[np.ndarray, ...], folder: Path, fit_only: bool) -> None:
    """Fit the model of a cell, evaluate it unless it is only to be fitted, and leave the figures in the folder."""
    x_test, y_test, x_train, y_train = arrays
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    model = fit(cell, x_test, y_test)
    figures = [model.history.history["loss"], *([] if fit_only else [model.evaluate(x_train, y_train)])]
    if not fit_only and batch_norm.batch_norm_layers(model):
        readings.debias(model, steps=313, in_place=True)
        figures.append(model.evaluate(x_train, y_train))
        readings.recalibrate(model, x_test.astype(np.float32), in_place=True)
        figures.append(model.evaluate(x_train, y_train))
    (folder / f"{cell.__name__}_{seed}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    arrays = load()
    for cell in CELLS:
        for seed in range(int(sys.argv[1])):
            run(cell, seed, arrays, Path(sys.argv[2]), "--fit-only" in sys.argv)
