"""Make the README's tables and picture from the kept records: ``python docs/readme.py`` (``make readme``)."""

import re
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from normlib import contrasts, files, plots, records, studies, summary, tables
from normlib.ordering import SOURCE_INSTANCES

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BARS = ROOT / "docs" / "bars"


def render(readme: str) -> str:
    """Return the README with each part between ``<!-- made: NAME -->`` and ``<!-- end -->`` made anew."""
    parts = {"results": _results, "verdicts": _verdicts, "original stack": _original_stack}
    return re.sub(
        r"(<!-- made: (.+?) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{parts[match[2]]()}\n{match[3]}",
        readme,
        flags=re.DOTALL,
    )


def describe(axes: Iterable[Axes]) -> str:
    """Return the height of each bar as text, which goes into the picture's metadata, where a test reads it."""
    lines = []
    for axis in axes:
        heights = [f"{bar.get_height():.4f}" for bar in axis.patches]
        names = [label.get_text() for label in axis.get_xticklabels()]
        pairs = ", ".join(f"{name} {height}" for name, height in zip(names, heights, strict=True))
        lines.append(f"{axis.get_title(loc='left')}: {pairs}")
    return "; ".join(lines)


def _results() -> str:
    runs = records.load_records(records.SOURCE_RECORDS)
    facts = tables.provenance(runs)["value"]
    table = _markdown(tables.results(runs).rename_axis("ordering"))
    return (
        f"{table}\n\n"
        "Mean over runs and its 95 % interval (Student's t), which covers initialization, shuffle and dropout, not new "
        f"data. Seeds: {facts['seeds']}; {facts['stack']}; {facts['processor']}, threads a run: {facts['threads']}.\n\n"
        f"{tables.takeaway(runs)}"
    )


def _verdicts() -> str:
    runs = records.load_records(records.SOURCE_RECORDS)
    study = studies.read_study("source")
    estimates = contrasts.estimate(runs, study.declared, study.measure, study.margin)
    table = _markdown(tables.verdicts(estimates))
    where = f"In running training loss, with a margin of {study.margin:g}, for {tables.conditions(runs)}."
    return f"{table}\n\n{where}"


def _original_stack() -> str:
    runs = tables.load_original_stack()
    rows = {}
    for ordering, group in runs.groupby("ordering"):
        source = SOURCE_INSTANCES.get(ordering)
        loss, accuracy = group["loss"], group["accuracy"]
        rows[ordering] = {
            "source: loss, accuracy": f"{source.loss:.4f}, {source.accuracy:.4f}" if source else "",
            "loss, mean ± sd": f"{loss.mean():.4f} ± {loss.std():.4f}",
            "accuracy, mean ± sd": f"{accuracy.mean():.4f} ± {accuracy.std():.4f}",
            "source's loss in sd from the mean": f"{(source.loss - loss.mean()) / loss.std():+.2f}" if source else "",
        }
    shown = [*SOURCE_INSTANCES, "none/none"]
    return _markdown(pd.DataFrame.from_dict(rows, orient="index").loc[shown].rename_axis("ordering"))


def _markdown(table: pd.DataFrame) -> str:
    rows = [[table.index.name, *table.columns], ["---"] * (len(table.columns) + 1)]
    rows += [
        [f"`{name}`" if "/" in name else name, *row] for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Write the README and its picture."""
    mpl.use("agg")
    files.write_atomically(README, render(README.read_text(encoding="utf-8")))
    figure, axes = plots.plot_bars(records.load_records(records.SOURCE_RECORDS))
    for path in summary.save_figure(figure, BARS, describe(axes)):
        print(path)


if __name__ == "__main__":
    main()
