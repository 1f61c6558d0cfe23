"""Cost: what orderings take to fit and to evaluate, measured side by side, and what is left of them at inference."""

from __future__ import annotations

import io
import itertools
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from normlib import data
from normlib.errors import RequestError, checked, thread_count, whole_number
from normlib.files import read_text
from normlib.models.instance import Instance
from normlib.models.ordering import find_baseline, short_form
from normlib.runs.progress import Progress
from normlib.runs.record import Record, recorded_changes

if TYPE_CHECKING:
    from normlib.tf import tf

COST_FILE = "cost.csv"  # beside the records
_STEPS = 8  # of each measurement, so that those of a round lie close together; the median step counts
_KINDS = ("fit", "evaluate")
_RATIOS = [f"{kind}{end}" for kind in _KINDS for end in ("", "_low", "_high")]
_COUNTS = ["parameters", "parameters_left", "layers", "layers_left"]
_COLUMNS = [*_RATIOS, *_COUNTS, "against", "rounds", "processor", "threads", "settings"]


@checked
def measure_cost(instances: Iterable[Instance], rounds: int = 20, threads: int | None = None) -> pd.DataFrame:
    """Measure what instances cost on this machine, side by side.

    In each round each instance is fitted and evaluated for eight steps, one instance after the other. The median step
    is related to that of the baseline in the same round, or of the first instance where that is not among them.

    Args:
        instances: The settings; all of other orderings.
        rounds: How often each is measured, from 1 up.
        threads: As for ``normlib.train``.

    Returns:
        Indexed by ordering: ``fit`` and ``evaluate``, medians over rounds of the seconds an image over the baseline's,
        with ``fit_low`` and ``fit_high``, between which the middle half of the rounds lies; ``parameters``, and of them
        ``parameters_left`` at inference; ``layers`` of normalization, and of them ``layers_left``: a BatchNorm right
        behind a convolution or Dense layer folds into it (Jacob et al. 2018, arXiv 1712.05877, section 3.2);
        ``against``, ``rounds``, ``processor``, ``threads``, and ``settings``, those that differ from the defaults.

    Raises:
        RequestError: No instance, one ordering twice, fewer than one round; as ``normlib.train``.
    """
    instances = list(instances)
    by_name = {short_form(instance.ordering): instance for instance in instances}
    if not instances or len(by_name) < len(instances):
        given = [instance.ordering for instance in instances]
        raise RequestError("instances", given, "one instance or more, each of another ordering")
    rounds = whole_number("rounds", rounds, minimum=1)
    threads = threads if threads is None else thread_count(threads)

    from normlib.models.build import build_model
    from normlib.tf import describe_environment, tf, use_threads

    threads = use_threads(threads)
    tf.keras.utils.set_random_seed(0)
    models = {name: build_model(instance) for name, instance in by_name.items()}
    seconds = _measure(models, by_name, rounds)
    against = find_baseline(models) or next(iter(models))
    cost = pd.DataFrame(index=pd.Index(models, name="ordering"))
    for kind in _KINDS:
        ratios = seconds[kind].div(seconds[kind, against], axis="index")
        cost[[kind, f"{kind}_low", f"{kind}_high"]] = ratios.quantile([0.5, 0.25, 0.75]).T
    cost[_COUNTS] = [_left(model) for model in models.values()]
    facts = {"against": against, "rounds": rounds, "threads": threads}
    facts["processor"] = describe_environment("auto", threads)["processor"]
    return cost.assign(**facts, settings=[_changes(instance.settings) for instance in by_name.values()])[_COLUMNS]


def read_cost(path: Path, runs: Iterable[Record]) -> pd.DataFrame | None:
    """Return a table of ``measure_cost`` that was kept as CSV; None where there is none, or one of other instances.

    Args:
        path: Its file, which need not be there.
        runs: A run of each instance that it should be of.

    Raises:
        RequestError: The file is no such table.
    """
    if not path.exists():
        return None
    try:
        cost = pd.read_csv(io.StringIO(read_text(path)), index_col="ordering")[_COLUMNS]
        cost = cost.astype({**dict.fromkeys(_RATIOS, float), **dict.fromkeys(_COUNTS, int)})
        sound = np.isfinite(cost[_RATIOS]).all(axis=None) and cost["against"].isin(cost.index).all()
    except (OSError, ValueError, KeyError):
        sound = False
    if not sound:
        problem = "it is no table that normlib cost wrote: delete it, or measure anew"
        raise RequestError(COST_FILE, str(path), problem=problem)
    return cost if cost["settings"].to_dict() == {run.ordering: _changes(run.instance) for run in runs} else None


def _changes(settings: Mapping[str, Any]) -> str:
    """Return the settings that differ from the defaults, but for the library, which each stack has its own of."""
    changes = recorded_changes(json.dumps(settings))
    return json.dumps({name: value for name, value in changes.items() if name != "provider"})


def _measure(models: Mapping[str, tf.keras.Model], instances: Mapping[str, Instance], rounds: int) -> pd.DataFrame:
    """Return the seconds an image of the median step, a row a round and a column a kind and model."""
    from normlib.tf import tf, without_autotuning

    ends: list[float] = []
    watch = tf.keras.callbacks.Callback()
    watch.on_train_batch_end = watch.on_test_batch_end = lambda *_, **__: ends.append(time.perf_counter())
    batches = {(kind, name): _batches(instances[name], kind) for kind in _KINDS for name in models}
    seconds: dict[tuple[str, str], list[float]] = {measured: [] for measured in batches}
    with Progress((rounds + 1) * len(models), "measuring", unit="measurement") as progress, without_autotuning():
        for number, (name, model) in itertools.product(range(rounds + 1), models.items()):
            size = instances[name].batch_size
            for kind in _KINDS:
                ends.clear()
                getattr(model, kind)(*batches[kind, name], batch_size=size, verbose=0, callbacks=[watch])
                if number:  # the first time, the graph is made
                    seconds[kind, name].append(float(np.median(np.diff(ends))) / size)
            progress.advance(f"{name}, round {number} of {rounds}" if number else f"{name}, graphs")
    return pd.DataFrame(seconds)


def _batches(instance: Instance, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of the steps of a measurement; those of a small split come more than once."""
    split = instance.fit_examples if kind == "fit" else instance.evaluate_examples
    images, labels = data.load_split(instance.dataset, split)
    count = _STEPS * instance.batch_size
    return np.resize(images, (count, *images.shape[1:])), np.resize(labels, count)


def _left(model: tf.keras.Model) -> tuple[int, int, int, int]:
    """Return the numbers of parameters and of normalization layers, each followed by how many inference needs."""
    from normlib.models.batch_norm import folding_places
    from normlib.models.swap import slots

    folded, layers, parameters = folding_places(model), len(slots(model)), model.count_params()
    # A layer without an offset gets one for each channel of what folds into it.
    gone = sum(place.layer.count_params() - place.channels * (not before.use_bias) for place, before in folded)
    return parameters, parameters - gone, layers, layers - len(folded)
