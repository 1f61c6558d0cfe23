"""Conditions: settings that a study varies besides the ordering; runs of different conditions are kept apart."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd

from normlib import datasets
from normlib.analysis.statistics import check_comparable
from normlib.errors import RequestError
from normlib.models import zoo
from normlib.models.instance import Instance

Varies: TypeAlias = Sequence[Mapping[str, Sequence[Any]]]
_MOST_CONDITIONS = 1000
_SPOKEN = {"momentum": "BatchNorm's momentum"}  # SGD has one, too
_FORM = "a list such as [{learning_rate: [0.001, 0.003]}, {activation: [none, relu]}]; settings in one {} go together"


def check_varies(varies: object, defaults: Mapping[str, object]) -> None:
    """Refuse what does not say how settings vary.

    Args:
        varies: Groups of settings, each a list of values. Settings of one group go together, the first value of one
            with the first of the others; groups are crossed.
        defaults: The settings that all runs share, which cannot vary.

    Raises:
        RequestError: Not such a list, a setting that stands twice or is shared, or lists of different lengths.
    """
    groups: Sequence[Any] = varies if isinstance(varies, list | tuple) else [None]
    for group in groups:
        lists = list(group.values()) if isinstance(group, Mapping) else []
        if not lists or not all(isinstance(name, str) for name in group) or not all(map(_are_plain, lists)):
            raise RequestError("varies", varies, _FORM)
        if len({len(values) for values in lists}) > 1:
            raise RequestError("varies", group, "as many values of each setting, since they go together")
    conditions = math.prod(len(next(iter(group.values()))) for group in groups)
    if conditions > _MOST_CONDITIONS:
        raise RequestError("varies", varies, f"at most {_MOST_CONDITIONS:,} conditions, and these are {conditions:,}")
    for name, times in Counter(labels(groups)).items():
        if times > 1:
            raise RequestError("varies", name, "conditions that the first setting of each {} tells apart")
    named = [name for group in groups for name in group]
    for name in named:
        if name == "ordering" or name in defaults or named.count(name) > 1:
            raise RequestError("varies", name, "settings named nowhere else in the study")


def expand(varies: Varies) -> list[dict[str, Any]]:
    """Return the settings of each condition, all groups crossed, the last group running fastest; ``[{}]`` of none."""
    groups = [
        [dict(zip(group, values, strict=True)) for values in zip(*group.values(), strict=True)] for group in varies
    ]
    return [{name: value for part in parts for name, value in part.items()} for parts in itertools.product(*groups)]


def label(settings: Mapping[str, object], varies: Varies) -> str:
    """Return what a condition is called, by the first setting of each group: ``"batch_size 32, momentum 0.9"``.

    Args:
        settings: All settings of a run.
        varies: What the study varies; of nothing the label is empty.
    """
    names = [next(iter(group)) for group in varies]
    return ", ".join(f"{name} {_written(settings[name])}" for name in names)


def labels(varies: Varies) -> list[str]:
    """Return what all conditions are called, in the order in which the study varies them; ``[""]`` of none."""
    return [label(condition, varies) for condition in expand(varies)]


def split_records(records: pd.DataFrame, varies: Varies = ()) -> dict[str, pd.DataFrame]:
    """Keep runs of different conditions apart, and see that those of one can be compared.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies.

    Returns:
        The runs of each condition that has some, by its label, in the order in which the study varies them; where
        nothing varies, all of them, by the empty label.

    Raises:
        RequestError: No runs, runs of a condition that the study does not have, or runs of one condition that differ in
            more than ordering and seed.
    """
    varied = [next(iter(group)) for group in varies]
    runs = records[varied].to_dict("records") if varied else [{}] * len(records)
    found = pd.Series([label(run, varies) for run in runs], index=records.index, dtype=object)
    declared = labels(varies)
    for name in dict.fromkeys(found):
        if name not in declared:
            raise RequestError("records", name, f"the study's conditions: {'; '.join(declared)}", names=declared)
    parts = {name: records[found == name] for name in declared if (found == name).any()}
    for part in list(parts.values()) or [records]:
        check_comparable(part)
    return parts


def in_words(records: pd.DataFrame, varies: Varies = ()) -> str:
    """Return the settings that runs share, as a phrase; no finding is stated without it.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies; these settings stand beside each finding instead.
    """
    run = records.iloc[0]
    activation = "no activation" if run["activation"] == "none" else run["activation"]
    varied = {name for group in varies for name in group}
    model = run["model"]
    if model == "source_cnn" and "activation" not in varied:  # others have activations of their own
        model = f"{model} with {activation} after its convolutions"
    optimizer = {"adam": "Adam", "sgd": f"SGD with momentum {zoo.SGD_MOMENTUM}"}[run["optimizer"]]
    rate = run["learning_rate"]
    phrases = {
        "model": model,
        "fit_split": f"fitted on {run['dataset']} {run['fit_split']}",
        "epochs": f"{run['epochs']} epoch{'s' if run['epochs'] > 1 else ''}",
        "batch_size": f"batches of {run['batch_size']}",
        "learning_rate": f"{optimizer} at {rate if isinstance(rate, str) else f'{rate:g}'}",
    }
    defaults = Instance().settings
    for name in ("momentum", "groups", "channels_per_group", "weight_decay", "epsilon"):
        if str(run[name]) != str(defaults[name]):
            phrases[name] = f"{_SPOKEN.get(name, name.replace('_', ' '))} {run[name]}"
    if "fit_split" in varied and "dataset" not in varied:
        phrases["dataset"] = f"fitted on {run['dataset']}"
    if "learning_rate" in varied and "optimizer" not in varied and run["optimizer"] != defaults["optimizer"]:
        phrases["optimizer"] = optimizer
    phrase = ", ".join(phrase for name, phrase in phrases.items() if name not in varied)
    together = [
        f"{label(part, [group])} with {_others(part)}" for group in varies if len(group) > 1 for part in expand([group])
    ]
    return f"{phrase} ({'; '.join(together)})" if together else phrase


def _are_plain(values: object) -> bool:
    """Return whether these are some values as a setting may have them, and not lists within lists."""
    if not isinstance(values, list | tuple) or not values:
        return False
    return all(v is None or isinstance(v, str) or (isinstance(v, int | float) and abs(v) < 1e300) for v in values)


def _others(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_written(value)}" for name, value in list(settings.items())[1:])


def _written(value: object) -> str:
    value = datasets.recorded_name(value)
    return f"{value:.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
