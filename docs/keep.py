"""Keep a study's records in the package: ``python docs/keep.py outputs/source`` (``make keep``), or elsewhere."""

import sys
from pathlib import Path

from normlib import files
from normlib.execution import schedule
from normlib.runs import store


def main() -> None:
    """Write the records of an output folder, and those by which it was tuned, to one JSON Lines file, in order."""
    folder, *others = map(Path, sys.argv[1:])
    parts = [part for part in (folder / schedule.TUNING, folder) if part.is_dir()]
    found = [record for part in parts for record in store.read_records(part)]
    kept = sorted(found, key=lambda record: (record.instance["ordering"], record.seed))
    path = (others or [store.KEPT])[0] / f"{folder.name}.jsonl"
    files.write_atomically(path, "".join(f"{record.to_json()}\n" for record in kept))
    print(f"{len(kept)} records in {path}")


if __name__ == "__main__":
    main()
