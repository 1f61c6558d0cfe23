"""Sentences made from records, so that what is said cannot disagree with the figures: what a study found, and where."""

from __future__ import annotations

import numpy as np
import pandas as pd

from normlib.conditions import Varies, in_words
from normlib.gaps import depends_on_reading, estimate_readings
from normlib.ordering import BASELINE, SOURCE_INSTANCES
from normlib.rankings import count_rankings, winners
from normlib.statistics import MEASURES, follows_source, summarize
from normlib.status import planned_runs
from normlib.studies import Study
from normlib.verdicts import estimate, seeds_in_words


def findings(records: pd.DataFrame, study: Study) -> str:
    """Return what a study found, in Markdown: contrasts, baseline, the source's ranking, missing runs, readings.

    Args:
        records: One row a run, as ``load_records`` gives.
        study: The study that they belong to.

    Raises:
        RequestError: Runs that must not be compared.
    """
    said = [
        *contrast_sentences(records, study),
        *baseline_sentences(records, study.measure, study.varies),
        *source_sentences(records),
        *reading_sentences(records, study),
        *run_sentences(records, study),
    ]
    heading = f"In {_measure(records, study.measure)}, for {in_words(records, study.varies)}:"
    return "\n".join([heading, "", *(f"- {sentence}" for sentence in said)])


def headline(records: pd.DataFrame, study: Study) -> str:
    """Return what a study found in one sentence, in Markdown: contrasts by verdict, the baseline, the conditions."""
    declared = study.declared_for(records["ordering"])
    estimates = estimate(records, declared, study.measure, study.margin, study.varies)
    told = []
    for verdict in ("differs", "differs negligibly", "level", "undecided"):
        rows = estimates[estimates["verdict"] == verdict]
        named = "; ".join(_brief(name, rows.loc[[name]], study) for name in dict.fromkeys(rows.index))
        told += [f"**{verdict}:** {named}"] if named else []
    found = winners(records, study.measure, study.varies)
    wins = (found["winner"] == BASELINE).sum()
    count = f" under {wins} of {len(found)} conditions" if study.varies else ""
    baseline = f"the baseline has {'the' if wins else 'nowhere the'} best mean{count if wins else ''}"
    return (
        f"In {_measure(records, study.measure)}, for {in_words(records, study.varies)}: {'. '.join(told)}. "
        f"And {baseline}."
    )


def contrast_sentences(records: pd.DataFrame, study: Study) -> list[str]:
    """Return a sentence for each declared contrast: verdict, difference with interval, pairs, and where it holds."""
    declared = study.declared_for(records["ordering"])
    if not declared:
        return ["No contrast that these orderings allow was declared, so no difference is judged."]
    estimates = estimate(records, declared, study.measure, study.margin, study.varies)
    sentences = []
    for contrast in declared:
        rows = estimates.loc[[contrast.name]]
        # Conditions with the same conclusion are told together.
        conclusions = [_conclusion(row, study.margin) for _, row in rows.iterrows()]
        told = []
        for conclusion in dict.fromkeys(conclusions):
            group = rows[[each == conclusion for each in conclusions]]
            told.append(f"{conclusion}{_details(group)}")
        first, second = (_side(side) for side in (contrast.first, contrast.second))
        sentences.append(f"*{contrast.name}*, {first} against {second}: {'; '.join(told)}.")
    return sentences


def baseline_sentences(records: pd.DataFrame, measure: str, varies: Varies = ()) -> list[str]:
    """Return whether the model without normalization has the best mean, and by how much, under each condition."""
    if BASELINE not in set(records["ordering"]):
        return ["The baseline, none/none, was not run."]
    found = winners(records, measure, varies)
    if found.empty:
        return []
    wins = found[found["winner"] == BASELINE]
    sentences = []
    if len(found) > 1:
        where = f": {'; '.join(wins.index)}" if len(wins) else ""
        count = f"{len(wins)} of {len(found)} conditions"
        sentences.append(f"The baseline, none/none, has the best mean under {count}{where}.")
    for condition, row in found.iterrows():
        sure = "" if pd.isna(row["low"]) else f" [{row['low']:.4f}, {row['high']:.4f}]"
        clear = "" if row["low"] > 0 else ", which is not clear of zero"
        who, rival = (f"the baseline {name}" if name == BASELINE else name for name in row[["winner", "rival"]])
        where = f"Under {condition}, {who}" if condition else f"By means, {who}"
        ahead = f"{row['lead']:.4f}{sure} ahead of {rival}{clear}"
        seeds = f"first with {row['first_in'] * row['pairs']:.0f} of {row['pairs']:.0f} seeds"
        sentences.append(f"{where} is best, {row['mean']:.4f}: {ahead}, and {seeds}.")
    return sentences


def source_sentences(records: pd.DataFrame) -> list[str]:
    """Return whether the source's ranking holds, by means and seed by seed, where the runs follow its protocol."""
    there = set(records["ordering"])
    if not follows_source(records) or not there.issuperset(SOURCE_INSTANCES):
        return []
    source = " < ".join(sorted(SOURCE_INSTANCES, key=lambda ordering: SOURCE_INSTANCES[ordering].loss))
    lottery = count_rankings(records, "train_loss", list(SOURCE_INSTANCES))
    if lottery.empty:
        return []
    means = summarize(records, "train_loss")["mean"].loc[list(SOURCE_INSTANCES)].sort_values()
    ours = " < ".join(means.index)
    seeds = lottery["seeds"].get(source, 0)
    holds = "is that of the means here" if ours == source else f"is not that of the means here, {ours}"
    return [
        f"The source's ranking by one run each, {source}, {holds}; {seeds} of {lottery['seeds'].sum()} seeds give it, "
        f"and {len(lottery)} different rankings come out."
    ]


def reading_sentences(records: pd.DataFrame, study: Study) -> list[str]:
    """Return which conclusions on the evaluation images depend on how BatchNorm's moving averages are read."""
    declared = study.declared_for(records["ordering"])
    has_batch_norm = any("bn" in str(contrast) for contrast in declared)
    if not declared or not has_batch_norm:
        return []
    by_reading = estimate_readings(records, declared, study.measure, study.margin, study.varies)
    depends = depends_on_reading(by_reading, study.margin)
    kind = study.measure.split("_")[1]
    untouched = " (the training figure has no readings)" if study.measure.startswith("train") else ""
    if not depends.any():
        return [f"No conclusion on evaluation {kind} depends on the reading of BatchNorm{untouched}."]
    sentences = []
    for name, place in ((name, i) for i, name in enumerate(by_reading["inference"].index) if depends[i]):
        rows = {reading: frame.iloc[place] for reading, frame in by_reading.items()}
        condition = rows["inference"]["condition"]
        where = f" under {condition}" if condition else ""
        told = ", ".join(f"{reading} {row['verdict']} ({row['mean']:+.4f})" for reading, row in rows.items())
        sentences.append(f"On evaluation {kind}, *{name}*{where} depends on the reading{untouched}: {told}.")
    return sentences


def run_sentences(records: pd.DataFrame, study: Study) -> list[str]:
    """Return which planned runs are missing, and which diverged."""
    sentences = []
    planned = planned_runs(records, study)
    missing = planned[~planned["done"]]
    if len(missing):
        sentences.append(
            f"Missing, {len(missing)} of {len(planned)} runs: {_name_some(missing)}. Contrasts leave out their pairs."
        )
    diverged = records[~np.isfinite(records[study.measure].astype(float))]
    if len(diverged):
        sentences.append(
            f"Diverged, {len(diverged)} run{'s' if len(diverged) > 1 else ''}: {_name_some(diverged)}. "
            "Diverged runs are not left out, so nothing is said of contrasts that they stand in."
        )
    return sentences


def ranking_sentence(records: pd.DataFrame) -> str:
    """Return the ranking by mean running training loss, beside the source's, in Markdown."""
    summary = summarize(records, "train_loss").sort_values("mean")
    ranking = ", ".join(f"{ordering} {mean:.4f}" for ordering, mean in summary["mean"].items())
    source = sorted(SOURCE_INSTANCES, key=lambda ordering: SOURCE_INSTANCES[ordering].loss)
    beside = f" The source, with one run each, ranked {', '.join(source)}." if follows_source(records) else ""
    fewest, most = summary["runs"].min(), summary["runs"].max()
    count = f"{most} run{'s' if most > 1 else ''}" if fewest == most else f"{fewest} to {most} runs"
    return (
        f"**Mean running training loss, lowest first** ({count} an ordering): {ranking}.{beside} "
        f"Which differences are more than luck, only contrasts of paired runs tell. It holds for {in_words(records)}."
    )


def _brief(name: str, rows: pd.DataFrame, study: Study) -> str:
    """Return a contrast's name with its difference, or with how often it is lower and higher."""
    if not study.varies:
        row = rows.iloc[0]
        return f"{name} ({row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}])"
    lower, higher = (rows["mean"] < 0).sum(), (rows["mean"] > 0).sum()
    counts = [f"{count} {word}" for count, word in ((lower, "lower"), (higher, "higher")) if count]
    return f"{name} under {len(rows)} conditions ({', '.join(counts)})"


def _side(orderings: tuple[str, ...]) -> str:
    named = ", ".join(orderings[:-1])
    return f"the mean of {named} and {orderings[-1]}" if named else orderings[-1]


def _conclusion(row: pd.Series, margin: float) -> str:
    if pd.isna(row["mean"]):
        return f"nothing can be said ({'fewer than two pairs of runs' if row['pairs'] < 2 else 'a run diverged'})"
    direction = "lower" if row["mean"] < 0 else "higher"
    return {
        "differs": f"**differs**, the first is {direction}",
        "differs negligibly": f"**differs negligibly**, within the margin of {margin:g}, the first is {direction}",
        "level": f"**level**, the difference lies within the margin of {margin:g}",
        "undecided": "**undecided**",
    }[row["verdict"]]


def _details(rows: pd.DataFrame) -> str:
    """Return difference, interval and pairs of some estimates, and the seeds that would decide undecided ones."""
    told = []
    for _, row in rows.iterrows():
        where = f"{row['condition']}: " if row["condition"] else ""
        if pd.isna(row["mean"]):
            told.append(where.removesuffix(": "))
            continue
        more = "" if pd.isna(row["seeds_needed"]) else f", {seeds_in_words(row['seeds_needed'])} would decide"
        interval = f"{row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        told.append(f"{where}{interval}, {row['pairs']} pairs{more}")
    told = [text for text in told if text]
    return f" ({'; '.join(told)})" if told else ""


def _measure(records: pd.DataFrame, measure: str) -> str:
    where = "" if measure.startswith("train") else f" on {records['evaluate_split'].iloc[0]}"
    return f"{MEASURES[measure]}{where}"


def _name_some(runs: pd.DataFrame) -> str:
    """Name some runs, the first five of them."""
    named = [
        ", ".join(part for part in (run.get("condition", ""), run["ordering"], f"seed {run['seed']}") if part)
        for _, run in runs.head(5).iterrows()
    ]
    return "; ".join([*named, *(["and more"] if len(runs) > 5 else [])])
