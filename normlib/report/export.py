"""Export: what a study found as CSV for programs and LaTeX for papers."""

from __future__ import annotations

import stat
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
    try:
        is_folder = stat.S_ISDIR(Path(file).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_folder = False
    except (OSError, ValueError) as error:  # what can be no path: too long, say
        reason = getattr(error, "strerror", None) or error
        raise RequestError(setting, str(file), problem=f"no file can be written there: {reason}") from None
    if is_folder:
        raise RequestError(setting, str(file), problem="that is a folder, and a file is written")
    check_writable(Path(file).parent, setting)


def to_csv(results: Results) -> str:
    """Return the numbers: a row for each condition, ordering and measure, and one for each declared contrast.

    A contrast stands in the column ``ordering``, its pairs in ``runs``; it has ``margin``, ``differs_p``, ``level_p``
    and ``verdict`` besides; where a study has looks, also the deciding ``look``, ``later_pairs`` and ``later_mean``.
    """
    means = [results.summary(measure).reset_index().assign(measure=measure) for measure in MEASURES]
    estimates = results.estimates.rename(columns={"contrast": "ordering", "pairs": "runs"})
    estimates = estimates.assign(measure=results.measure.column, margin=results.margin)
    columns = ["condition", "ordering", "measure", "runs", "mean", "sd", "low", "high"]
    columns += ["margin", "differs_p", "level_p", "verdict"]
    columns += ["look", "later_pairs", "later_mean"] if results.looks else []
    rows = pd.concat([*means, estimates] if len(estimates) else means)
    return rows.reindex(columns=columns).to_csv(index=False)


def to_latex(results: Results) -> str:
    """Return the tables of contrasts and results (package ``booktabs``)."""
    from nbconvert.filters import escape_latex  # slow to import, and only needed here

    shown = {"Declared contrasts.": tables.contrast_table(results.estimates)}
    shown["Means over runs and their 95 % intervals."] = tables.result_table(results)
    parts = []
    for caption, table in shown.items():
        styler = table.reset_index().style.hide(axis="index")
        styler = styler.format(escape="latex").format_index(escape="latex", axis=1)
        latex = styler.to_latex(hrules=True, caption=escape_latex(caption), position="ht")
        parts.append(latex.replace("< ", "$<$ "))
    return "\n".join(parts)
