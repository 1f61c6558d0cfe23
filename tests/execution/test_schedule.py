"""Studies whose notebook makes up its records, in real papermill executions and real kernels."""

import dataclasses
import hashlib
import json

import masters
import pytest

from normlib.errors import RequestError
from normlib.execution import schedule
from normlib.execution.notebook import Execution
from normlib.execution.schedule import describe_plan, run_study
from normlib.execution.workers import local_executor
from normlib.report.sentences import tie_sentences
from normlib.runs.record import run_key
from normlib.runs.store import load_records, read_records, save_record
from normlib.studies.folder import read_status
from normlib.studies.results import Results, read_folder
from normlib.studies.study import Study, read_study

STUDY = Study("small", "Which?", ("gn/bn", "none"), seeds=2)


def contents(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


def test_a_study_runs_once_and_then_only_what_is_missing(tmp_path, monkeypatch):
    """A folder's life: all runs; nothing to do; records lost and damaged; again; more seeds; other settings."""
    masters.use(monkeypatch, tmp_path)
    out = tmp_path / "out"
    with local_executor(1) as executor, local_executor(2) as two:
        assert run_study(STUDY, out, two) == []
        keys = [run_key(instance, seed, 1) for instance in STUDY.instances for seed in (0, 1)]
        done = contents(out / "records")
        assert sorted(done) == sorted(f"{key}.json" for key in keys)
        names = [Execution(instance, seed, 1).name for instance in STUDY.instances for seed in (0, 1)]
        assert sorted(contents(out / "notebooks")) == sorted(f"{name}.ipynb" for name in names)
        assert read_study(out / "study.yaml").orderings == STUDY.orderings

        run_study(STUDY, out, executor)
        assert contents(out / "records") == done

        (out / "records" / f"{keys[0]}.json").unlink()
        damaged = out / "records" / f"{keys[3]}.json"
        damaged.write_text(damaged.read_text().replace('"seed": 1', '"seed": 2'))
        run_study(STUDY, out, executor)
        again = contents(out / "records")
        assert sorted(again) == sorted(done)
        assert [again[f"{key}.json"] == done[f"{key}.json"] for key in keys] == [False, True, True, False]

        run_study(STUDY.replace(seeds=1), out, executor, redo=True)
        redone = contents(out / "records")
        assert [redone[f"{key}.json"] == again[f"{key}.json"] for key in keys] == [False, True, False, True]

        run_study(STUDY.replace(seeds=3), out, executor)
        assert load_records(out)["seed"].tolist() == [0, 1, 2, 0, 1, 2]

        changed = dataclasses.replace(STUDY, orderings=("none",), seeds=1, defaults={"batch_size": 64})
        run_study(changed, out, executor)
    assert len(load_records(out)) == 7
    assert [record.instance["batch_size"] for record in read_folder(out).runs] == [64]
    assert set(read_status(out)["state"]) == {"done"}


APART = """
def figures(seed):
    loss = 2.0 + seed if (ordering, learning_rate) == ("gn/bn", 0.001) else 1.0
    return {"training": {"loss": [loss + NOISE[seed]], "accuracy": [0.5]}}
"""
NEAR = "NOISE = [0.001 * (seed * 7 % 5) * (ordering == 'gn/bn') for seed in range(1200)]"


def test_a_study_with_looks_ends_when_all_is_decided_and_goes_on_until_then(tmp_path, monkeypatch, capsys):
    """Near each other orderings are level at the first look; with differences of 1, 2 and 3 they are never decided."""
    looks = dataclasses.replace(STUDY, seeds=None, looks=(2, 3), contrasts={"gain": "gn/bn - none"})
    masters.use(monkeypatch, tmp_path, NEAR + APART.replace("2.0 + seed", "1.0"))
    looks = dataclasses.replace(looks, margin=0.5)
    out, other = tmp_path / "out", tmp_path / "other"
    assert describe_plan(looks, out).startswith("up to the look of 2 seeds; while a contrast is undecided, then to 3")
    with local_executor(1) as executor:
        assert run_study(looks, out, executor) == []
        assert "small: look 1 of 2, 2 seeds: 1 of 1 contrasts decided (gain: level); it ends" in capsys.readouterr().err
        assert load_records(out)["seed"].tolist() == [0, 1, 0, 1]
        assert read_status(out)["state"].tolist() == ["done"] * 4
        assert describe_plan(looks, out).endswith(f"0 executions, 0 of 4 runs to do, into {out}")
        results = read_folder(out)
        assert results.study == dataclasses.replace(looks, name="out")
        assert results.planned_runs["done"].all()

        before = contents(out / "records")
        assert run_study(looks, out, executor, redo=True) == []
        assert not {*before.values()} & {*contents(out / "records").values()}
        capsys.readouterr()

        masters.use(monkeypatch, tmp_path, NEAR + APART)
        run_study(looks.with_seeds(range(2)), other, executor)
        (other / "study.yaml").write_text(looks.to_yaml())
        assert read_status(other)["state"].value_counts().to_dict() == {"done": 4, "missing": 2}
        run_study(looks, other, executor)
    said = capsys.readouterr().err
    assert "small: look 1 of 2, 2 seeds: 0 of 1 contrasts decided; it goes on to 3 seeds" in said
    assert "small: look 2 of 2, 3 seeds: 0 of 1 contrasts decided; it ends" in said
    assert read_folder(other).estimates[["pairs", "look", "verdict"]].to_numpy().tolist() == [[3, 3, "undecided"]]


def test_where_a_choice_was_a_tie_that_ordering_is_run_at_the_tied_settings_too(tmp_path, monkeypatch):
    """The tuning runs are alike at 0.001 and 0.003, so that both are ties; gn/bn then differs at 0.001 alone."""
    masters.use(monkeypatch, tmp_path, NEAR + APART.replace("2.0 + seed", "2.0"))
    study = dataclasses.replace(
        STUDY,
        defaults={"fit_split": "train[:320]", "evaluate_split": "test[:100]"},
        tune={
            "varies": [{"learning_rate": [0.001, 0.003]}],
            "evaluate_split": "train[320:420]",
            "seeds": 2,
            "first_seed": 9,
        },
        measure="eval_loss",
        contrasts={"gain": "gn/bn - none"},
    )
    out = tmp_path / "out"
    with local_executor(1) as executor:
        assert run_study(study, out, executor) == []
        made = {path: path.stat().st_mtime_ns for path in out.rglob("records/*.json")}
        assert run_study(study, out, executor) == []
        assert made == {path: path.stat().st_mtime_ns for path in out.rglob("records/*.json")}
    assert len(read_records(out / "tuning")) == 8
    results = read_folder(out)
    assert results.study.ties == {name: {"learning_rate": 0.003} for name in ("gn/bn", "none/none")}
    assert {(run.ordering, run.instance["learning_rate"]) for run in results.runs} == {
        ("gn/bn", 0.001),
        ("none/none", 0.001),
    }
    assert len(results.tied_runs) == 4
    said = results.findings
    assert "With gn/bn at learning_rate 0.003, a tie with its own setting, no verdict turns." in said
    training = Results(dataclasses.replace(results.study, measure="train_loss"), results.runs, results.tied_runs)
    (said,) = {sentence for sentence in tie_sentences(training) if "gn/bn" in sentence}
    assert said.startswith("With gn/bn at learning_rate 0.003, a tie with its own setting, *gain* turns: undecided")
    status = read_status(out)
    assert status["condition"].tolist() == [""] * 4 + ["tied"] * 4
    assert set(status["state"]) == {"done"}


def test_a_study_that_varies_settings_runs_each_condition_and_its_records_name_its_file(tmp_path, monkeypatch):
    """All its runs diverge, which is a result: they are done."""
    diverges = 'figures = lambda seed: {"training": {"loss": [float("nan")], "accuracy": [0.1]}}'
    masters.use(monkeypatch, tmp_path, diverges)
    file = tmp_path / "mine.yaml"
    file.write_text("question: Which?\norderings: [none]\nvaries: [{batch_size: [32, 64]}]\nseeds: 1\n")
    study, out = read_study(file), tmp_path / "out"
    assert describe_plan(study, out).endswith(f"\n2 executions, 2 of 2 runs to do, into {out}")
    assert not out.exists()
    assert run_study(study, out) == []
    found = load_records(out)
    assert sorted(found["batch_size"]) == [32, 64]
    assert found["train_loss"].isna().all()
    assert set(found["study_sha256"]) == {hashlib.sha256(file.read_bytes()).hexdigest()}
    assert describe_plan(study, out) == f"0 executions, 0 of 2 runs to do, into {out}"
    assert describe_plan(study, out, redo=True).endswith(f"\n2 executions, 2 of 2 runs to do, into {out}")


def test_one_run_fails_alone_with_its_reason_and_what_the_machine_did_is_tried_again(tmp_path, monkeypatch):
    """A seed's code fails, and the first kernel of the other ordering dies; then all is well, and they go on."""
    masters.use(
        monkeypatch,
        tmp_path,
        "import os\n"
        'if ordering == "gn/bn" and first_seed == 0:\n    raise OSError("out of luck")\n'
        f'mark = "{tmp_path / "died"}"\n'
        'if ordering == "none/none" and not os.path.exists(mark):\n    open(mark, "w").close()\n    os._exit(1)',
    )
    out = tmp_path / "out"
    with local_executor(1) as executor:
        (failure,) = run_study(STUDY, out, executor)
        assert (failure.instance["ordering"], failure.seed, failure.tries) == ("gn/bn", 0, 1), failure.log
        written = json.loads((out / "failures" / f"{failure.key}.json").read_text())
        assert written["reason"] == "OSError: out of luck"
        assert "raise OSError" in written["log"]
        assert (out / written["notebook"]).is_file()
        runs = [["gn/bn", 1], ["none/none", 0], ["none/none", 1]]
        assert load_records(out)[["ordering", "seed"]].to_numpy().tolist() == runs
        assert read_status(out)["state"].tolist() == ["failed", "done", "done", "done"]

        masters.use(monkeypatch, tmp_path, behind='raise OSError("late")')
        (failure,) = run_study(STUDY, out, executor)
    assert (failure.seed, failure.reason) == (0, "OSError: late")  # it has a record, and is named as well
    assert [path.stem for path in (out / "failures").iterdir()] == [failure.key]
    assert len(load_records(out)) == 4


def test_an_output_folder_with_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "records").write_text("in the way")
    with pytest.raises(RequestError, match=r"^out is .*, but it cannot be written: Not a directory"):
        run_study(STUDY, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


@pytest.mark.parametrize(
    ("versions", "threads", "message"),
    [
        ({"tensorflow": "1.0"}, 1, "stack is tensorflow 1.0, .* there, tensorflow 2.* here$"),
        ({}, 2, "threads is 1 there, 2 here$"),
    ],
)
def test_a_folder_whose_records_cannot_be_compared_is_refused(tmp_path, make_record, versions, threads, message):
    there = make_record("bn/none").environment["versions"] | versions
    save_record(make_record("bn/none", environment={"versions": there}), tmp_path / "records")
    with pytest.raises(RequestError, match=f"but its records cannot be compared with the study's: {message}"):
        run_study(STUDY, tmp_path, threads=threads)
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_data_that_cannot_be_had_are_told_once_before_anything_is_written(tmp_path, monkeypatch):
    def not_there(dataset, name):
        raise RequestError("dataset", dataset, "data that are there")

    monkeypatch.setattr(schedule, "load_array", not_there)
    study = dataclasses.replace(STUDY, defaults={**STUDY.defaults, "dataset": "fashion_mnist"})  # MNIST ships
    with pytest.raises(RequestError, match="dataset is 'fashion_mnist', but must be data that are there"):
        run_study(study, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_records_of_another_version_are_not_taken_for_damaged(tmp_path, make_record):
    """A setting that this one does not know: the folder is refused, and nothing in it is moved."""
    record = make_record("none")
    newer = dataclasses.replace(record, instance=record.instance | {"scheduler": "cosine"})
    path = save_record(newer, tmp_path / "records")
    problem = f"but records/{path.name} in it is of another version of normlib, with the setting 'sch"
    with pytest.raises(RequestError, match=problem):
        run_study(STUDY, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.json")] == [path.name]


@pytest.mark.parametrize("name", ["records", ".lock"])
def test_a_folder_in_which_a_link_leads_out_of_it_is_refused(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.json").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match=f"but the link '{name}' in it leads to another folder"):
        run_study(STUDY, tmp_path / "out")
    assert (tmp_path / "elsewhere" / "mine.json").read_text() == "mine"
    assert len(list(tmp_path.rglob("*"))) == 4
