"""Tables and sentences about the runs of several orderings: records in, DataFrame or Markdown out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from normlib import catalog
from normlib.contrasts import SIGNIFICANCE
from normlib.instance import Instance
from normlib.ordering import SOURCE_INSTANCES
from normlib.records import KEPT
from normlib.statistics import MEASURES, follows_source, summarize


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
        f"Which differences are more than luck, only contrasts of paired runs tell. It holds for {conditions(records)}."
    )


def verdicts(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return the table of declared contrasts that people read.

    Args:
        estimates: What ``normlib.contrasts.estimate`` gives.

    Returns:
        Indexed by name, all text: the contrast, its pairs, the mean difference with its 95 % interval, Holm's p, the
        share of pairs in which the first side is lower, the verdict.
    """
    rows = (
        {
            "name": name,
            "contrast": row["contrast"],
            "pairs": str(row["pairs"]),
            "difference": "" if pd.isna(row["mean"]) else f"{row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]",
            "p (Holm)": _p(row),
            "first lower in": "" if pd.isna(row["mean"]) else f"{row['first_lower']:.0%}",
            "verdict": _verdict(row),
        }
        for name, row in estimates.iterrows()
    )
    columns = ["name", "contrast", "pairs", "difference", "p (Holm)", "first lower in", "verdict"]
    return pd.DataFrame(rows, columns=columns).set_index("name")


def verdict_sentences(estimates: pd.DataFrame, records: pd.DataFrame, measure: str, margin: float) -> str:
    """Return what declared contrasts found, as a list in Markdown, with the conditions that it holds under.

    Args:
        estimates: What ``normlib.contrasts.estimate`` gives.
        records: The runs that it was given.
        measure: The measure.
        margin: The margin.
    """
    if estimates.empty:
        return "No contrasts were declared."
    said = {
        "differs": "differ",
        "differs negligibly": f"differ, but by less than the margin of {margin:g}",
        "level": f"are level: the difference lies within the margin of {margin:g}",
    }
    lines = []
    for name, row in estimates.iterrows():
        if pd.isna(row["mean"]):
            reason = "fewer than two pairs of runs" if row["pairs"] < 2 else "a run diverged"
            lines.append(f"- *{name}*, {row['contrast']}: nothing can be said ({reason}).")
            continue
        words = said.get(row["verdict"]) or f"are not told apart yet; {_seeds(row['seeds_needed'])} would decide"
        interval = f"{row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        lines.append(f"- *{name}*: the sides of {row['contrast']} {words} ({interval}, {row['pairs']} pairs).")
    where = "" if measure.startswith("train") else f" on {records['evaluate_split'].iloc[0]}"
    return "\n".join([f"In {MEASURES[measure]}{where}, for {conditions(records)}:", "", *lines])


def conditions(records: pd.DataFrame) -> str:
    """Return the settings under which runs were made, as a phrase; no finding is stated without it."""
    run = records.iloc[0]
    defaults = Instance().settings
    others = [f", {name} {run[name]}" for name in ("momentum", "groups") if str(run[name]) != str(defaults[name])]
    activation = "no activation" if run["activation"] == "none" else run["activation"]
    return (
        f"{run['model']} with {activation} after its convolutions, fitted on {run['dataset']} {run['fit_split']}, "
        f"{run['epochs']} epoch{'s' if run['epochs'] > 1 else ''}, batches of {run['batch_size']}, "
        f"Adam at {run['learning_rate']:g}{''.join(others)}"
    )


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


def _p(row: pd.Series) -> str:
    """Write Holm's p, or that so few pairs cannot give a small one."""
    if pd.isna(row["p"]):
        return ""
    if row["smallest_p"] >= SIGNIFICANCE:
        return f"{row['pairs']} pairs cannot give p below {row['smallest_p']:.3g}"
    return f"{row['holm_p']:.4f}"


def _verdict(row: pd.Series) -> str:
    more = "" if pd.isna(row["seeds_needed"]) else f" ({_seeds(row['seeds_needed'])} would decide)"
    return f"{row['verdict']}{more}"


def _seeds(needed: float) -> str:
    return "more than 10,000 seeds" if np.isinf(needed) else f"about {needed:.0f} seeds"


def _count(runs: pd.Series) -> str:
    fewest, most = runs.min(), runs.max()
    return f"{most} run{'s' if most > 1 else ''}" if fewest == most else f"{fewest} to {most} runs"


_RESULT_COLUMNS = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "eval_loss": "evaluation loss",
    "eval_accuracy": "evaluation accuracy",
}


def _interval(summary: pd.Series) -> str:
    interval = "" if pd.isna(summary["low"]) else f" [{summary['low']:.4f}, {summary['high']:.4f}]"
    return f"{summary['mean']:.4f}{interval}"
