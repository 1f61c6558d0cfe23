"""The key of a run: 16 hex digits over all that decides its bits, known before it is run."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from normlib import catalog, data, stack
from normlib.checks import one_of
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.runs import record_format
from normlib.runs.record_format import OtherVersionError
from normlib.splits import parse_split

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
    if catalog.is_file(instance.dataset):
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
    elsewhere = ["provider", *(["dataset", "fit_split", "evaluate_split"] if catalog.is_file(named["dataset"]) else [])]
    if len(elsewhere) > 1:
        for name in ("fit_split", "evaluate_split"):
            parse_split(named[name], dict.fromkeys(("train", "test"), _MOST_EXAMPLES), name)
    instance = Instance.of(**{**named, **{name: defaults[name] for name in elsewhere}})
    kept = {**instance.settings, **{name: named[name] for name in elsewhere}}
    kept["dataset"] = catalog.recorded_name(kept["dataset"])
    if {name: (type(value), value) for name, value in kept.items()} != {n: (type(v), v) for n, v in named.items()}:
        raise RequestError("instance", named, "settings as an instance keeps them")
    return {name: value for name, value in kept.items() if value != defaults[name]}


def digest(
    seed: int, data: Mapping[str, str], versions: Mapping[str, str | None], threads: int, settings: Mapping[str, Any]
) -> str:
    """Return the 16 hex digits of SHA-256 over these facts as canonical JSON."""
    facts = {"seed": seed, "data": data, "versions": versions, "threads": threads, "settings": settings}
    return record_format.sha256(facts)[:16]
