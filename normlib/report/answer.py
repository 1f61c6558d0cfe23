"""The answer of a study in a few plain lines, as a terminal and the first screen of a summary show it."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from normlib.analysis.comparison import Comparison
from normlib.analysis.planning import what_would_decide
from normlib.report import tables
from normlib.report.sentences import figures, interval, reason_for_nothing, run_sentences, winner_sentences
from normlib.studies.results import Results


def answer(results: Results) -> list[str]:
    """Return what a study found: a line a contrast, the best ordering, the cost, what is missing or diverged."""
    return [*verdict_lines(results), *winner_sentences(results), *cost_lines(results), *run_sentences(results)]


def cost_lines(results: Results) -> list[str]:
    """Return what the orderings cost beside the baseline, where that was measured."""
    if results.cost is None:
        return []
    against, shown = results.cost["against"].iloc[0], tables.cost_table(results)
    ratios = [
        f"{name} {row['seconds to fit']} and {row['seconds to evaluate']}"
        for name, row in shown.drop(index=against).iterrows()
    ]
    return [f"{tables.cost_scale(results)}: to fit and to evaluate, {', '.join(ratios)}."] if ratios else []


_MOST = 5  # lines of a short answer


def short_answer(results: Results) -> list[str]:
    """Return the answer in at most five lines: of many contrasts, those that are decided somewhere first."""
    verdicts, others = verdict_lines(results), [*winner_sentences(results), *run_sentences(results)]
    if len(verdicts) == len(results.contrasts):
        undecided = (results.estimates["verdict"] == "undecided").groupby(level="name").all()
        lines = sorted(zip(results.contrasts, verdicts, strict=True), key=lambda pair: undecided[pair[0].name])
        verdicts = [line for _, line in lines]
    if len(others) >= _MOST - 1:
        others = [*others[: _MOST - 3], f"More sentences below: {len(others) - _MOST + 3}."]
    left = _MOST - len(others)
    if len(verdicts) > left:
        verdicts = [*verdicts[: left - 1], f"More contrasts below: {len(verdicts) - left + 1}."]
    return [*verdicts, *others]


def verdict_lines(runs: Comparison) -> list[str]:
    """Return a line for each contrast: the verdict, which side is better, the difference with its interval.

    Where a contrast is judged under several conditions, they are counted.
    """
    if runs.contrasts and (runs.estimates["pairs"] < 2).all():
        return ["Nothing can be said of a difference: two runs of each side, paired by seed, are the fewest."]
    lines = []
    for contrast in runs.contrasts:
        found = [_one(row, contrast.sides, runs) for _, row in runs.estimates.loc[[contrast.name]].iterrows()]
        if len(found) == 1:
            lines.append("{}: {}; {}{}".format(contrast.name, *found[0]))
            continue
        counts = Counter(f"{verdict}, {side}" if "better" in side else verdict for verdict, side, _ in found)
        said = [f"{n} {text.replace('differs', 'differ') if n > 1 else text}" for text, n in counts.most_common()]
        lines.append(f"{contrast.name}, under {len(found)} conditions: {'; '.join(said)}")
    return lines


def _one(row: pd.Series, sides: tuple[str, str], runs: Comparison) -> tuple[str, str, str]:
    """Return a contrast's verdict, what it says of the two sides, and its figures."""
    first, second = sides
    within = f", within the margin {runs.margin:g}"
    if pd.isna(row["mean"]):
        return "nothing can be said", f"{first} against {second}", f": {reason_for_nothing(row)}"
    if row["verdict"] == "undecided":
        said = "; ".join(filter(None, [figures(row), what_would_decide(row)]))
        return "undecided", f"{first} against {second}", f": {said}"
    if row["verdict"] == "level":
        return "level", f"{first} against {second}", f"{within}: {figures(row)}"
    if (row["mean"] < 0) != runs.measure.lower_is_better:
        first, second = second, first
    ends = (-row["high"], -row["low"]) if row["mean"] < 0 else (row["low"], row["high"])
    by = f" by {interval(abs(row['mean']), *ends)}{within if row['verdict'] == 'differs negligibly' else ''}"
    return row["verdict"], f"{first} is better than {second}", by
