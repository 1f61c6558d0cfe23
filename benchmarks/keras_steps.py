"""The milliseconds between the steps of normlib's own fits, in this process.

Usage: ``python -m benchmarks.keras_steps ORDERING``.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from normlib import data
from normlib.models.build import build_model
from normlib.models.instance import Instance
from normlib.tf import tf, use_threads, without_autotuning

FITS = 4

if __name__ == "__main__":
    use_threads(1)
    instance = Instance(sys.argv[1])
    images, labels = data.load_split(instance.dataset, instance.fit_examples)
    between = []
    for _ in range(FITS):
        ends = []
        model = build_model(instance)
        note = tf.keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda *_, ends=ends: ends.append(time.perf_counter())
        )
        with without_autotuning():
            model.fit(images, labels, verbose=0, callbacks=[note])
        between.append((ends[-1] - ends[0]) / (len(ends) - 1))
    print(1000 * np.median(between))
