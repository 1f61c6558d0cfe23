"""Cards: what notebooks show of settings, a run, a study, its results, a comparison. One template writes their HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd
from matplotlib import pyplot

from normlib.analysis.comparison import Comparison
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.models.ordering import find_baseline, short_form
from normlib.report import answer, sentences, tables
from normlib.report.diagrams import model_boxes
from normlib.report.plots import plot_bars
from normlib.report.style import Figure
from normlib.runs.measures import MEASURES, default_measure
from normlib.runs.store import Record
from normlib.studies.results import Results
from normlib.studies.study import Study

_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
Part = tuple[Any, ...]  # of a card, see card.html.j2: ("text", "...") or ("table", caption, header, rows), say


def card(title: str, *parts: Part, whole_page: bool = False) -> str:
    """Return the HTML of a title with parts below it, empty ones left out.

    Plain text in them is escaped, so that it never is markup.
    """
    return _TEMPLATES.get_template("card.html.j2").render(title=title, parts=parts, whole_page=whole_page)


def table(caption: str, frame: pd.DataFrame) -> Part:
    """Return a table of text as a part of a card."""
    return "table", caption, list(frame.columns), list(frame.itertuples(index=False))


def picture(figure: Figure) -> Part:
    """Return a figure as a part of a card; it is closed, so that a notebook does not show it once more."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    pyplot.close(figure)
    return "picture", figure.alternative_text, base64.b64encode(content.getvalue()).decode()


def instance_card(instance: Instance) -> str:
    """Return what stands where as a small picture, then the settings that differ from the defaults, then others."""
    title = f"Instance {short_form(instance.ordering)} of {instance.model}"
    return card(title, ("boxes", model_boxes(instance)), *_settings(instance.settings))


def record_card(record: Record) -> str:
    """Return figures, what stands where as a small picture, settings that differ from the defaults, then others."""
    try:
        drawn = model_boxes(Instance.from_settings(**{**record.instance, "provider": "auto"}))
    except RequestError:  # its data's file is elsewhere
        drawn = []
    running = {name: values[-1] for name, values in record.training.items()}
    measured = {"running, last epoch": running, **record.evaluation}
    figures = [(name, *(f"{found[m]:.4f}" for m in ("loss", "accuracy"))) for name, found in measured.items()]
    rest = {
        **record.environment,
        **record.environment["versions"],
        **{f"{name.replace('_', '-')} weights": f"{count:,}" for name, count in record.parameters.items()},
        **{f"seconds to {name}": f"{seconds:.1f}" for name, seconds in record.seconds.items()},
    }
    del rest["versions"]
    return card(
        f"Run {record.key}: {record.ordering}, seed {record.seed}",
        ("table", "Training, and evaluation in each reading", ["", "loss", "accuracy"], figures),
        ("boxes", drawn),
        *_settings(record.instance),
        ("details", "Where it was made, weights and seconds", ("table", "", ["fact", "value"], rest.items())),
    )


def study_card(study: Study) -> str:
    """Return the question, the orderings with small pictures, what varies, contrasts, then shared settings."""
    instances, seeds = len(study.instances), study.run_seeds
    conditions = instances // len(study.orderings)
    under = f" under {conditions} conditions" if conditions > 1 else ""
    several = f"{len(seeds)} seeds, from {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    if study.looks:
        several = f"as many seeds from {seeds[0]} on as decide all contrasts: {', '.join(map(str, study.looks))}"
    varied = {name: ", ".join(map(str, values)) for group in study.varies for name, values in group.items()}
    measure = MEASURES[study.measure].phrase
    declared = f"Declared contrasts in {measure}; differences up to {study.margin:g} do not matter"
    apart = {"ordering", *study.own_settings, *varied}
    shared = {name: value for name, value in study.instances[0].settings.items() if name not in apart}
    most = "at most " if study.looks else ""
    runs = f"{most}{instances * len(seeds)} runs: {len(study.orderings)} orderings{under}, each with {several}."
    return card(
        f"Study {study.name}",
        ("text", study.question),
        ("text", study.citation),
        ("text", runs),
        _orderings("Orderings", study.instances[: len(study.orderings)]),  # those of the first condition
        ("table", "What varies besides", ["setting", "values"], varied.items()),
        ("table", declared, ["name", "contrast"], study.contrasts.items()),
        *_settings(shared),
    )


def results_card(results: Results) -> str:
    """Return the question, what was found, the contrasts and the table of results."""
    from nbconvert.filters import markdown2html  # slow to import, and only needed here

    found = markupsafe.Markup(markdown2html(sentences.findings(results)))
    return card(
        f"Results of {results.study.name}: {len(results.runs)} runs",
        ("text", results.study.question),
        ("html", found),
        table("Declared contrasts", tables.contrast_table(results.estimates).reset_index()),
        table("Means over runs and their 95 % intervals", tables.result_table(results).reset_index()),
    )


def comparison_card(runs: Comparison) -> str:
    """Return a line a contrast, and the table of contrasts."""
    return card(
        f"Verdicts on {runs.measure.phrase}, margin {runs.margin:g}",
        ("list", str(runs).splitlines()),
        table("Contrasts", tables.contrast_table(runs.estimates).reset_index()),
    )


class ComparedRuns(pd.DataFrame):
    """One row a run, as ``normlib.load_records`` gives; what is selected of it is a plain DataFrame.

    Args:
        runs: The table of runs, of one condition.
        instances: The instances that were run.
        measure: What is judged and drawn unless something else is asked; None: as ``default_measure`` says.
    """

    _metadata = ["instances", "measure"]  # noqa: RUF012  (pandas' way to name an attribute that is no column)

    def __init__(self, runs: pd.DataFrame, instances: Sequence[Instance], measure: str | None = None):
        super().__init__(runs)
        self.instances = list(instances)
        self.measure = measure or default_measure(any(instance.follows_source for instance in instances))

    def verdicts(
        self, contrasts: Mapping[str, str] | None = None, measure: str | None = None, margin: float = 0.01
    ) -> Comparison:
        """Return what can be said of contrasts; printed, a line each.

        Args:
            contrasts: As text by name, such as ``{"order": "bn/gn - gn/bn"}``. None: each ordering against the
                baseline, or against the first where it was not run.
            measure: A column, such as ``eval_loss``. None: as ``compare`` was asked.
            margin: The largest difference, either way, that does not matter.

        Raises:
            RequestError: A contrast, measure or margin that is none.
        """
        orderings = [short_form(instance.ordering) for instance in self.instances]
        against = find_baseline(orderings) or orderings[0]
        if contrasts is None:
            contrasts = {f"{name} or {against}": f"{name} - {against}" for name in orderings if name != against}
        return Comparison(pd.DataFrame(self), contrasts, measure or self.measure, margin)

    def _repr_html_(self) -> str:
        """Return verdicts, bars, means by ordering, best first; small pictures; settings that differ; then all runs."""
        runs = self.verdicts()
        order = runs.summary(runs.measure.column).loc[""]["mean"]
        means = order.sort_values(ascending=runs.measure.lower_is_better)
        results = tables.result_table(runs).drop(columns="source's label", errors="ignore").loc[means.index]
        shared = {name: value for name, value in self.instances[0].settings.items() if name != "ordering"}
        bars = plot_bars(runs)[0]
        everything = markupsafe.Markup(runs.records.to_html())
        return card(
            f"{len(self)} runs of {len(means)} orderings, by {runs.measure.phrase}, the best mean first",
            ("list", [*answer.verdict_lines(runs), *sentences.winner_sentences(runs)]),
            picture(bars),
            ("text", f"It holds for {sentences.shared_settings(runs.records)}."),
            table("Means over runs and their 95 % intervals", results.reset_index()),
            _orderings("What stands where", self.instances),
            *_settings(shared),
            ("details", "All runs", ("html", everything)),
        )


def _orderings(title: str, instances: Iterable[Instance]) -> Part:
    rows = [(short_form(instance.ordering), model_boxes(instance)) for instance in instances]
    return "table", title, ["ordering", "from image to class"], rows


def _settings(values: Mapping[str, object]) -> list[Part]:
    """Return the settings that differ from the defaults, and behind a click all others."""
    defaults, header = Instance().settings, ["setting", "value", "default"]
    rows = [(name, value, defaults.get(name, value)) for name, value in values.items()]
    changed, same = [row for row in rows if row[1] != row[2]], [row[:2] for row in rows if row[1] == row[2]]
    return [
        ("text", "" if changed else "All settings are at their defaults."),
        ("table", "Settings that differ from the defaults", header, changed),
        ("details", "Settings at their defaults", ("table", "", header[:2], same)),
    ]
