"""TensorFlow, imported in one place and without its start-up messages, and the number of its threads.

The other modules take it from here: ``from normlib.tensorflow_quietly import tf``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

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
