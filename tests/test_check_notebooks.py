"""Each defect is planted into a notebook that is committed, and found; the notebook as it is has none."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import scripts

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "docs" / "check_notebooks.py"


@pytest.fixture(scope="module")
def check_notebooks():
    """The script that checks notebooks."""
    return scripts.load("check_notebooks")


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def good():
    """Return the committed master as if it were just executed; whether it is, test_notebooks.py tells."""
    notebook = json.loads((ROOT / "notebooks" / "instance.ipynb").read_text(encoding="utf-8"))
    for number, cell in enumerate(code(notebook), start=1):
        cell["execution_count"] = number
    return notebook


GOOD = good()


def write(path, notebook):
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": [text]}


def shown(**data):
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {key.replace("_", "/"): v for key, v in data.items()},
    }


def plant_output(output):
    return lambda notebook: code(notebook)[1]["outputs"].append(output)


def plant_source(text):
    return lambda notebook: code(notebook)[1]["source"].append(text)


def not_executed(notebook):
    code(notebook)[1]["execution_count"] = None


def out_of_order(notebook):
    first, second = code(notebook)[:2]
    first["execution_count"], second["execution_count"] = 2, 1


def executed_by_hand_after(notebook):
    code(notebook)[-1]["execution_count"] += 1


def no_code(notebook):
    code(notebook)[1]["source"] = ["\n"]


def no_id(notebook):
    del notebook["cells"][1]["id"]


def an_id_twice(notebook):
    notebook["cells"][2]["id"] = notebook["cells"][1]["id"]


def metadata(name, value):
    return lambda notebook: notebook["metadata"].update({name: value})


def cell_metadata(name, value):
    return lambda notebook: code(notebook)[1]["metadata"].update({name: value})


def version_of_python(notebook):
    notebook["metadata"]["language_info"]["version"] = "3.11.7"


def another_kernel(notebook):
    notebook["metadata"]["kernelspec"]["name"] = "my-environment"


def an_older_format(notebook):
    notebook["nbformat_minor"] = 4


def no_outputs(notebook):
    del code(notebook)[1]["outputs"]


def cells_of_another_kind(notebook):
    notebook["cells"][1] = "a cell"


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
VIEW = {"application/vnd.jupyter.widget-view+json": {"model_id": "0"}, "text/plain": "IntSlider()"}
STATE = {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}}
SVG = '<svg><image href="/home/somebody/a.png"/></svg>'


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (not_executed, "cell {code[1]}: was not executed; execute it: make notebooks"),
        (out_of_order, "cell {code[0]}: was executed out of order, as number 2 and not 1; execute all: make notebooks"),
        (executed_by_hand_after, "cell {last_code}: was executed out of order, as number {more} and not {last}"),
        (no_code, "cell {code[1]}: has no code; delete it"),
        (plant_output(ERROR), "cell {code[1]}: ended with an error (ValueError); mend it, then make notebooks"),
        (plant_output(printed("W: slow\n", "stderr")), "cell {code[1]}: wrote on stderr (W: slow); mend it"),
        (plant_output(printed("saved /home/somebody/a.png")), "has a path of this machine in its output (/home/)"),
        (plant_output(printed("PosixPath('/root/a')")), "has a path of this machine in its output (/root/)"),
        (plant_output(printed("\x1b[32m/tmp/a.py\x1b[0m")), "has a path of this machine in its output (/tmp/)"),
        (plant_output(shown(text_html=["<a href='/Users/a'>"])), "has a path of this machine in its output (/Users/)"),
        (plant_output(shown(text_plain="C:\\Users\\a")), "has a path of this machine in its output (C:\\Users)"),
        (
            plant_output(shown(text_plain="'d:\\\\Users\\\\a'")),
            "has a path of this machine in its output (d:\\\\Users)",
        ),
        (plant_output(printed("in /workspaces/normlib")), "has a path of this machine in its output (/workspaces/)"),
        (plant_output(printed(f"{ROOT}/outputs")), "has a path of this machine in its output ({root})"),
        (plant_output({**shown(), "data": {"image/svg+xml": SVG}}), "a path of this machine in its output (/home/)"),
        (
            plant_source("\nopen('/tmp/a')"),
            "cell {code[1]}: has a path of this machine in its text (/tmp/); take it out",
        ),
        (metadata("widgets", STATE), "has widget state in its metadata; clear it: make notebooks"),
        (plant_output({**shown(), "data": VIEW}), "cell {code[1]}: shows a widget, which is gone with its kernel"),
        (metadata("papermill", {"duration": 3}), "has metadata beyond kernelspec and language_info (papermill)"),
        (version_of_python, "has language_info other than its name; clear it: make notebooks"),
        (another_kernel, "does not name the kernel python3, which is everywhere; choose it in Jupyter"),
        (cell_metadata("collapsed", False), "cell {code[1]}: has metadata beyond tags (collapsed); clear them"),
        (cell_metadata("execution", {"iopub": "12:00"}), "cell {code[1]}: has metadata beyond tags (execution)"),
        (no_id, "cell number 2: has no id, so that diffs and reviews cannot name it"),
        (an_id_twice, "cell {cells[1]}: shares its id with 1 more; write one that no other cell has"),
        (an_older_format, "is not in notebook format 4.5, in which cells have ids; save it with a current Jupyter"),
        (no_outputs, "is no valid notebook ('outputs' is a required property); save it anew"),
        (cells_of_another_kind, "is no valid notebook at cells/1"),
    ],
    ids=lambda value: getattr(value, "__name__", value)[:40],
)
def test_a_planted_defect_is_found_and_told_in_one_line(check_notebooks, tmp_path, plant, told):
    notebook = copy.deepcopy(GOOD)
    plant(notebook)
    path = write(tmp_path / "planted.ipynb", notebook)
    found = check_notebooks.defects(path)
    assert found
    assert all(defect.startswith(f"{path}: ") and len(defect.splitlines()) == 1 for defect in found)
    names = {"code": [cell["id"] for cell in code(GOOD)], "cells": [cell["id"] for cell in GOOD["cells"]]}
    last = len(names["code"])
    assert told.format(**names, root=ROOT, last_code=names["code"][-1], last=last, more=last + 1) in found[0]
    assert len(found) == (2 if plant is an_id_twice else 1)


@pytest.mark.parametrize(
    "plant",
    [
        plant_output(printed("see https://example.org/home/ and a/tmp/b")),
        plant_output(shown(image_png="iVBOR/tmp/ab=")),
        plant_output(shown(text_html="<img src='data:image/png;base64,iVBOR/tmp/ab='/>")),
        cell_metadata("tags", ["parameters"]),
    ],
    ids=["an address", "a picture", "a picture in HTML", "tags"],
)
def test_what_is_no_defect_is_none(check_notebooks, tmp_path, plant):
    notebook = copy.deepcopy(GOOD)
    plant(notebook)
    path = write(tmp_path / "planted.ipynb", notebook)
    assert check_notebooks.defects(path) == []


@pytest.mark.parametrize("content", ["", "no JSON", '["a list"]', b"\xff"], ids=["empty", "text", "a list", "no UTF-8"])
def test_what_is_no_notebook_is_told(check_notebooks, tmp_path, content):
    path = tmp_path / "planted.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (found,) = check_notebooks.defects(path)
    assert "make notebooks" in found


def run(*names):
    return subprocess.run([sys.executable, SCRIPT, *names], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_names_the_defects_of_all_notebooks_and_ends_with_1(tmp_path):
    as_it_is = str(write(tmp_path / "good.ipynb", GOOD))
    found = run(as_it_is)
    assert (found.returncode, found.stdout, found.stderr) == (0, "1 notebooks are as they should be\n", "")
    notebook = copy.deepcopy(GOOD)
    not_executed(notebook)
    planted = str(write(tmp_path / "planted.ipynb", notebook))
    found = run(as_it_is, planted, "not_there.ipynb")
    assert found.returncode == 1
    assert [line.split(": ")[0] for line in found.stdout.splitlines()] == [planted, "not_there.ipynb"]
    assert run().returncode == 1
