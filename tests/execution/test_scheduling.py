"""Real studies of small slices: real papermill executions in real kernels."""

import dataclasses
import hashlib
import json
import os
import tempfile

import nbformat
import pytest

from conftest import SMALL
from normlib.errors import RequestError
from normlib.execution import notebook as notebook_module
from normlib.execution import schedule
from normlib.execution.notebook import Execution
from normlib.execution.schedule import plan_study, run_study
from normlib.execution.workers import local_executor
from normlib.files import only_writer
from normlib.runs.record import run_key
from normlib.runs.store import load_records, save_record
from normlib.studies.folder import read_status, read_study_records
from normlib.studies.study import Study, read_study


@pytest.fixture
def study():
    return Study("small", "Which?", ("gn/bn", "none"), seeds=2, defaults=SMALL)


@pytest.fixture
def put_into_master(tmp_path, monkeypatch):
    """Return a function that puts a cell into the master notebook: behind the parameters, or at its end."""

    def put(source, at_the_end=False):
        notebook = nbformat.read(notebook_module.notebook_path("instance"), as_version=4)
        (parameters,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
        # papermill puts the given parameters behind the cell that holds the defaults.
        cell = nbformat.v4.new_code_cell(source)
        notebook.cells.insert(len(notebook.cells) if at_the_end else parameters + 1, cell)
        nbformat.write(notebook, tmp_path / "other.ipynb")
        monkeypatch.setattr(schedule, "notebook_path", lambda name: tmp_path / "other.ipynb")

    return put


def contents(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


def test_a_study_runs_once_and_then_only_what_is_missing(study, tmp_path):
    """A folder's life: all runs; nothing to do; records lost and damaged; again; more seeds; other settings."""
    with local_executor(2) as executor:
        assert run_study(study, tmp_path, executor) == []
        keys = [run_key(instance, seed, 1) for instance in study.instances for seed in (0, 1)]
        done = contents(tmp_path / "records")
        assert sorted(done) == sorted(f"{key}.json" for key in keys)
        names = [Execution(instance, seed, 1).name for instance in study.instances for seed in (0, 1)]
        assert sorted(contents(tmp_path / "notebooks")) == sorted(f"{name}.ipynb" for name in names)
        assert read_study(tmp_path / "study.yaml").orderings == study.orderings

        run_study(study, tmp_path, executor)
        assert contents(tmp_path / "records") == done

        (tmp_path / "records" / f"{keys[0]}.json").unlink()
        damaged = tmp_path / "records" / f"{keys[3]}.json"
        damaged.write_text(damaged.read_text().replace('"seed": 1', '"seed": 2'))
        run_study(study, tmp_path, executor)
        again = contents(tmp_path / "records")
        assert sorted(again) == sorted(done)
        assert [again[f"{key}.json"] == done[f"{key}.json"] for key in keys] == [False, True, True, False]

        run_study(study.but(seeds=1), tmp_path, executor, redo=True)
        redone = contents(tmp_path / "records")
        assert [redone[f"{key}.json"] == again[f"{key}.json"] for key in keys] == [False, True, False, True]
        figures = load_records(tmp_path).set_index("key")["train_loss"]
        for key in keys:
            assert figures[key] == json.loads(done[f"{key}.json"][1])["training"]["loss"][-1]

        run_study(study.but(seeds=3), tmp_path, executor)
        assert load_records(tmp_path)["seed"].tolist() == [0, 1, 2, 0, 1, 2]

        changed = dataclasses.replace(study, orderings=("none",), seeds=1, defaults=SMALL | {"batch_size": 64})
        run_study(changed, tmp_path, executor)
    assert len(load_records(tmp_path)) == 7
    assert [record.instance["batch_size"] for record in read_study_records(tmp_path / "records")[1]] == [64]
    assert set(read_status(tmp_path)["state"]) == {"done"}


def test_a_study_that_varies_settings_runs_each_condition_and_its_records_name_its_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "question: Which?\norderings: [none]\ndefaults: {fit_split: 'test[:320]', evaluate_split: 'train[:200]'}\n"
        "varies: [{batch_size: [32, 64]}]\nseeds: 1\n"
    )
    study = read_study(file)
    runs, missing, executions = plan_study(study, tmp_path / "out")
    assert (len(runs), len(missing), len(executions)) == (2, 2, 2)
    assert not (tmp_path / "out").exists()
    assert run_study(study, tmp_path / "out") == []
    found = load_records(tmp_path / "out")
    assert sorted(found["batch_size"]) == [32, 64]
    assert set(found["study_sha256"]) == {hashlib.sha256(file.read_bytes()).hexdigest()}
    assert plan_study(study, tmp_path / "out")[1:] == ({}, [])
    assert len(plan_study(study, tmp_path / "out", redo=True)[1]) == 2


def test_one_run_fails_alone_with_its_reason_and_what_the_machine_did_is_tried_again(
    study, tmp_path, put_into_master, monkeypatch
):
    """A seed's code fails, and the first kernel of the other ordering dies."""
    put_into_master(
        "import os\n"
        'if ordering == "gn/bn" and first_seed == 0:\n    raise OSError("out of luck")\n'
        f'mark = "{tmp_path / "died"}"\n'
        'if ordering == "none/none" and not os.path.exists(mark):\n    open(mark, "w").close()\n    os._exit(1)'
    )
    out = tmp_path / "out"
    with local_executor(1) as executor:
        failures = run_study(study, out, executor)
    assert [(f.instance["ordering"], f.seed, f.reason, f.tries) for f in failures] == [
        ("gn/bn", 0, "OSError: out of luck", 1)
    ], failures[0].log
    written = json.loads((out / "failures" / f"{failures[0].key}.json").read_text())
    assert written["reason"] == "OSError: out of luck"
    assert "raise OSError" in written["log"]
    assert (out / written["notebook"]).is_file()
    assert load_records(out)[["ordering", "seed"]].to_numpy().tolist() == [
        ["gn/bn", 1],
        ["none/none", 0],
        ["none/none", 1],
    ]
    assert read_status(out)["state"].tolist() == ["failed", "done", "done", "done"]

    monkeypatch.undo()
    with local_executor(1) as executor:
        assert run_study(study, out, executor) == []
    assert list((out / "failures").iterdir()) == []
    assert len(load_records(out)) == 4


def test_what_takes_too_long_is_ended_and_named(study, tmp_path, put_into_master):
    put_into_master("while True:\n    pass")
    with local_executor(1) as executor:
        (failure,) = run_study(study.but(orderings=["none"], seeds=1), tmp_path / "out", executor, timeout=3)
    assert (failure.reason, failure.tries) == ("it took longer than the timeout of 3 s", 1)


def test_a_notebook_that_fails_after_its_records_is_named_as_well(study, tmp_path, put_into_master):
    put_into_master('raise OSError("late")', at_the_end=True)
    with local_executor(1) as executor:
        failures = run_study(study.but(orderings=["none"]), tmp_path / "out", executor)
    assert [(failure.seed, failure.reason) for failure in failures] == [(1, "OSError: late")]
    assert len(load_records(tmp_path / "out")) == 2


@pytest.mark.parametrize("where", ["file", "file/below", "out"])
def test_an_output_folder_that_cannot_be_written_is_refused(study, tmp_path, where):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "records").write_text("in the way")
    with pytest.raises(RequestError, match=r"^out is .*, but must be a folder that can be"):
        run_study(study, tmp_path / where)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["records"]


@pytest.mark.parametrize(
    ("versions", "threads", "message"),
    [
        ({"tensorflow": "1.0"}, 1, "there stack is tensorflow 1.0, .*, here tensorflow 2"),
        ({}, 2, "there threads is 1, here 2"),
    ],
)
def test_a_folder_whose_records_cannot_be_compared_is_refused(study, tmp_path, make_record, versions, threads, message):
    record = make_record("bn/none", **SMALL)
    there = record.environment["versions"] | versions
    save_record(make_record("bn/none", environment={"versions": there}, **SMALL), tmp_path / "records")
    with pytest.raises(RequestError, match=message):
        run_study(study, tmp_path, threads=threads)
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_data_that_cannot_be_had_are_told_once_before_anything_is_written(study, tmp_path, monkeypatch):
    def not_there(dataset, name):
        raise RequestError("dataset", dataset, "data that are there")

    monkeypatch.setattr(schedule, "load_array", not_there)
    with pytest.raises(RequestError, match="dataset is 'mnist', but must be data that are there"):
        run_study(study, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_records_of_another_version_are_not_taken_for_damaged(study, tmp_path, make_record):
    """A setting that this one does not know: the folder is refused, and nothing in it is moved."""
    record = make_record("none", **SMALL)
    newer = dataclasses.replace(record, instance=record.instance | {"scheduler": "cosine"})
    path = save_record(newer, tmp_path / "records")
    allowed = (
        rf"a folder of this normlib's; records/{path.name} is of another version of normlib, with the setting 'sch"
    )
    with pytest.raises(RequestError, match=allowed):
        run_study(study, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.json")] == [path.name]


@pytest.mark.parametrize("name", ["records", "notebooks", ".lock", "figures"])
def test_a_folder_in_which_a_link_leads_out_of_it_is_refused(study, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.json").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match=f"a folder without links that lead out of it, as '{name}' does"):
        run_study(study, tmp_path / "out")
    assert (tmp_path / "elsewhere" / "mine.json").read_text() == "mine"
    assert len(list(tmp_path.rglob("*"))) == 4


def test_what_killed_kernels_left_goes_also_where_nothing_is_left_to_run(
    study, tmp_path, monkeypatch, make_record, made_here
):
    for name in ("tmp/.normlib-a.tmp", "out/records/.normlib-b.tmp"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for instance in study.instances:
        for seed in study.run_seeds:
            save_record(make_record(instance.ordering, seed, environment=made_here, **SMALL), tmp_path / "out/records")
    assert run_study(study, tmp_path / "out") == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert len(list((tmp_path / "out" / "records").iterdir())) == 4


def test_a_folder_that_a_study_is_writing_is_refused_to_a_second_one(study, tmp_path):
    with only_writer(tmp_path, "out"), pytest.raises(RequestError, match=f"process {os.getpid()} is"):
        run_study(study, tmp_path)
    assert not (tmp_path / "study.yaml").exists()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"timeout": 0}, "timeout is 0, but must be a positive number of seconds"),
        ({"timeout": float("nan")}, "timeout is nan, but must be a positive number of seconds"),
        ({"timeout": "1"}, "timeout is '1', but must be a positive number of seconds"),
        ({"retries": -1}, "retries is -1, but must be a whole number from 0 up"),
        ({"threads": 0}, "threads is 0, but must be a whole number from 1 up"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(study, tmp_path, how, message):
    with pytest.raises(RequestError, match=message):
        run_study(study, tmp_path / "out", **how)
    assert list(tmp_path.iterdir()) == []
