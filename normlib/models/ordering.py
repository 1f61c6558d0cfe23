"""Ordering: what stands in each slot of a model, in data-flow order."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from normlib.errors import RequestError
from normlib.models.kinds import EMPTY, KINDS, is_own

_MODULES = re.compile(r"[\w.]+:")
_LONGEST = 10_000  # characters
_ALLOWED = (
    f"{', '.join(KINDS)} or one of your own, 'package.module:name', joined by '+' in each slot, or {EMPTY}; "
    "slots separated by '/', as in 'gn/bn'"
)


@dataclass(frozen=True)
class SourceInstance:
    """One of the source notebook's four instances: its number, its label and the two figures that it printed.

    ``loss`` and ``accuracy`` are the running training figures of the only epoch of the only run.
    """

    number: int
    label: str
    loss: float
    accuracy: float


# By what the code does. The labels of instances 3 and 4 say the reverse of their code: the saved outputs of the
# source tie 0.4598 to the cell in which GroupNorm comes first.
SOURCE_INSTANCES = {
    "bn/none": SourceInstance(1, "Only BatchNorm", 0.4021, 0.8783),
    "gn/none": SourceInstance(2, "Only GroupNorm", 0.4263, 0.8714),
    "gn/bn": SourceInstance(3, "Batch and then Group", 0.4598, 0.8695),
    "bn/gn": SourceInstance(4, "Group Then Batch", 0.4683, 0.8658),
}


@dataclass(frozen=True)
class Ordering:
    """What stands in each slot.

    Args:
        slots: For each slot of the model, the kinds that stand in it, in data-flow order. Empty: no normalization.

    ``str(ordering)`` is the full form, ``Ordering.parse`` its inverse.
    """

    slots: tuple[tuple[str, ...], ...]

    @classmethod
    def parse(cls, text: str, slot_count: int | None, repeated: bool = False) -> Ordering:
        """Read ``"gn/bn"``, ``"bn+gn/none"`` or, with trailing empty slots left out, ``"bn"``.

        Args:
            text: Slots separated by ``/``, layers that share a slot joined by ``+``, ``none`` for an empty slot.
            slot_count: Number of slots that the model has. None: not known, so nothing was left out.
            repeated: Whether it is repeated from the first slot to the last one, instead of these being left empty.

        Raises:
            RequestError: Unknown kind, or more slots than the model has.
        """
        if not isinstance(text, str) or not text.strip():
            raise RequestError("ordering", text, _ALLOWED)
        slots = tuple(_parse_slot(slot.strip(), text) for slot in text.split("/"))
        if len(text) > _LONGEST:
            raise RequestError("ordering", text, f"at most {_LONGEST:,} characters long")
        if slot_count is None:
            return cls(slots)
        if len(slots) > slot_count:
            raise RequestError("ordering", text, problem=f"it has {len(slots)} slots, and this model {slot_count}")
        further = itertools.cycle(slots) if repeated else itertools.repeat(())
        return cls((*slots, *itertools.islice(further, slot_count - len(slots))))

    @property
    def shortest(self) -> Ordering:
        """The shortest ordering that, repeated along a model, is the same: ``gn`` of ``gn/gn``."""
        count = len(self.slots)
        lengths = (n for n in range(1, count + 1) if count % n == 0 and self.slots[:n] * (count // n) == self.slots)
        return Ordering(self.slots[: next(lengths)])

    def __str__(self) -> str:
        return "/".join("+".join(kinds) or EMPTY for kinds in self.slots)


def short_form(ordering: str) -> str:
    """Return an ordering's full form as tables and figures have it: one's own kinds without their modules."""
    return _MODULES.sub("", ordering)


def has_batch_norm(ordering: str) -> bool:
    """Tell whether BatchNorm stands in an ordering's full form."""
    return "bn" in ordering.replace("/", "+").split("+")


def is_baseline(ordering: str) -> bool:
    """Tell whether all slots of an ordering's full form are empty: what the others are compared with."""
    return set(ordering.split("/")) == {EMPTY}


def find_baseline(orderings: Iterable[str]) -> str | None:
    """Return the baseline among some orderings of one model, such as ``none/none``, or None where it is not there."""
    return next(filter(is_baseline, orderings), None)


def _parse_slot(slot: str, ordering: str) -> tuple[str, ...]:
    if slot.lower() == EMPTY:
        return ()
    kinds = tuple(kind if is_own(kind) else kind.lower() for kind in map(str.strip, slot.split("+")))
    for kind in kinds:
        if kind not in KINDS and not is_own(kind):
            meant = {**{name: name for name in (*KINDS, EMPTY)}, **{k.name.lower(): name for name, k in KINDS.items()}}
            near = difflib.get_close_matches(kind[:40], meant, n=1)
            hint = f" (did you mean {meant[near[0]]!r}?)" if near else ""
            raise RequestError("ordering", ordering, f"{_ALLOWED}; there is no kind {kind[:40]!r}{hint}")
    return kinds
