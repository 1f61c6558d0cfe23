"""What notebooks show of a study: its question, what stands where in each ordering, and what was declared."""

from __future__ import annotations

from typing import Protocol

from normlib import cards
from normlib.boxes import boxes
from normlib.conditions import Varies
from normlib.instance import Instance
from normlib.statistics import MEASURES

_MOST_ORDERINGS = 30  # drawn


class _Study(Protocol):
    """What is read of a study, see ``normlib.studies.Study``."""

    name: str
    question: str
    citation: str
    orderings: tuple[str, ...]
    varies: Varies
    contrasts: dict[str, str]
    measure: str
    margin: float

    @property
    def instances(self) -> list[Instance]: ...
    @property
    def own_settings(self) -> tuple[str, ...]: ...
    @property
    def run_seeds(self) -> range: ...


class StudyCard:
    """Gives a study the form in which notebooks show it."""

    def _repr_html_(self: _Study) -> str:
        """Return the question, the orderings with small pictures, what varies, contrasts, then shared settings."""
        return cards.card(
            f"Study {self.name}", self.question, self.citation, _runs(self), _orderings(self), *_varies(self),
            *_contrasts(self), _settings(self),
        )  # fmt: skip


def _runs(study: _Study) -> str:
    instances, seeds = len(study.instances), study.run_seeds
    conditions = instances // len(study.orderings)
    under = f" under {conditions} conditions" if conditions > 1 else ""
    several = f"{len(seeds)} seeds, from {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    return f"{instances * len(seeds)} runs: {len(study.orderings)} orderings{under}, each with {several}."


def _orderings(study: _Study) -> cards.Markup:
    shown = study.instances[: min(len(study.orderings), _MOST_ORDERINGS)]  # those of the first condition
    rows = [(instance.ordering, cards.picture(boxes(instance))) for instance in shown]
    more = len(study.orderings) - len(shown)
    title = f"Orderings, and {more} more" if more else "Orderings"
    return cards.table(title, ["ordering", "what stands where"], rows)


def _varies(study: _Study) -> list[cards.Markup]:
    rows = [(name, ", ".join(map(str, values))) for group in study.varies for name, values in group.items()]
    return [cards.table("What varies besides", ["setting", "values"], rows)] if rows else []


def _contrasts(study: _Study) -> list[cards.Markup]:
    title = f"Declared contrasts in {MEASURES[study.measure]}; differences up to {study.margin:g} do not matter"
    return [cards.table(title, ["name", "contrast"], study.contrasts.items())] if study.contrasts else []


def _settings(study: _Study) -> cards.Markup:
    apart = {"ordering", *study.own_settings, *(name for group in study.varies for name in group)}
    shared = {name: value for name, value in study.instances[0].settings.items() if name not in apart}
    return cards.settings(shared, Instance().settings)
