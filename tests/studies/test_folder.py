import dataclasses
from pathlib import Path

import pytest

from normlib.models.instance import Instance
from normlib.runs.store import save_record
from normlib.studies.folder import (
    Failure,
    describe_status,
    failure_path,
    read_failures,
    read_status,
    study_of_folder,
    write_failure,
)

STUDY = "question: Which?\norderings: [bn, none]\nvaries: [{batch_size: [32, 64]}]\nseeds: 2\n"


@pytest.fixture
def folder(make_record, tmp_path):
    """Of eight runs five are done, of which the notebook of one failed after its record; one failed without."""
    (tmp_path / "study.yaml").write_text(STUDY)
    for ordering, size, seed in (("bn", 32, 0), ("bn", 32, 1), ("none", 32, 0), ("none", 32, 1), ("bn", 64, 0)):
        save_record(make_record(ordering, seed, batch_size=size), tmp_path / "records")
    for size, seed in ((64, 1), (32, 1)):
        run = make_record("bn", seed, batch_size=size)
        log = "".join(f"line {number}\n" for number in range(9))
        write_failure(Failure(run.key, run.instance, seed, "OSError: out of luck", log, "notebooks/a.ipynb"), tmp_path)
    return tmp_path


def test_each_planned_run_is_done_failed_or_missing(folder):
    runs = read_status(folder)
    assert runs["state"].tolist() == ["done"] * 5 + ["failed", "missing", "missing"]
    assert runs[["condition", "ordering", "seed"]].iloc[5].tolist() == ["batch_size 64", "bn/none", 1]
    assert runs["reason"].tolist() == ["", "OSError: out of luck", "", "", "", "OSError: out of luck", "", ""]
    assert runs["log"].iloc[5].startswith("line 0\n")
    assert runs["notebook"].iloc[5] == "notebooks/a.ipynb"


def test_the_text_counts_them_and_names_the_failed_with_the_end_of_the_log(folder):
    log = [*(f"line {number}" for number in range(4, 9)), f"as far as it came: {folder}/notebooks/a.ipynb"]
    assert [" ".join(line.split()) for line in describe_status(folder).splitlines()] == [
        "condition ordering done failed missing",
        "batch_size 32 bn/none 2 0 0",
        "batch_size 32 none/none 2 0 0",
        "batch_size 64 bn/none 1 1 0",
        "batch_size 64 none/none 0 0 2",
        "failed after its record: batch_size 32, bn/none, seed 1: OSError: out of luck",
        *log,
        "failed: batch_size 64, bn/none, seed 1: OSError: out of luck",
        *log,
        "5 done, 1 failed, 2 missing",
    ]


def test_records_of_other_settings_are_not_taken_for_the_studys(folder, make_record):
    for path in (folder / "records").iterdir():
        path.unlink()
    save_record(make_record("bn", 0, batch_size=32, epochs=2), folder / "records")
    assert set(read_status(folder)["state"]) == {"failed", "missing"}


def test_before_its_first_record_all_is_missing(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    assert set(read_status(tmp_path)["state"]) == {"missing"}


def test_a_failure_that_lacks_a_setting_which_was_added_later_is_found_and_one_of_other_settings_is_not(
    folder, make_record
):
    run, other = make_record("none", 0, batch_size=64), make_record("none", 1, batch_size=64, epochs=2)
    older = {name: value for name, value in reversed(run.instance.items()) if name != "channels_per_group"}
    write_failure(Failure(run.key, older, 0, "OSError: full", "", ""), folder)
    write_failure(Failure(other.key, other.instance, 1, "OSError", "", ""), folder)
    assert read_status(folder)["state"].tolist() == ["done"] * 5 + ["failed", "failed", "missing"]


@pytest.mark.parametrize("folder", [".", "records"])
def test_from_within_its_folder_a_study_has_the_folders_name_too(tmp_path, monkeypatch, folder):
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    assert study_of_folder(Path(folder)).name == tmp_path.name


@pytest.fixture
def failure():
    return Failure("a" * 16, Instance("gn/bn").settings, 3, "OSError: out of luck", "a log", "notebooks/a.ipynb", 2)


def test_a_failure_says_which_run_and_why_and_where_to_look(failure):
    assert str(failure) == "gn/bn, seed 3: OSError: out of luck, 2 times (see notebooks/a.ipynb)"
    assert str(dataclasses.replace(failure, tries=1, notebook="")) == "gn/bn, seed 3: OSError: out of luck"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"instance": 1}', None])
def test_a_damaged_failure_is_named_and_the_others_count(failure, tmp_path, text):
    """None: whole, but with a setting that no instance has."""
    write_failure(dataclasses.replace(failure, key="b", instance={"ordering": "xx"}), tmp_path)
    if text is not None:
        failure_path(tmp_path, "b").write_text(text)
    write_failure(failure, tmp_path)
    with pytest.warns(UserWarning, match="left out b.json of .*: no failure of normlib's"):
        assert read_failures(tmp_path) == [failure]
