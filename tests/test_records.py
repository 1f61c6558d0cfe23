import dataclasses
import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib import records, stack
from normlib.errors import RequestError
from normlib.instance import Instance
from normlib.records import Record, RecordError


def test_a_record_file_holds_what_the_contract_names(make_record, tmp_path):
    path = records.save_record(make_record(), tmp_path)
    body = json.loads(path.read_text())
    assert path.name == f"{body['key']}.json"
    assert set(body) == {
        "schema", "key", "checksum", "instance", "seed", "training", "curve", "evaluation", "parameters", "seconds",
        "environment", "data",
    }  # fmt: skip
    checksum = body.pop("checksum")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == checksum


def test_a_key_is_sha256_over_what_decides_the_run():
    instance = Instance("gn/bn", epochs=2)
    facts = {
        "seed": 3,
        "data": instance.data_facts.sha256,
        "versions": stack.versions("auto"),
        "threads": 1,
        "settings": {"ordering": "gn/bn", "epochs": 2},
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert records.run_key(instance, 3, 1) == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_keys_differ_where_runs_differ():
    keys = {
        records.run_key(Instance(), 0, 1),
        records.run_key(Instance(), 1, 1),
        records.run_key(Instance(), 0, 2),
        records.run_key(Instance("gn"), 0, 1),
        records.run_key(Instance(batch_size=64), 0, 1),
    }
    assert len(keys) == 5


def test_only_the_arrays_that_a_run_reads_are_named():
    assert set(records.data_used(Instance(fit_split="test[:10]", evaluate_split="test[10:20]"))) == {"x_test", "y_test"}


@given(st.floats(), st.floats(0, 1))
def test_reading_is_the_inverse_of_writing(loss, accuracy):
    record = Record("0" * 16, {}, 1, {"loss": [loss], "accuracy": [accuracy]}, {}, {}, {}, {}, {}, {})
    again = Record.from_json(record.to_json())
    assert repr(again) == repr(record)  # by their text, since NaN is not equal to itself


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_what_json_cannot_say_is_a_string(make_record, value, text):
    record = make_record(loss=value)
    assert json.loads(record.to_json())["training"]["loss"] == [text]
    assert repr(float(records.to_frame([record])["train_loss"][0])) == repr(value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"schema": 1}', '{"checksum": "0"}', "[" * 100_000])
def test_what_is_no_record_is_told(text):
    with pytest.raises(RecordError, match=r"no record of normlib's"):
        Record.from_json(text)


def test_an_edited_record_is_told(make_record):
    edited = make_record(accuracy=0.88).to_json().replace("0.88", "0.99")
    with pytest.raises(RecordError, match="checksum does not match"):
        Record.from_json(edited)


def test_a_newer_schema_is_told(make_record):
    newer = make_record().to_json().replace('"schema": 1', '"schema": 2')
    with pytest.raises(RecordError, match="schema 2; this normlib reads 1"):
        Record.from_json(newer)


def test_loading_gives_one_row_a_run_with_the_contracts_columns(make_record, tmp_path):
    for seed in (1, 0):
        records.save_record(make_record("gn/bn", seed, loss=0.25 + seed, accuracy=0.5), tmp_path / "records")
    frame = records.load_records(tmp_path)
    assert frame["seed"].tolist() == [0, 1]
    row = frame.loc[1]
    assert (row["ordering"], row["train_loss"], row["train_accuracy"]) == ("gn/bn", 1.25, 0.5)
    assert (row["eval_loss"], row["eval_accuracy"]) == (0.625, 0.5)
    assert set(Instance().settings) <= set(frame.columns)


def test_each_reading_has_columns_of_its_own(make_record):
    evaluation = {
        "inference": {"loss": 0.5, "accuracy": 0.75},
        "debiased": {"loss": 0.25, "accuracy": 0.8},
        "recalibrated": {"loss": 0.125, "accuracy": 0.9},
    }
    row = records.to_frame([dataclasses.replace(make_record(), evaluation=evaluation)]).loc[0]
    assert row[["eval_loss", "debiased_loss", "recalibrated_loss"]].tolist() == [0.5, 0.25, 0.125]
    assert row[["eval_accuracy", "debiased_accuracy", "recalibrated_accuracy"]].tolist() == [0.75, 0.8, 0.9]


def test_a_file_that_is_no_record_is_named_and_the_others_count(make_record, tmp_path):
    records.save_record(make_record(), tmp_path)
    (tmp_path / "broken.json").write_text("{")
    with pytest.warns(UserWarning, match=r"left out broken.json of .*: no record"):
        assert len(records.load_records(tmp_path)) == 1


def test_a_json_lines_file_is_read_like_a_folder(make_record, tmp_path):
    made = [make_record(seed=seed) for seed in range(3)]
    (tmp_path / "kept.jsonl").write_text("".join(record.to_json() + "\n" for record in made))
    assert records.read_records(tmp_path / "kept.jsonl") == made


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"records is .*nowhere.*; allowed: a folder of records"):
        records.load_records(tmp_path / "nowhere")


def test_the_kept_records_have_every_reading_and_one_commit():
    kept = records.read_records(records.SOURCE_RECORDS)
    assert {tuple(record.evaluation) for record in kept} == {("inference", "debiased", "recalibrated")}
    (commit,) = {record.environment["commit"] for record in kept}
    assert not commit.endswith("-dirty")


def test_the_twenty_runs_on_the_sources_own_stack_are_those_that_were_measured():
    """Mean loss over 20 seeds, as measured on TensorFlow 2.2.0 and addons 0.10.0."""
    original = records.load_original_stack().groupby("ordering")["loss"]
    assert original.count().eq(20).all()
    assert original.mean().round(4).to_dict() == {
        "bn/gn": 0.4603, "bn/none": 0.4323, "gn/bn": 0.4650, "gn/none": 0.4331, "none/none": 0.3990,
    }  # fmt: skip
