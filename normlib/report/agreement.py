"""Whether the runs of one study agree between two places: sentences, one table of figures and contrasts, one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from normlib.analysis.agreement import compare_contrasts, compare_figures, only_in
from normlib.analysis.statistics import CONFIDENCE
from normlib.errors import RequestError
from normlib.files import write_atomically
from normlib.report import cards, tables
from normlib.report.contrast_plots import plot_agreement
from normlib.report.export import check_file
from normlib.report.sentences import interval, run_sentences, under
from normlib.runs.measures import MAIN_MEASURES, MEASURES
from normlib.studies.results import Results, check_one_study, read_folder


def compare_folders(folder_a: Path, folder_b: Path, exports: Mapping[str, str]) -> str:
    """Compare the two folders of one study; nothing is written into them.

    Args:
        folder_a: A study's output folder: side A.
        folder_b: Another, of the same study run elsewhere: side B.
        exports: Files to write, by kind: ``csv``, ``html``.

    Returns:
        The comparison as text, ending with the files written.

    Raises:
        RequestError: Another kind of file, or one that cannot be written; or folders that do not hold one study.
    """
    for kind, file in exports.items():
        if kind not in ("csv", "html"):
            raise RequestError(kind, file, problem="of two folders only csv and html can be written")
        check_file(kind, file)
    a, b = read_folder(folder_a, "DIR"), read_folder(folder_b, "DIR_B")
    check_one_study(a, b)
    table = compare(a, b)
    for kind, file in exports.items():
        write_atomically(Path(file), table.to_csv(index=False) if kind == "csv" else as_page(a, b, table))
    text = as_text(table).drop(columns=[] if a.varies else ["condition"])
    return "\n\n".join([text.to_string(index=False), "\n".join([*agreement_sentences(a, b, table), *exports.values()])])


def compare(a: Results, b: Results) -> pd.DataFrame:
    """Return all that is compared: a row for each measure, condition and ordering, and one for each declared contrast.

    The columns are those of ``normlib.analysis.agreement``. A contrast has ``name`` besides, stands in ``ordering``,
    and its pairs in ``runs_a`` and ``runs_b``.
    """
    figures = compare_figures(a, b, list(dict.fromkeys([*MAIN_MEASURES, a.measure.column])))
    renamed = {"contrast": "ordering", "pairs_a": "runs_a", "pairs_b": "runs_b"}
    contrasts = compare_contrasts(a, b).rename(columns=renamed).assign(measure=a.measure.column)
    parts = [figures, contrasts] if len(contrasts) else [figures]
    return pd.concat(parts, ignore_index=True).reindex(columns=list(dict.fromkeys([*figures, *contrasts])))


def agreement_sentences(a: Results, b: Results, table: pd.DataFrame) -> list[str]:
    """Return where both sides were run, how much agrees, what does not, and what is missing, in plain text."""
    sentences = []
    for letter, side in (("A", a), ("B", b)):
        facts = tables.provenance(side.records)["value"]
        place = f"{facts['stack']}; processor: {facts['processor']}; threads a run: {facts['threads']}"
        sentences.append(f"{letter}, {side.study.name}: {len(side.runs)} runs, seeds: {facts['seeds']}; {place}.")
    is_contrast = table["name"].notna()
    figures, contrasts = table[~is_contrast], table[is_contrast]
    agree = figures[figures["verdict"] == "agrees"]
    sentences.append(
        f"{len(agree)} of {len(figures)} figures agree: the 95 % interval of B minus A holds zero"
        f"{_name_others(figures.drop(index=agree.index))}; with Holm's correction over all of them, "
        f"{(figures['holm_p'] < 1 - CONFIDENCE).sum()} differ."
    )
    same = contrasts[contrasts["same_verdict"].astype(bool)]
    changes = (
        f"{row['name']}{under(row['condition'])} ({interval(row['difference'], row['low'], row['high'], '+')})"
        for _, row in contrasts[contrasts["verdict"] == "differs"].iterrows()
    )
    sentences.append(
        f"{len(same)} of {len(contrasts)} contrasts have the same verdict in A and in B"
        f"{_name_others(contrasts.drop(index=same.index))}. Contrasts that were seen to depend on the place (B minus "
        f"A, seed by seed, differs): {'; '.join(changes) or 'none'}."
        if len(contrasts)
        else "No contrast was declared."
    )
    for letter, side, other in (("A", a, b), ("B", b, a)):
        if names := only_in(side, other):
            sentences.append(f"Not compared, since only {letter} has runs: {', '.join(names)}.")
        sentences += [f"In {letter}: {sentence}" for sentence in run_sentences(side)]
    return sentences


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of ``compare`` as people read it: means with their 95 % intervals, all text."""
    return pd.DataFrame(
        {
            "what": row["ordering"] if pd.isna(row["name"]) else row["name"],
            "condition": row["condition"],
            "measure": MEASURES[row["measure"]].phrase,
            "runs": f"{row['runs_a']}, {row['runs_b']}",
            "A": interval(row["mean_a"], row["low_a"], row["high_a"]),
            "B": interval(row["mean_b"], row["low_b"], row["high_b"]),
            "B minus A": interval(row["difference"], row["low"], row["high"], "+"),
            "verdict": row["verdict"] if pd.isna(row["name"]) else f"{row['verdict_a']}; {row['verdict_b']}",
        }
        for _, row in table.iterrows()
    )


def as_page(a: Results, b: Results, table: pd.DataFrame) -> str:
    """Return an HTML page: where both were run, what agrees, a picture and the table."""
    figure, _ = plot_agreement(a, b)
    return cards.card(
        f"{a.study.name} and {b.study.name}: one study, run twice",
        ("text", a.study.question),
        ("list", agreement_sentences(a, b, table)),
        cards.picture(figure),
        cards.table("Figures and contrasts; of a contrast, the verdicts in A and in B", as_text(table)),
        whole_page=True,
    )


def _name_others(rows: pd.DataFrame) -> str:
    named = []
    for _, row in rows.iterrows():
        name, verdict = row["name"], f"A {row['verdict_a']}, B {row['verdict_b']}"
        if pd.isna(name):
            name, verdict = f"{MEASURES[row['measure']].phrase} of {row['ordering']}", row["verdict"]
        named.append(f"{name}{under(row['condition'])} ({verdict})")
    return f"; not so: {'; '.join(named)}" if named else ""
