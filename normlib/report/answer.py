"""The answer of a study in a few plain lines, as a terminal and the first screen of a summary show it."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from normlib.analysis.comparison import Comparison
from normlib.analysis.planning import what_would_decide
from normlib.report import tables
from normlib.report.sentences import interval, run_sentences, winner_sentences
from normlib.studies.results import Results


def answer(results: Results) -> list[str]:
    """Return what a study found: a line a declared contrast, the best ordering, the cost, what is missing or diverged.

    Args:
        results: The study and its runs.

    Returns:
        Lines of plain text.
    """
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
        decided = results.estimates["verdict"] != "undecided"
        order = {c.name: not decided[[c.name]].any() for c in results.contrasts}
        verdicts = [line for _, line in sorted(zip(order.values(), verdicts, strict=True), key=lambda pair: pair[0])]
    if len(others) >= _MOST - 1:
        others = [*others[: _MOST - 3], f"More sentences below: {len(others) - _MOST + 3}."]
    left = _MOST - len(others)
    if len(verdicts) > left:
        verdicts = [*verdicts[: left - 1], f"More contrasts below: {len(verdicts) - left + 1}."]
    return [*verdicts, *others]


def verdict_lines(runs: Comparison) -> list[str]:
    """Return a line for each contrast: the verdict, which side is better, the difference with its interval.

    Args:
        runs: Runs and their contrasts.

    Returns:
        Lines of plain text. Where a contrast is judged under several conditions, they are counted.
    """
    if runs.contrasts and (runs.estimates["pairs"] < 2).all():
        return ["Nothing can be said of a difference: two runs of each side, paired by seed, are the fewest."]
    lines = []
    for contrast in runs.contrasts:
        rows = [row for _, row in runs.estimates.loc[[contrast.name]].iterrows()]
        found = [_one(row, contrast.sides, runs) for row in rows]
        if len(rows) == 1:
            verdict, side, figures = found[0]
            lines.append(f"{contrast.name}: {verdict}; {side}{figures}")
            continue
        counts = Counter(f"{verdict}, {side}" if "better" in side else verdict for verdict, side, _ in found)
        counted = [(n, text.replace("differs", "differ") if n > 1 else text) for text, n in counts.most_common()]
        said = "; ".join(f"{number} {text}" for number, text in counted)
        lines.append(f"{contrast.name}, under {len(rows)} conditions: {said}")
    return lines


def _one(row: pd.Series, sides: tuple[str, str], runs: Comparison) -> tuple[str, str, str]:
    """Return a contrast's verdict, what it says of the two sides, and its figures."""
    first, second = sides
    if pd.isna(row["mean"]):
        reason = "fewer than two pairs of runs" if row["pairs"] < 2 else "a run diverged"
        return "nothing can be said", f"{first} against {second}", f": {reason}"
    if row["verdict"] == "undecided":
        later = what_would_decide(row)
        figures = f": {interval(row['mean'], row['low'], row['high'], '+')}{'; ' * bool(later)}{later}"
        return "undecided", f"{first} against {second}", figures
    if row["verdict"] == "level":
        figures = f", within the margin {runs.margin:g}: {interval(row['mean'], row['low'], row['high'], '+')}"
        return "level", f"{first} against {second}", figures
    low, high = row["low"], row["high"]
    if (row["mean"] < 0) != runs.measure.lower_is_better:
        first, second = second, first
    ends = (-high, -low) if row["mean"] < 0 else (low, high)
    return row["verdict"], f"{first} is better than {second}", f" by {interval(abs(row['mean']), *ends)}"
