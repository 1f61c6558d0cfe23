"""Tables that people read: records in, DataFrame out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from normlib import catalog
from normlib.instance import Instance
from normlib.ordering import SOURCE_INSTANCES, SourceInstance
from normlib.records import KEPT, Record
from normlib.statistics import follows_source, summarize

# Figures of a single process, whose bits differ between processors, are written with five decimals, kept ones with
# four: tests/sanitize.cfg tells them apart by that.
_MEASURED = "{:.5f}".format


def figures(records: Sequence[Record]) -> pd.DataFrame:
    """Put the source's figures beside those of some runs of one instance, with the meaning of each.

    Args:
        records: Runs of one instance.

    Returns:
        Indexed by figure: ``source`` (empty where it printed none, or had other settings); ``here``, the mean over the
        runs, with its standard deviation when there are several; ``meaning``.
    """
    instance = Instance(**records[0].instance)
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


def distance_from_source(records: Sequence[Record]) -> pd.DataFrame:
    """Measure how far runs lie from the same ordering's twenty runs on the source's own stack of 2020.

    Args:
        records: Runs of one instance.

    Returns:
        For ``loss`` and ``accuracy``: ``here``, ``original`` (means) and ``distance`` in the original runs' standard
        deviations. Empty where the instance is not the source's protocol, which those runs followed.
    """
    instance = Instance(**records[0].instance)
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


def results(records: pd.DataFrame) -> pd.DataFrame:
    """Return the table of results: one row an ordering, the source's label and figures beside means over seeds.

    Args:
        records: One row a run, as ``load_records`` gives.

    Returns:
        Indexed by ordering; all columns are text, the intervals are Student's t at 95 %. The source's columns are
        there where the runs follow its protocol.
    """
    beside_source = follows_source(records)
    summaries = {measure: summarize(records, measure) for measure in _RESULT_COLUMNS}
    rows = {}
    for ordering, runs in summaries["train_loss"]["runs"].items():
        source = SOURCE_INSTANCES.get(ordering)
        columns = {
            "source's label": f"{source.number}, “{source.label}”" if source else "",
            "source: loss, accuracy": f"{source.loss:.4f}, {source.accuracy:.4f}" if source else "",
        }
        rows[ordering] = {
            **(columns if beside_source else {}),
            "runs": str(runs),
            **{title: _interval(summaries[measure].loc[ordering]) for measure, title in _RESULT_COLUMNS.items()},
            "median seconds to fit": f"{records.loc[records['ordering'] == ordering, 'fit_seconds'].median():.1f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ordering")


def takeaway(records: pd.DataFrame) -> str:
    """Return the ranking by mean running training loss, beside the source's, as a sentence in Markdown."""
    summary = summarize(records, "train_loss").sort_values("mean")
    ranking = ", ".join(f"{ordering} {mean:.4f}" for ordering, mean in summary["mean"].items())
    source = sorted(SOURCE_INSTANCES, key=lambda ordering: SOURCE_INSTANCES[ordering].loss)
    beside = f" The source, with one run each, ranked {', '.join(source)}." if follows_source(records) else ""
    return (
        f"**Mean running training loss, lowest first** ({_count(summary['runs'])} an ordering): {ranking}.{beside} "
        f"Two orderings whose intervals overlap widely are not told apart by these runs. "
        f"All of it holds for {conditions(records)}."
    )


def conditions(records: pd.DataFrame) -> str:
    """Return the settings under which runs were made, as a phrase; no finding is stated without it."""
    run = records.iloc[0]
    activation = "no activation" if run["activation"] == "none" else run["activation"]
    return (
        f"{run['model']} with {activation} after its convolutions, fitted on {run['dataset']} {run['fit_split']}, "
        f"{run['epochs']} epoch{'s' if run['epochs'] > 1 else ''}, batches of {run['batch_size']}, "
        f"Adam at {run['learning_rate']:g}"
    )


def instance_takeaway(records: Sequence[Record]) -> str:
    """Return what some runs of one instance gave, as a sentence in Markdown."""
    instance = Instance(**records[0].instance)
    frame = pd.DataFrame([record.row() for record in records])
    source = _source_instance(instance)
    beside = f" (the source's instance {source.number}: {source.loss:.4f}, {source.accuracy:.4f})" if source else ""
    count = f"one run, seed {records[0].seed}" if len(records) == 1 else f"mean of {len(records)} runs"
    return (
        f"**{instance.ordering}**, {count}: running training loss {_mean_and_sd(frame['train_loss'])}, accuracy "
        f"{_mean_and_sd(frame['train_accuracy'])}{beside}; on {instance.evaluate_split}, loss "
        f"{_mean_and_sd(frame['eval_loss'])}, accuracy {_mean_and_sd(frame['eval_accuracy'])}. It holds for "
        f"{conditions(frame)}."
    )


def made_with(record: Record) -> str:
    """Return where a record was made, as one line."""
    environment = record.environment
    versions = [f"{name} {number}" for name, number in environment["versions"].items() if number]
    where = [environment["device"], environment["processor"], f"threads: {environment['threads']}"]
    return f"made with: {', '.join([*versions, *where])}, commit {environment['commit']}"


def provenance(records: pd.DataFrame) -> pd.DataFrame:
    """Return where runs come from: settings, stack, processor, device, threads, commit, seeds."""
    names = [field.name for field in dataclasses.fields(Instance) if field.name != "ordering"]
    names += ["stack", "processor", "device", "threads", "commit"]
    facts = {name: ", ".join(sorted(set(records[name].map(str)))) for name in names}
    default_groups = catalog.MODELS[records["model"].iloc[0]].groups
    facts["groups"] = facts["groups"].replace("None", f"the model's own: {default_groups}")
    seeds = sorted(records["seed"].unique())
    facts["seeds"] = f"{len(seeds)}, from {seeds[0]} to {seeds[-1]}"
    return pd.DataFrame({"value": facts})


def load_original_stack() -> pd.DataFrame:
    """Load the source's own cells run on its stack of 2020: ``ordering``, ``seed`` (20), ``loss``, ``accuracy``."""
    return pd.read_csv(KEPT / "original_stack.csv")


def _count(runs: pd.Series) -> str:
    fewest, most = runs.min(), runs.max()
    return f"{most} run{'s' if most > 1 else ''}" if fewest == most else f"{fewest} to {most} runs"


_RESULT_COLUMNS = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "eval_loss": "evaluation loss",
    "eval_accuracy": "evaluation accuracy",
}


def _source_instance(instance: Instance) -> SourceInstance | None:
    """Return the source's instance that this one repeats, if it does."""
    return SOURCE_INSTANCES.get(instance.ordering) if instance.follows_source else None


def _mean_and_sd(values: pd.Series) -> str:
    return _MEASURED(values.mean()) + (f" ± {_MEASURED(values.std())}" if len(values) > 1 else "")


def _interval(summary: pd.Series) -> str:
    interval = "" if pd.isna(summary["low"]) else f" [{summary['low']:.4f}, {summary['high']:.4f}]"
    return f"{summary['mean']:.4f}{interval}"
