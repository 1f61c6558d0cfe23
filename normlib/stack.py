"""The stack: which versions of TensorFlow, Keras and addons are installed, and which provides GroupNorm.

Everything is read from the packages' metadata, so that a request can be checked, and a finished run recognized,
without the seconds that importing TensorFlow takes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from normlib.errors import RequestError

PROVIDERS = ("auto", "addons", "keras")
# The environment variable by which kernels learn which study, by the SHA-256 of its file, they run for.
STUDY_VARIABLE = "NORMLIB_STUDY_SHA256"
DISTRIBUTIONS = {"addons": "tensorflow-addons", "keras": "keras"}


@functools.cache
def version(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def resolve_provider(provider: str) -> str:
    """Return the library that provides GroupNorm, ``"addons"`` or ``"keras"``.

    Args:
        provider: ``"addons"``, ``"keras"`` or ``"auto"``: addons where it can be imported, else Keras.

    Raises:
        RequestError: An unknown provider, or addons where it is not installed or cannot be imported (tensorflow-addons
            needs Keras 2, which TensorFlow carries up to 2.15).
    """
    if not isinstance(provider, str) or provider not in PROVIDERS:
        raise RequestError("provider", provider, ", ".join(PROVIDERS), names=PROVIDERS)
    importable = version("tensorflow-addons") is not None and (version("keras") or "").startswith("2.")
    if provider == "addons" and not importable:
        found = f"tensorflow-addons {version('tensorflow-addons')}, keras {version('keras')}"
        raise RequestError("provider", provider, f"auto or keras, since addons needs Keras 2 (here: {found})")
    return "addons" if importable and provider != "keras" else "keras"


def check_keras() -> None:
    """Refuse settings with which ``tf.keras`` cannot be imported, or is another Keras than the one that is installed.

    Raises:
        RequestError: An environment variable, or Keras' configuration file, asks for another backend than TensorFlow or
            for legacy Keras.
    """
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "")
    if legacy.lower() in ("1", "true"):
        allowed = "no such environment variable: normlib uses the Keras that is installed, not tf_keras"
        raise RequestError("TF_USE_LEGACY_KERAS", legacy, allowed)
    if (version("keras") or "").startswith("2."):
        return  # it has one backend
    setting, backend = "KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "")
    if not backend:
        file = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
        with contextlib.suppress(OSError, ValueError, AttributeError):
            setting, backend = f"backend in {file}", json.loads(file.read_text("utf-8")).get("backend", "")
    if backend not in ("", "tensorflow"):
        raise RequestError(setting, backend, "tensorflow, or nothing: normlib trains with TensorFlow")


def versions(provider: str) -> dict[str, str | None]:
    """Return the versions that decide a run's bits: TensorFlow's and the provider's.

    Args:
        provider: As an Instance has it; resolved here.
    """
    installed = {name: version(name) for name in ("tensorflow", *DISTRIBUTIONS.values())}
    return deciding(resolve_provider(provider), installed)


def deciding(provider: str, installed: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return, of some versions, those that decide a run's bits: TensorFlow's and the provider's.

    Args:
        provider: ``"addons"`` or ``"keras"``.
        installed: Versions by distribution.
    """
    return {name: installed[name] for name in ("tensorflow", DISTRIBUTIONS[provider])}


def describe(versions: Mapping[str, str | None]) -> str:
    """Return versions as one line."""
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def installed() -> dict[str, str | None]:
    """Return what workers and their caller have to share: Python's version, without its last number, and packages'."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: version(name) for name in ("normlib", "tensorflow", *DISTRIBUTIONS.values())}}


def differences(here: Mapping[str, str | None], there: Mapping[str, str | None]) -> str:
    """Return where two stacks differ, as a phrase; empty where they do not.

    Args:
        here: The caller's, as ``installed`` gives.
        there: A worker's.
    """
    return ", ".join(f"{name} {there.get(name)}, here {here[name]}" for name in here if there.get(name) != here[name])


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
