"""Where a run took place: versions, provider, device, processor, threads and commit."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from normlib import stack
from normlib.tensorflow_quietly import tf

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
