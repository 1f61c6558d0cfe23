"""Make the tables, sentences and pictures of the README and its pages from what is kept: ``make findings``."""

import dataclasses
import hashlib
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import normlib
from normlib import files
from normlib.execution import kernels, summary
from normlib.models.ordering import SOURCE_INSTANCES
from normlib.report import agreement, sentences, tables
from normlib.runs import store
from normlib.studies.results import Results

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "scaling.md")
CALIBRATION = ROOT / "docs" / "calibration.csv"  # written by make calibrate
KERAS3 = ROOT / "docs" / "source-keras3.jsonl"  # the source study on the other stack, by docs/keep.py
BENCHMARKS = ROOT / "benchmarks" / "results.csv"  # written by make benchmark
# In the order in which they are told, with what each picture shows.
STUDIES = {
    **dict.fromkeys(
        ("source", "standard", "grid", "stacked"), "every declared contrast with its pairs, interval and margin"
    ),
    **dict.fromkeys(
        ("batch-size", "groups"), "the error along the setting, with intervals, and the paper's figure beside it"
    ),
    **dict.fromkeys(
        ("placement", "placement-resnet20", "learning-rate"),
        "every declared contrast with its pairs, interval and margin",
    ),
    "conditions": "a map of the conditions, with the best ordering in each and how far it is ahead",
    "lag": "evaluation loss in each reading, under each condition",
}


def render(page: str) -> str:
    """Return a page with each part between ``<!-- made: NAME -->`` and ``<!-- end -->`` made anew."""
    parts = {
        "results": _results,
        "findings": _findings,
        "calibration": _calibration,
        "original stack": _original_stack,
        "benchmarks": _benchmarks,
        "scaling": _scaling,
        "agreement": _agreement,
    }
    return re.sub(
        r"(<!-- made: (.+?) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{parts[match[2]]()}\n{match[3]}",
        page,
        flags=re.DOTALL,
    )


def draw() -> dict[str, Figure]:
    """Draw the README's pictures, by their names in ``docs/``."""
    figures = {"bars": normlib.plot_bars(normlib.read_results("source"))[0]}
    for name in STUDIES:
        results = normlib.read_results(name)
        if results.study.reported:
            figures[name] = normlib.plot_beside_paper(results)[0]
        elif name == "lag":
            figures[name] = normlib.plot_gap(results)[0]
        elif name == "conditions":
            figures[name] = normlib.plot_winners(results)[0]
        else:
            figures[name] = normlib.plot_contrasts(results)[0]
    return figures


def describe(figure: Figure) -> str:
    """Return what a picture shows, as text and a digest of the numbers drawn, which goes into its metadata.

    A test reads it there, since other versions of Matplotlib draw letters and lines elsewhere.
    """
    lines, drawn = [], []
    for axis in figure.axes:
        names = [label.get_text().replace("\n", ", ") for label in [*axis.get_xticklabels(), *axis.get_yticklabels()]]
        lines.append("; ".join([axis.get_title(loc="left"), axis.get_xlabel(), *names]))
        drawn += [line.get_xydata() for line in axis.lines]
        drawn += [collection.get_offsets() for collection in axis.collections]
        drawn += [patch.get_bbox().get_points() for patch in axis.patches]
        lines += [text.get_text().replace("\n", ", ") for text in axis.texts]
    numbers = " ".join(f"{number:.4f}" for points in drawn for number in np.asarray(points, float).ravel())
    return f"{'; '.join(filter(None, lines))}; numbers drawn: {hashlib.sha256(numbers.encode()).hexdigest()[:16]}"


def _results() -> str:
    results = normlib.read_results("source")
    return (
        f"{_markdown(tables.result_table(results))}\n\n"
        "Mean over runs and its 95 % interval (Student's t), which covers initialization, shuffle and dropout, not new "
        f"data. {_made_with(results)}\n\n"
        f"{' '.join(sentences.source_sentences(results.records))}"
    )


def _findings() -> str:
    return "\n\n".join(_finding(name, shows) for name, shows in STUDIES.items())


def _finding(name: str, shows: str) -> str:
    results = normlib.read_results(name)
    study = results.study
    # Seconds are left out: the studies ran beside each other.
    table = tables.result_table(results).drop(columns=["source's label", "median seconds to fit"], errors="ignore")
    return "\n\n".join(
        [
            f"### `{name}`: {study.question}",
            sentences.findings(results),
            f"*{study.citation}*" + (f" {study.reported.differs}" if study.reported else ""),
            f"![{name}: {shows}](docs/{name}.png)",
            f"<details><summary>{len(results.runs)} runs: the tables of contrasts and results</summary>",
            _markdown(tables.contrast_table(results.estimates)),
            *([_markdown(tables.gap_table(results))] if results.measure.reading else []),
            _markdown(table),
            f"Measure: {results.measure.phrase}; margin: {study.margin:g}. {_made_with(results)} The study was "
            f"declared in the file of SHA-256 `{study.declared_in[:16]}…` before its runs; "
            f"[records](normlib/kept/{name}.jsonl).",
            "</details>",
        ]
    )


def _made_with(results: Results) -> str:
    facts = tables.provenance(results.records)["value"]
    return f"Seeds: {facts['seeds']}; {facts['stack']}; {facts['processor']}, threads a run: {facts['threads']}."


def _calibration() -> str:
    table = pd.read_csv(CALIBRATION)
    shares = ["false differs", "false level", "differs", "differs negligibly", "level", "undecided"]
    rows = {
        f"{row['noise']}, {row['truth']}": {
            share: "" if np.isnan(row[share]) else f"{row[share]:.1%}" for share in shares
        }
        for _, row in table.iterrows()
    }
    return _markdown(pd.DataFrame.from_dict(rows, orient="index").rename_axis("noise, true difference"))


def _original_stack() -> str:
    runs = store.load_original_stack()
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
    table = _markdown(pd.DataFrame.from_dict(rows, orient="index").loc[shown].rename_axis("ordering"))
    losses = runs.groupby("ordering")["loss"].agg(["min", "max"])
    outside = [
        f"that of {name}, {source.loss:.4f}, lies outside (lowest {low:.4f}, highest {high:.4f})"
        for name, source in SOURCE_INSTANCES.items()
        for low, high in [losses.loc[name]]
        if not low <= source.loss <= high
    ]
    within = f"{len(SOURCE_INSTANCES) - len(outside)} of its four losses lie within those of the twenty runs"
    return f"{table}\n\n{'; '.join([within, *outside])}."


def _benchmarks() -> str:
    table = pd.read_csv(BENCHMARKS)
    rows = {
        f"{row['benchmark']}: {row['figure']}": {
            "median [lowest, highest]": f"{row['median']:.3g} [{row['min']:.3g}, {row['max']:.3g}]",
            "rounds": str(row["rounds"]),
            **{goal: "" if np.isnan(row[goal]) else f"{row[goal]:g}" for goal in ("reach", "aim")},
        }
        for _, row in table.iterrows()
    }
    places = " ".join(
        f"{', '.join(part['benchmark'].unique())}: {machine}, {day}."
        for (machine, day), part in table.groupby(["machine", "measured"], sort=False)
    )
    return f"{_markdown(pd.DataFrame.from_dict(rows, orient='index').rename_axis('figure'))}\n\nMeasured on {places}"


def _scaling(runs: float = 1e6, workers: int = 1000, an_execution: int = kernels.MOST_RUNS) -> str:
    """Reckon from the benchmarks what many runs need."""
    kept = pd.read_csv(BENCHMARKS).set_index("figure")
    medians = kept["median"]
    cores = int(re.search(r"(\d+) cores", kept.loc["normlib's seconds", "machine"])[1])
    sweep = 4 * 10  # runs: the source's orderings, ten seeds
    run = medians["normlib's seconds"] * cores / sweep * medians["seconds on two Dask workers / on two local ones"]
    driver = medians["driver, ms an execution"]
    seconds = medians["10,000 records: load, statistics and bars, seconds"]
    memory = medians["10,000 records: most memory, MB"]
    record = len(store.read_records(store.SOURCE_RECORDS)[0].to_json(indent=1)) / 1e3
    notebook = (ROOT / "notebooks" / "instance.ipynb").stat().st_size / 1e3
    executions = runs / an_execution
    rows = {
        "a run on a Dask worker, all included": (f"{run:.1f} s", f"{run * runs / workers / 3600:.1f} hours"),
        "the driver, an execution of one run": (
            f"{driver:.1f} ms",
            f"{driver * runs / 3.6e6:.1f} hours if each run were one; enough for {1000 * run / driver:,.0f} workers",
        ),
        "a record, and an executed notebook": (
            f"{record:.0f} kB, {notebook:.0f} kB",
            f"{runs * record / 1e6:.0f} GB and, {an_execution} runs in each, {executions * notebook / 1e6:.0f} GB",
        ),
        "load 10,000 records, statistics and bars": (
            f"{seconds:.1f} s, {memory:.0f} MB",
            f"{seconds * runs / 1e4 / 60:.0f} minutes, {memory * runs / 1e7:.0f} GB if all grows in proportion",
        ),
    }
    columns = ["measured", f"{runs:,.0f} runs on {workers:,} workers"]
    return _markdown(pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("what"))


def _agreement() -> str:
    """Compare the source study's kept runs with those on the other stack."""
    here = normlib.read_results("source")
    there = Results(dataclasses.replace(here.study, name="source-keras3"), store.read_records(KERAS3))
    found = agreement.agreement_sentences(here, there, agreement.compare(here, there))
    return "\n".join(f"- {sentences.as_markdown(sentence)}" for sentence in found)


def _markdown(table: pd.DataFrame) -> str:
    rows = [[table.index.name, *table.columns], ["---"] * (len(table.columns) + 1)]
    rows += [
        [f"`{name}`" if re.fullmatch("[a-z+/]+/[a-z+/]+", name) else name, *row]
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Write the pages and the README's pictures."""
    mpl.use("agg")
    for page in PAGES:
        files.write_atomically(page, render(page.read_text(encoding="utf-8")))
    for name, figure in draw().items():
        for path in summary.save_figure(figure, ROOT / "docs" / name, describe(figure)):
            print(path)


if __name__ == "__main__":
    main()
