"""Export: what a study found as CSV for programs and LaTeX for papers."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from normlib.errors import RequestError
from normlib.files import check_writable
from normlib.report import tables
from normlib.runs.measures import MEASURES
from normlib.studies.results import Results


def check_file(setting: str, file: str | Path) -> None:
    """Refuse a file that could not be written.

    Raises:
        RequestError: It is a folder, or its folder cannot be written.
    """
    path = Path(file)
    if os.path.isdir(path):  # and not Path's own test, which raises of what can be no path, too long, say
        raise RequestError(setting, str(file), problem="that is a folder, and a file is written")
    check_writable(path.parent if os.path.lexists(path) else path, setting)  # of a new file, also its name


def contrasts_file(path: Path) -> Path:
    """Return where the contrasts go that belong to a CSV file: ``a_contrasts.csv``, beside ``a.csv``."""
    return path.with_stem(f"{path.stem}_contrasts")


def csv_files(results: Results, path: Path) -> dict[Path, str]:
    """Return the numbers as two tables, a row an observation each, by the files in which they go.

    In ``a.csv``, of each ``condition``, ``ordering`` and ``measure``: ``runs``, ``mean``, ``sd``, ``low``, ``high``. In
    ``a_contrasts.csv``, where some are declared, of each what ``normlib.estimate`` gives, with ``name``, ``measure``
    and ``margin``.
    """
    means = pd.concat(results.summary(measure).reset_index().assign(measure=measure) for measure in MEASURES)
    keys = ["condition", "ordering", "measure"]
    files = {path: means[[*keys, *means.columns.difference(keys, sort=False)]]}
    if results.contrasts:
        estimates = results.estimates.reset_index()
        # A spreadsheet takes what begins so for a formula, unless an apostrophe says that it is text.
        estimates["name"] = estimates["name"].str.replace(r"^(?=[=+@\t\r-])", "'", regex=True)
        estimates.insert(3, "measure", results.measure.column)
        estimates.insert(4, "margin", results.margin)
        files[contrasts_file(path)] = estimates
    return {path: table.to_csv(index=False) for path, table in files.items()}


# Shares of a text's width; what is wider than such a column goes on in its next line.
_WIDTHS = {"name": 0.16, "condition": 0.14, "contrast": 0.19, "difference": 0.19, "verdict": 0.12}


def to_latex(results: Results) -> str:
    """Return the tables of contrasts and means (package ``booktabs``), none of them wider than a page's text."""
    from nbconvert.filters import escape_latex  # slow to import, and only needed here

    contrasts, means = tables.contrast_table(results.estimates), tables.result_table(results)
    shown = {"Declared contrasts.": contrasts.reset_index()[["name", *contrasts.columns.intersection([*_WIDTHS])]]}
    for name, reading in (("training", ""), ("evaluation", "inference")):
        columns = [measure.phrase for measure in MEASURES.values() if measure.reading == reading]
        columns = ["ordering", *means.columns.intersection(["condition", "runs"]), *columns]
        shown[f"Means of {name} over runs and their 95 % intervals."] = means.reset_index()[columns]
    parts = []
    for caption, table in shown.items():
        styler = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
        layout = "".join(f"p{{{_WIDTHS[name]}\\linewidth}}" if name in _WIDTHS else "l" for name in table)
        parts.append(styler.to_latex(hrules=True, caption=escape_latex(caption), position="ht", column_format=layout))
    return "\n".join(parts)
