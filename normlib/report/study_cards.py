"""Cards: what notebooks show of settings, a run, a study."""

from __future__ import annotations

from normlib.analysis.statistics import MEASURES
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.report import cards
from normlib.report.boxes import boxes
from normlib.runs.records import Record
from normlib.studies.studies import Study

_MOST_ORDERINGS = 30  # drawn


def instance_card(instance: Instance) -> str:
    """Return what stands where as a small picture, then the settings that differ from the defaults, then others."""
    title = f"Instance {instance.ordering} of {instance.model}"
    return cards.card(title, cards.picture(boxes(instance)), cards.settings(instance.settings, Instance().settings))


def record_card(record: Record) -> str:
    """Return figures, what stands where as a small picture, settings that differ from the defaults, then others."""
    try:
        drawn: str = cards.picture(boxes(Instance.of(**{**record.instance, "provider": "auto"})))
    except RequestError:  # its data's file is elsewhere
        drawn = ""
    measured = {"running, last epoch": {name: values[-1] for name, values in record.training.items()}}
    measured |= record.evaluation
    figures = [(name, *(f"{found[m]:.4f}" for m in ("loss", "accuracy"))) for name, found in measured.items()]
    rest = {**record.environment, **record.environment["versions"]}
    del rest["versions"]
    rest |= {f"{name.replace('_', '-')} weights": f"{count:,}" for name, count in record.parameters.items()}
    rest |= {f"seconds to {name}": f"{seconds:.1f}" for name, seconds in record.seconds.items()}
    return cards.card(
        f"Run {record.key}: {record.instance['ordering']}, seed {record.seed}",
        cards.table("Training, and evaluation in each reading", ["", "loss", "accuracy"], figures),
        drawn,
        cards.settings(record.instance, {**record.instance, **Instance().settings}),
        cards.folded("Where it was made, weights and seconds", cards.table("", ["fact", "value"], rest.items())),
    )


def study_card(study: Study) -> str:
    """Return the question, the orderings with small pictures, what varies, contrasts, then shared settings."""
    return cards.card(
        f"Study {study.name}", study.question, study.citation, _runs(study), _orderings(study), *_varies(study),
        *_contrasts(study), _settings(study),
    )  # fmt: skip


def _runs(study: Study) -> str:
    instances, seeds = len(study.instances), study.run_seeds
    conditions = instances // len(study.orderings)
    under = f" under {conditions} conditions" if conditions > 1 else ""
    several = f"{len(seeds)} seeds, from {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    return f"{instances * len(seeds)} runs: {len(study.orderings)} orderings{under}, each with {several}."


def _orderings(study: Study) -> cards.Markup:
    shown = study.instances[: min(len(study.orderings), _MOST_ORDERINGS)]  # those of the first condition
    rows = [(instance.ordering, cards.picture(boxes(instance))) for instance in shown]
    more = len(study.orderings) - len(shown)
    title = f"Orderings, and {more} more" if more else "Orderings"
    return cards.table(title, ["ordering", "what stands where"], rows)


def _varies(study: Study) -> list[cards.Markup]:
    rows = [(name, ", ".join(map(str, values))) for group in study.varies for name, values in group.items()]
    return [cards.table("What varies besides", ["setting", "values"], rows)] if rows else []


def _contrasts(study: Study) -> list[cards.Markup]:
    title = f"Declared contrasts in {MEASURES[study.measure]}; differences up to {study.margin:g} do not matter"
    return [cards.table(title, ["name", "contrast"], study.contrasts.items())] if study.contrasts else []


def _settings(study: Study) -> cards.Markup:
    apart = {"ordering", *study.own_settings, *(name for group in study.varies for name in group)}
    shared = {name: value for name, value in study.instances[0].settings.items() if name not in apart}
    return cards.settings(shared, Instance().settings)
