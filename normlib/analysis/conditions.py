"""Conditions: settings that a study varies besides the ordering; runs of different conditions are kept apart."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from normlib import datasets
from normlib.errors import RequestError

Varies: TypeAlias = Sequence[Mapping[str, Sequence[Any]]]
MOST_INSTANCES = 10_000  # of a study
_FORM = "a list such as [{learning_rate: [0.001, 0.003]}, {activation: [none, relu]}]; settings in one {} go together"


def check_varies(varies: object, defaults: Mapping[str, object], orderings: int = 1) -> None:
    """Refuse what does not say how settings vary.

    Args:
        varies: Groups of settings, each a list of values. Settings of one group go together, the first value of one
            with the first of the others; groups are crossed.
        defaults: The settings that all runs share, which cannot vary.
        orderings: Number of orderings, with which the conditions are crossed.

    Raises:
        RequestError: Not such a list, a setting that stands twice or is shared, lists of different lengths, or more
            instances than a study may have.
    """
    groups: Sequence[Any] = varies if isinstance(varies, list | tuple) else [None]
    for group in groups:
        lists = list(group.values()) if isinstance(group, Mapping) else []
        if not lists or not all(isinstance(name, str) for name in group) or not all(map(_are_plain, lists)):
            raise RequestError("varies", varies, _FORM)
        if len({len(values) for values in lists}) > 1:
            raise RequestError("varies", group, problem="settings that go together need equally many values")
    count = orderings * math.prod(len(next(iter(group.values()))) for group in groups)
    if count > MOST_INSTANCES:
        problem = f"with all orderings these are {count:,} instances, and a study has at most {MOST_INSTANCES:,}"
        raise RequestError("varies", varies, problem=problem)
    for name, times in Counter(labels(groups)).items():
        if times > 1:
            problem = "two conditions have this name; the first setting of each {} must tell them apart"
            raise RequestError("varies", name, problem=problem)
    named = [name for group in groups for name in group]
    for name in named:
        if name == "ordering" or name in defaults or named.count(name) > 1:
            raise RequestError("varies", name, problem="this setting is given elsewhere as well")


def expand(varies: Varies) -> list[dict[str, Any]]:
    """Return the settings of each condition, all groups crossed, the last group running fastest; ``[{}]`` of none."""
    names = [name for group in varies for name in group]
    rows = [zip(*group.values(), strict=True) for group in varies]
    return [dict(zip(names, itertools.chain(*values), strict=True)) for values in itertools.product(*rows)]


def label(settings: Mapping[str, object], varies: Varies) -> str:
    """Return what a run's condition is called, by each group's first setting: ``"batch_size 32, momentum 0.9"``."""
    return ", ".join(f"{name} {written(settings[name])}" for name, *_ in varies)


def labels(varies: Varies) -> list[str]:
    """Return what all conditions are called, in the order in which the study varies them; ``[""]`` of none."""
    return [label(condition, varies) for condition in expand(varies)]


def _are_plain(values: object) -> bool:
    """Return whether these are some values as a setting may have them, and not lists within lists."""
    if not isinstance(values, list | tuple) or not values:
        return False
    return all(v is None or isinstance(v, str) or (isinstance(v, int | float) and abs(v) < 1e300) for v in values)


def written(value: object) -> str:
    """Return a setting's value as text: a file by its name, numbers without what they do not need."""
    value = datasets.recorded_name(value)
    return f"{value:.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
