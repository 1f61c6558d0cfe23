"""Records: one run's result each, written, read, and put into a table."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlib import stack
from normlib.errors import RequestError, checked
from normlib.files import read_text, write_atomically
from normlib.models.instance import Instance
from normlib.models.ordering import short_form
from normlib.runs.record import RecordError, digest, parse_record, recorded_changes, write

if TYPE_CHECKING:
    import pandas

KEPT = Path(__file__).parent.parent / "kept"  # records that ship with the package, one JSON Lines file a study
SOURCE_RECORDS = KEPT / "source.jsonl"
_DEFAULTS = Instance().settings


@dataclasses.dataclass(frozen=True)
class Record:
    """The result of one run.

    Args:
        key: 16 hex digits that name the run, see ``run_keys``.
        instance: All settings, by name.
        seed: The run's seed.
        training: ``loss`` and ``accuracy``, the running figure of each epoch, as Keras prints it: measured while the
            weights change, dropout on.
        curve: ``epoch``, ``step``, ``loss`` and ``accuracy``: the same running figures at steps on the way.
        evaluation: For each reading (``inference``, ``debiased``, ``recalibrated``), a ``loss`` and an ``accuracy`` on
            the evaluate split; the same in all where the model has no BatchNorm.
        parameters: Numbers of weights: ``total``, ``trainable``, ``non_trainable``.
        seconds: Wall-clock time to ``build``, ``fit`` and ``evaluate``.
        environment: ``versions``, ``provider``, ``device``, ``gpu`` (its name), ``processor``, ``threads``, ``onednn``,
            ``commit``, and ``study_sha256``, of the file that declares the study it was run for.
        data: SHA-256 of each array used, by name.
    """

    key: str
    instance: dict[str, Any]
    seed: int
    training: dict[str, list[float]]
    curve: dict[str, list[float]]
    evaluation: dict[str, dict[str, float]]
    parameters: dict[str, int]
    seconds: dict[str, float]
    environment: dict[str, Any]
    data: dict[str, str]

    def to_json(self, indent: int | None = None) -> str:
        """Return the record as JSON, with its schema, key and checksum; one line unless ``indent`` is given."""
        return write(dataclasses.asdict(self), indent)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record.

        Raises:
            RecordError: Not JSON, of another schema, not what its checksum says, or something else than a record
                whatever its checksum says: values that no run gives, settings that there are not, another run's key.
        """
        record = cls(**parse_record(text))
        try:
            changes = recorded_changes(json.dumps(record.instance))
        except RequestError:
            raise RecordError("instance has settings that there are not") from None
        versions = stack.deciding(record.environment["provider"], record.environment["versions"])
        if record.key != digest(record.seed, record.data, versions, record.environment["threads"], changes):
            raise RecordError("the key is not that of its seed, data, versions, threads and settings")
        return record

    @property
    def ordering(self) -> str:
        """The ordering as tables and figures have it: one's own kinds without their modules."""
        return short_form(self.instance["ordering"])

    def _repr_html_(self) -> str:
        """Return figures, what stands where as a small picture, settings that differ from the defaults, then others."""
        from normlib.report import cards  # shown only

        return cards.record_card(self)

    def row(self) -> dict[str, Any]:
        """Return the record as one row of the table that ``load_records`` gives."""
        readings = {
            f"{'eval' if reading == 'inference' else reading}_{measure}": value
            for reading, measures in self.evaluation.items()
            for measure, value in measures.items()
        }
        return {
            "ordering": self.ordering,
            "seed": self.seed,
            "train_loss": self.training["loss"][-1],
            "train_accuracy": self.training["accuracy"][-1],
            **readings,
            # A record from before a setting was added was made with what is its default now.
            **{name: self.instance.get(name, value) for name, value in _DEFAULTS.items() if name != "ordering"},
            "threads": self.environment["threads"],
            "stack": stack.describe(stack.deciding(self.environment["provider"], self.environment["versions"])),
            "processor": self.environment["processor"],
            "device": self.environment.get("gpu") or self.environment["device"],
            "data": ", ".join(f"{name} {sha[:12]}" for name, sha in sorted(self.data.items())),
            "commit": self.environment["commit"],
            "study_sha256": self.environment.get("study_sha256"),
            "fit_seconds": self.seconds["fit"],
            "key": self.key,
        }


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
    for name, record in _each(Path(path)):
        if isinstance(record, Record) and record.key in records:
            record = RecordError(f"the run {record.key} stands there already")
        if isinstance(record, Record):
            records[record.key] = record
        else:
            warnings.warn(f"left out {name} of {path}: {record}", stacklevel=2)
    return list(records.values())


@checked
def to_frame(records: Iterable[Record]) -> pandas.DataFrame:
    """Return a table with one row a run: ordering, seed, figures, the other settings, stack and key."""
    import pandas as pd

    rows = [record.row() for record in records]
    if not rows:
        figures = ["train_loss", "train_accuracy", "eval_loss", "eval_accuracy"]
        settings = [name for name in _DEFAULTS if name != "ordering"]
        return pd.DataFrame(columns=["ordering", "seed", *figures, *settings, "key"])
    frame = pd.DataFrame(rows)
    for name in ("groups", "channels_per_group"):  # left to itself pandas writes 5.0 and NaN for 5 and None
        frame[name] = pd.Series([row[name] for row in rows], dtype=object)
    return frame.sort_values(["ordering", "seed", "key"], ignore_index=True)


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


def _each(path: Path) -> Iterator[tuple[str, Record | RecordError]]:
    """Give what there is by its name: a record, or the error that says why it is none."""
    if os.path.isdir(path):  # and not Path's own, which raises of what can be no path
        folder = path / "records" if (path / "records").is_dir() else path
        # A copy of a record, under a name of its own, comes after the record.
        files = sorted(folder.glob("*.json"), key=lambda file: (len(file.stem) != 16, file.name))
        named = [(file.name, functools.partial(read_record, file)) for file in files]
    elif os.path.isfile(path) and path.suffix == ".json":
        named = [(path.name, functools.partial(read_record, path))]
    elif os.path.isfile(path):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        named = [(f"line {n}", functools.partial(Record.from_json, line)) for n, line in enumerate(lines, start=1)]
    else:
        raise RequestError("records", str(path), "a folder of records, a record or a JSON Lines file")
    for name, read in named:
        try:
            yield name, read()
        except RecordError as error:
            yield name, error
