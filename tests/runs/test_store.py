import os

import pytest

import normlib
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.runs import store


def test_a_record_is_saved_under_its_key(make_record, tmp_path):
    record = make_record()
    path = store.save_record(record, tmp_path)
    assert path == tmp_path / f"{record.key}.json"
    assert store.read_record(path) == record


def test_loading_gives_one_row_a_run_with_the_contracts_columns(make_record, tmp_path):
    for seed in (1, 0):
        store.save_record(make_record("gn/bn", seed, loss=0.25 + seed, accuracy=0.5), tmp_path / "records")
    frame = store.load_records(tmp_path)
    assert frame["seed"].tolist() == [0, 1]
    row = frame.loc[1]
    assert (row["ordering"], row["train_loss"], row["train_accuracy"]) == ("gn/bn", 1.25, 0.5)
    assert set(Instance().settings) <= set(frame.columns)
    assert set(store.to_frame([]).columns) <= set(frame.columns)


def test_what_is_no_record_in_a_folder_is_named_and_the_others_count(make_record, tmp_path):
    """No JSON, no text, a folder, a copy of the record, a file that would fill the memory."""
    path = store.save_record(make_record(), tmp_path)
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "c.json").mkdir()
    (tmp_path / "copy.json").write_text(path.read_text())
    with (tmp_path / "d.json").open("wb") as file:
        file.truncate(10**12)  # bytes, none of which takes any space
    os.mkfifo(tmp_path / "e.json")  # to read it would never end
    with pytest.warns(UserWarning, match="left out") as warned:
        assert store.read_records(tmp_path) == [make_record()]
    reasons = {
        "a.json": "no record of normlib's",
        "b.json": "no record of normlib's",
        "c.json": "it cannot be read: Not a regular file",
        "copy.json": f"the run {make_record().key} stands there already",
        "d.json": "it cannot be read: Larger than 50,000,000 bytes",
        "e.json": "it cannot be read: Not a regular file",
    }
    expected = [f"left out {name} of {tmp_path}: {reason}" for name, reason in reasons.items()]
    assert [str(warning.message) for warning in warned] == expected


def test_a_json_lines_file_is_read_like_a_folder_and_a_line_that_stands_twice_counts_once(make_record, tmp_path):
    made = [make_record(seed=seed) for seed in (0, 1)]
    (tmp_path / "kept.jsonl").write_text("".join(record.to_json() + "\n" for record in [*made, made[0]]))
    with pytest.warns(UserWarning, match=r"left out line 3 of .*: the run \w+ stands there already"):
        assert store.read_records(tmp_path / "kept.jsonl") == made


@pytest.mark.parametrize("path", ["nowhere", "n" * 1_000_000, "null\0byte"], ids=["missing", "long", "null"])
def test_what_is_not_there_is_refused(path):
    with pytest.raises(RequestError, match=r"^records is '.*', but must be a folder of records"):
        store.load_records(path)


@pytest.mark.parametrize("name", ["describe_runs", "takeaway", "plot_readings", "plot_learning_curves"])
def test_runs_of_several_instances_are_not_shown_as_runs_of_one(make_record, name):
    show = getattr(normlib, name)
    assert show([make_record("bn", 0), make_record("bn", 1)]) is not None
    with pytest.raises(RequestError, match="records is 'ordering of bn/none and gn/none', but runs of one instance"):
        show([make_record("bn"), make_record("gn")])
