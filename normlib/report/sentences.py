"""What a study found, in sentences made from its records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from normlib.analysis.conditions import Varies, in_words, label
from normlib.analysis.rankings import count_rankings, winners
from normlib.analysis.statistics import MEASURES, follows_source, summarize
from normlib.analysis.verdicts import (
    GAP_PARTS,
    depends_on_reading,
    estimate,
    estimate_readings,
    seeds_in_words,
    split_gap,
)
from normlib.models.ordering import SOURCE_INSTANCES, find_baseline, has_batch_norm, is_baseline
from normlib.report.html import as_markdown
from normlib.studies.folder import UndeclaredStudy, name_run, planned_runs
from normlib.studies.study import Study
from normlib.studies.tuning import tuning_sentences


def baseline_sentence(records: pd.DataFrame, measure: str, varies: Varies = ()) -> str:
    """Return whether the baseline has the best mean, under how many conditions and which, as a sentence."""
    baseline = find_baseline(records["ordering"])
    if baseline is None:
        return "The baseline, without normalization, was not run."
    found = winners(records, measure, varies)
    if found.empty:
        return f"Nothing can be said of the baseline, {baseline}: there is no other ordering without diverged runs."
    wins = found[found["winner"] == baseline]
    if not varies:
        return f"The baseline, {baseline}, {'has' if len(wins) else 'does not have'} the best mean."
    where = f": {'; '.join(wins.index)}" if len(wins) else ""
    recalibrated = _recalibrated_winners(records, measure, varies)
    count = sum(winner == baseline for winner in recalibrated.values())
    read = f" With recalibrated statistics it would be {count}." if recalibrated and count != len(wins) else ""
    return f"The baseline, {baseline}, has the best mean under {len(wins)} of {len(found)} conditions{where}.{read}"


def baseline_sentences(records: pd.DataFrame, measure: str, varies: Varies = ()) -> list[str]:
    """Return whether the model without normalization has the best mean, and who leads by how much, in each condition.

    Where the measure is a reading's and BatchNorm is among the orderings, it is also said where another would be best
    with recalibrated statistics.
    """
    # Where the baseline is the only condition's winner, the sentence on the winner says so.
    told = not varies and winners(records, measure)["winner"].map(is_baseline).any()
    first = [] if told else [baseline_sentence(records, measure, varies)]
    return [*first, *winner_sentences(records, measure, varies)]


def winner_sentences(records: pd.DataFrame, measure: str, varies: Varies = ()) -> list[str]:
    """Return who has the best mean, by how much, and with how many seeds, a sentence a condition."""
    recalibrated = _recalibrated_winners(records, measure, varies)
    sentences = []
    for condition, row in winners(records, measure, varies).iterrows():
        who, rival = (f"the baseline {name}" if is_baseline(name) else name for name in row[["winner", "rival"]])
        where = f"Under {condition}, {who}" if condition else f"By means, {who}"
        sure = "" if pd.isna(row["low"]) else f" [{row['low']:.4f}, {row['high']:.4f}]"
        clear = ", which is not clear of zero" if row["low"] <= 0 else ""
        ahead = f"{row['lead']:.4f}{sure} ahead of {rival}{clear}" if row["pairs"] else f"no pairs with {rival}"
        other = recalibrated.get(condition, row["winner"])
        turned = f"; recalibrated, it would be {other}" if other != row["winner"] else ""
        seeds = f"first with {row['first']} of {row['seeds']} seeds"
        sentences.append(f"{where} is best, {row['mean']:.4f}: {ahead}, and {seeds}{turned}.")
    return sentences


def source_sentences(records: pd.DataFrame) -> list[str]:
    """Return whether the source's ranking holds, by means and seed by seed, where the runs follow its protocol."""
    there = set(records["ordering"])
    if not follows_source(records) or not there.issuperset(SOURCE_INSTANCES):
        return []
    source = " < ".join(sorted(SOURCE_INSTANCES, key=lambda ordering: SOURCE_INSTANCES[ordering].loss))
    lottery = count_rankings(records, "train_loss", list(SOURCE_INSTANCES))
    if lottery["seeds"].sum() < 2:  # one seed tells no ranking, and a diverged ordering has no place in one
        return []
    means = summarize(records, "train_loss")["mean"].loc[list(SOURCE_INSTANCES)].sort_values()
    ours = " < ".join(means.index)
    seeds = lottery["seeds"].get(source, 0)
    holds = "is that of the means here" if ours == source else f"is not that of the means here, {ours}"
    return [
        f"The source's ranking by running training loss, {source}, {holds}; {seeds} of {lottery['seeds'].sum()} seeds "
        f"give it, and {len(lottery)} different rankings come out."
    ]


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


def _recalibrated_winners(records: pd.DataFrame, measure: str, varies: Varies) -> dict[str, str]:
    """Return who would be best by condition, where BatchNorm's moving averages weigh on the measure."""
    if not measure.startswith("eval"):
        return {}
    return winners(records, measure.replace("eval", "recalibrated"), varies)["winner"].to_dict()


def asked(study: Study) -> str:
    """Return what a study asks, and after whom, in Markdown."""
    after = f"\n\n{as_markdown(study.citation)}" if study.citation else ""
    return f"*{as_markdown(study.question)}*{after}"


def findings(records: pd.DataFrame, study: Study) -> str:
    """Return what a study found, in Markdown: contrasts, baseline, the source's ranking, readings, missing runs.

    Args:
        records: One row a run, as ``load_records`` gives.
        study: The study that they belong to.

    Raises:
        RequestError: Runs that must not be compared.
    """
    said = [
        *tuning_sentences(study),
        *contrast_sentences(records, study),
        *baseline_sentences(records, study.measure, study.varies),
        *source_sentences(records),
        *reading_sentences(records, study),
        *gap_sentences(records, study),
        *run_sentences(records, study),
    ]
    return "\n".join([f"{_where(records, study)}:", "", *(f"- {sentence}" for sentence in said)])


def headline(records: pd.DataFrame, study: Study) -> str:
    """Return what a study found in one paragraph, in Markdown: contrasts by verdict, winners, readings, conditions."""
    estimates = estimate(records, **study.family)
    told = []
    for verdict in ("differs", "differs negligibly", "level", "undecided"):
        rows = estimates[estimates["verdict"] == verdict]
        named = "; ".join(_brief(name, rows.loc[[name]], study) for name in dict.fromkeys(rows.index))
        told += [f"**{verdict}:** {named}"] if named else []
    contrasts = ". ".join(told) or "no contrast was declared"
    depending = _depending(_by_reading(records, study), study.margin)
    names = "; ".join(f"{as_markdown(name)}{f' ({where})' if where else ''}" for name, where, _ in depending)
    training = ", not of the training figure but on evaluation images" if study.measure.startswith("train") else ""
    reading = [f"Depends on the reading of BatchNorm{training}: {names}."] if names else []
    baseline = baseline_sentence(records, study.measure, study.varies)
    more = [*tuning_sentences(study), *reading, *gap_sentences(records, study)]
    return " ".join([f"{_where(records, study)}: {contrasts}.", baseline, *more])


def contrast_sentences(records: pd.DataFrame, study: Study) -> list[str]:
    """Return a sentence for each declared contrast: verdict, difference with interval, pairs, and where it holds."""
    if not study.declared:
        return ["No contrast was declared, so no difference is judged."]
    estimates = estimate(records, **study.family)
    sentences = []
    for contrast in study.declared:
        rows = estimates.loc[[contrast.name]]
        # Conditions with the same conclusion are told together.
        conclusions = [_conclusion(row, study) for _, row in rows.iterrows()]
        told = []
        for conclusion in dict.fromkeys(conclusions):
            group = rows[[each == conclusion for each in conclusions]]
            told.append(f"{conclusion}{_details(group)}")
        first, second = (_side(side) for side in (contrast.first, contrast.second))
        sentences.append(f"*{as_markdown(contrast.name)}*, {first} against {second}: {'; '.join(told)}.")
    return sentences


def reading_sentences(records: pd.DataFrame, study: Study) -> list[str]:
    """Return which conclusions on the evaluation images depend on how BatchNorm's moving averages are read."""
    kind = study.measure.split("_")[1]
    untouched = " (the training figure has no readings)" if study.measure.startswith("train") else ""
    by_reading = _by_reading(records, study)
    sentences = []
    for name, condition, rows in _depending(by_reading, study.margin):
        where = f" under {condition}" if condition else ""
        told = ", ".join(
            f"{reading} {row['verdict']} ({row['mean']:+.4f})" if pd.notna(row["mean"]) else f"{reading} diverged"
            for reading, row in rows.items()
        )
        contrast = f"*{as_markdown(name)}*{where}"
        sentences.append(f"On evaluation {kind}, {contrast} depends on the reading{untouched}: {told}.")
    if sentences or not by_reading or (by_reading["inference"]["verdict"] == "undecided").all():
        return sentences
    return [f"No conclusion on evaluation {kind} depends on the reading of BatchNorm{untouched}."]


def gap_sentences(records: pd.DataFrame, study: Study) -> list[str]:
    """Return what the moving averages add to the evaluation loss, by more than the margin; none for other measures."""
    if study.measure != "eval_loss":
        return []
    sentences = []
    for _, row in split_gap(records, study.varies).iterrows():
        if row["debiasing"] + row["recalibration"] > study.margin:
            where = f" under {row['condition']}" if row["condition"] else ""
            parts = (f"{row[name]:.4f} [{row[f'{name}_low']:.4f}, {row[f'{name}_high']:.4f}]" for name in GAP_PARTS)
            inference, debiasing, recalibration, rest = parts
            sentences.append(
                f"Of {row['ordering']}'s {inference}{where}, debiasing removes {debiasing}, "
                f"recalibration {recalibration} beyond, and {rest} is the rest."
            )
    return sentences


def run_sentences(records: pd.DataFrame, study: Study) -> list[str]:
    """Return which planned runs are missing, and which diverged."""
    sentences = []
    planned = planned_runs(records, study)
    missing = planned[~planned["done"]]
    if len(missing) and not isinstance(study, UndeclaredStudy):
        sentences.append(
            f"Missing, {len(missing)} of {len(planned)} runs: {_name_some(missing)}. Contrasts leave out their pairs."
        )
    other = records["study_sha256"].notna() & (records["study_sha256"] != study.declared_in)
    if other.any():
        sentences.append(
            f"{other.sum()} of {len(records)} runs were made for another version of the study's file, so what is "
            "declared now was not declared before them."
        )
    measures = [measure for measure in MEASURES if measure in records]
    finite = np.isfinite(records[measures].astype(float)).all(axis=1)
    diverged = records[~finite].assign(condition=[label(run, study.varies) for _, run in records[~finite].iterrows()])
    if len(diverged):
        sentences.append(
            f"Diverged, {len(diverged)} run{'s' if len(diverged) > 1 else ''}: {_name_some(diverged)}. "
            "Diverged runs are not left out, so nothing is said of contrasts that they stand in."
        )
    return sentences


def _where(records: pd.DataFrame, study: Study) -> str:
    name, *reading = MEASURES[study.measure].split(", ")
    splits = records["evaluate_split"].unique()
    where = f" on {splits[0]}" if not study.measure.startswith("train") and len(splits) == 1 else ""
    read = "as Keras evaluates it" if study.measure.startswith("eval") else "".join(reading)
    measure = ", ".join(part for part in (f"{name}{where}", read) if part)
    return f"In {measure}, for {in_words(records, study.varies)}"


def _by_reading(records: pd.DataFrame, study: Study) -> dict[str, pd.DataFrame]:
    """Return the estimates in each reading; none where no contrast has BatchNorm in it."""
    compared = {ordering for contrast in study.declared for ordering in contrast.first + contrast.second}
    return estimate_readings(records, **study.family) if any(map(has_batch_norm, compared)) else {}


def _depending(by_reading: dict[str, pd.DataFrame], margin: float) -> Iterator[tuple[str, str, dict[str, pd.Series]]]:
    """Give the estimates that depend on the reading: contrast, condition, and the row of each reading."""
    for place in np.flatnonzero(depends_on_reading(by_reading, margin)) if by_reading else []:
        rows = {reading: frame.iloc[place] for reading, frame in by_reading.items()}
        yield rows["inference"].name, rows["inference"]["condition"], rows


def _brief(name: str, rows: pd.DataFrame, study: Study) -> str:
    """Return what was concluded of a contrast, shortly: by how much, or, where settings vary, under which of them."""
    name = as_markdown(name)
    if study.varies:
        told: dict[str, list[str]] = {}
        for _, row in rows.iterrows():
            word = _direction(row, study) if row["verdict"].startswith("differs") else ""
            told.setdefault(word, []).append(row["condition"])
        under = "; ".join(f"{word} under {' and under '.join(where)}".strip() for word, where in told.items())
        return f"{name}, {under}"
    row = rows.iloc[0]
    if pd.isna(row["mean"]):
        return f"{name} (nothing can be said)"
    first, second = row["contrast"].split(" - ")
    if not row["verdict"].startswith("differs"):
        return f"{name} ({first} minus {second}: {row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}])"
    low, high = sorted((abs(row["low"]), abs(row["high"])))
    return f"{name} ({first} {_direction(row, study)} than {second}, by {abs(row['mean']):.4f} [{low:.4f}, {high:.4f}])"


def _side(orderings: tuple[str, ...]) -> str:
    named = ", ".join(orderings[:-1])
    return f"the mean of {named} and {orderings[-1]}" if named else orderings[-1]


def _conclusion(row: pd.Series, study: Study) -> str:
    if pd.isna(row["mean"]):
        return f"nothing can be said ({'fewer than two pairs of runs' if row['pairs'] < 2 else 'a run diverged'})"
    direction = _direction(row, study)
    return {
        "differs": f"**differs**, the first is {direction}",
        "differs negligibly": f"**differs negligibly**, within the margin {study.margin:g}, the first is {direction}",
        "level": f"**level**, the difference lies within the margin {study.margin:g}",
        "undecided": "**undecided**",
    }[row["verdict"]]


def _direction(row: pd.Series, study: Study) -> str:
    """Return whether the first side is better, which is lower in loss and higher in accuracy, or worse."""
    return "better" if (row["mean"] < 0) != study.measure.endswith("accuracy") else "worse"


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


def _name_some(runs: pd.DataFrame) -> str:
    """Name some runs, the first five of them."""
    named = [name_run(run) for _, run in runs.head(5).iterrows()]
    return "; ".join([*named, *(["and more"] if len(runs) > 5 else [])])
