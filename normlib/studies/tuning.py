"""Each ordering at its own best settings: they are chosen on other images, with other seeds, before a study runs.

With one value shared by all, a comparison also says whom that value suits: see Choi et al. 2019, arXiv 1910.05446,
section 4, for optimizers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from normlib.analysis.conditions import expand
from normlib.analysis.statistics import by_seed, half_width, split_records
from normlib.errors import RequestError, whole_number
from normlib.models.ordering import short_form
from normlib.runs.measures import MEASURES
from normlib.runs.store import Record, to_frame
from normlib.studies.folder import name_run, planned_runs
from normlib.studies.study import Study

_FORM = (
    "{varies: [{learning_rate: [0.001, 0.003]}], evaluate_split: 'train[50000:]', seeds: 2, first_seed: 1000}: "
    "values to choose from, images to choose on, and seeds that the study does not use"
)
_FEWEST_SEEDS = 5


def tuning_study(study: Study) -> Study:
    """Return the study by whose runs the settings of each ordering are chosen: what stands under ``tune``.

    That is ``varies`` (of one group, whose settings are chosen together), ``evaluate_split``, ``seeds`` and
    ``first_seed``.

    Raises:
        RequestError: It has not, or the study would be reported on images or seeds by which it chooses.
    """
    tune = study.tune
    if {*tune} != {"varies", "evaluate_split", "seeds", "first_seed"}:
        raise RequestError("tune", tune, _FORM)
    shared = {name: value for name, value in study.defaults.items() if name != "evaluate_split"}
    stage = Study(
        name=f"{study.name}: tuning",
        question=f"By which of these settings does each ordering do best on {tune['evaluate_split']}?",
        orderings=study.orderings,
        citation=study.citation,
        varies=tune["varies"],
        seeds=whole_number("seeds", tune["seeds"], minimum=1),
        first_seed=tune["first_seed"],
        defaults={**shared, "evaluate_split": tune["evaluate_split"]},
        measure=study.measure,
        margin=study.margin,
        declared_in=study.declared_in,
    )
    if study.varies or len(stage.varies) != 1:
        problem = "it takes one group of settings, and none where the study itself varies some"
        raise RequestError("tune", tune, problem=problem)
    if MEASURES[study.measure].reading != "inference":
        raise RequestError("measure", study.measure, "eval_loss or eval_accuracy where settings are tuned")
    if {*stage.run_seeds} & {*study.run_seeds}:
        raise RequestError("tune", tune, problem="the study uses some of its seeds")
    _check_images(study, stage)
    return stage


def tune(study: Study, records: Sequence[Record]) -> Study:
    """Return the study with the settings that did best, by the mean over seeds, for each ordering.

    Values are tied with the best where the 95 % interval (Student's t, not corrected) of their paired difference from
    it holds zero. Of those the one that stands nearest to it in the list is kept as ``ties``. One seed tells no ties.

    Args:
        study: The study.
        records: The runs of ``tuning_study(study)``; others among them are passed over. A value with which a run
            diverged is not taken.

    Raises:
        RequestError: Runs are missing, or an ordering diverged with all values.
    """
    stage = tuning_study(study)
    records = [record for record in stage.select(records) if record.seed in stage.run_seeds]
    planned = planned_runs(stage, records)
    for _, run in planned[~planned["done"]].iterrows():
        raise RequestError("tune", study.tune, problem=f"the run {name_run(run)} is missing")
    sign = 1 if MEASURES[study.measure].lower_is_better else -1
    runs = [by_seed(part, study.measure) * sign for part in split_records(to_frame(records), stage.varies).values()]
    candidates = expand(stage.varies)
    own: dict[str, dict[str, Any]] = {}
    ties: dict[str, dict[str, Any]] = {}
    for ordering in study.orderings:
        values = [part[short_form(ordering)] for part in runs]
        means = [each.mean(skipna=False) for each in values]
        if np.isnan(means).all():
            raise RequestError("tune", stage.varies[0], problem=f"{ordering} diverges with all of these values")
        best = int(np.nanargmin(means))
        own[ordering] = dict(candidates[best])
        tied = [place for place, each in enumerate(values) if place != best and _is_tie(each - values[best])]
        if tied:
            nearest = min(tied, key=lambda place: (abs(place - best), means[place]))
            ties[ordering] = dict(candidates[nearest])
    return dataclasses.replace(study, own=own, ties=ties)


def tuning_sentences(study: Study) -> list[str]:
    """Return by what each ordering's own settings were chosen, the last of those tried and the ties, as sentences."""
    if not study.own or not study.tune:
        return []
    stage = tuning_study(study)
    (name, values), *others = stage.varies[0].items()
    ends = ", ".join(ordering for ordering, own in study.own.items() if own[name] in (values[0], values[-1]))
    beyond = f" At an end of what was tried, where a value beyond may be better: {ends}." if ends else ""
    chosen = study.own_values(name)
    tied = "; ".join(f"{ordering} with {settings[name]}" for ordering, settings in study.ties.items())
    ties = f" Ties, whose paired 95 % interval holds zero: {tied}." if tied else ""
    ties = ties if stage.seeds > 1 else " One seed tells no ties."
    few = f" {stage.seeds} seeds are few to choose by: five or more are better." if stage.seeds < _FEWEST_SEEDS else ""
    if others:
        name = f"{name}, and with it {', '.join(other for other, _ in others)}"
    return [
        f"Each ordering has its own {name.replace('_', ' ')}, {chosen}: the best of "
        f"{', '.join(map(str, values))} by its mean {MEASURES[study.measure].phrase} over {stage.seeds} other seeds on "
        f"{study.tune['evaluate_split']}.{beyond}{ties}{few}"
    ]


def _is_tie(differences: pd.Series) -> bool:
    if len(differences) < 2 or differences.isna().any():
        return False
    return bool(abs(differences.mean()) <= half_width(differences.std(), len(differences)))


def _check_images(study: Study, stage: Study) -> None:
    """Refuse to choose by images that are trained on or reported on."""
    chosen_on = stage.instances[0].evaluate_examples
    others = [("fit_split", instance.fit_examples) for instance in study.instances]
    for name, other in [*others, ("evaluate_split", study.instances[0].evaluate_examples)]:
        if other.overlap(chosen_on):
            raise RequestError("tune", study.tune, problem=f"some of its images are among those of the study's {name}")
