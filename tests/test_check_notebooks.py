"""Each defect is planted into a notebook that is committed, and found; the notebook as it is has none."""

import copy
import json
from pathlib import Path

import pytest
import scripts

check_notebooks = scripts.load("check_notebooks")
ROOT = Path(__file__).parent.parent
MASTER = json.loads((ROOT / "notebooks" / "instance.ipynb").read_text(encoding="utf-8"))
CODE = [number for number, cell in enumerate(MASTER["cells"]) if cell["cell_type"] == "code"]
for count, number in enumerate(CODE, start=1):  # as if it were just executed; whether it is, test_notebooks.py tells
    MASTER["cells"][number]["execution_count"] = count
FIRST, SECOND = CODE[:2]
NAMES = [cell["id"] for cell in MASTER["cells"]]


def put(value, *place):
    """Return what puts a value into a place of a notebook; an output goes behind those that are there."""

    def plant(notebook):
        inner = notebook
        for name in place[:-1]:
            inner = inner[name]
        if place[-1] == "outputs" and value is not None:
            inner["outputs"].append(value)
        elif value is None and place[-1] != "execution_count":
            del inner[place[-1]]
        else:
            inner[place[-1]] = value

    return plant


def printed(text, name="stdout"):
    return put({"output_type": "stream", "name": name, "text": [text]}, "cells", SECOND, "outputs")


def shown(kind, content):
    output = {"output_type": "display_data", "metadata": {}, "data": {kind: content}}
    return put(output, "cells", SECOND, "outputs")


def metadata(name, value):
    return put(value, "metadata", name)


def cell_metadata(name, value):
    return put(value, "cells", SECOND, "metadata", name)


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
LOCAL = "has a path of this machine in its output"


@pytest.mark.parametrize(
    ("plant", "defect"),
    [
        (put(None, "cells", SECOND, "execution_count"), f"cell {NAMES[SECOND]}: was not executed; execute it: make"),
        (put(9, "cells", FIRST, "execution_count"), f"cell {NAMES[FIRST]}: was executed out of order, as number 9 and"),
        (put(["\n"], "cells", SECOND, "source"), f"cell {NAMES[SECOND]}: has no code; delete it"),
        (put(ERROR, "cells", SECOND, "outputs"), f"cell {NAMES[SECOND]}: ended with an error (ValueError); mend it"),
        (printed("W: slow\n", "stderr"), f"cell {NAMES[SECOND]}: wrote on stderr (W: slow); mend it"),
        (printed("saved /home/somebody/a.png"), f"{LOCAL} (/home/)"),
        (printed("\x1b[32m/tmp/a.py\x1b[0m"), f"{LOCAL} (/tmp/)"),
        (shown("text/html", ["<a href='/Users/a'>"]), f"{LOCAL} (/Users/)"),
        (shown("text/plain", "'d:\\\\Users\\\\a'"), f"{LOCAL} (d:\\\\Users)"),
        (printed(f"{ROOT}/outputs"), f"{LOCAL} ({ROOT})"),
        (shown("image/svg+xml", '<svg><image href="/home/somebody/a.png"/></svg>'), f"{LOCAL} (/home/)"),
        (put(["open('/tmp/a')"], "cells", SECOND, "source"), "has a path of this machine in its text (/tmp/); take it"),
        (metadata("widgets", {}), "has widget state in its metadata; clear it: make notebooks"),
        (shown("application/vnd.jupyter.widget-view+json", {}), "shows a widget, which is gone with its kernel"),
        (metadata("papermill", {"duration": 3}), "has metadata beyond kernelspec and language_info (papermill)"),
        (metadata("language_info", {"name": "python", "version": "3.11.7"}), "has language_info other than its name"),
        (
            put("my-environment", "metadata", "kernelspec", "name"),
            "does not name the kernel python3, which is everywhere",
        ),
        (cell_metadata("collapsed", False), f"cell {NAMES[SECOND]}: has metadata beyond tags (collapsed); clear them"),
        (put(None, "cells", 1, "id"), "cell number 2: has no id, so that diffs and reviews cannot name it"),
        (put(NAMES[1], "cells", 2, "id"), f"cell {NAMES[1]}: shares its id with 1 more; write one that no other cell"),
        (put(4, "nbformat_minor"), "is not in notebook format 4.5, in which cells have ids; save it with a current"),
        (
            put(None, "cells", SECOND, "outputs"),
            "is no valid notebook ('outputs' is a required property); save it anew",
        ),
        (put("a cell", "cells", 1), "is no valid notebook at cells/1"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_planted_defect_is_found_and_named_in_one_line(tmp_path, plant, defect):
    found = defects(tmp_path, plant)
    assert defect in found[0]
    assert all(line.startswith(f"{tmp_path}/planted.ipynb: ") and len(line.splitlines()) == 1 for line in found)
    assert len(found) == (2 if "shares its id" in defect else 1)


def defects(folder, plant):
    notebook = copy.deepcopy(MASTER)
    plant(notebook)
    path = folder / "planted.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return check_notebooks.defects(path)


@pytest.mark.parametrize(
    "plant",
    [
        lambda notebook: None,
        printed("see https://example.org/home/ and a/tmp/b"),
        shown("image/png", "iVBOR/tmp/ab="),
        shown("text/html", "<img src='data:image/png;base64,iVBOR/tmp/ab='/>"),
        cell_metadata("tags", ["parameters"]),
    ],
    ids=["nothing", "an address", "a picture", "a picture in HTML", "tags"],
)
def test_what_is_no_defect_is_none(tmp_path, plant):
    assert defects(tmp_path, plant) == []


def test_the_command_names_the_defects_of_all_notebooks_and_ends_with_1(tmp_path, monkeypatch, capsys):
    def run(*names):
        monkeypatch.setattr("sys.argv", ["check_notebooks.py", *map(str, names)])
        with pytest.raises(SystemExit) as end:
            check_notebooks.main()
        return end.value.code, capsys.readouterr().out

    good = tmp_path / "good.ipynb"
    good.write_text(json.dumps(MASTER), encoding="utf-8")
    assert run(good) == (False, "1 notebooks are as they should be\n")
    bad = [tmp_path / f"{number}.ipynb" for number in range(4)]
    for path, content in zip(bad, (b"", b"no JSON", b'["a list"]', b"\xff"), strict=True):
        path.write_bytes(content)
    code, said = run(good, *bad, "not_there.ipynb")
    assert code == 1
    assert [line.split(": ")[0] for line in said.splitlines()] == [*map(str, bad), "not_there.ipynb"]
    assert run()[0].startswith("name the notebooks to check")
