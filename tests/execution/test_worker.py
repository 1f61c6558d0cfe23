"""A job done by a worker, in a real kernel; where worker and caller share no disk, all comes back."""

from pathlib import Path

import nbformat
import numpy as np
import pytest

from conftest import SMALL
from normlib import stack
from normlib.execution import workers
from normlib.execution.notebook import Execution, notebook_path
from normlib.execution.workers import Job, perform
from normlib.models.instance import Instance
from normlib.runs.store import Record


@pytest.fixture
def job():
    """Two seeds of a small run, of which the second fails."""
    notebook = nbformat.read(notebook_path("instance"), as_version=4)
    (place,) = (i for i, cell in enumerate(notebook.cells) if "train_all" in cell.source)
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell('raise OSError("out of luck")'))
    execution = Execution(Instance("none", **SMALL), 5, 2)
    return Job(execution, nbformat.writes(notebook), "", stack.installed(), study_sha256="ab" * 32)


def test_what_was_finished_comes_back_with_the_reason_why_the_rest_was_not(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = perform(job)
    assert (outcome.reason, outcome.infrastructure) == ("OSError: out of luck", False)
    assert "raise OSError" in outcome.log
    records = [Record.from_json(text) for text in outcome.records]
    assert {record.key for record in records} == set(job.execution.keys.values())
    assert {record.environment["study_sha256"] for record in records} == {"ab" * 32}
    assert 'records_dir = \\"../records\\"' in outcome.notebook
    assert list(tmp_path.iterdir()) == []


def test_data_of_ones_own_are_found_from_where_the_caller_is_and_no_path_of_theirs_is_kept(tmp_path, monkeypatch):
    """The file is given by a relative path; kernels have working directories of their own."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    arrays = {f"x_{split}": random.random((40, 8, 9, 3)) for split in ("train", "test")}
    np.savez("mine.npz", **arrays, **dict.fromkeys(("y_train", "y_test"), np.arange(40) % 3))
    settings = {"dataset": "mine.npz", "fit_split": "train", "evaluate_split": "test", "groups": 4}
    execution = Execution(Instance("bn/gn", "resnet20", **settings), 5, 1)
    text = notebook_path("instance").read_text(encoding="utf-8")
    outcome = perform(Job(execution, text, "", stack.installed()))
    assert outcome.reason == ""
    (record,) = (Record.from_json(text) for text in outcome.records)
    assert record.key == execution.keys[5]
    assert record.instance["dataset"] == "mine.npz"
    assert 'dataset = \\"mine.npz\\"' in outcome.notebook
    assert str(tmp_path) not in outcome.notebook + outcome.records[0]


def test_what_was_finished_comes_back_also_where_the_worker_itself_fails(job, monkeypatch):
    def fills_the_disk(notebook, parameters, **_):
        records_dir = Path(parameters["records_dir"])
        records_dir.mkdir()
        (records_dir / "finished.json").write_text("a record")
        raise OSError("no space left on device")

    monkeypatch.setattr(workers, "execute", fills_the_disk)
    outcome = perform(job)
    assert (outcome.records, outcome.reason) == (("a record",), "OSError: no space left on device")
    assert outcome.infrastructure


def test_another_stack_than_the_callers_is_the_machines_fault_and_named(job):
    job.stack["tensorflow"] = "1.0"
    outcome = perform(job)
    assert outcome.infrastructure
    assert f"has another stack: tensorflow {stack.version('tensorflow')}, here 1.0" in outcome.reason
    assert (outcome.records, outcome.notebook) == ((), "")
