"""The committed notebooks: their parameters are the contract's, and they are executed ones, as a reader sees them.

That they run, and give again what is committed, is nbval's to test: it collects the notebooks themselves.
"""

import ast
import dataclasses
import itertools
import re
import shutil
import statistics
from importlib import metadata

import nbformat
import papermill
import pytest
import scripts

from normlib.execution.notebook import notebook_path
from normlib.models.instance import Instance

NAMES = ["instance", "summary", "tour", "why"]


def read(name):
    return nbformat.read(notebook_path(name), as_version=4)


def code_cells(name):
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def parameters(name):
    found = papermill.inspect_notebook(str(notebook_path(name)))
    return {key: (ast.literal_eval(value["default"]), value["inferred_type_name"]) for key, value in found.items()}


def test_the_masters_parameters_are_instances_fields_with_the_same_defaults_and_then_four_more():
    types = {"str": "str", "int": "int", "float": "float", "int | None": "int"}
    fields = {field.name: (field.default, types[field.type]) for field in dataclasses.fields(Instance)}
    more = {"seeds": (1, "int"), "first_seed": (0, "int"), "threads": (1, "int"), "records_dir": ("", "str")}
    assert parameters("instance") == {**fields, **more}
    assert list(parameters("instance")) == [*fields, *more]


def test_the_summary_has_one_parameter():
    assert parameters("summary") == {"records_dir": ("", "str")}


def test_the_tour_trains_ten_seeds_and_what_it_shows_of_the_first_is_not_what_the_ten_say():
    """On every stack that it was tried on; elsewhere its sentences say what came out there."""
    assert parameters("tour")["seeds"] == (10, "int")
    outputs = [output for cell in code_cells("tour") for output in cell.outputs]
    cards = (output.get("data", {}).get("text/html", "") for output in outputs)
    best = (found[1] for card in cards if (found := re.search(r"By means, (\S+) is best", "".join(card))))
    one, ten = itertools.islice(best, 2)
    assert {one, ten} == {"bn/gn", "gn/bn"}


def test_first_of_all_each_notebook_can_install_normlib_in_colab_and_only_there_from_the_same_place():
    (source,) = {code_cells(name)[0].source for name in NAMES}
    only_there = ['if "google.colab" in sys.modules:', "    %pip install --quiet {normlib_source}"]
    assert source.splitlines()[-2:] == only_there
    assert f'normlib_source = "normlib-{metadata.version("normlib")}-py3-none-any.whl"' in source


def test_the_place_is_easy_to_set(tmp_path, monkeypatch):
    for name in NAMES:
        shutil.copy(notebook_path(name), tmp_path)
    script = scripts.load("colab")
    monkeypatch.setattr(script, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr("sys.argv", ["colab.py", "git+https://example.org/normlib@main"])
    script.main()
    for name in NAMES:
        before, after = code_cells(name), nbformat.read(tmp_path / f"{name}.ipynb", as_version=4)
        changed = next(cell for cell in after.cells if cell.cell_type == "code").source.splitlines()
        assert changed[2].startswith('normlib_source = "git+https://example.org/normlib@main"  #')
        assert [*changed[:2], *changed[3:]] == [line for i, line in enumerate(before[0].source.splitlines()) if i != 2]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_explained(name):
    assert all(found["help"] for found in papermill.inspect_notebook(str(notebook_path(name))).values())


@pytest.mark.parametrize("name", NAMES)
def test_logic_lives_in_the_package(name):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(name)]
    assert statistics.median(lengths) <= 6
    assert not [cell for cell in code_cells(name) if "def " in cell.source]
