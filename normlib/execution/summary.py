"""The summary of a study: the executed summary notebook, its HTML without code, and the figures."""

from __future__ import annotations

import concurrent.futures
import io
from pathlib import Path
from typing import TYPE_CHECKING

from normlib.execution.notebook import ExecutionError, execute, notebook_path
from normlib.execution.workers import calling
from normlib.files import check_inside, check_writable, write_atomically
from normlib.runs.measures import MEASURES
from normlib.studies.results import Results, read_folder

if TYPE_CHECKING:
    import matplotlib.figure

    from normlib.report.style import Figure

# nbconvert's own page, in which pictures also have the alternative texts that the notebook has beside them.
_PAGE = """{% extends "lab/index.html.j2" %}
{% block data_png %}
{%- set text = output | get_metadata("alt", "image/png") or "" -%}
{{ super() | replace("<img ", '<img alt="' ~ text | escape ~ '" ') }}
{% endblock data_png %}
"""
FIGURES = ("paper", "bars", "bars_evaluation", "bars_training", "winners", "places", "contrasts", "training", "gap")


def write_summary(folder: Path, results: Results | None = None) -> list[Path]:
    """Summarize the records of a study.

    Args:
        folder: The study's output folder, with ``records/`` in it.
        results: What ``read_folder`` gives of it; None: it is read.

    Returns:
        The paths written: ``summary.ipynb``, ``summary.html``, and ``figures/`` as PNG and SVG.

    Raises:
        RequestError: There are no records, or some that must not be compared.
        ExecutionError: The summary notebook failed.
    """
    results = results or read_folder(folder)
    check_inside(folder, "DIR")
    check_writable(folder, "DIR")
    notebook = folder / "summary.ipynb"
    records_dir = str((folder / "records").resolve())  # kernels have working directories of their own
    master, parameters, shown = notebook_path("summary").read_text("utf-8"), {"records_dir": records_dir}, "records"
    # The kernel is a process of its own, and works while the figures are drawn here.
    with concurrent.futures.ThreadPoolExecutor(1) as executor, calling(executor) as caller:
        execution = executor.submit(execute, master, parameters, {records_dir: shown}, caller=caller)
        # While the kernel starts; and not while figures are drawn, since threads share what they silence of warnings.
        import nbconvert  # noqa: F401
        import papermill  # noqa: F401

        pictures = {name: render(figure, figure.alternative_text) for name, figure in draw(results).items()}
        try:
            executed = execution.result()
        except ExecutionError as error:
            if error.notebook:
                write_atomically(notebook, error.notebook)
            raise
    write_atomically(notebook, executed)
    written = [notebook, export_html(notebook)]
    for old in (folder / "figures").glob("*.*"):
        if old.stem in FIGURES and old.stem not in pictures:
            old.unlink()  # of what the study then was
    for name, picture in pictures.items():
        written += _write(picture, folder / "figures" / name)
    return written


def draw(results: Results) -> dict[str, Figure]:
    """Draw the figures of a study, as the summary notebook shows them.

    Args:
        results: The study and its runs.

    Returns:
        Figures by name, of those in ``FIGURES`` that apply.
    """
    from normlib.report.beside_paper import plot_beside_paper
    from normlib.report.contrast_plots import plot_contrasts, plot_places, plot_winners
    from normlib.report.curves import plot_training
    from normlib.report.plots import plot_bars, plot_gap

    figures = {}
    if results.varies:
        figures["winners"] = plot_winners(results)[0]
    else:
        figures["bars"] = plot_bars(results)[0]
        name, other = ("training", "train_loss") if results.measure.reading else ("evaluation", "eval_loss")
        figures[f"bars_{name}"] = plot_bars(results, MEASURES[other].panels)[0]
        figures["places"] = plot_places(results)[0]
    if results.study.reported:
        figures["paper"] = plot_beside_paper(results)[0]
    if results.contrasts:
        figures["contrasts"] = plot_contrasts(results)[0]
    figures["training"] = plot_training(results)[0]
    if len(results.gap):  # there is BatchNorm
        figures["gap"] = plot_gap(results)[0]
    return figures


def export_html(notebook: Path, path: Path | None = None) -> Path:
    """Write a notebook as HTML without its code, beside it unless a path is given, and return the path."""
    import nbconvert

    # Without MathJax: a summary has no formulas, and what looks like one in a name is none.
    exporter = nbconvert.HTMLExporter(
        raw_template=_PAGE, exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True, mathjax_url=""
    )
    html, _ = exporter.from_filename(str(notebook))
    path = path or notebook.with_suffix(".html")
    write_atomically(path, html)
    return path


def save_figure(figure: matplotlib.figure.Figure, stem: Path, description: str = "") -> list[Path]:
    """Save a figure as ``stem.png`` and ``stem.svg``, and return the paths.

    Args:
        figure: The figure. The same figure, drawn by the same Matplotlib, gives the same files.
        stem: Where they go, without the suffix.
        description: What the figure shows, for the files' metadata.
    """
    return _write(render(figure, description), stem)


def render(figure: matplotlib.figure.Figure, description: str = "") -> dict[str, bytes]:
    """Return a figure as the contents of a PNG and an SVG file, see ``save_figure``."""
    import matplotlib as mpl

    software = f"Matplotlib {mpl.__version__}"
    metadata = {
        "png": {"Software": software, "Description": description},
        "svg": {"Creator": software, "Description": description, "Date": None},
    }
    picture = {}
    for kind in metadata:
        content = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": "normlib"}):
            figure.savefig(content, format=kind, dpi=150, metadata=metadata[kind])
        picture[kind] = content.getvalue()
    return picture


def _write(picture: dict[str, bytes], stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in picture]
    for path, content in zip(paths, picture.values(), strict=True):
        write_atomically(path, content)
    return paths
