"""Tables that people read: records in, DataFrame out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from normlib import catalog
from normlib.instance import Instance
from normlib.ordering import SOURCE_INSTANCES
from normlib.records import KEPT, Record
from normlib.statistics import summarize

# Figures of a single process, whose bits differ between processors, are written with five decimals, kept ones with
# four: tests/sanitize.cfg tells them apart by that.
_MEASURED = "{:.5f}".format


def figures(records: Sequence[Record]) -> pd.DataFrame:
    """Put the source's figures beside those of some runs of one instance, with the meaning of each.

    Args:
        records: Runs of one instance.

    Returns:
        Columns ``figure``, ``source`` (empty where the source printed none), ``here`` (the mean over the runs, with
        its standard deviation when there are several) and ``meaning``.
    """
    instance = Instance(**records[0].instance)
    source = SOURCE_INSTANCES.get(instance.ordering)
    frame = pd.DataFrame([record.row() for record in records])
    training = f"mean over the images of epoch {instance.epochs} of {instance.fit_split}, while the weights change"
    evaluation = f"on {instance.evaluate_split}, weights fixed, dropout off"
    rows = [
        ("running training loss", source and source.loss, "train_loss", f"{training}; dropout on"),
        (
            "running training accuracy",
            source and source.accuracy,
            "train_accuracy",
            f"{training}; dropout on",
        ),
        ("loss on unseen images", None, "eval_loss", evaluation),
        ("accuracy on unseen images", None, "eval_accuracy", evaluation),
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
    if original.empty or set(instance.changes) - {"ordering"}:
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
        Indexed by ordering; all columns are text, the intervals are Student's t at 95 %.
    """
    summaries = {measure: summarize(records, measure) for measure in _RESULT_COLUMNS}
    rows = {}
    for ordering, runs in summaries["train_loss"]["runs"].items():
        source = SOURCE_INSTANCES.get(ordering)
        rows[ordering] = {
            "source's label": f"{source.number}, “{source.label}”" if source else "",
            "source: loss, accuracy": f"{source.loss:.4f}, {source.accuracy:.4f}" if source else "",
            "runs": str(runs),
            **{title: _interval(summaries[measure].loc[ordering]) for measure, title in _RESULT_COLUMNS.items()},
            "seconds a run": f"{records.loc[records['ordering'] == ordering, 'fit_seconds'].mean():.1f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ordering")


def takeaway(records: pd.DataFrame) -> str:
    """Return the ranking by mean running training loss, beside the source's, as a sentence in Markdown."""
    summary = summarize(records, "train_loss").sort_values("mean")
    ranking = ", ".join(f"{ordering} {mean:.4f}" for ordering, mean in summary["mean"].items())
    source = sorted(SOURCE_INSTANCES, key=lambda ordering: SOURCE_INSTANCES[ordering].loss)
    return (
        f"**Mean running training loss, lowest first** ({_count(summary['runs'])} an ordering): {ranking}. "
        f"The source, with one run each, ranked {', '.join(source)}. Two orderings whose intervals overlap widely are "
        f"not told apart by these runs."
    )


def instance_takeaway(records: Sequence[Record]) -> str:
    """Return what some runs of one instance gave, as a sentence in Markdown."""
    instance = Instance(**records[0].instance)
    frame = pd.DataFrame([record.row() for record in records])
    source = SOURCE_INSTANCES.get(instance.ordering)
    beside = f" (the source's instance {source.number}: {source.loss:.4f}, {source.accuracy:.4f})" if source else ""
    count = f"one run, seed {records[0].seed}" if len(records) == 1 else f"mean of {len(records)} runs"
    return (
        f"**{instance.ordering}**, {count}: running training loss {_mean_and_sd(frame['train_loss'])}, accuracy "
        f"{_mean_and_sd(frame['train_accuracy'])}{beside}; on unseen images, loss {_mean_and_sd(frame['eval_loss'])}, "
        f"accuracy {_mean_and_sd(frame['eval_accuracy'])}."
    )


def made_with(record: Record) -> str:
    """Return where a record was made, as one line."""
    environment = record.environment
    versions = [f"{name} {number}" for name, number in environment["versions"].items() if number]
    where = [environment["device"], environment["processor"], f"threads: {environment['threads']}"]
    return f"made with: {', '.join([*versions, *where])}, commit {environment['commit']}"


def provenance(records: pd.DataFrame) -> pd.DataFrame:
    """Return what the runs share: settings, stack, processor, threads, seeds."""
    shared = ["model", "activation", "dataset", "fit_split", "evaluate_split", "epochs", "batch_size"]
    shared += ["learning_rate", "groups", "momentum", "provider", "stack", "processor", "threads"]
    facts = {name: ", ".join(records[name].map(str).unique()) for name in shared}
    default_groups = catalog.MODELS[records["model"].iloc[0]].groups
    facts["groups"] = facts["groups"].replace("None", f"the model's own: {default_groups}").replace("nan", "")
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
    "eval_loss": "loss, unseen images",
    "eval_accuracy": "accuracy, unseen images",
}


def _mean_and_sd(values: pd.Series) -> str:
    return _MEASURED(values.mean()) + (f" ± {_MEASURED(values.std())}" if len(values) > 1 else "")


def _interval(summary: pd.Series) -> str:
    interval = "" if pd.isna(summary["low"]) else f" [{summary['low']:.4f}, {summary['high']:.4f}]"
    return f"{summary['mean']:.4f}{interval}"
