"""Contrasts: declared differences of orderings or conditions, as text, and their values pair by pair."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from normlib.analysis.conditions import Varies, expand, label, labels
from normlib.errors import RequestError, real_number
from normlib.models.kinds import EMPTY
from normlib.models.ordering import Ordering, short_form

_FORM = (
    "a difference such as 'bn/gn - gn/bn', 'mean(bn/gn, gn/bn) - none/none', "
    "'bn/bn at batch_size 2 - bn/bn at batch_size 32' or "
    "'(gn/gn - bn/bn) at batch_size 2 - (gn/gn - bn/bn) at batch_size 32'"
)
SIGNS = (" - ", " at ", "(", ")", ",")


class Term(NamedTuple):
    """One ordering in a contrast.

    Args:
        weight: What its figure is multiplied by: 1 before the minus, -1 behind it, a share of that in a mean.
        ordering: The ordering, in its full form.
        condition: The settings that the contrast names for it, as text.
    """

    weight: float
    ordering: str
    condition: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A difference of two sides.

    A side is an ordering, a mean of several, or a difference in brackets, and may name the condition that it stands
    under; where settings vary that no side names, the contrast is estimated under each of their values.

    Args:
        name: What it is called.
        sides: Both sides as text, orderings in their full form.
        terms: The orderings with their weights.
    """

    name: str
    sides: tuple[str, str]
    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, name: str, text: str, arms: Iterable[str], varies: Varies = (), free: bool = False) -> Contrast:
        """Read a contrast.

        Args:
            name: What it is called.
            text: The difference, such as ``"bn/gn - gn/bn"``, ``"mean(bn/gn, gn/bn) - none/none"``,
                ``"bn/bn at batch_size 2 - bn/bn at batch_size 32"`` or, a difference of differences,
                ``"(gn/gn - bn/bn) at batch_size 2 - (gn/gn - bn/bn) at batch_size 32"``. Several settings of a
                condition are joined by "and".
            arms: The orderings that there are, in their full form.
            varies: What varies besides the ordering; a condition is named by the first setting of each group.
            free: Whether these are names of anything, and no orderings.

        Raises:
            RequestError: Not a difference, or an ordering or condition that there is not.
        """
        sides, terms = _Reader(name, text, list(arms), varies, free).difference(text)
        if len({term[1:] for term in terms}) < len(terms):
            problem = "each ordering may stand in it only once, or once under each condition"
        elif len({frozenset(setting for setting, _ in term.condition) for term in terms}) > 1:
            problem = "all its orderings must name the same settings, or none"
        elif abs(sum(term.weight for term in terms)) > 1e-9:
            problem = "its sides must be alike: orderings and means of them, or differences"
        else:
            return cls(name, sides, tuple(terms))
        raise RequestError(f"contrast {name}", text, problem=problem)

    def __str__(self) -> str:
        return " - ".join(self.sides)

    @property
    def orderings(self) -> frozenset[str]:
        """The orderings that stand in it."""
        return frozenset(term.ordering for term in self.terms)

    @property
    def conditions(self) -> frozenset[str]:
        """The conditions that its sides name, a setting each: ``batch_size 2``."""
        return frozenset(f"{name} {value}" for term in self.terms for name, value in term.condition)

    def without(self, ordering: str) -> Contrast | None:
        """Return the contrast without an ordering of one of its means; None where that is no mean of several."""
        if any(side.startswith("(") for side in self.sides):
            return None
        left = [term for term in self.terms if term.ordering != ordering]
        sides = [[term for term in left if term.weight * sign > 0] for sign in (1, -1)]
        if len(left) == len(self.terms) or not all(sides):
            return None
        shared = [
            term._replace(weight=sign / len(side)) for sign, side in zip((1, -1), sides, strict=True) for term in side
        ]
        return dataclasses.replace(self, terms=tuple(shared))


Contrasts: TypeAlias = Mapping[str, str] | Iterable[Contrast]


def read_contrasts(
    contrasts: Contrasts, arms: Iterable[str], varies: Varies = (), free: bool = False
) -> list[Contrast]:
    """Return contrasts, whether they are given as text by name or have been read already; see ``Contrast.parse``.

    Raises:
        RequestError: Not a difference, or an ordering or condition that there is not.
    """
    if isinstance(contrasts, Mapping):
        arms = list(arms)  # which may be an iterator
        return [Contrast.parse(name, text, arms, varies, free) for name, text in contrasts.items()]
    return list(contrasts)


class _Reader:
    """Reads a contrast's text into sides and terms."""

    def __init__(self, name: str, text: object, arms: list[str], varies: Varies, free: bool):
        self._name, self._text, self._arms, self._free = name, text, arms, free
        self._labels = {next(iter(group)): labels([group]) for group in varies}

    def difference(self, text: object) -> tuple[tuple[str, str], list[Term]]:
        parts = _split(text, " - ") if isinstance(text, str) else []
        if len(parts) != 2:
            self._refuse()
        (first, plus), (second, minus) = map(self._side, parts)
        return (first, second), [*plus, *(term._replace(weight=-term.weight) for term in minus)]

    def _side(self, text: str, in_mean: bool = False) -> tuple[str, list[Term]]:
        base, *conditions = map(str.strip, _split(text, " at "))
        bracket = base.endswith(")") and not in_mean
        if bracket and base.startswith("mean("):
            members = [self._side(part, in_mean=True) for part in _split(base[len("mean(") : -1], ",")]
            name = f"mean({', '.join(member for member, _ in members)})"
            terms = [term._replace(weight=term.weight / len(members)) for _, some in members for term in some]
        elif bracket and base.startswith("("):
            sides, terms = self.difference(base[1:-1])
            name = f"({' - '.join(sides)})"
        else:
            name = self._arm(base)
            terms = [Term(1, name)]
        if not conditions:
            return name, terms
        settings = self._settings(conditions[0])
        within = {setting for term in terms for setting, _ in term.condition}
        if len(conditions) > 1 or len(within | dict(settings).keys()) < len(within) + len(settings):
            self._refuse()
        terms = [term._replace(condition=(*term.condition, *settings)) for term in terms]
        return f"{name} at {' and '.join(map(' '.join, settings))}", terms

    def _arm(self, text: str) -> str:
        """Return an ordering as records' tables have it; one's own kinds may be named with their modules or without."""
        if not text or any(sign in text for sign in SIGNS):
            self._refuse()
        setting, slots = f"an ordering of contrast {self._name}", self._arms[0].count("/") + 1
        found = text if self._free else "/".join([*text.split("/"), *[EMPTY] * (slots - 1 - text.count("/"))])
        if not self._free and found not in self._arms:
            try:
                found = short_form(str(Ordering.parse(text, slots)))
            except RequestError as error:
                raise RequestError(setting, *error.arguments[1:]) from None
        if found not in self._arms:
            raise RequestError(setting, found, f"one of {', '.join(self._arms)}", names=self._arms)
        return found

    def _settings(self, text: str) -> list[tuple[str, str]]:
        """Read settings with their values, joined by " and ", which a value may also have within."""
        settings: list[tuple[str, str]] = []
        while text or not settings:
            known = [
                label
                for found in self._labels.values()
                for label in found
                if f"{text} and ".startswith(f"{label} and ")
            ]
            part = max(known, key=len, default=text.partition(" and ")[0])
            settings.append(self._setting(part))
            text = text[len(part) :].removeprefix(" and ")
        return settings

    def _setting(self, text: str) -> tuple[str, str]:
        """Return a setting and its value, as the study varies it; a number may be written otherwise."""
        names = [name for name in self._labels if text.startswith(f"{name} ")]
        name = max(names, key=len, default=text.partition(" ")[0])
        value = text[len(name) + 1 :]
        if not value:
            self._refuse()
        if name not in self._labels:
            allowed = f"one of those that vary, {', '.join(self._labels)}"
            problem = "" if self._labels else "nothing varies besides the ordering"
            raise RequestError(
                f"a setting of contrast {self._name}", name, allowed, names=self._labels, problem=problem
            )
        there = [label[len(name) + 1 :] for label in self._labels[name]]
        if value in there:
            return name, value
        for known in there:
            with contextlib.suppress(ValueError):
                if float(known) == float(value):
                    return name, known
        raise RequestError(f"a condition of contrast {self._name}", text, f"one of {', '.join(self._labels[name])}")

    def _refuse(self) -> None:
        raise RequestError(f"contrast {self._name}", self._text, _FORM)


def _split(text: str, separator: str) -> list[str]:
    """Split a text where a separator stands outside all brackets."""
    parts, depth, start, place = [], 0, 0, 0
    while place < len(text):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0 and text.startswith(separator, place):
            parts.append(text[start:place])
            start = place = place + len(separator)
        else:
            place += 1
    return [*parts, text[start:]]


def check_margin(margin: object) -> float:
    """Return a margin; refuse what is no positive, finite number.

    Raises:
        RequestError: It is none.
    """
    allowed = "a positive, finite number, in the unit of the measure"
    return real_number("margin", margin, allowed, lambda margin: margin > 0)


class Row(NamedTuple):
    """A contrast under one condition: one member of the family that is judged together.

    Args:
        contrast: The contrast.
        settings: The values of the settings that vary and that the contrast does not name.
        condition: What they are called; empty where there are none.
    """

    contrast: Contrast
    settings: dict[str, Any]
    condition: str


def family(contrasts: Iterable[Contrast], varies: Varies) -> list[Row]:
    """Return all contrasts under all conditions, those of one contrast together."""
    rows = []
    for contrast in contrasts:
        named = dict(contrast.terms[0].condition)  # all its terms name the same settings
        groups = [group for group in varies if next(iter(group)) not in named]
        rows += [Row(contrast, settings, label(settings, groups)) for settings in expand(groups)]
    return rows
