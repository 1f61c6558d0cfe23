"""TensorFlow, imported in one place and without its start-up messages; its threads, its pipelines, its machine.

The other modules take it from here: ``from normlib.tf import tf``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from normlib import stack
from normlib.errors import RequestError
from normlib.stack import check_keras, cores, version


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop what C++ code writes to the standard error meanwhile; Python's exceptions pass."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


# On every start of a machine without a GPU, TensorFlow says so at length, and it would end up in each notebook: since
# 2.20 also before it reads this level, when it is imported and when it looks for devices.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
check_keras()
with _silence():
    import tensorflow as tf

    for _gpu in tf.config.list_physical_devices("GPU"):
        # Else TensorFlow takes all memory of a GPU at once, and a second process finds none (TensorFlow's guide, Use a
        # GPU, Limiting GPU memory growth).
        with contextlib.suppress(RuntimeError):  # it has started already: whoever did so has chosen
            tf.config.experimental.set_memory_growth(_gpu, True)

# Each run has a graph of its own on purpose, of which TensorFlow warns after some runs, in red in a notebook.
tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())

KERAS_3 = not (version("keras") or "").startswith("2.")

__all__ = ["KERAS_3", "tf", "use_threads"]


def use_threads(threads: int | None = None) -> int:
    """Set how many threads an operation may use, while TensorFlow still allows it, and return how many it uses.

    The number decides the bits of a result, since sums are split over threads. TensorFlow fixes it with the first
    operation of a process.

    Args:
        threads: None: what the process uses already, or 1 where nothing has been set.

    Raises:
        RequestError: TensorFlow already runs with another number in this process.
    """
    threading = tf.config.threading
    wanted = threads or threading.get_intra_op_parallelism_threads() or 1
    try:
        threading.set_intra_op_parallelism_threads(wanted)
    except RuntimeError:
        running = threading.get_intra_op_parallelism_threads() or cores()
        if threads not in (None, running):
            allowed = f"{running}, with which TensorFlow already runs in this process; restart the kernel for another"
            raise RequestError("threads", threads, allowed) from None
        return running
    with contextlib.suppress(RuntimeError):
        threading.set_inter_op_parallelism_threads(wanted)
    return wanted


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

    tf.data.Dataset.with_options = with_options_but_untuned
    try:
        yield
    finally:
        tf.data.Dataset.with_options = with_options


_PACKAGES = ("normlib", "tensorflow", "keras", "tensorflow-addons", "numpy")


def describe_environment(provider: str, threads: int) -> dict[str, Any]:
    """Return what a record says of where it was made. No path, host or user name is in it.

    Args:
        provider: As an Instance has it; resolved here.
        threads: Threads that an operation may use.
    """
    gpus = tf.config.get_visible_devices("GPU")  # not those that were hidden from TensorFlow
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: stack.version(name) for name in _PACKAGES},
        },
        "provider": stack.resolve_provider(provider),
        "device": "GPU" if gpus else "CPU",
        "gpu": _name(gpus[0]) if gpus else None,  # Keras trains on the first
        "processor": _processor(),
        "threads": threads,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),  # None: as TensorFlow decides for the processor
        "commit": _commit(),
        "study_sha256": os.environ.get(stack.STUDY_VARIABLE) or None,  # None: for no study that is in a file
    }


def _name(gpu: tf.config.PhysicalDevice) -> str:
    return _printable(tf.config.experimental.get_device_details(gpu).get("device_name", "unknown"))


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    return _printable(name)


def _printable(name: str) -> str:
    """Return a name as a record's schema allows it."""
    return re.sub(r"[^ -~]", "?", name)[:200]


@functools.cache
def _commit() -> str | None:
    """Return the commit of the checkout that normlib runs from, ``-dirty`` when it was changed; None when installed."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
