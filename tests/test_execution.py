"""Real papermill executions with real kernels, of small notebooks named by their defect."""

from pathlib import Path

import nbformat
import papermill
import pytest

from normlib import execution
from normlib.errors import RequestError
from normlib.execution import Execution, ExecutionError, execute, plan
from normlib.instance import Instance

NOTEBOOKS = Path(__file__).parent / "notebooks"


def outputs(path):
    notebook = nbformat.read(path, as_version=4)
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_parameters_reach_the_notebook_and_the_kept_one_holds_no_absolute_path(tmp_path):
    kept = tmp_path / "study" / "notebooks" / "kept.ipynb"
    execute(NOTEBOOKS / "sound.ipynb", {"records_dir": str(tmp_path / "study" / "records")}, kept)
    assert outputs(kept)[0]["text"] == "../records\n"
    assert str(tmp_path) not in kept.read_text()
    assert "papermill" not in nbformat.read(kept, as_version=4).metadata


def test_an_output_right_below_the_root_of_the_disk_stays_whole(tmp_path, monkeypatch):
    """Only the very paths among the parameters are made relative; base64 and HTML are full of slashes."""
    monkeypatch.setattr(execution, "write_atomically", lambda path, text: (tmp_path / path.name).write_text(text))
    execute(NOTEBOOKS / "sound.ipynb", {"records_dir": "/records"}, Path("/kept.ipynb"))
    kept = tmp_path / "kept.ipynb"
    assert outputs(kept)[0]["text"] == "records\n"
    assert outputs(kept)[1]["data"]["text/html"] == "<b>bold</b>"


def test_a_failing_cell_is_an_error_with_its_reason_and_the_notebook_is_kept(tmp_path):
    with pytest.raises(ExecutionError, match=r"^RuntimeError: the reason$") as failure:
        execute(NOTEBOOKS / "failing_cell.ipynb", {}, tmp_path / "kept.ipynb")
    assert "raise RuntimeError" in failure.value.log
    assert "\x1b" not in failure.value.log
    assert any(output["output_type"] == "error" for output in outputs(tmp_path / "kept.ipynb"))


def test_a_dead_kernel_is_an_error(tmp_path):
    with pytest.raises(ExecutionError, match="the kernel died"):
        execute(NOTEBOOKS / "dying_kernel.ipynb", {}, tmp_path / "kept.ipynb")


def test_a_misspelt_parameter_is_refused_before_a_kernel_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    with pytest.raises(RequestError, match=r"parameter is 'record_dir'; allowed: records_dir in sound.ipynb \(did you"):
        execute(NOTEBOOKS / "sound.ipynb", {"record_dir": ""}, tmp_path / "kept.ipynb")
    assert list(tmp_path.iterdir()) == []


def test_seeds_that_follow_each_other_share_an_execution():
    instance = Instance("gn/bn")
    assert plan(instance, [3, 0, 1, 2, 7], threads=2) == [
        Execution(instance, first_seed=0, seeds=4, threads=2),
        Execution(instance, first_seed=7, seeds=1, threads=2),
    ]
    assert plan(instance, [], threads=1) == []
    assert [(e.first_seed, e.seeds) for e in plan(instance, range(120), threads=1)] == [(0, 50), (50, 50), (100, 20)]


def test_names_tell_ordering_and_seeds_and_differ_where_executions_do():
    assert Execution(Instance("gn/bn"), 0, 10).name == "gn-bn_seeds-0-9"
    long = Execution(Instance("+".join(["bn"] * 100)), 0, 10).name
    assert len(long) < 150
    names = {
        long,
        Execution(Instance("+".join(["bn"] * 101)), 0, 10).name,
    } | {
        Execution(Instance("gn/bn", **changes), 0, 10).name
        for changes in ({}, {"fit_split": "test[:1]"}, {"fit_split": "test[1:]"}, {"epochs": 2})
    }
    assert len(names) == 6
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)


def test_the_master_notebook_has_all_parameters_of_an_execution():
    execution.check_parameters(execution.notebook_path("instance"), Execution(Instance(), 0, 1).parameters(""))
