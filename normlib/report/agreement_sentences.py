"""Sentences on a study that was run in two places, A and B: where, which figures agree, and which contrasts."""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd

from normlib.analysis.agreement import count_equal, is_same_place, only_in
from normlib.analysis.statistics import MEASURES
from normlib.analysis.verdicts import SIGNIFICANCE
from normlib.report.agreement_sides import Side
from normlib.report.sentences import run_sentences
from normlib.report.tables import provenance

_SIDES = ("A", "B")


def place_sentences(side_a: Side, side_b: Side) -> list[str]:
    """Return where each side was run, and with how many runs and which seeds."""
    told = []
    for letter, side in zip(_SIDES, (side_a, side_b), strict=True):
        facts = provenance(side.records)["value"]
        told.append(
            f"{letter}, {side.study.name}: {len(side.runs)} runs, seeds: {facts['seeds']}; {facts['stack']}; "
            f"processor: {facts['processor']}; device: {facts['device']}; threads a run: {facts['threads']}."
        )
    return told


def agreement_sentences(figures: pd.DataFrame, measure: str, margin: float) -> list[str]:
    """Return how many figures agree, which do not, and how large a difference may be where they do.

    Args:
        figures: What ``normlib.analysis.agreement.agreement`` gives.
        measure: The study's.
        margin: The study's.
    """
    agree, differ, undecided = (figures[figures["verdict"] == word] for word in ("agrees", "differs", "undecided"))
    told = [f"{len(agree)} of {len(figures)} figures agree: the 95 % interval of B minus A holds zero."]
    if len(differ):
        told.append(f"Of the figures, these differ: {_list(differ, means=True)}.")
        corrected = differ[differ["holm_p"] < SIGNIFICANCE]
        told.append(
            f"Of figures that are truly equal, up to one in twenty is said to differ; with Holm's correction over all "
            f"{len(figures)}, {_list(corrected) if len(corrected) else 'none'} still would."
        )
    if len(undecided):
        told.append(f"Nothing can be said, where a run diverged or a side has but one: {_list(undecided)}.")
    seen = agree[agree["measure"] == measure]
    if len(seen):
        reach = seen[["low", "high"]].abs().to_numpy().max()
        told.append(
            f"To agree is not to be equal: in {MEASURES[measure]}, the intervals of the figures that agree reach to "
            f"differences of {reach:.4f} (the study's margin: {margin:g})."
        )
    return told


def contrast_sentences(contrasts: pd.DataFrame) -> list[str]:
    """Return which declared contrasts have the same verdict on both sides, and which have not.

    Args:
        contrasts: What ``normlib.analysis.agreement.contrast_agreement`` gives.
    """
    if contrasts.empty:
        return ["No contrast was declared."]
    lacking = (contrasts["pairs_a"] == 0) | (contrasts["pairs_b"] == 0)
    compared = contrasts[~lacking]
    same, others = compared[compared["same_verdict"]], compared[~compared["same_verdict"]]
    undecided = (others[["verdict_a", "verdict_b"]] == "undecided").any(axis=1)
    groups = {
        f"{len(same)} of {len(compared)} contrasts have the same verdict in A and in B": same,
        "A and B contradict each other": others[~undecided],
        "Undecided in one of them": others[undecided],
    }
    told = [
        f"{title}{': ' if len(rows) else ''}{'; '.join(_verdicts(name, row) for name, row in rows.iterrows())}."
        for title, rows in groups.items()
        if len(rows) or (rows is same and len(compared))
    ]
    differ = compared[compared["verdict"] == "differs"]
    if len(differ):
        named = "; ".join(f"{_name(name, row)} ({_difference(row)})" for name, row in differ.iterrows())
        told.append(f"Another size in B than in A, beyond the 95 % interval, have: {named}.")
    if lacking.any():
        named = "; ".join(_name(name, row) for name, row in contrasts[lacking].iterrows())
        told.append(f"Contrasts not compared, since a side has no pairs of runs: {named}.")
    return told


def side_sentences(side_a: Side, side_b: Side) -> list[str]:
    """Return what is not compared, missing or diverged, and, of runs in one place, how many are equal to the bit."""
    told, varies = [], side_a.study.varies
    for letter, side, other in zip(_SIDES, (side_a, side_b), (side_b, side_a), strict=True):
        if names := only_in(side.records, other.records, varies):
            told.append(f"Not compared, since only {letter} has runs: {', '.join(names)}.")
    for letter, side in zip(_SIDES, (side_a, side_b), strict=True):
        told += [f"In {letter}: {sentence}" for sentence in run_sentences(side.records, side.study)]
    if is_same_place(side_a.records, side_b.records):
        equal, runs = count_equal(side_a.records, side_b.records, varies)
        told.append(
            "A and B were run in the same place, where the same seed gives the same bits: "
            f"{equal} of {runs} runs that both have are equal to the bit."
        )
    return told


def _list(figures: pd.DataFrame, means: bool = False) -> str:
    named = []
    for _, row in figures.iterrows():
        where = f" under {row['condition']}" if row["condition"] else ""
        values = f" (A {row['mean_a']:.4f}, B {row['mean_b']:.4f})" if means else ""
        named.append(f"{MEASURES[row['measure']]} of {row['ordering']}{where}{values}")
    return "; ".join(named)


def _name(name: Hashable, row: pd.Series) -> str:
    return f"{name} under {row['condition']}" if row["condition"] else str(name)


def _verdicts(name: Hashable, row: pd.Series) -> str:
    if row["same_verdict"]:
        return f"{_name(name, row)} ({row['verdict_a']})"
    told = (f"{s.upper()} {row[f'mean_{s}']:+.4f} with {row[f'pairs_{s}']} pairs: {row[f'verdict_{s}']}" for s in "ab")
    return f"{_name(name, row)} ({', '.join(told)})"


def _difference(row: pd.Series) -> str:
    return f"B minus A: {row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
