"""Contrasts: declared differences of orderings or conditions, as text, and their values pair by pair."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from normlib.analysis.conditions import Varies, expand, label, labels
from normlib.errors import RequestError, real_number
from normlib.models.kinds import EMPTY
from normlib.models.ordering import Ordering, short_form

if TYPE_CHECKING:
    import pandas as pd

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
        arms = list(arms)
        find = (lambda arm: arm) if free else (lambda arm: _full_form(name, arm, arms[0].count("/") + 1, arms))
        sides, terms = _Reader(name, text, find, varies).difference(text)
        for term in terms:
            if term.ordering not in arms:
                raise RequestError(
                    f"an ordering of contrast {name}", term.ordering, f"one of {', '.join(arms)}", names=arms
                )
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

    @property
    def named(self) -> frozenset[str]:
        """The settings that its sides name."""
        return frozenset(name for name, _ in self.terms[0].condition)

    def without(self, ordering: str) -> Contrast | None:
        """Return the contrast without an ordering of one of its means; None where that is no mean of several."""
        if any(side.startswith("(") for side in self.sides):
            return None
        kept = []
        for sign in (1, -1):
            side = [term for term in self.terms if term.weight * sign > 0]
            left = [term for term in side if term.ordering != ordering]
            if not left:
                return None
            kept += [term._replace(weight=sign / len(left)) for term in left]
        changed = any(abs(term.weight) < 1 for term in self.terms) and len(kept) < len(self.terms)
        return dataclasses.replace(self, terms=tuple(kept)) if changed else None


Contrasts: TypeAlias = Mapping[str, str] | Iterable[Contrast]


def read_contrasts(
    contrasts: Contrasts, arms: Iterable[str], varies: Varies = (), free: bool = False
) -> list[Contrast]:
    """Return contrasts, whether they are given as text by name or have been read already.

    Args:
        contrasts: Such as ``{"order": "bn/gn - gn/bn"}``.
        arms: The orderings that there are, in their full form.
        varies: What varies besides the ordering.
        free: Whether these are names of anything, and no orderings.

    Raises:
        RequestError: Not a difference, or an ordering or condition that there is not.
    """
    if isinstance(contrasts, Mapping):
        arms = list(arms)
        return [Contrast.parse(name, text, arms, varies, free) for name, text in contrasts.items()]
    return list(contrasts)


class _Reader:
    """Reads a contrast's text into sides and terms."""

    def __init__(self, name: str, text: object, find: Callable[[str], str], varies: Varies):
        self._name, self._text, self._find = name, text, find
        self._labels = {next(iter(group)): labels([group]) for group in varies}

    def difference(self, text: object) -> tuple[tuple[str, str], list[Term]]:
        parts = _split(text, " - ") if isinstance(text, str) else []
        if len(parts) != 2:
            self._refuse()
        (first, plus), (second, minus) = map(self._side, parts)
        return (first, second), [*plus, *(term._replace(weight=-term.weight) for term in minus)]

    def _side(self, text: str, in_mean: bool = False) -> tuple[str, list[Term]]:
        base, *conditions = _split(text, " at ")
        base = base.strip()
        bracket = base.endswith(")") and not in_mean
        if bracket and base.startswith("mean("):
            members = [self._side(part, in_mean=True) for part in _split(base[len("mean(") : -1], ",")]
            name = f"mean({', '.join(member for member, _ in members)})"
            terms = [term._replace(weight=term.weight / len(members)) for _, some in members for term in some]
        elif bracket and base.startswith("("):
            sides, terms = self.difference(base[1:-1])
            name = f"({' - '.join(sides)})"
        else:
            if not base or any(sign in base for sign in SIGNS):
                self._refuse()
            name = self._find(base)
            terms = [Term(1, name)]
        if not conditions:
            return name, terms
        settings = self._condition(conditions[0].strip())
        named = {setting for setting, _ in settings}
        if len(conditions) > 1 or any(setting in named for term in terms for setting, _ in term.condition):
            self._refuse()
        terms = [term._replace(condition=(*term.condition, *settings)) for term in terms]
        return f"{name} at {' and '.join(map(' '.join, settings))}", terms

    def _condition(self, text: str) -> list[tuple[str, str]]:
        """Read settings with their values, as the study varies them, joined by "and"."""
        settings: list[tuple[str, str]] = []
        while text or not settings:
            written = [(name, known) for name, found in self._labels.items() for known in found]
            written = [(name, known) for name, known in written if f"{text} and ".startswith(f"{known} and ")]
            if written:
                name, found = max(written, key=lambda pair: len(pair[1]))
                text = text[len(found) :].removeprefix(" and ")
            else:
                first, _, text = text.partition(" and ")
                name, found = self._find_number(first)
            if name in dict(settings):
                self._refuse()
            settings.append((name, found[len(name) + 1 :]))
        return settings

    def _find_number(self, text: str) -> tuple[str, str]:
        """Return a setting and its label, where the text has the same number otherwise written; refuse all else."""
        name, _, value = text.partition(" ")
        if not value:
            self._refuse()
        if name not in self._labels:
            allowed = f"one of those that vary, {', '.join(self._labels)}"
            problem = "" if self._labels else "nothing varies besides the ordering"
            raise RequestError(
                f"a setting of contrast {self._name}", name, allowed, names=self._labels, problem=problem
            )
        for known in self._labels[name]:
            with contextlib.suppress(ValueError):
                if float(value) == float(known[len(name) + 1 :]):
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


def _full_form(contrast: str, text: str, slots: int, orderings: list[str]) -> str:
    """Return an ordering as records' tables have it; one's own kinds may be named with their modules or without."""
    padded = "/".join([*text.split("/"), *[EMPTY] * (slots - 1 - text.count("/"))])
    try:
        return padded if padded in orderings else short_form(str(Ordering.parse(text, slots)))
    except RequestError as error:
        _, value, allowed, names, problem = error.arguments
        raise RequestError(f"an ordering of contrast {contrast}", value, allowed, names, problem) from None


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
        groups = [group for group in varies if next(iter(group)) not in contrast.named]
        rows += [Row(contrast, settings, label(settings, groups)) for settings in expand(groups)]
    return rows


def paired_differences(parts: Mapping[str, pd.DataFrame], row: Row, measure: str, varies: Varies = ()) -> pd.Series:
    """Return a contrast's difference for each seed that all its orderings were run with.

    Args:
        parts: The runs of each condition by its label, one row a run, see ``split_records``.
        row: The contrast and its condition.
        measure: A column, such as ``train_loss``.
        varies: What varies besides the ordering.

    Returns:
        Float differences, indexed by seed. Seeds with a missing run are left out; a diverged run gives NaN.
    """
    import numpy as np
    import pandas as pd

    figures = []
    for term in row.contrast.terms:
        part = parts.get(label({**row.settings, **dict(term.condition)}, varies))
        if part is None:
            return pd.Series(dtype=float)
        runs = part[part["ordering"] == term.ordering]
        figures.append(runs.set_index("seed")[measure].astype(float))
    table = pd.concat(figures, axis=1, join="inner")
    weights = np.array([term.weight for term in row.contrast.terms])
    return pd.Series(table.to_numpy() @ weights, index=table.index)
