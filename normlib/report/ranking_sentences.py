"""Sentences on who is best: the baseline, the source's ranking, the ranking by means. Made from records."""

from __future__ import annotations

import pandas as pd

from normlib.analysis.conditions import Varies, in_words
from normlib.analysis.rankings import count_rankings, winners
from normlib.analysis.statistics import follows_source, summarize
from normlib.models.ordering import SOURCE_INSTANCES, find_baseline, is_baseline


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
