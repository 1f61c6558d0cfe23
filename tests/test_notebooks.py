"""The committed notebooks: their parameters are the contract's, and they are executed ones, as a reader sees them.

That they run, and give again what is committed, is nbval's to test: it collects the notebooks themselves.
"""

import ast
import dataclasses
import statistics

import nbformat
import papermill
import pytest

from normlib.execution import notebook_path
from normlib.instance import Instance

NAMES = ["instance", "summary", "why"]


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


def test_the_masters_fields_are_handed_on_in_their_order():
    (cell,) = (cell for cell in code_cells("instance") if "normlib.Instance(" in cell.source)
    (call,) = (
        node
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "Instance"
    )
    assert [argument.id for argument in call.args] == [field.name for field in dataclasses.fields(Instance)]


def test_the_summary_has_one_parameter():
    assert parameters("summary") == {"records_dir": ("", "str")}


def test_why_takes_settings_of_an_instance_with_several_orderings_and_how_to_look():
    found = parameters("why")
    assert list(found)[1:6] == ["model", "fit_split", "evaluate_split", "learning_rate", "seed"]
    assert list(found)[6:] == ["points", "images", "threads"]
    instances = [Instance(ordering, found["model"][0]) for ordering in found["orderings"][0].split(",")]
    assert len(instances) > 1
    types = {"str": str, "int": int, "float": float}
    assert all(isinstance(default, types[kind]) for default, kind in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_explained(name):
    found = papermill.inspect_notebook(str(notebook_path(name)))
    assert all(parameter["help"] for parameter in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_committed_notebooks_are_executed_in_order_without_errors_or_local_paths(name):
    counts = [cell.execution_count for cell in code_cells(name)]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in code_cells(name) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    text = notebook_path(name).read_text()
    assert not [path for path in ("/home/", "/root/", "/work/", "/tmp/", "C:\\\\") if path in text]


@pytest.mark.parametrize("name", NAMES)
def test_logic_lives_in_the_package(name):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(name)]
    assert statistics.median(lengths) <= 6
    assert not [cell for cell in code_cells(name) if "def " in cell.source]


@pytest.mark.parametrize("name", NAMES)
def test_metadata_are_minimal_and_name_the_kernel_that_is_everywhere(name):
    metadata = read(name).metadata
    assert metadata["kernelspec"]["name"] == "python3"
    assert set(metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in read(name).cells)
