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
from normlib.errors import RequestError, thread_count
from normlib.stack import cores, has_keras_3


@contextlib.contextmanager
def _dropping_standard_error() -> Iterator[None]:
    """Drop what C++ code writes to the standard error meanwhile; Python's exceptions pass."""
    kept = os.dup(2)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# normlib trains with the Keras that is installed and TensorFlow, whatever somebody's variables and keras.json say.
os.environ.update(KERAS_BACKEND="tensorflow", TF_USE_LEGACY_KERAS="0")
# On every start of a machine without a GPU, TensorFlow says so at length, and it would end up in each notebook. From
# 2.20 on it says some of it before it reads this variable, whose value 0 shows all.
_quiet = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"
with _dropping_standard_error() if _quiet else contextlib.nullcontext():
    import tensorflow as tf

    _gpus = tf.config.list_physical_devices("GPU")
for _gpu in _gpus:
    # Else TensorFlow takes all memory of a GPU at once, and a second process finds none (TensorFlow's guide, Use a
    # GPU, Limiting GPU memory growth).
    with contextlib.suppress(RuntimeError):  # it has started already: whoever did so has chosen
        tf.config.experimental.set_memory_growth(_gpu, True)

# Each run has a graph of its own on purpose, of which TensorFlow warns after some runs, in red in a notebook.
tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())

KERAS_3 = has_keras_3()
if tf.keras.backend.backend() != "tensorflow" or not tf.keras.Model.__module__.startswith("keras."):
    problem = "this process imported it as tf_keras or with another backend before normlib: begin a new one"
    raise RequestError("tf.keras", tf.keras.Model.__module__, problem=problem)

__all__ = ["KERAS_3", "tf", "use_threads"]


def use_threads(threads: int | None = None) -> int:
    """Set how many threads an operation may use, while TensorFlow still allows it, and return how many it uses.

    The number decides the bits of a result, since sums are split over threads. TensorFlow fixes it with the first
    operation of a process.

    Args:
        threads: None: what the process uses already, or 1 where nothing has been set.

    Raises:
        RequestError: Not a number of threads, or TensorFlow already runs with another one in this process.
    """
    threads = None if threads is None else thread_count(threads)
    threading = tf.config.threading
    wanted = threads or threading.get_intra_op_parallelism_threads() or 1
    try:
        threading.set_intra_op_parallelism_threads(wanted)
    except RuntimeError:
        running = threading.get_intra_op_parallelism_threads() or cores()
        if threads not in (None, running):
            problem = f"TensorFlow already runs with {running} in this process; restart the kernel for another number"
            raise RequestError("threads", threads, problem=problem) from None
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
    gpu = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "unknown") if gpus else None
    return {
        "versions": {"python": platform.python_version(), **{name: stack.version(name) for name in _PACKAGES}},
        "provider": stack.resolve_provider(provider),
        "device": "GPU" if gpus else "CPU",
        "gpu": gpu and _as_recorded(gpu),  # Keras trains on the first
        "processor": _as_recorded(_processor()),
        "threads": threads,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),  # None: as TensorFlow decides for the processor
        "commit": _commit(),
        "study_sha256": os.environ.get(stack.STUDY_VARIABLE) or None,  # None: for no study that is in a file
    }


def _as_recorded(name: str) -> str:
    """Return a name as a record's schema allows it."""
    return re.sub(r"[^ -~]", "?", name)[:200]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # Linux's
    found = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


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
