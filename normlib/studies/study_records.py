"""Which study some records belong to, and which of them are its runs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.runs.records import KEPT, SOURCE_RECORDS, Record, read_records
from normlib.studies.studies import Study, read_study
from normlib.studies.tuning import tuned

UNDECLARED = "No study was declared beside these records."


def study_of_records(records_dir: str | Path) -> Study:
    """Return the study that some records belong to: ``study.yaml`` in their folder or in the one above.

    Args:
        records_dir: The folder; empty: the source study's records, which ship with the package.

    Returns:
        The study, called as its folder; where there is no such file, one without contrasts, since nothing was declared.

    Raises:
        RequestError: The file is no study.
    """
    if not str(records_dir):
        return read_study("source")
    folder = Path(records_dir)
    for path in (folder / "study.yaml", folder.parent / "study.yaml"):
        if os.path.isfile(path):
            return dataclasses.replace(read_study(path), name=path.parent.name)
    return Study(folder.name, UNDECLARED, ("none",))


def read_study_records(records_dir: str | Path) -> tuple[Study, list[Record]]:
    """Return the study that some records belong to, and those of them that have its settings.

    A folder keeps also what was run before a setting of its study was changed; of that, nothing is compared. Orderings
    and seeds are not settings in this sense: those of earlier calls count.

    Args:
        records_dir: As for ``study_of_records``.

    Raises:
        RequestError: There is no such folder, or the study's file is none.
    """
    study, records = study_of_records(records_dir), read_records(records_dir or SOURCE_RECORDS)
    if study.question == UNDECLARED:
        return study, records
    return study, runs_of(study, records)


def read_folder(folder: Path, setting: str = "DIR") -> tuple[Study, list[Record]]:
    """Return the study of an output folder, and its runs, one at least.

    Args:
        folder: The study's output folder, with ``records/`` in it.
        setting: Name of the setting that holds it.

    Raises:
        RequestError: There are none.
    """
    # Not Path's own test, which raises of what can be no path.
    study, runs = read_study_records(folder / "records") if os.path.isdir(folder / "records") else (None, [])
    if study is None or not runs:
        raise RequestError(setting, str(folder), "a study's output folder, with at least one record in records/")
    return study, runs


def read_kept(name: str) -> tuple[Study, list[Record]]:
    """Return a study whose records ship with normlib, its orderings' own settings chosen, and its runs.

    Args:
        name: The study's name.

    Raises:
        RequestError: There is no such study, or it has no records.
    """
    study, records = read_study(name), read_records(KEPT / f"{name}.jsonl")
    study = tuned(study, records) if study.tune else study
    return study, runs_of(study, records)


def runs_of(study: Study, records: Iterable[Record]) -> list[Record]:
    """Return those records that have a study's settings, whatever their seeds and, unless it has own ones, orderings.

    Args:
        study: The study.
        records: Some records.
    """
    # "auto" means another library on another stack; where providers are compared, they are named.
    varied = {name for group in study.varies for name in group}
    settings = [n for n in Instance().settings if n != "ordering" and (n != "provider" or n in varied)]
    if study.own:
        settings.append("ordering")  # with whose own settings a run counts
    defaults = Instance().settings
    planned = {tuple(str(instance.settings[name]) for name in settings) for instance in study.instances}
    return [r for r in records if tuple(str((defaults | r.instance)[name]) for name in settings) in planned]
