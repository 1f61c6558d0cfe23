"""Train one run, or several one after the other in this process, and read the trained models."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlib import data
from normlib.errors import RequestError, checked, seed_range, thread_count
from normlib.files import check_writable
from normlib.models.instance import Instance, check_splits_named
from normlib.models.kinds import path_of
from normlib.runs.measures import find_measure
from normlib.runs.progress import Live, Progress
from normlib.runs.record import data_used, run_key
from normlib.runs.store import Record, save_record, to_frame

# TensorFlow is imported in the functions that train, so that a wrong request is refused without waiting for it.
if TYPE_CHECKING:
    import pandas as pd

    from normlib.tf import tf

CURVE_POINTS = 32  # steps an epoch at which the running figures are kept


@checked
def train(
    instance: Instance,
    seed: int,
    threads: int | None = None,
    callbacks: Sequence[object] = (),
    live: Live | None = None,
) -> Record:
    """Train one run and evaluate it on other images, in each reading.

    In a notebook, one line and one small curve say meanwhile how far it is.

    With the same seed, stack, processor and number of threads, the result is the same to the last bit, and a run of
    the source's settings gives what the source's own cells give.

    Args:
        instance: The settings.
        seed: Seeds Python's, NumPy's and TensorFlow's generators, from 0 up, and draws ``fit_sample``.
        threads: Threads an operation may use. None: what this process uses already, or 1 where nothing has been set.
        callbacks: Keras callbacks that watch the run.
        live: The line and the curve of the runs before; None: new ones.

    Returns:
        The record; nothing is written.

    Raises:
        RequestError: A seed that is no whole number from 0 up; threads other than TensorFlow already uses; data that
            are not there; a model of one's own that cannot be built.
    """
    (seed,) = seed_range(seed, setting="seed")
    if threads is not None:
        threads = thread_count(threads)

    import numpy as np

    from normlib.models.batch_norm import moving_statistics
    from normlib.models.build import build_model, count_weights
    from normlib.models.readings import evaluate_readings
    from normlib.tf import describe_environment, tf, use_threads, without_autotuning

    threads = use_threads(threads)
    images, labels = data.load_split(instance.dataset, instance.fit_examples, instance.fit_sample, seed)
    unseen_images, unseen_labels = data.load_split(instance.dataset, instance.evaluate_examples)

    # A fresh graph for each run: Keras 2 fixes dropout's seeds when it traces one.
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    times = [time.perf_counter()]
    model = build_model(instance)
    times.append(time.perf_counter())
    initial = moving_statistics(model)  # of a model with weights they are not what initializers give
    points: dict[str, list] = {"epoch": [], "step": [], "loss": [], "accuracy": []}
    name, live = f"{instance.ordering}, seed {seed}", live or Live()
    curve = _curve_callback(points, name, instance.steps // instance.epochs, instance.epochs, live)
    with without_autotuning():
        history = model.fit(
            images,
            labels,
            batch_size=instance.batch_size,
            epochs=instance.epochs,
            verbose=0,
            callbacks=[curve, *callbacks],
        ).history
    times.append(time.perf_counter())
    steps = int(model.optimizer.iterations)
    evaluation = evaluate_readings(model, unseen_images, unseen_labels, images, steps, instance.batch_size, initial)
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        for figures in evaluation.values():
            figures["loss"] = math.nan if math.isfinite(figures["loss"]) else figures["loss"]  # it has diverged
    times.append(time.perf_counter())
    weights = {
        "trainable": count_weights(model.trainable_weights),
        "non_trainable": count_weights(model.non_trainable_weights),
    }

    return Record(
        key=run_key(instance, seed, threads),
        instance=instance.settings,
        seed=seed,
        training={measure: [float(value) for value in history[measure]] for measure in ("loss", "accuracy")},
        curve=points,
        evaluation=evaluation,
        parameters={"total": sum(weights.values()), **weights},
        seconds=dict(zip(("build", "fit", "evaluate"), (b - a for a, b in itertools.pairwise(times)), strict=True)),
        environment=describe_environment(instance.provider, threads),
        data=data_used(instance),
    )


@checked
def train_all(
    instances: Iterable[Instance],
    seeds: int = 1,
    first_seed: int = 0,
    threads: int | None = None,
    records_dir: Path | str = "",
) -> list[Record]:
    """Train each instance with each seed, one after the other in this process, showing progress.

    Args:
        instances: The settings.
        seeds: Number of runs of each instance.
        first_seed: The first run's seed; the others follow it.
        threads: As for ``train``.
        records_dir: Folder in which each record is saved as soon as its run ends; empty: nowhere.

    Raises:
        RequestError: One of these has a value that is not allowed; nothing was trained.
    """
    runs = list(itertools.product(instances, seed_range(first_seed, seeds)))
    if threads is not None:
        thread_count(threads)
    if records_dir:
        check_writable(Path(records_dir), "records_dir")
    records = []
    with Progress(len(runs), "training") as progress:
        for instance, seed in runs:
            records.append(train(instance, seed, threads, live=progress.live))
            if records_dir:
                save_record(records[-1], records_dir)
            progress.advance(f"{instance.ordering}, seed {seed}: loss {records[-1].training['loss'][-1]:.4f}")
    return records


@checked
def compare(
    orderings: str | Iterable[str],
    seeds: int = 3,
    first_seed: int = 0,
    threads: int | None = None,
    measure: str | None = None,
    **settings: object,
) -> pd.DataFrame:
    """Train orderings that share all other settings in this process: for a quick look.

    Args:
        orderings: Such as ``["bn", "gn/bn"]``.
        seeds: Number of runs of each.
        first_seed: The first run's seed; the others follow it.
        threads: As for ``train``.
        measure: What a notebook shows verdicts and bars of, such as ``train_loss``. None: evaluation accuracy, or
            running training loss where the runs follow the source.
        **settings: Other settings of ``Instance``. ``model`` may also be a function that returns a Keras model, such as
            one of the notebook.

    Returns:
        One row a run, as ``load_records`` gives. A notebook shows verdicts, bars and table; its method ``verdicts``
        judges contrasts.

    Raises:
        RequestError: No ordering, one that stands twice, a setting that does not exist or has a wrong value, or data of
            one's own without their splits.
    """
    orderings = [orderings] if isinstance(orderings, str) else list(orderings)
    if callable(model := settings.get("model")):
        settings["model"] = path_of("model", model)
    check_splits_named(settings.get("dataset"), settings)
    instances = [Instance.from_settings(ordering=ordering, **settings) for ordering in orderings]
    if not instances or len(set(instances)) < len(instances):
        raise RequestError("orderings", orderings, "one ordering or more, each once")
    from normlib.report.cards import ComparedRuns

    measure = None if measure is None else find_measure(measure).column
    return ComparedRuns(to_frame(train_all(instances, seeds, first_seed, threads)), instances, measure)


def _curve_callback(
    points: dict[str, list], run: str, steps: int, epochs: int, live: Live
) -> tf.keras.callbacks.Callback:
    """Return a callback that keeps the running figures at some of an epoch's ``steps``, and shows them on the way."""
    from normlib.tf import tf

    kept = {round(steps * (i + 1) / CURVE_POINTS) for i in range(CURVE_POINTS)}
    taken = itertools.count()

    def keep(batch: int, logs: dict) -> None:
        epoch, step = (number + 1 for number in divmod(next(taken), steps))
        if step in kept:
            figures = {measure: float(logs[measure]) for measure in ("loss", "accuracy")}
            for name, value in {"epoch": epoch, "step": step, **figures}.items():
                points[name].append(value)
            live.follow(run, (epoch - 1) * steps + step, steps * epochs, **figures)

    return tf.keras.callbacks.LambdaCallback(on_train_batch_end=keep)
