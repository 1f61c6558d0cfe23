"""Tables of a study's results, and of one instance's runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from normlib.analysis.comparison import GAP_PARTS, Comparison
from normlib.analysis.planning import what_would_decide
from normlib.analysis.statistics import follows_source
from normlib.errors import RequestError, checked, one_of
from normlib.models import zoo
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES
from normlib.report.sentences import coverage, interval, mean_and_sd
from normlib.runs.measures import MAIN_MEASURES, MEASURES
from normlib.runs.store import Record, check_one_instance, load_original_stack, to_frame
from normlib.studies.results import Results

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

# Tints of Okabe and Ito's colours; the words stand in the cells as well.
_VERDICT_COLOURS = {"differs negligibly": "#DDEEF8", "differs": "#A6CEE8", "level": "#B2DFCF", "undecided": "#EEEEEE"}
_GAP_TITLES = (
    "evaluation loss, as Keras evaluates it",
    "of it, debiasing removes",
    "recalibration removes beyond",
    "the rest",
)


@checked
def describe_runs(records: Sequence[Record]) -> pd.DataFrame:
    """Describe the figures of some runs of one instance, and put the source's beside them.

    Args:
        records: Runs of one instance.

    Returns:
        Indexed by figure, all text: ``here``, the mean over the runs, with its standard deviation when there are
        several; ``source``, what it printed, where the settings are the source's; ``from 20 runs on its stack``, how
        far the mean here is from that of the source's cells run with twenty seeds on their own stack of 2020, in
        standard deviations of these; ``meaning``.
    """
    check_one_instance(records)
    frame, run = to_frame(records), Instance.from_settings(**{**records[0].instance, "provider": "auto"})
    source = SOURCE_INSTANCES.get(run.ordering) if run.follows_source else None
    original = load_original_stack()
    original = original[(original["ordering"] == run.ordering) & run.follows_source]
    meanings = {
        "": f"mean over epoch {run.epochs} on {run.fit_split}, while the weights change, dropout on",
        "inference": f"on {run.evaluate_split}, images not trained on, weights fixed, dropout off",
        "debiased": "as above, initial values out of the moving averages",
        "recalibrated": "as above, statistics of all images trained on",
    }
    rows = []
    for measure in (MEASURES[name] for name in (*MAIN_MEASURES, "debiased_loss", "recalibrated_loss")):
        values, beside = frame[measure.column], {}
        if not measure.reading:
            twenty = original[measure.figure]
            distance = (values.mean() - twenty.mean()) / twenty.std()
            beside = {
                "source": f"{getattr(source, measure.figure):.4f}" if source else "",
                "from 20 runs on its stack": f"{distance:+.5f} sd" if len(twenty) else "",
            }
        rows.append(
            {"figure": measure.phrase, "here": mean_and_sd(values), **beside, "meaning": meanings[measure.reading]}
        )
    return pd.DataFrame(rows).fillna("").set_index("figure")


def show(results: Results, name: str) -> Styler:
    """Return a table as notebooks show it: a caption, rules between rows, verdicts tinted.

    Args:
        results: What it shows.
        name: ``contrasts``, ``cost``, ``rankings``, ``gap``, ``results`` or ``provenance``.

    Raises:
        RequestError: There is no such table, or the cost was not measured.
    """
    declared = f"Declared contrasts in {results.measure.column}, margin {results.margin:g}"
    shown = {
        "contrasts": lambda: style(contrast_table(results.estimates), declared),
        "cost": lambda: style(cost_table(results), cost_caption(results)),
        "rankings": lambda: style(ranking_table(results), "Rankings, the most frequent first"),
        "gap": lambda: style(gap_table(results), "The evaluation loss, split"),
        "results": lambda: style(result_table(results), f"Results. An interval covers {coverage(results.records)}."),
        "provenance": lambda: style(provenance(results.records).rename_axis("fact"), "Provenance"),
    }
    one_of("table", name, shown)
    return shown[name]()


def result_table(runs: Comparison) -> pd.DataFrame:
    """Return the table of results: one row an ordering, the source's label and figures beside means over seeds.

    Returns:
        Indexed by ordering; all columns are text, the intervals are Student's t at 95 %. The source's columns are
        there where the runs follow its protocol, the column ``condition`` where something varies.
    """
    summaries = {MEASURES[column].phrase: runs.summary(column) for column in MAIN_MEASURES}
    counts = runs.summary("train_loss")["runs"].reset_index()
    columns = {"condition": counts["condition"]} if runs.varies else {}
    if follows_source(runs.records):
        source = [SOURCE_INSTANCES.get(ordering) for ordering in counts["ordering"]]
        columns["source's label"] = [f"{one.number}, “{one.label}”" if one else "" for one in source]
        columns["source: loss, accuracy"] = [f"{one.loss:.4f}, {one.accuracy:.4f}" if one else "" for one in source]
    columns["runs"] = counts["runs"].astype(str)
    columns |= {name: _intervals(summary) for name, summary in summaries.items()}
    return pd.DataFrame({"ordering": counts["ordering"], **columns}).set_index("ordering")


def contrast_table(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return the table of declared contrasts.

    Args:
        estimates: What ``normlib.estimate`` gives.

    Returns:
        Indexed by name, all text: the condition, where something varies; the contrast, its pairs, the mean difference
        with its 95 % interval, the p of the tests for a difference and for being level, corrected by Holm, the share
        of pairs in which the first side is better where the measure says which that is, the verdict.
    """
    columns = {
        "pairs": estimates["pairs"].astype(str),
        "difference": _intervals(estimates, "+"),
        "p, differs (Holm)": estimates["differs_p"].map(_small),
        "p, level (Holm)": estimates["level_p"].map(_small),
        "first better in": estimates["first_better"].map("{:.0%}".format).replace("nan%", ""),
        "verdict": [_verdict(row) for _, row in estimates.iterrows()],
    }
    named = ["condition", "contrast"] if estimates["condition"].any() else ["contrast"]
    return estimates[named].assign(**columns)


def cost_table(results: Results) -> pd.DataFrame:
    """Return the table of cost: one row an ordering, beside the baseline.

    Returns:
        Indexed by ordering, all text: the seconds to fit and to evaluate over the baseline's, medians of paired ratios
        with their middle half; the parameters, and those that are left at inference; the normalization layers
        that are left there.

    Raises:
        RequestError: It was not measured.
    """
    if results.cost is None:
        raise RequestError("table", "cost", problem="the cost was not measured: normlib cost does it")
    rows = {
        ordering: {
            **{
                f"seconds to {kind}": interval(row[kind], row[f"{kind}_low"], row[f"{kind}_high"], digits=2)
                for kind in ("fit", "evaluate")
            },
            "parameters": f"{row['parameters']:,}",
            "parameters at inference": f"{row['parameters_left']:,}",
            "normalization layers at inference": f"{row['layers_left']} of {row['layers']}",
        }
        for ordering, row in results.cost.iterrows()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ordering")


def cost_scale(results: Results) -> str:
    """Return what seconds of a measured cost are related to, under which condition, and where."""
    assert results.cost is not None
    facts, condition = results.cost.iloc[0], next(iter(results.parts))
    under = f"at {condition}, " if condition else ""
    return f"Seconds over those of {facts['against']}, {under}on {facts['processor']}"


def cost_caption(results: Results) -> str:
    """Return what the table of cost shows."""
    assert results.cost is not None
    facts = results.cost.iloc[0]
    folds = (results.cost["layers_left"] < results.cost["layers"]).any()
    return (
        f"Cost. {cost_scale(results)}, threads: {facts['threads']}; the median [middle half] of rounds side by side, "
        f"{facts['rounds']} of them."
    ) + " A BatchNorm right behind a convolution or Dense layer folds into it at inference." * bool(folds)


def ranking_table(results: Results) -> pd.DataFrame:
    """Return the rankings that single seeds gave, the eight most frequent, with their shares of seeds as text."""
    table = results.rankings.head(8)
    return table.assign(share=table["share"].map("{:.0%}".format))


def gap_table(runs: Comparison) -> pd.DataFrame:
    """Return the table of the moving-average gap: what each reading takes from the evaluation loss, and the rest.

    Returns:
        Indexed by ordering, those with BatchNorm; all text: means over runs with Student's t intervals at 95 %.
    """
    rows = [
        {
            "ordering": ordering,
            **({"condition": condition} if runs.varies else {}),
            "runs": f"{row['rest', 'runs']:.0f}",
            **{
                title: interval(*row[part][["mean", "low", "high"]])
                for part, title in zip(GAP_PARTS, _GAP_TITLES, strict=True)
            },
        }
        for (condition, ordering), row in runs.gap.iterrows()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["ordering", "runs", *_GAP_TITLES]).set_index("ordering")


def style(table: pd.DataFrame, caption: str) -> Styler:
    """Return a table of this module's with a caption, rules between rows, verdicts tinted."""
    rules = [
        {"selector": "caption", "props": "caption-side: top; text-align: left; font-weight: bold; padding: 4px 0"},
        {"selector": "td, th", "props": "text-align: left; vertical-align: top; padding: 4px 10px"},
        {"selector": "tbody tr", "props": "border-top: 1px solid #DDDDDD"},
    ]
    # An index may stand twice, and Styler wants it unique. The identifier is the caption's, so that the same table is
    # the same text, and tables of one page do not take each other's colours.
    styler = table.reset_index().style.set_uuid(caption.split()[0].strip(",.:").lower())
    styler = styler.hide(axis="index").set_caption(caption).set_table_styles(rules)
    styler = styler.format(escape="html").format_index(escape="html", axis=1)
    return styler.map(_tint, subset=table.columns.intersection(["verdict"]))


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


def _small(p: float) -> str:
    return "" if pd.isna(p) else f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def _verdict(row: pd.Series) -> str:
    at = f", at {row['look']:.0f} seeds" if pd.notna(row.get("look")) else ""
    more = what_would_decide(row)
    return f"{row['verdict']}{at}{f' ({more})' if more else ''}"


def _intervals(summary: pd.DataFrame, sign: str = "") -> list[str]:
    return [interval(mean, low, high, sign) for mean, low, high in summary[["mean", "low", "high"]].to_numpy()]


def _tint(verdict: str) -> str:
    colours = [colour for word, colour in _VERDICT_COLOURS.items() if verdict.startswith(word)]
    return f"background-color: {colours[0]}" if colours else ""
