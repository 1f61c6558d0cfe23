"""Keep a study's records in the package: ``python docs/keep.py outputs/source`` (``make keep``)."""

import sys
from pathlib import Path

from normlib import files, records


def main() -> None:
    """Write the records of an output folder to one JSON Lines file, in an order of their own."""
    folder = Path(sys.argv[1])
    kept = sorted(records.read_records(folder), key=lambda record: (record.instance["ordering"], record.seed))
    path = records.KEPT / f"{folder.name}.jsonl"
    files.write_atomically(path, "".join(f"{record.to_json()}\n" for record in kept))
    print(f"{len(kept)} records in {path}")


if __name__ == "__main__":
    main()
