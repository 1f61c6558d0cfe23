"""What a study found, in sentences made from its records: one a contrast, each thing said once."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from normlib.analysis.comparison import Comparison
from normlib.analysis.conditions import Varies, expand, label, written
from normlib.analysis.rankings import count_rankings
from normlib.analysis.statistics import follows_source, summarize
from normlib.analysis.verdicts import seeds_in_words
from normlib.errors import checked
from normlib.models import zoo
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES, find_baseline, is_baseline
from normlib.runs.measures import MEASURES
from normlib.runs.store import Record, check_one_instance
from normlib.studies.folder import UndeclaredStudy, name_run
from normlib.studies.results import Results
from normlib.studies.study import Study
from normlib.studies.tuning import tuning_sentences


def question(study: Study) -> str:
    """Return what a study asks, and after whom, in Markdown."""
    after = f"\n\n{as_markdown(study.citation)}" if study.citation else ""
    return f"*{as_markdown(study.question)}*{after}"


def findings(results: Results) -> str:
    """Return what a study found, in Markdown: a list of sentences below the conditions that they hold for."""
    name, *reading = results.measure.phrase.split(", ")
    splits = results.records["evaluate_split"].unique()
    where = f" on {splits[0]}" if results.measure.reading and len(splits) == 1 else ""
    reading = ["as Keras evaluates it"] if results.measure.reading == "inference" else reading
    sentences = [
        *tuning_sentences(results.study),
        *contrast_sentences(results),
        *winner_sentences(results),
        *source_sentences(results.records),
        *reading_sentences(results),
        *run_sentences(results),
    ]
    shared = shared_settings(results.records, results.varies)
    lead = f"In {', '.join([f'{name}{where}', *reading])}, for {shared}:"
    return "\n".join([lead, "", *(f"- {sentence}" for sentence in sentences)])


def contrast_sentences(runs: Comparison) -> list[str]:
    """Return a sentence for each declared contrast: verdict, difference with interval, pairs, and where it holds."""
    sentences = []
    for contrast in runs.contrasts:
        # Conditions with the same conclusion are told together.
        groups: dict[str, list[str]] = {}
        for _, row in runs.estimates.loc[[contrast.name]].iterrows():
            groups.setdefault(_conclude(row, runs), []).append(_describe(row))
        found = [
            f"{conclusion} ({'; '.join(filter(None, rows))})".removesuffix(" ()") for conclusion, rows in groups.items()
        ]
        sides = (_name_side(side) for side in (contrast.first, contrast.second))
        sentences.append(f"*{as_markdown(contrast.name)}*, {' against '.join(sides)}: {'; '.join(found)}.")
    return sentences or ["No contrast was declared, so no difference is judged."]


def winner_sentences(runs: Comparison) -> list[str]:
    """Return which ordering has the best mean and by how much; where settings vary, how often it is the baseline."""
    baseline, found = find_baseline(runs.records["ordering"]), runs.winners
    absent = [] if baseline else ["The baseline, without normalization, was not run."]
    if found.empty:
        return [*absent, "No ordering is compared with another: there are not two of which no run diverged."]
    if runs.varies:
        wins, recalibrated = ((won["winner"] == baseline).sum() for won in (found, runs.recalibrated_winners))
        read = f" With recalibrated statistics it would be {recalibrated}." if recalibrated != wins else ""
        under = f"under {wins} of {len(found)} conditions"
        where = f": {'; '.join(found.index[found['winner'] == baseline])}" if wins else ""
        return absent or [f"The baseline, {baseline}, has the best mean {under}{where}.{read}"]
    row = found.iloc[0]
    other = runs.recalibrated_winners["winner"].get("", row["winner"])  # recalibrated, all may have diverged
    name, rival = (f"the baseline {name}" if is_baseline(name) else name for name in row[["winner", "rival"]])
    lead = interval(row["lead"], row["low"], row["high"])
    unclear = ", which is not clear of zero" if row["low"] <= 0 else ""
    ahead = f"{lead} ahead of {rival}{unclear}" if row["pairs"] else f"no pairs with {rival}"
    turned = f"; recalibrated, it would be {other}" if other != row["winner"] else ""
    seeds = f"first with {row['first']} of {row['seeds']} seeds"
    return [*absent, f"By means, {name} is best, {row['mean']:.4f}: {ahead}, and {seeds}{turned}."]


def source_sentences(records: pd.DataFrame) -> list[str]:
    """Return whether the source's ranking holds, by means and seed by seed, where the runs follow its protocol."""
    if not follows_source(records) or not {*records["ordering"]}.issuperset(SOURCE_INSTANCES):
        return []
    source = " < ".join(sorted(SOURCE_INSTANCES, key=lambda ordering: SOURCE_INSTANCES[ordering].loss))
    lottery = count_rankings(records, "train_loss", list(SOURCE_INSTANCES))["seeds"]
    if lottery.sum() < 2:  # one seed tells no ranking, and a diverged ordering has no place in one
        return []
    ours = " < ".join(summarize(records, "train_loss")["mean"].loc[list(SOURCE_INSTANCES)].sort_values().index)
    holds = "is that of the means here" if ours == source else f"is not that of the means here, {ours}"
    rankings = "one ranking comes" if len(lottery) == 1 else f"{len(lottery)} different rankings come"
    return [
        f"The source's ranking by running training loss, {source}, {holds}; {lottery.get(source, 0)} of "
        f"{lottery.sum()} seeds give it, and {rankings} out."
    ]


def reading_sentences(runs: Comparison) -> list[str]:
    """Return which conclusions on the evaluation images depend on how BatchNorm's moving averages are read."""
    figure = f"evaluation {runs.measure.figure}"
    note = "" if runs.measure.reading else " (the training figure has no readings)"
    sentences = []
    for readings in runs.reading_dependent:
        row = readings["inference"]
        where = f" under {row['condition']}" if row["condition"] else ""
        each = (
            f"{reading} {row['verdict']} ({row['mean']:+.4f})" if pd.notna(row["mean"]) else f"{reading} diverged"
            for reading, row in readings.items()
        )
        name = as_markdown(str(row.name))
        sentences.append(f"On {figure}, *{name}*{where} depends on the reading{note}: {', '.join(each)}.")
    inference = runs.estimates_by_reading.get("inference")
    if sentences or inference is None or (inference["verdict"] == "undecided").all():
        return sentences
    return [f"No conclusion on {figure} depends on the reading of BatchNorm{note}."]


def run_sentences(results: Results) -> list[str]:
    """Return which planned runs are missing, which were made for another version of the study, and which diverged."""
    sentences, records = [], results.records
    missing = results.planned_runs[~results.planned_runs["done"]]
    if len(missing) and not isinstance(results.study, UndeclaredStudy):
        count = f"{len(missing)} of {len(results.planned_runs)} runs"
        sentences.append(f"Missing, {count}: {_name_some(missing)}. Contrasts leave out their pairs.")
    other = records["study_sha256"].notna() & (records["study_sha256"] != results.study.declared_in)
    if other.any():
        sentences.append(
            f"{other.sum()} of {len(records)} runs were made for another version of the study's file, so what is "
            "declared now was not declared before them."
        )
    runs = pd.concat([part.assign(condition=condition) for condition, part in results.parts.items()])
    diverged = runs[~np.isfinite(runs[list(MEASURES)].astype(float)).all(axis=1)]
    if len(diverged):
        sentences.append(
            f"Diverged, {len(diverged)} run{'s' if len(diverged) > 1 else ''}: {_name_some(diverged)}. "
            "Diverged runs are not left out, so nothing is said of contrasts that they stand in."
        )
    return sentences


_PHRASES = {"momentum": "BatchNorm's momentum"}  # SGD has one, too


def shared_settings(records: pd.DataFrame, varies: Varies = ()) -> str:
    """Return the settings that runs share, as a phrase; no finding is stated without it.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies; these settings stand beside each finding instead.
    """
    run, defaults = records.iloc[0], Instance().settings
    varied = {name for group in varies for name in group}
    model = run["model"]
    if model == "source_cnn" and "activation" not in varied:  # others have activations of their own
        model += f" with {'no activation' if run['activation'] == 'none' else run['activation']} after its convolutions"
    optimizer = {"adam": "Adam", "sgd": f"SGD with momentum {zoo.SGD_MOMENTUM}"}[run["optimizer"]]
    phrases = {
        "model": model,
        "fit_split": f"fitted on {run['dataset']} {run['fit_split']}",
        "epochs": f"{run['epochs']} epoch{'s' if run['epochs'] > 1 else ''}",
        "batch_size": f"batches of {run['batch_size']}",
        "learning_rate": f"{optimizer} at {written(run['learning_rate'])}",
    }
    for name in ("momentum", "groups", "channels_per_group", "weight_decay", "epsilon"):
        if str(run[name]) != str(defaults[name]):
            phrases[name] = f"{_PHRASES.get(name, name.replace('_', ' '))} {run[name]}"
    if "fit_split" in varied and "dataset" not in varied:
        phrases["dataset"] = f"fitted on {run['dataset']}"
    if "learning_rate" in varied and "optimizer" not in varied and run["optimizer"] != defaults["optimizer"]:
        phrases["optimizer"] = optimizer
    phrase = ", ".join(phrase for name, phrase in phrases.items() if name not in varied)
    together = [
        f"{label(part, [group])} with {', '.join(f'{name} {written(part[name])}' for name in list(group)[1:])}"
        for group in varies
        if len(group) > 1
        for part in expand([group])
    ]
    return f"{phrase} ({'; '.join(together)})" if together else phrase


@checked
def takeaway(records: Sequence[Record]) -> str:
    """Return what some runs of one instance gave, and where they were made, in Markdown.

    Args:
        records: Runs of one instance, as ``normlib.train_all`` gives.
    """
    check_one_instance(records)
    frame = pd.DataFrame([record.row() for record in records])
    run, environment = records[0], records[0].environment
    count = f"one run, seed {run.seed}" if len(records) == 1 else f"mean of {len(records)} runs"
    figures = {name: mean_and_sd(frame[name]) for name in MEASURES}
    versions = [f"{name} {number}" for name, number in environment["versions"].items() if number]
    place = [environment["device"], environment["processor"], f"threads: {environment['threads']}"]
    return (
        f"**{run.ordering}**, {count}: running training loss {figures['train_loss']}, accuracy "
        f"{figures['train_accuracy']}; on {run.instance['evaluate_split']}, loss {figures['eval_loss']}, accuracy "
        f"{figures['eval_accuracy']}. It holds for {shared_settings(frame)}.\n\n"
        f"Made with: {', '.join([*versions, *place])}, commit {environment['commit']}"
    )


def mean_and_sd(values: pd.Series) -> str:
    """Return a mean with its standard deviation, where there are several values.

    Figures of a single process, whose bits differ between processors, are written with five decimals, kept ones with
    four: notebooks/sanitize.cfg tells them apart by that.
    """
    return f"{values.mean():.5f}" + (f" ± {values.std():.5f}" if len(values) > 1 else "")


def interval(mean: float, low: float, high: float, sign: str = "", digits: int = 4) -> str:
    """Return a mean with its interval, where there are these: ``"+0.0123 [-0.0012, +0.0258]"``.

    Args:
        mean: The mean; nothing is said of NaN.
        low: The interval's lower end.
        high: Its upper end.
        sign: ``"+"`` to write a plus before what is above zero.
        digits: Decimals.
    """
    ends = "" if pd.isna(low) else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return "" if pd.isna(mean) else f"{mean:{sign}.{digits}f}{ends}"


def as_markdown(text: str) -> str:
    """Return a text in Markdown that shows it as it is: no HTML, link, picture or emphasis in it is one.

    What has a meaning in Markdown is written as HTML's character references, which have none.
    """
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"[\\`*_\[\]$~|!]|#(?!\d+;)|:(?=//)", lambda match: f"&#{ord(match[0])};", text)


def _name_side(orderings: tuple[str, ...]) -> str:
    return orderings[0] if len(orderings) == 1 else f"the mean of {', '.join(orderings[:-1])} and {orderings[-1]}"


def _conclude(row: pd.Series, runs: Comparison) -> str:
    if pd.isna(row["mean"]):
        return f"nothing can be said ({'fewer than two pairs of runs' if row['pairs'] < 2 else 'a run diverged'})"
    better = "better" if (row["mean"] < 0) == runs.measure.lower_is_better else "worse"
    return {
        "differs": f"**differs**, the first is {better}",
        "differs negligibly": f"**differs negligibly**, within the margin {runs.margin:g}, the first is {better}",
        "level": f"**level**, the difference lies within the margin {runs.margin:g}",
        "undecided": "**undecided**",
    }[row["verdict"]]


def _describe(row: pd.Series) -> str:
    """Return condition, difference, interval and pairs of an estimate, and the seeds that would decide it."""
    if pd.isna(row["mean"]):
        return row["condition"]
    where = f"{row['condition']}: " if row["condition"] else ""
    more = "" if pd.isna(row["seeds_needed"]) else f", {seeds_in_words(row['seeds_needed'])} would decide"
    return f"{where}{interval(row['mean'], row['low'], row['high'], '+')}, {row['pairs']} pairs{more}"


def _name_some(runs: pd.DataFrame) -> str:
    """Name some runs, the first five of them."""
    named = [name_run(run) for _, run in runs.head(5).iterrows()]
    return "; ".join([*named, *(["and more"] if len(runs) > 5 else [])])
