"""Make the tables, sentences and pictures of the README and of docs/ from what is kept: ``make findings``."""

import dataclasses
import functools
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
from normlib.report import agreement, answer, sentences, style, tables
from normlib.runs import store
from normlib.studies.results import Results

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
CALIBRATION = ROOT / "docs" / "calibration"  # written by make calibrate
KERAS3 = ROOT / "docs" / "source-keras3.jsonl"  # the source study on the other stack, by docs/keep.py
BENCHMARKS = ROOT / "benchmarks" / "results.csv"  # written by make benchmark
REPLICATION = ROOT / "docs" / "replication.csv"  # written by make replicate
_CONTRASTS = (normlib.plot_contrasts, "every declared contrast with its pairs, interval and margin")
_PAPER = (
    normlib.plot_beside_paper,
    "the error along the setting, with intervals, and the paper's figure beside it",
)
# In the order in which they are told, with what draws each picture, and what that shows.
STUDIES = {
    **dict.fromkeys(("source", "standard", "grid", "stacked"), _CONTRASTS),
    "batch-size": _PAPER,
    **dict.fromkeys(("small-batch", "small-batch-parts"), _CONTRASTS),
    "groups": _PAPER,
    "groups-small-maps": _CONTRASTS,
    **dict.fromkeys(("placement-resnet20", "transformer-kind"), _CONTRASTS),
    **dict.fromkeys(("learning-rate", "plateau", "plateau-fashion"), _CONTRASTS),
    "conditions": (
        normlib.plot_winners,
        "a map of the conditions, with the best ordering in each and how far it is ahead",
    ),
    "lag": (normlib.plot_gap, "evaluation loss in each reading, under each condition"),
}
# What the README tells: by a contrast of a study, what somebody would do differently for having read it.
TOLD = {
    ("source", "BatchNorm against none"): "Do not judge by the first epoch. In it, a layer slows the source's CNN.",
    ("plateau", "BatchNorm against none"): "Train to the end, each choice at its own learning rate.",
    ("plateau-fashion", "BatchNorm against none"): "Ask again on other data, such as Fashion-MNIST.",
    ("small-batch", "BatchNorm, 2 against 32"): "Behind dense layers, keep BatchNorm from batches of a few images.",
    ("small-batch-parts", "8 against 32"): "Statistics over 8 images are enough, even in maps of 2 x 2 positions.",
    ("groups-small-maps", "a group a channel against 8"): "In such maps, do not give each channel a group of its own.",
    ("transformer-kind", "RMSNorm against LayerNorm"): "In a small transformer, try RMSNorm for LayerNorm.",
}


_read = functools.cache(normlib.read_results)


def render(page: str) -> str:
    """Return a page with each part between ``<!-- made: NAME -->`` and ``<!-- end -->`` made anew."""
    parts = {
        "opening": _opening,
        "verdict": _verdict,
        "told": _told,
        "results": _results,
        "counts": _counts,
        "replication": _replication,
        "findings": _index,
        "rules": _rules,
        "cases": _cases,
        "looks": _looks,
        "split runs": _split_runs,
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
    figures = {name: plot(_read(name))[0] for name, (plot, _) in STUDIES.items()}
    return {"bars": normlib.plot_bars(_read("source"))[0], "power": _draw_power(), **figures}


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
    results = _read("source")
    return (
        f"{_markdown(tables.result_table(results))}\n\n"
        f"Mean over runs and its 95 % interval (Student's t), which covers {sentences.coverage(results.records)}. "
        f"{_made_with(results.records)}\n\n"
        f"{' '.join(sentences.source_sentences(results.records))}"
    )


def _opening() -> str:
    """Tell of the largest gap between training and evaluation that a study kept."""
    lag = _read("lag")
    instance = max((i for i in lag.study.instances if i.momentum == 0.99), key=lambda instance: instance.batch_size)
    runs = lag.records.query("ordering == 'bn/none' and momentum == 0.99 and batch_size == @instance.batch_size")
    means = runs[["train_loss", "eval_loss", "recalibrated_loss"]].mean()
    return (
        f"A small MNIST classifier with one BatchNorm, after {instance.steps} steps: training loss "
        f"**{means['train_loss']:.2f}**, evaluation loss **{means['eval_loss']:.2f}**. Nothing is wrong with the "
        "layer. Evaluated, it uses moving averages that still remember how they were initialized. The same weights, "
        f"with the statistics of the data put in: **{means['recalibrated_loss']:.2f}** "
        f"([study `lag`](docs/findings/lag.md), means of {len(runs)} runs)."
    )


def _verdict() -> str:
    """Tell which of the source's two orders is better: by its study, and by a later one with other seeds."""
    lines = []
    for study, name in (("source", "order, two layers"), ("grid", "order")):
        seeds = _read(study).estimates.loc[name, "pairs"]
        lines.append(f"> [`{study}`](docs/findings/{study}.md), {seeds} seeds. {_line(study, name)}")
    return "\n>\n".join(lines)


def _told() -> str:
    told = [(study, f"{advice} {_line(study, name)}") for (study, name), advice in TOLD.items()]
    cost = answer.cost_lines(_read("source"))
    told += [("source", f"Reckon with what a layer costs. In the source's network: {line}") for line in cost]
    return "\n".join(f"- {line} ([`{study}`](docs/findings/{study}.md))" for study, line in told)


def _line(study: str, name: str) -> str:
    """Return what is said of a contrast, in a line: not its name, but its measure, model and epochs."""
    results = _read(study)
    instance = results.study.instances[0]
    trained = f"{instance.model}, {instance.epochs} {'epoch' if instance.epochs == 1 else 'epochs'}"
    (line,) = (line for line in answer.verdict_lines(results) if line.startswith((f"{name}:", f"{name}, under")))
    said = line.removeprefix(name).lstrip(":, ")
    return f"In {results.measure.phrase} ({trained}): {said}."


def _index() -> str:
    """Return a section a study: its question, the answer in lines, and where the rest is."""
    parts = []
    for name in STUDIES:
        results = _read(name)
        parts += [f"## [`{name}`](findings/{name}.md)", f"{results.study.question} In {results.measure.phrase}:"]
        parts.append("\n".join(f"- {sentences.as_markdown(line)}" for line in answer.answer(results)))
    return "\n\n".join(parts)


def study_pages() -> dict[Path, str]:
    """Return the page of each study, by its path."""
    return {ROOT / "docs" / "findings" / f"{name}.md": _finding(name, shows) for name, (_, shows) in STUDIES.items()}


def _finding(name: str, shows: str) -> str:
    results = _read(name)
    study = results.study
    parts = [
        f"# `{name}`",
        f"This page has what one of normlib's studies found. {study.question}",
        sentences.findings(results),
        f"*{study.citation}*" + (f" {study.reported.differs}" if study.reported else ""),
        f"![{name}: {shows}](../{name}.png)",
        f"The tables of contrasts and results, of {len(results.runs)} runs:",
        _markdown(tables.contrast_table(results.estimates)),
    ]
    if results.measure.reading and len(results.gap):
        parts.append(_markdown(tables.gap_table(results)))
    if results.cost is not None:
        parts += [tables.cost_caption(results), _markdown(tables.cost_table(results))]
    parts += [
        _markdown(tables.result_table(results).drop(columns="source's label", errors="ignore")),
        f"Measure: {results.measure.phrase}; margin: {study.margin:g}. {_made_with(results.records)} The study "
        f"was declared in the file of SHA-256 `{study.declared_in[:16]}…` before its runs; "
        f"[records](../../normlib/kept/{name}.jsonl).",
    ]
    if results.tied_runs:
        parts.append(f"Runs at tied settings. {_made_with(store.to_frame(results.tied_runs))}")
    return "\n\n".join(parts) + "\n"


def _made_with(runs: pd.DataFrame) -> str:
    facts = tables.provenance(runs)["value"]
    return f"Seeds: {facts['seeds']}; {facts['stack']}; {facts['processor']}, threads a run: {facts['threads']}."


def _counts() -> str:
    verdicts = pd.concat([_read(name).estimates["verdict"] for name in STUDIES])
    counted = verdicts.value_counts()
    words = ("differs", "differs negligibly", "level", "undecided")
    each = ", ".join(f"{counted.get(word, 0)} *{word}*" for word in words)
    return f"Of {len(verdicts)} verdicts, a contrast under a condition each: {each}."


def _replication() -> str:
    """Say how many published differences keep their sign with further seeds, and which do not."""
    table = pd.read_csv(REPLICATION, keep_default_na=False)
    kept = table["same_sign"]
    lost = [f"`{row['study']}`, {row['name']}" for _, row in table[~kept].iterrows()]
    studies = ", ".join(f"`{name}`" for name in table["study"].unique())
    made = f"([table](replication.csv), made by `make replicate`){''.join(f'; not {name}' for name in lost)}"
    signs = f"{kept.sum()} of {len(table)} differences keep their sign {made}"
    return f"{table['pairs'].min()} further seeds of {studies}, which nobody had looked at: {signs}."


def _read_calibration(name: str) -> pd.DataFrame:
    return pd.read_csv(CALIBRATION / f"{name}.csv")


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1%}"


def _rules() -> str:
    table = _read_calibration("rules")
    rows = {
        f"{row['verdict']}{', with looks' * row['looks']}: {row['rule']}": {
            **{f"wrong at 5 %, {kind}": _share(row[f"wrong at 5 %, {kind}"]) for kind in ("regular", "hard")},
            "holds at": "not above 0.5 %" if np.isnan(row["holds at"]) else f"{100 * row['holds at']:g} %",
            **{f"power there, {effect} sd": _share(row[f"power {effect} sd"]) for effect in ("1", "1.5")},
        }
        for _, row in table.iterrows()
    }
    return _markdown(pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule"))


def _cases() -> str:
    table = _read_calibration("cases").set_index("case")
    names = {"kind": "kind of case", "differs": "false differs", "level": "false level"}
    names |= {f"{name}, looks": f"{names[name]}, with looks" for name in ("differs", "level")}
    names |= {column: f"said to be skewed, {column.split(', ')[1]}" for column in table if column.startswith("flagged")}
    shown = table[[*names]].apply(lambda column: column if column.name == "kind" else column.map(_share))
    return _markdown(shown.rename(columns=names))


def _looks() -> str:
    rows = {
        f"{row['contrasts']:.0f} contrasts, {row['truth']:g} sd": {
            "seeds until all is decided": f"{row['mean seeds']:.1f}",
            "of 64": _share(row["mean seeds"] / 64),
            "95 % interval holds the truth": _share(row["interval covers"]),
            "undecided at the end": _share(row["undecided"]),
            "undecided by 64 at once": _share(row["undecided at once"]),
        }
        for _, row in _read_calibration("looks").iterrows()
    }
    return _markdown(pd.DataFrame.from_dict(rows, orient="index").rename_axis("true difference of all contrasts"))


def _split_runs() -> str:
    table = _read_calibration("split-runs").set_index("study")
    shown = table.assign(**{"said to differ": table["said to differ"].map(_share)}).astype(str)
    return _markdown(shown.rename(columns={"runs": "runs of each ordering", "contrasts": "orderings and conditions"}))


def _draw_power() -> Figure:
    """Draw how often normlib's rule decides, against the number of seeds."""
    table = _read_calibration("power")
    with style.in_style():
        shows = "How often a contrast is decided, by seeds, size of the family and true difference"
        figure, axes = style.panels(2, 2, (5.2, 3.6), shows, sharey=True)
        titles = ("A true difference is seen to differ", "No difference is seen to be level, the margin so large")
        for axis, (_, part), title in zip(axes, table.groupby("verdict"), titles, strict=True):
            for (contrasts, effect), line in part.groupby(["contrasts", "effect"]):
                if contrasts in (5, 20):
                    look = {"color": {5: "#0072B2", 20: "#D55E00"}[contrasts]}
                    look |= {"linestyle": {1: "--", 1.5: "-"}[effect], "marker": {5: "o", 20: "s"}[contrasts]}
                    axis.plot(line["seeds"], line["power"], label=f"{contrasts} contrasts, {effect:g} sd", **look)
            axis.set_xlabel("seeds")
            axis.set_xscale("log", base=2)
            axis.set_xticks(sorted(table["seeds"].unique()), sorted(table["seeds"].unique()))
            axis.set(ylim=(0, 1.02), title=title)
        axes[0].set_ylabel("share of contrasts (higher is better)")
        style.legend_below(figure, columns=4, title="size of the family; difference or margin in sd of the pairs")
    return figure


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


def _scaling() -> str:
    """Reckon from the benchmarks what many runs need."""
    runs, workers, an_execution = 1e6, 1000, kernels.MOST_RUNS
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
    here = _read("source")
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
    for page, text in study_pages().items():
        files.write_atomically(page, text)
    for name, figure in draw().items():
        for path in summary.save_figure(figure, ROOT / "docs" / name, describe(figure)):
            print(path)


if __name__ == "__main__":
    main()
