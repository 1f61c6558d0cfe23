"""Export: what a study found as CSV for programs, HTML for pages and LaTeX for papers."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import nbconvert.filters
import pandas as pd

from normlib.analysis.conditions import expand
from normlib.analysis.statistics import MEASURES, order_orderings
from normlib.analysis.verdicts import SIGNIFICANCE, estimate
from normlib.errors import RequestError
from normlib.files import check_writable, write_atomically
from normlib.report import sentences, tables
from normlib.report.html import as_page
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
        kind: ``csv``, ``html`` or ``latex``.
        file: Where it goes.
        records: One row a run, as ``load_records`` gives.
        study: The study that they belong to.
    """
    make: dict[str, Callable[[pd.DataFrame, Study], str]] = {"csv": to_csv, "html": to_html, "latex": to_latex}
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


def to_html(records: pd.DataFrame, study: Study) -> str:
    """Return a page: the question, what was found in sentences, contrasts, results, provenance."""
    said = nbconvert.filters.markdown2html(f"{sentences.asked(study)}\n\n{sentences.findings(records, study)}")
    shown = [
        tables.style(tables.verdicts(estimate(records, **study.family)), f"Declared contrasts in {study.measure}"),
        tables.style(tables.results(records, study.varies), "Results"),
        tables.style(tables.provenance(records).rename_axis("fact"), "Provenance"),
    ]
    return as_page(study.name, "".join([said, *(table.to_html() for table in shown)]))


def to_latex(records: pd.DataFrame, study: Study) -> str:
    """Return the tables of contrasts and results (package ``booktabs``) and a paragraph on methods."""
    shown = {"Declared contrasts.": tables.verdicts(estimate(records, **study.family))}
    shown["Means over runs and their 95 % intervals."] = tables.results(records, study.varies)
    parts = []
    for caption, table in shown.items():
        styler = (
            table.reset_index().style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
        )
        latex = styler.to_latex(hrules=True, caption=nbconvert.filters.escape_latex(caption), position="ht")
        parts.append(latex.replace("< ", "$<$ "))
    return "\n".join([*parts, "\\paragraph{Methods.}", nbconvert.filters.escape_latex(methods(records, study)), ""])


def methods(records: pd.DataFrame, study: Study) -> str:
    """Return a paragraph, in plain text, that names every setting and every test."""
    facts = tables.provenance(records)["value"]
    varied = {name for group in study.varies for name in group}
    settings = [name for name in facts.index if name not in ("data", "commit", "study_sha256", "seeds", "device")]
    shared = "; ".join(f"{name.replace('_', ' ')}: {facts[name]}" for name in settings if name not in varied)
    conditions = "; ".join(
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in condition.items())
        for condition in expand(study.varies)
    )
    under = f" under each of these conditions: {conditions}" if study.varies else ""
    declared = "; ".join(f"{contrast.name}: {contrast}" for contrast in study.declared)
    return (
        f"The orderings {', '.join(order_orderings(records['ordering']))} of normalization layers were trained{under}. "
        f"Settings: {shared}. The optimizer was Adam; the data were {facts['data']} (SHA-256). "
        f"Seeds: {facts['seeds']}; the same seed gives all orderings the same initial kernels, batches and dropout "
        "masks, so runs are paired by seed. The measure is "
        f"{MEASURES[study.measure]}. {_tests(facts['study_sha256'], declared, study.margin)}"
        "Intervals cover initialization, shuffle and dropout, not other data."
    )


def _tests(sha256: str, declared: str, margin: float) -> str:
    if not declared:
        return "No contrasts were declared. "
    return (
        f"Contrasts, declared in a file of SHA-256 {sha256}: {declared}. "
        "Each was estimated by the mean of paired differences with Student's t interval at 95 %, and tested by the "
        "sign-flip permutation test and the paired t test, both with Holm's correction over all contrasts and "
        f"conditions; a contrast differs where both p are below {SIGNIFICANCE:g}, and is level where it does not "
        f"differ and its interval lies within the margin of {margin:g}. "
    )
