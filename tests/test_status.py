import json

import pytest

from normlib.errors import RequestError
from normlib.records import save_record
from normlib.status import read_status

STUDY = "question: Which?\norderings: [bn, none]\nvaries: [{batch_size: [32, 64]}]\nseeds: 2\n"


@pytest.fixture
def folder(make_record, tmp_path):
    """Of eight runs five are done; one failed, and one that failed once was done later."""
    (tmp_path / "study.yaml").write_text(STUDY)
    for ordering, size, seed in (("bn", 32, 0), ("bn", 32, 1), ("none", 32, 0), ("none", 32, 1), ("bn", 64, 0)):
        save_record(make_record(ordering, seed, batch_size=size), tmp_path / "records")
    (tmp_path / "failures").mkdir()
    for name, size, seed in (("first", 64, 1), ("second", 32, 1)):
        instance = make_record("bn", seed, batch_size=size).instance
        failure = {"instance": instance, "seed": seed, "reason": "OSError: out of luck"}
        (tmp_path / "failures" / f"{name}.json").write_text(json.dumps(failure))
    return tmp_path


def test_each_planned_run_is_done_failed_or_missing(folder):
    runs = read_status(folder)
    assert runs["state"].tolist() == ["done"] * 5 + ["failed", "missing", "missing"]
    assert runs[["condition", "ordering", "seed"]].iloc[5].tolist() == ["batch_size 64", "bn/none", 1]
    assert runs["reason"].tolist() == [""] * 5 + ["OSError: out of luck", "", ""]


def test_records_of_other_settings_are_not_taken_for_the_studys(folder, make_record):
    for path in (folder / "records").iterdir():
        path.unlink()
    save_record(make_record("bn", 0, batch_size=32, epochs=2), folder / "records")
    assert set(read_status(folder)["state"]) == {"failed", "missing"}


def test_a_damaged_failure_is_named_and_the_others_count(folder):
    (folder / "failures" / "third.json").write_text("{")
    with pytest.warns(UserWarning, match="left out third.json of .*: no failure of normlib's"):
        runs = read_status(folder)
    assert runs["state"].tolist().count("failed") == 1


def test_before_its_first_record_all_is_missing(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    assert set(read_status(tmp_path)["state"]) == {"missing"}


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"DIR is .*; allowed: a study's output folder, with study.yaml in it"):
        read_status(tmp_path)
