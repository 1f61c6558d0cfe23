"""The summary of a study: the executed summary notebook, its HTML without code, and the figures."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import nbconvert
from matplotlib.figure import Figure

from normlib.errors import RequestError
from normlib.execution import execute, notebook_path
from normlib.files import check_writable, write_atomically
from normlib.plots import plot_bars, plot_contrasts
from normlib.records import load_records
from normlib.statistics import check_comparable
from normlib.studies import study_of_records


def write_summary(folder: Path) -> list[Path]:
    """Summarize the records of a study.

    Args:
        folder: The study's output folder, with ``records/`` in it.

    Returns:
        The paths written: ``summary.ipynb``, ``summary.html``, and ``figures/`` as PNG and SVG.

    Raises:
        RequestError: There are no records, or some that must not be compared.
        ExecutionError: The summary notebook failed.
    """
    records = load_records(folder / "records") if (folder / "records").is_dir() else None
    if records is None or records.empty:
        raise RequestError("DIR", str(folder), "a study's output folder, with at least one record in records/")
    check_comparable(records)
    check_writable(folder, "DIR")
    notebook = folder / "summary.ipynb"
    execute(notebook_path("summary"), {"records_dir": str((folder / "records").resolve())}, notebook)
    written = [notebook, export_html(notebook)]
    for name, measures in {
        "bars": ("train_accuracy", "train_loss"),
        "bars_evaluation": ("eval_accuracy", "eval_loss"),
    }.items():
        figure, _ = plot_bars(records, measures)
        written += save_figure(figure, folder / "figures" / name)
    for old in (folder / "figures").glob("contrasts.*"):
        old.unlink()  # perhaps of contrasts that the study no longer declares
    study = study_of_records(folder / "records")
    if declared := study.declared_for(records["ordering"]):
        figure, _ = plot_contrasts(records, declared, study.measure, study.margin)
        written += save_figure(figure, folder / "figures" / "contrasts")
    return written


def export_html(notebook: Path) -> Path:
    """Write a notebook as HTML without its code, beside it, and return the path."""
    exporter = nbconvert.HTMLExporter(exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True)
    html, _ = exporter.from_filename(str(notebook))
    path = notebook.with_suffix(".html")
    write_atomically(path, html)
    return path


def save_figure(figure: Figure, stem: Path, description: str = "") -> list[Path]:
    """Save a figure as ``stem.png`` and ``stem.svg``, and return the paths.

    Args:
        figure: The figure. The same figure, drawn by the same Matplotlib, gives the same files.
        stem: Where they go, without the suffix.
        description: What the figure shows, for the files' metadata.
    """
    paths = []
    software = f"Matplotlib {matplotlib.__version__}"
    metadata = {
        "png": {"Software": software, "Description": description},
        "svg": {"Creator": software, "Description": description, "Date": None},
    }
    for kind in metadata:
        content = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "normlib"}):
            figure.savefig(content, format=kind, dpi=150, metadata=metadata[kind])
        paths.append(stem.with_name(f"{stem.name}.{kind}"))
        write_atomically(paths[-1], content.getvalue())
    return paths
