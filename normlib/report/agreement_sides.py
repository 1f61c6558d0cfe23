"""Two sides of one study, A and B, each read from the folder of a study that was run in one place."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from normlib.analysis.conditions import Varies, split_records
from normlib.analysis.contrasts import Contrast
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.runs.records import Record, to_frame
from normlib.studies.studies import Study
from normlib.studies.study_records import UNDECLARED, read_folder

_ALLOWED = "{} as in the first folder, since both have to hold runs of one study"


@dataclasses.dataclass(frozen=True)
class Side:
    """A study and its runs in one place.

    Args:
        study: The study, called as its folder.
        runs: Its records.
    """

    study: Study
    runs: list[Record]

    @functools.cached_property
    def records(self) -> pd.DataFrame:
        """One row a run; a setting of each ordering's own reads the same in all of them."""
        return self.study.to_frame(self.runs)


def read_sides(folder_a: Path, folder_b: Path) -> tuple[Side, Side]:
    """Read the two folders of one study.

    Args:
        folder_a: A study's output folder: side A.
        folder_b: Another: side B.

    Raises:
        RequestError: One is no study's folder with records, or they do not hold one study, see ``check_one_study``.
    """
    side_a, side_b = _read(folder_a, "DIR"), _read(folder_b, "DIR_B")
    check_one_study(side_a, side_b)
    return side_a, side_b


def check_one_study(side_a: Side, side_b: Side) -> None:
    """Refuse what is not one study: sides that differ in more than where they were run, seeds and orderings.

    Compared are what varies, measure, margin and contrasts, and all settings and data of runs of the same condition and
    ordering, but for the library that provides GroupNorm: ``auto`` is another one on another stack. A contrast may be
    missing where its orderings are.

    Raises:
        RequestError: They differ, or have no ordering in common; the setting and both values are named.
    """
    for name in ("varies", "measure", "margin"):
        value = getattr(side_a.study, name)
        if getattr(side_b.study, name) != value:
            raise RequestError(name, getattr(side_b.study, name), _ALLOWED.format(value))
    for name, contrast_a, contrast_b in _differing_contrasts(side_a.study, side_b.study):
        raise RequestError(f"contrast {name}", contrast_b, _ALLOWED.format(contrast_a))
    for side in (side_a, side_b):
        split_records(side.records, side.study.varies)  # refuses what must not be averaged
    _check_settings(to_frame(side_a.runs), to_frame(side_b.runs), side_a.study.varies)


def contrasts_of(side_a: Side, side_b: Side) -> list[Contrast]:
    """Return the contrasts that either side declares: of orderings that one lacks, only the other still has them."""
    return list({contrast.name: contrast for side in (side_a, side_b) for contrast in side.study.declared}.values())


def _read(folder: Path, setting: str) -> Side:
    study, runs = read_folder(folder, setting)
    if study.question == UNDECLARED:
        raise RequestError(setting, str(folder), "a study's output folder, with study.yaml in it")
    return Side(study, runs)


def _differing_contrasts(study_a: Study, study_b: Study) -> Iterator[tuple[str, str, str]]:
    """Give the name and both texts of contrasts that differ, or that one study lacks though it has the orderings."""
    declared_a, declared_b = ({each.name: each for each in study.declared} for study in (study_a, study_b))
    for name in {**declared_a, **declared_b}:
        contrast_a, contrast_b = declared_a.get(name), declared_b.get(name)
        if contrast_a and contrast_b:
            if contrast_a != contrast_b:
                yield name, str(contrast_a), str(contrast_b)
            continue
        there, lacking = (contrast_a, study_b) if contrast_a else (contrast_b, study_a)
        if there and {*lacking.orderings}.issuperset(there.first + there.second):
            yield name, str(contrast_a or "not declared,"), str(contrast_b or "not declared")


def _check_settings(records_a: pd.DataFrame, records_b: pd.DataFrame, varies: Varies) -> None:
    together = ["ordering", *(next(iter(group)) for group in varies)]
    sides = (records.drop_duplicates(together) for records in (records_a, records_b))
    both = next(sides).merge(next(sides), on=together, suffixes=("_a", "_b"))
    if both.empty:
        orderings = [", ".join(records["ordering"].unique()) for records in (records_a, records_b)]
        raise RequestError("orderings", orderings[1], f"under the same conditions, one at least of {orderings[0]}")
    names = [field.name for field in dataclasses.fields(Instance) if field.name not in (*together, "provider")]
    for name in [*names, "data"]:
        for _, run in both.iterrows():
            if str(run[f"{name}_a"]) != str(run[f"{name}_b"]):
                allowed = _ALLOWED.format(f"{run[f'{name}_a']} of {run['ordering']}")
                raise RequestError(name, run[f"{name}_b"], allowed)
