"""Which study some records belong to, and which of them are its runs."""

import dataclasses

import pytest

from normlib.errors import RequestError
from normlib.runs.store import save_record
from normlib.studies import folder
from normlib.studies.study import Study

SMALLEST = "question: Which?\norderings: [bn, none]\n"


def test_records_belong_to_the_study_beside_them_and_without_one_nothing_was_declared(tmp_path):
    (tmp_path / "records").mkdir()
    assert folder.study_of_records("").name == "source"
    assert folder.study_of_records(tmp_path / "records").declared == []
    (tmp_path / "study.yaml").write_text(SMALLEST)
    found = folder.study_of_records(tmp_path / "records")
    assert (found.name, found.question) == (tmp_path.name, "Which?")


def test_a_studys_records_are_those_with_its_settings_whatever_their_ordering_and_seed(tmp_path, make_record):
    (tmp_path / "study.yaml").write_text(SMALLEST + "varies: [{epochs: [1, 4]}]\n")
    kept = [make_record("bn", 0), make_record("bn", 0, epochs=4), make_record("gn/bn", 7), make_record("bn", 99)]
    others = [make_record("bn", 0, epochs=2), make_record("bn", 0, batch_size=64)]
    for record in (*kept, *others):
        save_record(record, tmp_path / "records")
    study, records = folder.read_study_records(tmp_path / "records")
    assert study.question == "Which?"
    assert {record.key for record in records} == {record.key for record in kept}
    (tmp_path / "study.yaml").unlink()
    assert len(folder.read_study_records(tmp_path / "records")[1]) == 6


def test_where_orderings_have_own_settings_runs_count_with_those_of_their_ordering_only(make_record):
    study = Study("mine", "Which?", ("bn", "none"), own={"bn": {"epochs": 4}, "none": {"epochs": 1}})
    made = [make_record(ordering, epochs=epochs) for ordering in ("bn", "none") for epochs in (1, 4)]
    found = [(run.instance["ordering"], run.instance["epochs"]) for run in folder.runs_of(study, made)]
    assert found == [("bn/none", 4), ("none/none", 1)]


def test_records_from_before_a_setting_was_added_count_with_its_default(make_record):
    record = make_record("bn")
    older = {name: value for name, value in record.instance.items() if name != "optimizer"}
    study = Study("mine", "Which?", ("bn",))
    assert folder.runs_of(study, [dataclasses.replace(record, instance=older)])
    assert not folder.runs_of(study, [make_record("bn", optimizer="sgd")])


def test_a_folder_without_records_is_refused_by_the_name_that_it_was_given_by(tmp_path, make_record):
    save_record(make_record("bn"), tmp_path / "some" / "records")
    assert len(folder.read_folder(tmp_path / "some")[1]) == 1
    for name in ("none", "some/records"):
        with pytest.raises(RequestError, match=r"DIR_B is .*, but must be a study's output folder, with at least one"):
            folder.read_folder(tmp_path / name, "DIR_B")


def test_a_kept_study_is_told_with_the_runs_that_ship():
    study, runs = folder.read_kept("placement")
    assert len(runs) == len(study.instances) * study.seeds
