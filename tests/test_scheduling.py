"""Real studies of small slices: real papermill executions in real kernels."""

import hashlib
import json

import nbformat
import pytest

from conftest import SMALL
from normlib import execution, scheduling
from normlib.errors import RequestError
from normlib.records import load_records, run_key, save_record
from normlib.scheduling import local_executor, plan_study, run_study
from normlib.status import read_status
from normlib.studies import Study, read_study


@pytest.fixture
def study():
    return Study("small", "Which?", ("gn/bn", "none"), seeds=2, defaults=SMALL)


def contents(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


def test_a_study_runs_once_and_then_only_what_is_missing(study, tmp_path):
    """One folder through its life: all runs; nothing to do; a record lost; a record damaged; more seeds."""
    with local_executor(2) as executor:
        assert run_study(study, tmp_path, executor) == []
        keys = [run_key(instance, seed, 1) for instance in study.instances for seed in (0, 1)]
        done = contents(tmp_path / "records")
        assert sorted(done) == sorted(f"{key}.json" for key in keys)
        names = [execution.Execution(instance, 0, 2).name for instance in study.instances]
        assert sorted(contents(tmp_path / "notebooks")) == [f"{name}.ipynb" for name in names]
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
        figures = load_records(tmp_path).set_index("key")["train_loss"]
        for key in keys:
            assert figures[key] == json.loads(done[f"{key}.json"][1])["training"]["loss"][-1]

        run_study(study.but(seeds=3), tmp_path, executor)
        assert load_records(tmp_path)["seed"].tolist() == [0, 1, 2, 0, 1, 2]


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
    with local_executor(2) as executor:
        assert run_study(study, tmp_path / "out", executor) == []
    found = load_records(tmp_path / "out")
    assert sorted(found["batch_size"]) == [32, 64]
    assert set(found["study_sha256"]) == {hashlib.sha256(file.read_bytes()).hexdigest()}
    assert plan_study(study, tmp_path / "out")[1:] == ({}, [])
    assert set(read_status(tmp_path / "out")["state"]) == {"done"}


def test_a_failed_run_is_named_with_its_reason_and_the_others_are_done(study, tmp_path, monkeypatch):
    notebook = nbformat.read(execution.notebook_path("instance"), as_version=4)
    (place,) = (i for i, cell in enumerate(notebook.cells, start=1) if "use_threads" in cell.source)
    notebook.cells.insert(place, nbformat.v4.new_code_cell('if ordering == "gn/bn":\n    raise OSError("out of luck")'))
    nbformat.write(notebook, tmp_path / "unlucky.ipynb")
    monkeypatch.setattr(scheduling, "notebook_path", lambda name: tmp_path / "unlucky.ipynb")
    out = tmp_path / "out"
    with local_executor(2) as executor:
        failures = run_study(study, out, executor)
    assert [(f.instance["ordering"], f.seed, f.reason) for f in failures] == [
        ("gn/bn", 0, "OSError: out of luck"),
        ("gn/bn", 1, "OSError: out of luck"),
    ], failures[0].log
    written = json.loads((out / "failures" / f"{failures[0].key}.json").read_text())
    assert written["reason"] == "OSError: out of luck"
    assert "raise OSError" in written["log"]
    assert (out / written["notebook"]).is_file()
    assert load_records(out)["ordering"].tolist() == ["none/none", "none/none"]

    monkeypatch.undo()
    with local_executor(2) as executor:
        assert run_study(study, out, executor) == []
    assert list((out / "failures").iterdir()) == []
    assert len(load_records(out)) == 4


def test_a_notebook_that_fails_after_its_records_is_named_as_well(study, tmp_path, monkeypatch):
    notebook = nbformat.read(execution.notebook_path("instance"), as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell('raise OSError("late")'))
    nbformat.write(notebook, tmp_path / "late.ipynb")
    monkeypatch.setattr(scheduling, "notebook_path", lambda name: tmp_path / "late.ipynb")
    with local_executor(1) as executor:
        failures = run_study(study.but(orderings=["none"]), tmp_path / "out", executor)
    assert [(failure.seed, failure.reason) for failure in failures] == [(1, "OSError: late")]
    assert len(load_records(tmp_path / "out")) == 2


@pytest.mark.parametrize("where", ["file", "file/below", "out"])
def test_an_output_folder_that_cannot_be_written_is_refused(study, tmp_path, where):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "records").write_text("in the way")
    with local_executor(1) as executor, pytest.raises(RequestError, match=r"^out is .*; allowed: a folder that can be"):
        run_study(study, tmp_path / where, executor)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["records"]


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ({"batch_size": 64}, "there batch_size is 64, here 32"),
        ({}, "there stack is tensorflow 1.0, .*, here tensorflow 2"),
    ],
)
def test_a_folder_whose_records_cannot_be_compared_is_refused(study, tmp_path, make_record, there, message):
    record = make_record("bn/none", **SMALL, **there)
    if not there:
        record.environment["versions"]["tensorflow"] = "1.0"
    save_record(record, tmp_path / "records")
    with local_executor(1) as executor, pytest.raises(RequestError, match=message):
        run_study(study, tmp_path, executor)
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


@pytest.mark.parametrize("workers", [0, -1, 1.5])
def test_less_than_one_worker_is_refused(workers):
    wrong = pytest.raises(RequestError, match=f"workers is {workers}; allowed: a whole number from 1 up")
    with wrong, local_executor(workers):
        pass
