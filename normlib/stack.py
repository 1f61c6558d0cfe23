"""The stack: which versions of TensorFlow, Keras and addons are installed, and which provides GroupNorm.

Everything is read from the packages' metadata, so that a request can be checked, and a finished run recognized,
without the seconds that importing TensorFlow takes.
"""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from importlib import metadata

from normlib.errors import RequestError, one_of

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


def has_keras_3() -> bool:
    """Return whether the Keras that is installed is Keras 3 or later; where none is, it would be."""
    return not (version("keras") or "").startswith("2.")


def resolve_provider(provider: str) -> str:
    """Return the library that provides GroupNorm, ``"addons"`` or ``"keras"``.

    Args:
        provider: ``"addons"``, ``"keras"`` or ``"auto"``: addons where it can be imported, else Keras.

    Raises:
        RequestError: An unknown provider, or addons where it is not installed or cannot be imported (tensorflow-addons
            needs Keras 2, which TensorFlow carries up to 2.15).
    """
    one_of("provider", provider, PROVIDERS)
    importable = version("tensorflow-addons") is not None and not has_keras_3()
    if provider == "addons" and not importable:
        found = f"tensorflow-addons {version('tensorflow-addons')}, keras {version('keras')}"
        raise RequestError("provider", provider, problem=f"tensorflow-addons needs Keras 2 (here: {found})")
    return "addons" if importable and provider != "keras" else "keras"


def versions(provider: str, installed: Mapping[str, str | None] | None = None) -> dict[str, str | None]:
    """Return the versions that decide a run's bits: TensorFlow's and the provider's.

    Args:
        provider: As an Instance has it, resolved here; of other versions, ``"addons"`` or ``"keras"``.
        installed: Those that a record names, by distribution; None: those that are installed here.
    """
    if installed is None:
        provider = resolve_provider(provider)
        installed = {name: version(name) for name in ("tensorflow", *DISTRIBUTIONS.values())}
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
