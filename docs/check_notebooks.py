"""Check that notebooks are as they are committed: ``python docs/check_notebooks.py notebooks/*.ipynb`` (``make lint``).

Executed, in order, without errors, with nothing of the machine in them and no metadata that would fill diffs.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nbformat import validator

ROOT = Path(__file__).resolve().parent.parent
KERNEL = "python3"
AGAIN = "make notebooks"
_MINORS = range(5, 100)  # of format 4: cells have ids
_WIDGET = "application/vnd.jupyter.widget-"
# A picture may spell a path by chance.
_PICTURE = re.compile(r"image/(?!svg)|application/pdf")
_EMBEDDED = re.compile(r"data:[\w/+.-]+;base64,[\w+/=\s]+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A path starts where no name or address goes on: https://host/home/ is none.
_LOCAL = re.compile(
    rf"(?<![\w.])(?:{re.escape(str(ROOT))}\b|/(?:home|root|tmp|work|workspaces?|Users)/)|\b[A-Za-z]:[\\/]+Users\b"
)


def defects(path: Path) -> list[str]:
    """Return what is wrong with a notebook, each defect in one line: path, cell, what is wrong, what to do."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"{path}: cannot be read as JSON ({error}); save it anew, then {AGAIN}"]
    invalid = [f"{path}: {found}" for found in _invalid(notebook)]
    if invalid:  # what follows takes for granted that it is a notebook
        return invalid
    cells = notebook["cells"]
    found = [("", defect) for defect in _metadata(notebook["metadata"])]
    for name, cell in zip(_names(cells), cells, strict=True):
        found += [(name, defect) for defect in _cell(cell)]
    found += _order(cells)
    found += _ids(cells)
    return [f"{path}: {f'cell {name}: ' if name else ''}{defect}" for name, defect in found]


def _names(cells: list[dict]) -> list[str]:
    """Return what cells are called: by identifier, or by number where they have none."""
    return [cell.get("id") or f"number {number}" for number, cell in enumerate(cells, start=1)]


def _invalid(notebook: object) -> Iterator[str]:
    if not (isinstance(notebook, dict) and notebook.get("nbformat") == 4 and notebook.get("nbformat_minor") in _MINORS):
        yield f"is not in notebook format 4.5, in which cells have ids; save it with a current Jupyter, then {AGAIN}"
        return
    cells = notebook.get("cells")
    if isinstance(cells, list):  # a missing identifier is told by itself
        named = [{"id": "missing", **cell} if isinstance(cell, dict) else cell for cell in cells]
        notebook = {**notebook, "cells": named}
    # The first alone: what is wrong with one cell can be said in many ways.
    for error in itertools.islice(validator.iter_validate(notebook, version=4, version_minor=5), 1):
        place = f" at {'/'.join(map(str, error.path))}" if error.path else ""
        yield f"is no valid notebook{place} ({error.message.splitlines()[0]:.200}); save it anew, then {AGAIN}"


def _metadata(metadata: dict) -> Iterator[str]:
    if "widgets" in metadata:
        yield f"has widget state in its metadata; clear it: {AGAIN}"
    more = sorted(set(metadata) - {"kernelspec", "language_info", "widgets"})
    if more:
        yield f"has metadata beyond kernelspec and language_info ({', '.join(more)}); clear them: {AGAIN}"
    if metadata.get("kernelspec", {}).get("name") != KERNEL:
        yield f"does not name the kernel {KERNEL}, which is everywhere; choose it in Jupyter, then {AGAIN}"
    if set(metadata.get("language_info", {})) != {"name"}:
        yield f"has language_info other than its name; clear it: {AGAIN}"
    yield from _paths(metadata, "its metadata", f"clear it: {AGAIN}")


def _cell(cell: dict) -> Iterator[str]:
    more = sorted(set(cell["metadata"]) - {"tags"})
    if more:
        yield f"has metadata beyond tags ({', '.join(more)}); clear them: {AGAIN}"
    yield from _paths([cell["source"], cell["metadata"], cell.get("attachments")], "its text", "take it out")
    for output in cell.get("outputs", []):
        if output["output_type"] == "error":
            yield f"ended with an error ({output['ename']}); mend it, then {AGAIN}"
        if output.get("name") == "stderr":
            yield f"wrote on stderr ({''.join(output['text']).strip():.60}); mend it, then {AGAIN}".replace("\n", " ")
        if _WIDGET in json.dumps(output):
            yield f"shows a widget, which is gone with its kernel; show what it says, then {AGAIN}"
        yield from _paths(output, "its output", f"show something else, then {AGAIN}")


def _order(cells: list[dict]) -> Iterator[tuple[str, str]]:
    code = [(name, cell) for name, cell in zip(_names(cells), cells, strict=True) if cell["cell_type"] == "code"]
    for name, cell in code:
        if not "".join(cell["source"]).strip():
            yield name, "has no code; delete it"
        elif cell["execution_count"] is None:
            yield name, f"was not executed; execute it: {AGAIN}"
    counts = [cell["execution_count"] for _, cell in code]
    # Where all were executed, and the first that is out of order alone: those behind it are, as well.
    for number, ((name, _), count) in enumerate(zip(code, counts, strict=True), start=1):
        if None not in counts and count != number:
            yield name, f"was executed out of order, as number {count} and not {number}; execute all: {AGAIN}"
            return


def _ids(cells: list[dict]) -> Iterator[tuple[str, str]]:
    counts = Counter(cell.get("id") for cell in cells)
    for name, cell in zip(_names(cells), cells, strict=True):
        if "id" not in cell:
            yield name, "has no id, so that diffs and reviews cannot name it; write one: a word that no other cell has"
        elif counts[cell["id"]] > 1:
            yield name, f"shares its id with {counts[cell['id']] - 1} more; write one that no other cell has"


def _paths(part: object, where: str, remedy: str) -> Iterator[str]:
    """Return the first path of this machine in a part of a notebook."""
    for text in _texts(part):
        local = _LOCAL.search(_EMBEDDED.sub("", _COLOUR.sub("", text)))
        if local:
            yield f"has a path of this machine in {where} ({local[0]}); {remedy}"
            return


def _texts(part: object) -> Iterator[str]:
    """Return all texts in a part of a notebook, but not the data of pictures."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
    elif isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from _texts(value if not (isinstance(value, str | list) and _PICTURE.match(key)) else None)


def main() -> None:
    """Print each defect of the notebooks that are named, and exit with 1 if there is one."""
    paths = [Path(name) for name in sys.argv[1:]]
    if not paths:
        sys.exit("name the notebooks to check: python docs/check_notebooks.py notebooks/*.ipynb")
    found = [defect for path in paths for defect in defects(path)]
    print("\n".join(found) if found else f"{len(paths)} notebooks are as they should be")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
