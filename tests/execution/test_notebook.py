"""Real papermill executions with real kernels, of small notebooks named by their defect."""

from pathlib import Path

import hypothesis
import nbformat
import pytest
from hypothesis import strategies as st

from normlib.execution.notebook import Cause, Execution, ExecutionError, execute, plan
from normlib.models.instance import Instance

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def outputs(text):
    notebook = nbformat.reads(text, as_version=4)
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def run(name, parameters=None, **how):
    return execute((NOTEBOOKS / f"{name}.ipynb").read_text(), parameters or {}, **how)


def test_parameters_reach_the_notebook_and_paths_are_shown_as_asked():
    executed = run("sound", {"records_dir": "/somewhere/records"}, shown={"/somewhere/records": "../records"})
    assert outputs(executed)[0]["text"] == "../records\n"
    assert outputs(executed)[1]["data"]["text/html"] == "<b>bold</b>"
    assert "/somewhere" not in executed
    assert "papermill" not in nbformat.reads(executed, as_version=4).metadata


def test_a_failing_cell_is_an_error_with_its_reason_and_the_notebook_so_far():
    with pytest.raises(ExecutionError, match=r"^RuntimeError: the reason$") as failure:
        run("failing_cell")
    assert "raise RuntimeError" in failure.value.log
    assert "\x1b" not in failure.value.log
    assert failure.value.cause is Cause.CODE
    assert any(output["output_type"] == "error" for output in outputs(failure.value.notebook))


def test_a_dead_kernel_is_an_error_of_the_machines_with_its_last_words():
    with pytest.raises(ExecutionError, match="the kernel died") as failure:
        run("dying_kernel")
    assert failure.value.cause is Cause.MACHINE
    assert failure.value.log == "last words\n"


def test_what_takes_too_long_is_ended():
    with pytest.raises(ExecutionError, match=r"^it took longer than the timeout of 2 s$") as failure:
        run("endless", timeout=2)
    assert failure.value.cause is Cause.TIME


def test_one_worker_gets_an_execution_for_seeds_that_follow_each_other():
    instance = Instance("gn/bn")
    assert plan([(instance, seed) for seed in (3, 0, 1, 2, 7)], threads=2, workers=1) == [
        Execution(instance, first_seed=0, seeds=4, threads=2),
        Execution(instance, first_seed=7, seeds=1, threads=2),
    ]
    assert plan([], threads=1, workers=2) == []
    parts = plan([(instance, seed) for seed in range(120)], threads=1, workers=1)
    assert [(e.first_seed, e.seeds) for e in parts] == [(0, 40), (40, 40), (80, 40)]


def test_several_workers_share_the_seeds_of_an_instance():
    first, second = Instance("gn/bn"), Instance("none")
    runs = [*((first, seed) for seed in range(10)), *((second, seed) for seed in range(100, 110))]
    parts = plan(runs, threads=1, workers=2)
    assert [(e.instance, e.first_seed, e.seeds) for e in parts] == [
        *((instance, start, 3) for instance, start in ((first, 2), (first, 5), (second, 102), (second, 105))),
        *((instance, start, 2) for instance, start in ((first, 0), (first, 8), (second, 100), (second, 108))),
    ]


@hypothesis.given(st.lists(st.sets(st.integers(0, 300), max_size=80), min_size=1, max_size=4), st.integers(1, 12))
def test_each_run_is_in_one_execution_and_none_is_so_long_that_workers_wait_for_it(wanted, workers):
    instances = [Instance(ordering) for ordering in ("bn", "gn", "ln", "in")]
    runs = [(instance, seed) for instance, seeds in zip(instances, wanted, strict=False) for seed in seeds]
    executions = plan(runs, 1, workers)
    planned = [(e.instance, seed) for e in executions for seed in e.run_seeds]
    assert sorted(planned, key=str) == sorted(runs, key=str)
    lengths = [e.seeds for e in executions]
    assert lengths == sorted(lengths, reverse=True)
    # At worst one worker makes an execution while all others have nothing left to do.
    if workers > 1 and lengths:
        assert lengths[0] <= max(1, -(-len(planned) // (4 * workers)))


def test_names_tell_ordering_and_seeds_and_differ_where_executions_do():
    assert Execution(Instance("gn/bn"), 0, 10).name == "gn-bn_seeds-0-9"
    long = Execution(Instance("+".join(["bn"] * 100)), 0, 10).name
    assert len(long) < 150
    names = {
        long,
        Execution(Instance("+".join(["bn"] * 99)), 0, 10).name,
    } | {
        Execution(Instance("gn/bn", **changes), 0, 10).name
        for changes in ({}, {"fit_split": "test[:1]"}, {"fit_split": "test[1:]"}, {"epochs": 2})
    }
    assert len(names) == 6
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)
