"""Report on one study that was run in two places: text for a terminal, CSV for programs, and a page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from normlib.analysis.agreement import FIGURES, agreement, contrast_agreement
from normlib.analysis.contrasts import Family
from normlib.analysis.statistics import MEASURES
from normlib.errors import RequestError
from normlib.files import write_atomically
from normlib.report import tables
from normlib.report.agreement_plots import plot_agreement
from normlib.report.agreement_sentences import agreement_sentences, contrast_sentences, place_sentences, side_sentences
from normlib.report.agreement_sides import Side, contrasts_of, read_sides
from normlib.report.export import check_file
from normlib.report.figures import Figure
from normlib.report.markup import as_page


def report(folder_a: Path, folder_b: Path, exports: Mapping[str, str]) -> str:
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
            raise RequestError(kind, file, "csv and html alone, where two folders are compared")
        check_file(kind, file)
    comparison = Report(*read_sides(folder_a, folder_b))
    for kind, file in exports.items():
        write_atomically(Path(file), comparison.to_csv() if kind == "csv" else comparison.to_html())
    return "\n".join([comparison.to_text(), *exports.values()])


class Report:
    """What two sides of one study say of each other.

    Args:
        side_a: Side A.
        side_b: Side B.
    """

    def __init__(self, side_a: Side, side_b: Side):
        self.side_a, self.side_b, self.study = side_a, side_b, side_a.study
        self.measures = list(dict.fromkeys([*FIGURES, self.study.measure]))
        self.figures = agreement(side_a.records, side_b.records, self.study.varies, self.measures)
        declared: Family = {**self.study.family, "contrasts": contrasts_of(side_a, side_b)}
        self.contrasts = contrast_agreement(side_a.records, side_b.records, **declared)

    def sentences(self) -> list[str]:
        """Return what agrees and what does not, in plain text."""
        return [
            *agreement_sentences(self.figures, self.study.measure, self.study.margin),
            *contrast_sentences(self.contrasts),
            *side_sentences(self.side_a, self.side_b),
        ]

    def to_text(self) -> str:
        """Return tables, for each condition one a measure and one of contrasts, then sentences."""
        parts = ["\n".join(place_sentences(self.side_a, self.side_b))]
        for (condition, measure), rows in self.figures.groupby(["condition", "measure"], sort=False):
            parts.append(_as_text(MEASURES[str(measure)], str(condition), _figures(rows).drop(columns="measure")))
        declared = f"declared contrasts in {MEASURES[self.study.measure]}"
        for condition, rows in self.contrasts.groupby("condition", sort=False):
            parts.append(_as_text(declared, str(condition), _contrasts(rows).drop(columns="contrast")))
        return "\n\n".join([*parts, "\n".join(self.sentences())])

    def to_csv(self) -> str:
        """Return the numbers: a row for each condition, measure and ordering, and one for each declared contrast.

        A contrast stands in the column ``ordering``, its pairs in ``runs_a`` and ``runs_b``; it has ``verdict_a``,
        ``verdict_b`` and ``same_verdict`` besides.
        """
        renamed = {"contrast": "ordering", "pairs_a": "runs_a", "pairs_b": "runs_b"}
        contrasts = self.contrasts.rename(columns=renamed).assign(measure=self.study.measure)
        columns = [*self.figures.columns, "verdict_a", "verdict_b", "same_verdict"]
        parts = [self.figures, contrasts] if len(contrasts) else [self.figures]
        return pd.concat(parts).reindex(columns=columns).to_csv(index=False)

    def to_html(self) -> str:
        """Return a page: where both were run, what agrees in sentences, a picture, and the tables."""
        sides = {"A": self.side_a.records, "B": self.side_b.records}
        figure, _ = plot_agreement(sides["A"], sides["B"], self.study.varies, self.measures)
        facts = [tables.provenance(records).rename(columns={"value": name}) for name, records in sides.items()]
        shown = [
            tables.style(_figures(self.figures), "Figures, means over runs with their 95 % intervals"),
            tables.style(_contrasts(self.contrasts), f"Contrasts in {MEASURES[self.study.measure]}"),
            tables.style(pd.concat(facts, axis=1).rename_axis("fact"), "Provenance"),
        ]
        body = [
            f"<p><em>{html.escape(self.study.question)}</em></p>",
            _as_list(place_sentences(self.side_a, self.side_b)),
            "<h2>What agrees</h2>",
            _as_list(self.sentences()),
            _as_picture(figure),
            "<h2>Tables</h2>",
            *(table.to_html() for table in shown),
        ]
        return as_page(f"{self.side_a.study.name} and {self.side_b.study.name}: one study, run twice", "".join(body))


def _figures(figures: pd.DataFrame) -> pd.DataFrame:
    varied = bool(figures["condition"].any())
    rows = [
        {
            "ordering": row["ordering"],
            **({"condition": row["condition"]} if varied else {}),
            "measure": MEASURES[row["measure"]],
            "runs": f"{row['runs_a']}, {row['runs_b']}",
            "A": _interval(row, "mean_a", "_a"),
            "B": _interval(row, "mean_b", "_b"),
            "B minus A": _interval(row, "difference", "", "+"),
            "p (Holm)": "" if pd.isna(row["holm_p"]) else f"{row['holm_p']:.4f}",
            "verdict": row["verdict"],
        }
        for _, row in figures.iterrows()
    ]
    return pd.DataFrame(rows).set_index("ordering")


def _contrasts(contrasts: pd.DataFrame) -> pd.DataFrame:
    varied = bool(contrasts["condition"].any())
    rows = [
        {
            "name": name,
            **({"condition": row["condition"]} if varied else {}),
            "contrast": row["contrast"],
            "pairs": f"{row['pairs_a']}, {row['pairs_b']}",
            "A": _interval(row, "mean_a", "_a", "+"),
            "B": _interval(row, "mean_b", "_b", "+"),
            "B minus A": _interval(row, "difference", "", "+"),
            "in A": row["verdict_a"] if row["pairs_a"] else "no runs",
            "in B": row["verdict_b"] if row["pairs_b"] else "no runs",
        }
        for name, row in contrasts.iterrows()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["name", "contrast", "in A", "in B"]).set_index("name")


def _interval(row: pd.Series, middle: str, side: str, sign: str = "") -> str:
    """Return a mean with its interval, where there are these; with ``+`` before what is above zero."""
    if pd.isna(row[middle]):
        return ""
    low, high = row[f"low{side}"], row[f"high{side}"]
    return f"{row[middle]:{sign}.4f}" + ("" if pd.isna(low) else f" [{low:{sign}.4f}, {high:{sign}.4f}]")


def _as_text(title: str, condition: str, table: pd.DataFrame) -> str:
    title = ", under ".join(filter(None, [title, condition]))
    return f"{title}\n{table.drop(columns='condition', errors='ignore').reset_index().to_string(index=False)}"


def _as_list(sentences: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _as_picture(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    data = base64.b64encode(content.getvalue()).decode()
    text = html.escape(figure.alternative_text)
    return f'<img alt="{text}" style="max-width: 100%" src="data:image/png;base64,{data}">'
