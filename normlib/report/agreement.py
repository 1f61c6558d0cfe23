"""Whether the runs of one study agree between two places: sides, sentences, figure, page."""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
import io
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.agreement import (
    FIGURES,
    PLACE,
    agreement,
    contrast_agreement,
    count_equal,
    is_same_place,
    only_in,
)
from normlib.analysis.conditions import Varies, split_records
from normlib.analysis.statistics import MEASURES
from normlib.analysis.verdicts import SIGNIFICANCE, Contrast, Family
from normlib.errors import RequestError
from normlib.files import write_atomically
from normlib.models.instance import Instance
from normlib.models.ordering import short_form
from normlib.report import tables
from normlib.report.export import check_file
from normlib.report.html import as_page
from normlib.report.sentences import run_sentences
from normlib.report.style import Drawn, Figure, subplots
from normlib.report.tables import provenance
from normlib.runs.store import Record, to_frame
from normlib.studies.folder import UndeclaredStudy, read_folder
from normlib.studies.study import Study

_ALLOWED = "{} as in the first folder, since both have to hold runs of one study"


@dataclasses.dataclass(frozen=True)
class Side:
    """A study and its runs in one place.

    Args:
        study: The study, called as its folder.
        runs: Its records.
    """

    study: Study
    runs: list[Record]

    @functools.cached_property
    def records(self) -> pd.DataFrame:
        """One row a run; a setting of each ordering's own reads the same in all of them."""
        return self.study.to_frame(self.runs)


def read_sides(folder_a: Path, folder_b: Path) -> tuple[Side, Side]:
    """Read the two folders of one study.

    Args:
        folder_a: A study's output folder: side A.
        folder_b: Another: side B.

    Raises:
        RequestError: One is no study's folder with records, or they do not hold one study, see ``check_one_study``.
    """
    side_a, side_b = _read(folder_a, "DIR"), _read(folder_b, "DIR_B")
    check_one_study(side_a, side_b)
    return side_a, side_b


def check_one_study(side_a: Side, side_b: Side) -> None:
    """Refuse what is not one study: sides that differ in more than where they were run, seeds and orderings.

    Compared are what varies, measure, margin and contrasts, and all settings and data of runs of the same condition and
    ordering, but for the library that provides GroupNorm: ``auto`` is another one on another stack. A contrast may be
    missing where its orderings are.

    Raises:
        RequestError: They differ, or have no ordering in common; the setting and both values are named.
    """
    for name in ("varies", "measure", "margin"):
        value = getattr(side_a.study, name)
        if getattr(side_b.study, name) != value:
            raise RequestError(name, getattr(side_b.study, name), _ALLOWED.format(value))
    for name, contrast_a, contrast_b in _differing_contrasts(side_a.study, side_b.study):
        raise RequestError(f"contrast {name}", contrast_b, _ALLOWED.format(contrast_a))
    for side in (side_a, side_b):
        split_records(side.records, side.study.varies)  # refuses what must not be averaged
    _check_settings(to_frame(side_a.runs), to_frame(side_b.runs), side_a.study.varies)


def contrasts_of(side_a: Side, side_b: Side) -> list[Contrast]:
    """Return the contrasts that either side declares: of orderings that one lacks, only the other still has them."""
    return list({contrast.name: contrast for side in (side_a, side_b) for contrast in side.study.declared}.values())


def _read(folder: Path, setting: str) -> Side:
    study, runs = read_folder(folder, setting)
    if isinstance(study, UndeclaredStudy):
        raise RequestError(setting, str(folder), "a study's output folder, with study.yaml in it")
    return Side(study, runs)


def _differing_contrasts(study_a: Study, study_b: Study) -> Iterator[tuple[str, str, str]]:
    """Give the name and both texts of contrasts that differ, or that one study lacks though it has the orderings."""
    declared_a, declared_b = ({each.name: each for each in study.declared} for study in (study_a, study_b))
    for name in {**declared_a, **declared_b}:
        contrast_a, contrast_b = declared_a.get(name), declared_b.get(name)
        if contrast_a and contrast_b:
            if contrast_a != contrast_b:
                yield name, str(contrast_a), str(contrast_b)
            continue
        there, lacking = (contrast_a, study_b) if contrast_a else (contrast_b, study_a)
        if there and {*map(short_form, lacking.orderings)}.issuperset(there.first + there.second):
            yield name, str(contrast_a or "not declared,"), str(contrast_b or "not declared")


def _check_settings(records_a: pd.DataFrame, records_b: pd.DataFrame, varies: Varies) -> None:
    together = ["ordering", *(next(iter(group)) for group in varies)]
    sides = (records.drop_duplicates(together) for records in (records_a, records_b))
    both = next(sides).merge(next(sides), on=together, suffixes=("_a", "_b"))
    if both.empty:
        orderings = [", ".join(records["ordering"].unique()) for records in (records_a, records_b)]
        raise RequestError("orderings", orderings[1], f"under the same conditions, one at least of {orderings[0]}")
    names = [field.name for field in dataclasses.fields(Instance) if field.name not in (*together, "provider")]
    for name in [*names, "data"]:
        for _, run in both.iterrows():
            if str(run[f"{name}_a"]) != str(run[f"{name}_b"]):
                allowed = _ALLOWED.format(f"{run[f'{name}_a']} of {run['ordering']}")
                raise RequestError(name, run[f"{name}_b"], allowed)


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


# Okabe and Ito's colours, and markers for those who do not tell colours apart; and where in its row a side stands.
_LOOKS = {"a": ("o", "#0072B2", -0.17), "b": ("s", "#D55E00", 0.17)}
_UNITS = {"loss": "cross-entropy, nats", "accuracy": "share of images"}


def plot_agreement(
    records_a: pd.DataFrame, records_b: pd.DataFrame, varies: Varies = (), measures: Sequence[str] = FIGURES
) -> tuple[Figure, np.ndarray]:
    """Draw the figures of two sides of a study beside each other: means over runs with their 95 % intervals.

    Args:
        records_a: One row a run, as ``load_records`` gives: side A.
        records_b: Side B.
        varies: What the study varies besides the ordering.
        measures: Columns to draw, one panel each, two beside each other.

    Returns:
        The figure and its axes ``[len(measures)]``; a row a condition and ordering that both sides have. Beside a row
        stands *differs* or *undecided* where it does not agree, see ``normlib.analysis.agreement``.

    Raises:
        RequestError: A measure that there is not, or runs of one side that must not be averaged.
    """
    figures = agreement(records_a, records_b, varies, measures)
    rows = figures[["condition", "ordering"]].drop_duplicates()
    columns = min(2, len(measures))
    panels = -(-len(measures) // columns)
    figure, axes = subplots(
        panels,
        columns,
        figsize=(5.5 * columns, panels * (1.1 + 0.42 * len(rows)) + 0.5),
        squeeze=False,
        sharey=True,
        layout="constrained",
        shows="One study run in two places: the means of both with their 95 % intervals, and which of them differ",
    )
    for axis, measure in zip(axes.flat, measures, strict=False):
        _draw_measure(axis, rows.merge(figures[figures["measure"] == measure], sort=False), measure)
    for axis in axes.flat[len(measures) :]:
        axis.set_visible(False)
    names = [": ".join(filter(None, row)) for row in rows.itertuples(index=False)]
    for axis in axes[:, 0]:
        axis.set_yticks(range(len(rows)), names, fontsize="small", parse_math=False)
    axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
    for side, name in zip(_LOOKS, name_sides(records_a, records_b), strict=True):
        marker, colour, _ = _LOOKS[side]
        axes[0, 0].errorbar([], [], xerr=[], fmt=marker, color=colour, markersize=5, capsize=4, label=name)
    legend = {"title": "means over runs, with their 95 % intervals", "title_fontsize": "small", "fontsize": "small"}
    figure.legend(loc="outside lower center", ncols=1, frameon=False, **legend)
    return Drawn(figure, axes.flatten()[: len(measures)])


def name_sides(records_a: pd.DataFrame, records_b: pd.DataFrame) -> tuple[str, str]:
    """Return what both sides are called in a figure: A and B, and in which facts of their places they differ."""
    facts = [{name: ", ".join(sorted({*side[name].map(str)})) for name in PLACE} for side in (records_a, records_b)]
    apart = [name for name in PLACE if facts[0][name] != facts[1][name]] or ["stack"]
    told = (
        ", ".join(f"threads: {side[name]}" if name == "threads" else side[name] for name in apart) for side in facts
    )
    name_a, name_b = (f"{letter}: {name}" for letter, name in zip("AB", told, strict=True))
    return name_a, name_b


def _draw_measure(axis: Axes, figures: pd.DataFrame, measure: str) -> None:
    places = np.arange(len(figures))
    for side, (marker, colour, shift) in _LOOKS.items():
        means = figures[f"mean_{side}"].to_numpy(float)
        reach = np.nan_to_num(figures[f"high_{side}"].to_numpy(float) - means)  # of one run there is no interval
        axis.errorbar(means, places + shift, xerr=reach, fmt=marker, color=colour, markersize=5, capsize=4)
    for place, verdict in enumerate(figures["verdict"]):
        if verdict != "agrees":
            axis.text(1.02, place, verdict, va="center", fontsize="small", transform=axis.get_yaxis_transform())
    axis.set_title(MEASURES[measure], loc="left", fontsize="medium")
    axis.set_xlabel(_UNITS[measure.rsplit("_", maxsplit=1)[1]])
    axis.locator_params(axis="x", nbins=6)
    axis.grid(axis="x", color="#EEEEEE")
    axis.spines[["top", "right", "left"]].set_visible(False)


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
