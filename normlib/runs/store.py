"""Where records are kept: files and folders of them, written, read, and put into a table."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlib.errors import RequestError, checked
from normlib.files import read_text, write_atomically
from normlib.models.instance import Instance
from normlib.runs.measures import MEASURES
from normlib.runs.record import Record, RecordError

if TYPE_CHECKING:
    import pandas

KEPT = Path(__file__).parent.parent / "kept"  # records that ship with the package, one JSON Lines file a study
SOURCE_RECORDS = KEPT / "source.jsonl"


def save_record(record: Record, folder: Path | str) -> Path:
    """Write a record to ``folder/KEY.json``, whole or not at all, and return the path."""
    path = Path(folder) / f"{record.key}.json"
    write_atomically(path, record.to_json(indent=1) + "\n")
    return path


def read_record(path: Path) -> Record:
    """Read the record of a file.

    Raises:
        RecordError: It cannot be read, or is none.
    """
    try:
        return Record.from_json(read_text(path))
    except OSError as error:
        raise RecordError(f"it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordError("no record of normlib's") from None


@checked
def read_records(path: Path | str) -> list[Record]:
    """Read all records of a folder, of a study's folder, or of a JSON Lines file; files that are none are named.

    Raises:
        RequestError: There is no such file or folder.
    """
    records: dict[str, Record] = {}
    for name, read in _readers(Path(path)):
        try:
            record = read()
            if record.key in records:
                raise RecordError(f"the run {record.key} stands there already")
            records[record.key] = record
        except RecordError as error:
            warnings.warn(f"left out {name} of {path}: {error}", stacklevel=2)
    return list(records.values())


@checked
def to_frame(records: Iterable[Record]) -> pandas.DataFrame:
    """Return a table with one row a run: ordering, seed, figures, the other settings, stack and key."""
    import pandas as pd

    rows = [record.row() for record in records]
    if not rows:
        return pd.DataFrame(columns=["ordering", "seed", *MEASURES, *list(Instance().settings)[1:], "key"])
    frame = pd.DataFrame(rows)
    for name in (name for name, value in Instance().settings.items() if value is None):
        # Left to itself pandas writes 5.0 and NaN for 5 and None.
        frame[name] = pd.Series([row[name] for row in rows], dtype=object)
    return frame.sort_values(["ordering", "seed", "key"], ignore_index=True)


def check_one_instance(records: Sequence[Record]) -> None:
    """Refuse runs that differ in more than the seed, where they are shown as runs of one instance.

    Raises:
        RequestError: They do; the first setting and its values are named.
    """
    for name, value in records[0].instance.items():
        for other in (record.instance.get(name) for record in records):
            if other != value:
                problem = "runs of one instance are asked for"
                raise RequestError("records", f"{name} of {value} and {other}", problem=problem)


@checked
def load_records(path: Path | str) -> pandas.DataFrame:
    """Load records into one table, one row a run.

    Args:
        path: A study's output folder, a folder of record files, or a JSON Lines file.

    Returns:
        Columns ``ordering``, ``seed``, ``train_loss`` and ``train_accuracy`` (the last epoch's running figures),
        ``eval_loss`` and ``eval_accuracy`` (images not trained on, as Keras evaluates), the other readings, the
        instance's other settings, and ``threads``, ``stack``, ``processor``, ``device``, ``data``, ``commit``,
        ``study_sha256``, ``fit_seconds``, ``key``.

    Raises:
        RequestError: There is no such file or folder.
    """
    return to_frame(read_records(path))


def load_original_stack() -> pandas.DataFrame:
    """Load the source's own cells run on its stack of 2020: ``ordering``, ``seed`` (20), ``loss``, ``accuracy``."""
    import pandas as pd

    return pd.read_csv(KEPT / "original_stack.csv")


def _readers(path: Path) -> list[tuple[str, Callable[[], Record]]]:
    """Return what there is: its name, and what reads it."""
    if os.path.isdir(path):  # and not Path's own, which raises of what can be no path
        folder = path / "records" if (path / "records").is_dir() else path
        # A copy of a record, under a name of its own, comes after the record.
        files = sorted(folder.glob("*.json"), key=lambda file: (len(file.stem) != 16, file.name))
        return [(file.name, functools.partial(read_record, file)) for file in files]
    if not os.path.isfile(path):
        raise RequestError("records", str(path), "a folder of records, a record or a JSON Lines file")
    if path.suffix == ".json":
        return [(path.name, functools.partial(read_record, path))]
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(f"line {n}", functools.partial(Record.from_json, line)) for n, line in enumerate(lines, start=1)]
