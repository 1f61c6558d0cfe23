"""Tables and sentences about some runs of one instance: records in, DataFrame or text out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from normlib.analysis.conditions import in_words
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES, SourceInstance
from normlib.runs.records import Record, load_original_stack

# Figures of a single process, whose bits differ between processors, are written with five decimals, kept ones with
# four: notebooks/sanitize.cfg tells them apart by that.
_MEASURED = "{:.5f}".format


def figures(instance: Instance, records: Sequence[Record]) -> pd.DataFrame:
    """Put the source's figures beside those of some runs of one instance, with the meaning of each.

    Args:
        instance: The settings.
        records: Runs of it.

    Returns:
        Indexed by figure: ``source`` (empty where it printed none, or had other settings); ``here``, the mean over the
        runs, with its standard deviation when there are several; ``meaning``.
    """
    source = _source_instance(instance)
    frame = pd.DataFrame([record.row() for record in records])
    training = f"mean over epoch {instance.epochs} on {instance.fit_split}, while the weights change, dropout on"
    trained_on = (
        f"{instance.overlap} of {len(instance.evaluate_examples)} images trained on" if instance.overlap else ""
    )
    evaluation = f"on {instance.evaluate_split}, {trained_on or 'images not trained on'}, weights fixed, dropout off"
    rows = [
        ("running training loss", source and source.loss, "train_loss", training),
        ("running training accuracy", source and source.accuracy, "train_accuracy", training),
        ("evaluation loss", None, "eval_loss", evaluation),
        ("evaluation accuracy", None, "eval_accuracy", evaluation),
        ("evaluation loss, debiased", None, "debiased_loss", "as above, initial values out of the moving averages"),
        ("evaluation loss, recalibrated", None, "recalibrated_loss", "as above, statistics of all images trained on"),
    ]
    return pd.DataFrame(
        {
            "figure": name,
            "source": f"{figure:.4f}" if figure else "",
            "here": _mean_and_sd(frame[measure]),
            "meaning": meaning,
        }
        for name, figure, measure, meaning in rows
    ).set_index("figure")


def distance_from_source(instance: Instance, records: Sequence[Record]) -> pd.DataFrame:
    """Measure how far runs lie from the same ordering's twenty runs on the source's own stack of 2020.

    Args:
        instance: The settings.
        records: Runs of it.

    Returns:
        For ``loss`` and ``accuracy``: ``here``, ``original`` (means) and ``distance`` in the original runs' standard
        deviations. Empty where the instance is not the source's protocol, which those runs followed.
    """
    original = load_original_stack()
    original = original[original["ordering"] == instance.ordering]
    if original.empty or not instance.follows_source:
        return pd.DataFrame(columns=["here", "original", "distance"])
    rows = {}
    for measure in ("loss", "accuracy"):
        here = pd.Series([record.training[measure][-1] for record in records]).mean()
        mean, sd = original[measure].mean(), original[measure].std()
        rows[measure] = {"here": here, "original": mean, "distance": (here - mean) / sd}
    return pd.DataFrame.from_dict(rows, orient="index")


def takeaway(instance: Instance, records: Sequence[Record]) -> str:
    """Return what some runs of one instance gave, as a sentence in Markdown."""
    frame = pd.DataFrame([record.row() for record in records])
    source = _source_instance(instance)
    beside = f" (the source's instance {source.number}: {source.loss:.4f}, {source.accuracy:.4f})" if source else ""
    count = f"one run, seed {records[0].seed}" if len(records) == 1 else f"mean of {len(records)} runs"
    return (
        f"**{instance.ordering}**, {count}: running training loss {_mean_and_sd(frame['train_loss'])}, accuracy "
        f"{_mean_and_sd(frame['train_accuracy'])}{beside}; on {instance.evaluate_split}, loss "
        f"{_mean_and_sd(frame['eval_loss'])}, accuracy {_mean_and_sd(frame['eval_accuracy'])}. It holds for "
        f"{in_words(frame)}."
    )


def made_with(record: Record) -> str:
    """Return where a record was made, as one line."""
    environment = record.environment
    versions = [f"{name} {number}" for name, number in environment["versions"].items() if number]
    where = [environment["device"], environment["processor"], f"threads: {environment['threads']}"]
    return f"made with: {', '.join([*versions, *where])}, commit {environment['commit']}"


def _source_instance(instance: Instance) -> SourceInstance | None:
    """Return the source's instance that this one repeats, if it does."""
    return SOURCE_INSTANCES.get(instance.ordering) if instance.follows_source else None


def _mean_and_sd(values: pd.Series) -> str:
    return _MEASURED(values.mean()) + (f" ± {_MEASURED(values.std())}" if len(values) > 1 else "")
