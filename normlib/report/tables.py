"""Tables of results, and of one instance's runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from normlib.analysis.conditions import Varies, in_words, split_records
from normlib.analysis.statistics import MEASURES, follows_source, summarize
from normlib.analysis.verdicts import SIGNIFICANCE, seeds_in_words, split_gap
from normlib.models import zoo
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES, SourceInstance
from normlib.runs.store import Record, load_original_stack

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

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


_RESULT_COLUMNS = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "eval_loss": "evaluation loss",
    "eval_accuracy": "evaluation accuracy",
}
# Tints of Okabe and Ito's colours; the words stand in the cells as well.
_VERDICT_COLOURS = {"differs negligibly": "#DDEEF8", "differs": "#A6CEE8", "level": "#B2DFCF", "undecided": "#EEEEEE"}


def results(records: pd.DataFrame, varies: Varies = ()) -> pd.DataFrame:
    """Return the table of results: one row an ordering, the source's label and figures beside means over seeds.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies besides the ordering; each condition then has rows of its own.

    Returns:
        Indexed by ordering; all columns are text, the intervals are Student's t at 95 %. The source's columns are
        there where the runs follow its protocol, the column ``condition`` where something varies.
    """
    rows = []
    for condition, part in split_records(records, varies).items():
        summaries = {measure: summarize(part, measure) for measure in _RESULT_COLUMNS}
        for ordering, runs in summaries["train_loss"]["runs"].items():
            rows.append(
                {
                    "ordering": ordering,
                    **({"condition": condition} if varies else {}),
                    **(_source_columns(ordering) if follows_source(records) else {}),
                    "runs": str(runs),
                    **{title: _interval(summaries[name].loc[ordering]) for name, title in _RESULT_COLUMNS.items()},
                    "median seconds to fit": f"{part.loc[part['ordering'] == ordering, 'fit_seconds'].median():.1f}",
                }
            )
    return pd.DataFrame(rows).set_index("ordering")


def summaries(records: pd.DataFrame, varies: Varies = ()) -> pd.DataFrame:
    """Return the numbers behind the table of results, one row a condition, ordering and measure, for other programs.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies besides the ordering.

    Returns:
        Columns ``condition``, ``ordering``, ``measure`` and, as ``summarize`` gives them, ``runs``, ``mean``, ``sd``,
        ``low``, ``high``.
    """
    parts = [
        summarize(part, measure).reset_index().assign(condition=condition, measure=measure)
        for condition, part in split_records(records, varies).items()
        for measure in MEASURES
    ]
    return pd.concat(parts)[["condition", "ordering", "measure", "runs", "mean", "sd", "low", "high"]]


def verdicts(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return the table of declared contrasts.

    Args:
        estimates: What ``normlib.estimate`` gives.

    Returns:
        Indexed by name, all text: the condition, where something varies; the contrast, its pairs, the mean difference
        with its 95 % interval, Holm's p of both tests, the share of pairs in which the first side is better, verdict.
    """
    varied = bool(estimates["condition"].any())
    rows = [
        {
            "name": name,
            **({"condition": row["condition"]} if varied else {}),
            "contrast": row["contrast"],
            "pairs": str(row["pairs"]),
            "difference": "" if pd.isna(row["mean"]) else f"{row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]",
            "sign-flip p (Holm)": _p(row, len(estimates)),
            "t p (Holm)": "" if pd.isna(row["holm_t_p"]) else _small(row["holm_t_p"]),
            "first better in": "" if pd.isna(row["mean"]) else f"{row['first_better']:.0%}",
            "verdict": _verdict(row),
        }
        for name, row in estimates.iterrows()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["name", "contrast", "pairs", "verdict"]).set_index("name")


def gap(records: pd.DataFrame, varies: Varies = ()) -> pd.DataFrame:
    """Return the table of the moving-average gap: what each reading takes from the evaluation loss, and the rest.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies besides the ordering.

    Returns:
        Indexed by ordering, those with BatchNorm; all text: means over runs with Student's t intervals at 95 %.
    """
    columns = {
        "inference": "evaluation loss, as Keras evaluates it",
        "debiasing": "of it, debiasing removes",
        "recalibration": "recalibration removes beyond",
        "rest": "the rest",
    }
    rows = [
        {
            "ordering": row["ordering"],
            **({"condition": row["condition"]} if varies else {}),
            "runs": str(row["runs"]),
            **{
                title: _interval({"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]})
                for name, title in columns.items()
            },
        }
        for _, row in split_gap(records, varies).iterrows()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["ordering", "runs", *columns.values()]).set_index("ordering")


def style(table: pd.DataFrame, caption: str) -> Styler:
    """Return a table as notebooks show it: a caption, rules between rows, verdicts tinted.

    Args:
        table: One of this module's.
        caption: What it shows.
    """
    rules = [
        {"selector": "caption", "props": "caption-side: top; text-align: left; font-weight: bold; padding: 4px 0"},
        {"selector": "td, th", "props": "text-align: left; vertical-align: top; padding: 4px 10px"},
        {"selector": "tbody tr", "props": "border-top: 1px solid #DDDDDD"},
    ]
    # An index may stand twice, and Styler wants it unique. The identifier is the caption's, so that the same table is
    # the same text, and tables of one page do not take each other's colours.
    styler = table.reset_index().style.hide(axis="index").set_caption(caption).set_table_styles(rules)
    styler = styler.format(escape="html").format_index(escape="html", axis=1)
    return styler.set_uuid(caption.split()[0].strip(",.:").lower()).map(
        _tint, subset=table.columns.intersection(["verdict"])
    )


def provenance(records: pd.DataFrame) -> pd.DataFrame:
    """Return where runs come from: settings, data, stack, processor, device, threads, commit, study file, seeds."""
    names = [field.name for field in dataclasses.fields(Instance) if field.name != "ordering"]
    names += ["data", "stack", "processor", "device", "threads", "commit", "study_sha256"]
    facts = {name: ", ".join(sorted(set(records[name].map(str)))) for name in names}
    default_groups = zoo.MODELS.get(records["model"].iloc[0], zoo.OWN_MODEL).groups
    facts["groups"] = facts["groups"].replace("None", f"the model's own: {default_groups}")
    facts["study_sha256"] = facts["study_sha256"].replace("None", "none")
    seeds = sorted(records["seed"].unique())
    facts["seeds"] = f"{len(seeds)}, from {seeds[0]} to {seeds[-1]}"
    return pd.DataFrame({"value": facts})


def _source_columns(ordering: str) -> dict[str, str]:
    source = SOURCE_INSTANCES.get(ordering)
    return {
        "source's label": f"{source.number}, “{source.label}”" if source else "",
        "source: loss, accuracy": f"{source.loss:.4f}, {source.accuracy:.4f}" if source else "",
    }


def _p(row: pd.Series, family: int) -> str:
    """Write Holm's p, or that so few pairs cannot give a small one."""
    if pd.isna(row["p"]):
        return ""
    smallest = min(1, family * row["smallest_p"])
    if smallest >= SIGNIFICANCE and row["holm_p"] >= SIGNIFICANCE:
        of_them = f" for the first of {family}" if family > 1 else ""
        return f"{row['pairs']} pairs cannot give p below {smallest:.3g}{of_them}"
    return _small(row["holm_p"])


def _small(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def _verdict(row: pd.Series) -> str:
    more = "" if pd.isna(row["seeds_needed"]) else f" ({seeds_in_words(row['seeds_needed'])} would decide)"
    return f"{row['verdict']}{more}"


def _interval(summary: pd.Series | dict[str, float]) -> str:
    interval = "" if pd.isna(summary["low"]) else f" [{summary['low']:.4f}, {summary['high']:.4f}]"
    return f"{summary['mean']:.4f}{interval}"


def _tint(verdict: str) -> str:
    colours = [colour for word, colour in _VERDICT_COLOURS.items() if verdict.startswith(word)]
    return f"background-color: {colours[0]}" if colours else ""
