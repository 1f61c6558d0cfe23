"""Cards: what notebooks show of settings, a run, a study, a comparison."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from normlib.analysis import conditions
from normlib.analysis.statistics import MEASURES, summarize
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.models.ordering import short_form
from normlib.report import html, tables
from normlib.report.diagrams import boxes
from normlib.runs.store import Record
from normlib.studies.study import Study

_MOST_ORDERINGS = 30  # drawn


def instance_card(instance: Instance) -> str:
    """Return what stands where as a small picture, then the settings that differ from the defaults, then others."""
    title = f"Instance {short_form(instance.ordering)} of {instance.model}"
    return html.card(title, html.picture(boxes(instance)), html.settings(instance.settings, Instance().settings))


def record_card(record: Record) -> str:
    """Return figures, what stands where as a small picture, settings that differ from the defaults, then others."""
    try:
        drawn: str = html.picture(boxes(Instance.of(**{**record.instance, "provider": "auto"})))
    except RequestError:  # its data's file is elsewhere
        drawn = ""
    measured = {"running, last epoch": {name: values[-1] for name, values in record.training.items()}}
    measured |= record.evaluation
    figures = [(name, *(f"{found[m]:.4f}" for m in ("loss", "accuracy"))) for name, found in measured.items()]
    rest = {**record.environment, **record.environment["versions"]}
    del rest["versions"]
    rest |= {f"{name.replace('_', '-')} weights": f"{count:,}" for name, count in record.parameters.items()}
    rest |= {f"seconds to {name}": f"{seconds:.1f}" for name, seconds in record.seconds.items()}
    return html.card(
        f"Run {record.key}: {record.ordering}, seed {record.seed}",
        html.table("Training, and evaluation in each reading", ["", "loss", "accuracy"], figures),
        drawn,
        html.settings(record.instance, {**record.instance, **Instance().settings}),
        html.folded("Where it was made, weights and seconds", html.table("", ["fact", "value"], rest.items())),
    )


def study_card(study: Study) -> str:
    """Return the question, the orderings with small pictures, what varies, contrasts, then shared settings."""
    return html.card(
        f"Study {study.name}", study.question, study.citation, _runs(study), _orderings(study), *_varies(study),
        *_contrasts(study), _settings(study),
    )  # fmt: skip


def _runs(study: Study) -> str:
    instances, seeds = len(study.instances), study.run_seeds
    conditions = instances // len(study.orderings)
    under = f" under {conditions} conditions" if conditions > 1 else ""
    several = f"{len(seeds)} seeds, from {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    return f"{instances * len(seeds)} runs: {len(study.orderings)} orderings{under}, each with {several}."


def _orderings(study: Study) -> html.Markup:
    shown = study.instances[: min(len(study.orderings), _MOST_ORDERINGS)]  # those of the first condition
    rows = [(short_form(instance.ordering), html.picture(boxes(instance))) for instance in shown]
    more = len(study.orderings) - len(shown)
    title = f"Orderings, and {more} more" if more else "Orderings"
    return html.table(title, ["ordering", "what stands where"], rows)


def _varies(study: Study) -> list[html.Markup]:
    rows = [(name, ", ".join(map(str, values))) for group in study.varies for name, values in group.items()]
    return [html.table("What varies besides", ["setting", "values"], rows)] if rows else []


def _contrasts(study: Study) -> list[html.Markup]:
    title = f"Declared contrasts in {MEASURES[study.measure]}; differences up to {study.margin:g} do not matter"
    return [html.table(title, ["name", "contrast"], study.contrasts.items())] if study.contrasts else []


def _settings(study: Study) -> html.Markup:
    apart = {"ordering", *study.own_settings, *(name for group in study.varies for name in group)}
    shared = {name: value for name, value in study.instances[0].settings.items() if name not in apart}
    return html.settings(shared, Instance().settings)


class Comparison(pd.DataFrame):
    """One row a run, as ``normlib.load_records`` gives; what is selected of it is a plain DataFrame.

    Args:
        runs: The table of runs, of one condition.
        instances: The instances that were run.
    """

    _metadata = ["instances"]  # noqa: RUF012  (pandas' way to name an attribute that is no column)

    def __init__(self, runs: pd.DataFrame, instances: Sequence[Instance]):
        super().__init__(runs)
        self.instances = list(instances)

    def _repr_html_(self) -> str:
        """Return means by ordering, best first, with small pictures; settings that differ; then all runs."""
        means = summarize(self, "train_loss")["mean"].sort_values()
        results = tables.results(self).drop(columns="source's label", errors="ignore")
        drawn = [(short_form(instance.ordering), html.picture(boxes(instance))) for instance in self.instances]
        title = f"{len(self)} runs of {len(means)} orderings, by {MEASURES['train_loss']}, lowest first"
        shared = {name: value for name, value in self.instances[0].settings.items() if name != "ordering"}
        return html.card(
            title,
            f"It holds for {conditions.in_words(self)}.",
            html.table(
                "Means over runs and their 95 % intervals",
                ["ordering", *results.columns],
                results.loc[means.index].itertuples(),
            ),
            html.table("What stands where", ["ordering", "from image to class"], drawn),
            html.settings(shared, Instance().settings),
            html.folded("All runs", html.Markup(pd.DataFrame(self).to_html())),
        )
