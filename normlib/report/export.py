"""Export: what a study found as CSV for programs and LaTeX for papers."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import nbconvert.filters
import pandas as pd

from normlib.analysis.verdicts import estimate
from normlib.errors import RequestError
from normlib.files import check_writable, write_atomically
from normlib.report import tables
from normlib.studies.study import Study


def check_file(setting: str, file: str | Path) -> None:
    """Refuse a file that could not be written.

    Raises:
        RequestError: It is a folder, or its folder cannot be written.
    """
    try:
        is_folder = stat.S_ISDIR(Path(file).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_folder = False
    except (OSError, ValueError) as error:  # what can be no path: too long, say
        raise RequestError(setting, str(file), f"a file; {getattr(error, 'strerror', None) or error}") from None
    if is_folder:
        raise RequestError(setting, str(file), "a file, and this is a folder")
    check_writable(Path(file).parent, setting)


def write_export(kind: str, file: str | Path, records: pd.DataFrame, study: Study) -> Path:
    """Write what a study found to a file, and return its path.

    Args:
        kind: ``csv`` or ``latex``.
        file: Where it goes.
        records: One row a run, as ``load_records`` gives.
        study: The study that they belong to.
    """
    make: dict[str, Callable[[pd.DataFrame, Study], str]] = {"csv": to_csv, "latex": to_latex}
    write_atomically(Path(file), make[kind](records, study))
    return Path(file)


def to_csv(records: pd.DataFrame, study: Study) -> str:
    """Return the numbers: a row for each condition, ordering and measure, and one for each declared contrast.

    A contrast stands in the column ``ordering``, its pairs in ``runs``; it has ``margin``, ``holm_p``, ``holm_t_p`` and
    ``verdict`` besides.
    """
    estimates = estimate(records, **study.family).rename(columns={"contrast": "ordering", "pairs": "runs"})
    estimates = estimates.assign(measure=study.measure, margin=study.margin)
    means = tables.summaries(records, study.varies)
    columns = [*means.columns, "margin", "holm_p", "holm_t_p", "verdict"]
    return pd.concat([means, estimates] if len(estimates) else [means]).reindex(columns=columns).to_csv(index=False)


def to_latex(records: pd.DataFrame, study: Study) -> str:
    """Return the tables of contrasts and results (package ``booktabs``)."""
    shown = {"Declared contrasts.": tables.verdicts(estimate(records, **study.family))}
    shown["Means over runs and their 95 % intervals."] = tables.results(records, study.varies)
    parts = []
    for caption, table in shown.items():
        styler = (
            table.reset_index().style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
        )
        latex = styler.to_latex(hrules=True, caption=nbconvert.filters.escape_latex(caption), position="ht")
        parts.append(latex.replace("< ", "$<$ "))
    return "\n".join(parts)
