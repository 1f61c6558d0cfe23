"""The form of a record, and the key by which a run is known."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from normlib import data, stack
from normlib.datasets import is_file, parse_split, recorded_name
from normlib.errors import RequestError, one_of
from normlib.models.instance import Instance

SCHEMA = 1
_SCHEMA_FILE = Path(__file__).with_name("record.schema.json")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LARGEST = 3.5e38  # beyond the largest 32-bit float


class RecordError(ValueError):
    """A file that is no whole record of a schema known here."""


class OtherVersionError(RecordError):
    """A record that another version of normlib wrote, and that this one cannot read."""


def write(content: Mapping[str, object], indent: int | None = None) -> str:
    """Return a record as JSON, with its schema and checksum; one line unless ``indent`` is given."""
    body = {"schema": SCHEMA, **_encode(content)}
    return json.dumps({**body, "checksum": sha256(body)}, indent=indent, allow_nan=False)


def parse_record(text: str) -> dict[str, Any]:
    """Return what ``write`` was given.

    Raises:
        RecordError: Not JSON, of another schema, not what its checksum says, or with another content than
            ``record.schema.json`` in this folder allows, whatever its checksum says.
    """
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
        checksum = body["checksum"]
        schema = body["schema"]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise RecordError("no record of normlib's") from None
    if type(schema) is not int or schema != SCHEMA:
        raise OtherVersionError(f"of another version of normlib, whose schema is not {SCHEMA}")
    _check_schema(body)
    del body["checksum"]
    if checksum != sha256(body):
        raise RecordError("the checksum does not match: edited or damaged")
    del body["schema"]
    for group in (body["training"], body["curve"], *body["evaluation"].values()):
        for name, figure in group.items():
            group[name] = _figures(name, figure) if isinstance(figure, list) else _NOT_FINITE.get(figure, figure)
    if len({len(values) for values in body["curve"].values()}) > 1:
        raise RecordError("curve has lists of different lengths")
    return body


def sha256(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of some content as canonical JSON, in hex digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@functools.cache
def _validator() -> Callable[[object], object]:
    import fastjsonschema

    return fastjsonschema.compile(json.loads(_SCHEMA_FILE.read_text(encoding="utf-8")))


def _check_schema(body: object) -> None:
    from fastjsonschema import JsonSchemaValueException

    try:
        _validator()(body)
    except JsonSchemaValueException as error:
        # Where in the record, and which rule; not the value, which may be anything.
        where = ".".join(part for part in map(str, error.path[1:]) if part.isidentifier() or part.isdecimal())
        raise RecordError(f"{where or 'a record'} breaks the rule {error.rule!r} of {_SCHEMA_FILE.name}") from None


def _figures(name: str, values: list) -> list:
    """Return figures or counts as numbers; the schema's own check of each item would take ten times as long."""
    if not {type(value) for value in values} <= {int, float}:
        values = [_NOT_FINITE.get(value, value) if isinstance(value, str) else value for value in values]
        if not {type(value) for value in values} <= {int, float}:
            raise RecordError(f"{name} has an item that is no number")
    finite = [value for value in values if not isinstance(value, float) or math.isfinite(value)]
    if finite and not -_LARGEST <= min(finite) <= max(finite) <= _LARGEST:
        raise RecordError(f"{name} has a number that no run gives")
    if name in ("epoch", "step") and not all(type(value) is int and value >= 0 for value in values):
        raise RecordError(f"{name} has an item that is no count")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _encode(value: Any) -> Any:
    """Write not-a-number and infinities as strings, since JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {name: _encode(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


_MOST_EXAMPLES = 10**12  # of a split whose data are elsewhere


def run_key(instance: Instance, seed: int, threads: int) -> str:
    """Return the 16 hex digits that name a run on this stack, known before it is run.

    They are SHA-256 over the seed, the data, TensorFlow's and the provider's versions, the number of threads and the
    settings that differ from the defaults, so that a setting added later leaves the keys of old records valid.
    """
    return digest(seed, data_used(instance), stack.versions(instance.provider), threads, instance.changes)


def data_used(instance: Instance) -> dict[str, str]:
    """Return the SHA-256 of each array that a run reads, by name.

    Raises:
        RequestError: As ``data.load_array``.
    """
    splits = (instance.fit_examples.name, instance.evaluate_examples.name)
    if is_file(instance.dataset):
        splits = ("train", "test")  # of both, since from all labels comes the number of classes
    return {name: sha for name, sha in data.digests(instance.dataset).items() if name.split("_")[1] in splits}


@functools.lru_cache(maxsize=1024)
def recorded_changes(settings: str) -> dict[str, Any]:
    """Return which of a record's settings, given as JSON, differ from the defaults.

    Raises:
        RequestError: There are no such settings, or they are not in the form in which an instance keeps them.
    """
    named = json.loads(settings)  # as text they are cached, in which 32 is not 32.0
    defaults = Instance().settings
    if unknown := [name for name in named if name not in defaults]:
        raise OtherVersionError(f"of another version of normlib, with the setting {unknown[0][:40]!r}")
    named = {**defaults, **named}  # a record from before a setting was added has its default
    one_of("provider", named["provider"], stack.PROVIDERS)
    # What need not be here, where the record is read, is checked by its form: the provider, and a file of data.
    elsewhere = ["provider", *(["dataset", "fit_split", "evaluate_split"] if is_file(named["dataset"]) else [])]
    if len(elsewhere) > 1:
        for name in ("fit_split", "evaluate_split"):
            parse_split(named[name], dict.fromkeys(("train", "test"), _MOST_EXAMPLES), name)
    instance = Instance.of(**{**named, **{name: defaults[name] for name in elsewhere}})
    kept = {**instance.settings, **{name: named[name] for name in elsewhere}}
    kept["dataset"] = recorded_name(kept["dataset"])
    if {name: (type(value), value) for name, value in kept.items()} != {n: (type(v), v) for n, v in named.items()}:
        raise RequestError("instance", named, "settings as an instance keeps them")
    return {name: value for name, value in kept.items() if value != defaults[name]}


def digest(
    seed: int, data: Mapping[str, str], versions: Mapping[str, str | None], threads: int, settings: Mapping[str, Any]
) -> str:
    """Return the 16 hex digits of SHA-256 over these facts as canonical JSON."""
    facts = {"seed": seed, "data": data, "versions": versions, "threads": threads, "settings": settings}
    return sha256(facts)[:16]
