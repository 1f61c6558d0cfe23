"""Keras' input pipelines, without the waits that tf.data's autotuning brings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from normlib.tensorflow_quietly import tf


@contextlib.contextmanager
def without_autotuning() -> Iterator[None]:
    """Have pipelines made without autotuning meanwhile, those that Keras makes of arrays included.

    There is nothing to tune in images that are in memory. But where a tuned pipeline ends, often its end waits until
    the tuning thread, which sleeps for 10 ms and then each time twice as long, wakes up: fits of 2.7 to 4 seconds end
    after 5.1. With two such processes on two cores, runs take a tenth to a quarter longer. Keras has no option for it.
    The order of images, and so the bits of a result, are the same.
    """
    with_options = tf.data.Dataset.with_options

    def with_options_but_untuned(dataset: tf.data.Dataset, options: tf.data.Options, *names: str) -> tf.data.Dataset:
        options.autotune.enabled = False
        return with_options(dataset, options, *names)

    with mock.patch.object(tf.data.Dataset, "with_options", with_options_but_untuned):
        yield
