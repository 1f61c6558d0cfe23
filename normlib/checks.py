"""Checks of what somebody typed: a name, a number, some seeds. What is wrong is refused in one line."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any

from normlib.errors import RequestError

MOST_SEEDS = 100_000  # of an instance


def one_of(setting: str, value: object, names: Iterable[str], others: str = "") -> None:
    """Refuse a value that is not among the names.

    Args:
        setting: Its name.
        value: What it was given.
        names: What it takes.
        others: What else would have been taken, as a phrase.

    Raises:
        RequestError: It is not.
    """
    names = list(names)
    if not isinstance(value, str) or value not in names:
        raise RequestError(setting, value, ", ".join([*names, *([others] if others else [])]), names=names)


def whole_number(setting: str, value: object, minimum: int, maximum: int = 1_000_000_000) -> int:
    """Return a whole number, NumPy's too, as Python's; refuse others. True and False are no numbers here.

    Raises:
        RequestError: It is none, or outside these bounds.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < minimum:
        raise RequestError(setting, value, f"a whole number from {minimum} up")
    if int(value) > maximum:
        raise RequestError(setting, value, f"a whole number from {minimum} to {maximum:,}")
    return int(value)


def real_number(setting: str, value: object, allowed: str, holds: Callable[[float], bool]) -> float:
    """Return a finite number, NumPy's too, as Python's float; refuse others. True and False are no numbers here.

    Args:
        setting: Its name.
        value: What it was given.
        allowed: What it takes, as a phrase.
        holds: Whether a number is allowed.

    Raises:
        RequestError: It is no finite number, or not allowed.
    """
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not holds(number):
        raise RequestError(setting, value, allowed)
    return number


def thread_count(threads: int) -> int:
    """Return a number of threads; refuse what is none.

    Raises:
        RequestError: Not a whole number from 1 up, or more than any machine has.
    """
    return whole_number("threads", threads, minimum=1, maximum=1024)


def seed_range(first_seed: int, seeds: int = 1, setting: str = "first_seed") -> range:
    """Return the seeds of some runs; refuse those that NumPy's and TensorFlow's generators do not take.

    Args:
        first_seed: The first run's seed, from 0 up to 2 ** 32 - 1, as the last one.
        seeds: Number of runs; the seeds follow each other.
        setting: Name of the first seed in the message when it is refused.

    Raises:
        RequestError: They do not fit.
    """
    seeds = whole_number("seeds", seeds, minimum=1, maximum=MOST_SEEDS)
    first_seed = whole_number(setting, first_seed, minimum=0, maximum=2**32 - 1)
    if first_seed + seeds > 2**32:
        raise RequestError(setting, first_seed, "a number below 2 ** 32, as all seeds")
    return range(first_seed, first_seed + seeds)


def printable(setting: str, value: object, most: int, lines: bool = False) -> None:
    """Refuse what is no text that can be shown: control characters, and marks that turn the direction of writing.

    Args:
        setting: Its name.
        value: What it was given.
        most: Characters that it may have.
        lines: Whether it may have several lines.

    Raises:
        RequestError: It is none, or too long.
    """
    if isinstance(value, str) and len(value) <= most:
        parts = value.splitlines() if lines else [value]
        if all(part.isprintable() for part in parts):
            return
    raise RequestError(setting, value, f"text of at most {most:,} characters that can be printed")


def mapping(setting: str, value: object) -> dict[str, Any]:
    """Return names with their values; refuse what is none.

    Raises:
        RequestError: It is none.
    """
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RequestError(setting, value, "names with values, or left out")
    return value
