import dataclasses
import hashlib
import json
import math
import os

import pytest

from normlib import stack
from normlib.errors import RequestError
from normlib.models.instance import Instance
from normlib.runs import record as record_module
from normlib.runs import store
from normlib.runs.record import OtherVersionError, RecordError
from normlib.runs.store import Record


def test_a_record_file_holds_what_the_contract_names(make_record, tmp_path):
    path = store.save_record(make_record(), tmp_path)
    body = json.loads(path.read_text())
    assert path.name == f"{body['key']}.json"
    assert set(body) == {
        "schema", "key", "checksum", "instance", "seed", "training", "curve", "evaluation", "parameters", "seconds",
        "environment", "data",
    }  # fmt: skip
    checksum = body.pop("checksum")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == checksum


def test_reading_is_the_inverse_of_writing(make_record):
    for record in (make_record(), make_record("gn/bn", 3, provider="keras", groups=5, batch_size=64)):
        assert Record.from_json(record.to_json()) == record
        assert Record.from_json(record.to_json(indent=1)) == record


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_what_json_cannot_say_is_a_string(make_record, value, text):
    record = make_record(loss=value)
    assert json.loads(record.to_json())["training"]["loss"] == [text]
    again = Record.from_json(record.to_json())
    assert repr(float(store.to_frame([again])["train_loss"][0])) == repr(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 7},
        {"key": "0" * 16},
        {"instance": {"ordering": "gn/bn"}},
        {"instance": {"batch_size": 64}},
        {"environment": {"threads": 2}},
        {"data": {"x_test": "0" * 64}},
    ],
    ids=str,
)
def test_a_record_of_another_run_than_its_key_says_is_told_whatever_its_checksum(make_record, changes):
    content = dataclasses.asdict(make_record())
    for name, value in changes.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    with pytest.raises(RecordError, match="the key is not that of its seed, data, versions, threads and settings"):
        Record.from_json(Record(**content).to_json())


@pytest.mark.parametrize(
    "settings",
    [
        {"ordering": "<script>alert(1)</script>"},
        {"ordering": "bn"},  # not the form that is kept
        {"model": "../../etc/passwd"},
        {"batch_size": 32.0},
        {"batch_size": True},
        {"epochs": 0},
        {"provider": "mine"},
        {"learning_rate": [0.001]},
        {"fit_split": {"deep": {"deeper": {}}}},
    ],
    ids=str,
)
def test_settings_that_there_are_not_are_told(make_record, settings):
    record = make_record()
    changed = dataclasses.replace(record, instance=record.instance | settings)
    with pytest.raises(RecordError, match=r"instance has settings that there are not|^instance\.\w+ breaks the rule"):
        Record.from_json(changed.to_json())


def test_a_record_from_before_a_setting_was_added_has_its_default(make_record):
    record = make_record("gn/bn")
    older = {name: value for name, value in record.instance.items() if name not in ("groups", "momentum")}
    again = Record.from_json(dataclasses.replace(record, instance=older).to_json())
    assert again.key == record.key


def test_a_record_of_another_version_is_told_as_such(make_record):
    record = make_record()
    newer = dataclasses.replace(record, instance=record.instance | {"scheduler": "cosine"})
    with pytest.raises(OtherVersionError, match="of another version of normlib, with the setting 'scheduler'"):
        Record.from_json(newer.to_json())


def test_a_record_of_a_provider_that_is_not_installed_here_can_be_read(make_record):
    """Its key is by the versions that it names, not by those that are installed."""
    record = make_record("gn/none")
    for provider, versions in (("addons", {"tensorflow-addons": "0.22.0"}), ("keras", {"keras": "3.99.0"})):
        environment = record.environment | {
            "provider": provider,
            "versions": record.environment["versions"] | versions | {"tensorflow": "2.99.0"},
        }
        decided = {"tensorflow": "2.99.0", **versions}
        facts = {"seed": 0, "data": record.data, "versions": decided, "threads": 1}
        key = record_module.sha256({**facts, "settings": {"ordering": "gn/none"}})[:16]
        text = dataclasses.replace(record, key=key, environment=environment).to_json()
        assert Record.from_json(text).row()["stack"].startswith("tensorflow 2.99.0")


def test_loading_gives_one_row_a_run_with_the_contracts_columns(make_record, tmp_path):
    for seed in (1, 0):
        store.save_record(make_record("gn/bn", seed, loss=0.25 + seed, accuracy=0.5), tmp_path / "records")
    frame = store.load_records(tmp_path)
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
    row = store.to_frame([dataclasses.replace(make_record(), evaluation=evaluation)]).loc[0]
    assert row[["eval_loss", "debiased_loss", "recalibrated_loss"]].tolist() == [0.5, 0.25, 0.125]
    assert row[["eval_accuracy", "debiased_accuracy", "recalibrated_accuracy"]].tolist() == [0.75, 0.8, 0.9]


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
    with pytest.warns(UserWarning, match="left out") as told:
        assert store.read_records(tmp_path) == [make_record()]
    reasons = {
        "a.json": "no record of normlib's",
        "b.json": "no record of normlib's",
        "c.json": "it cannot be read: Not a regular file",
        "copy.json": f"the run {make_record().key} stands there already",
        "d.json": "it cannot be read: Too large for what it should be",
        "e.json": "it cannot be read: Not a regular file",
    }
    assert [str(w.message) for w in told] == [f"left out {n} of {tmp_path}: {reason}" for n, reason in reasons.items()]


def test_a_line_that_stands_twice_counts_once(make_record, tmp_path):
    (tmp_path / "kept.jsonl").write_text(2 * f"{make_record().to_json()}\n")
    with pytest.warns(UserWarning, match=r"left out line 2 of .*: the run \w+ stands there already"):
        assert len(store.load_records(tmp_path / "kept.jsonl")) == 1


def test_a_json_lines_file_is_read_like_a_folder(make_record, tmp_path):
    made = [make_record(seed=seed) for seed in range(3)]
    (tmp_path / "kept.jsonl").write_text("".join(record.to_json() + "\n" for record in made))
    assert store.read_records(tmp_path / "kept.jsonl") == made


@pytest.mark.parametrize("path", ["nowhere", "n" * 1_000_000, "null\0byte"], ids=["missing", "long", "null"])
def test_what_is_not_there_is_refused(path):
    with pytest.raises(RequestError, match=r"^records is '.*', but must be a folder of records"):
        store.load_records(path)


def test_the_kept_records_have_every_reading_and_one_commit():
    kept = store.read_records(store.SOURCE_RECORDS)
    assert {tuple(record.evaluation) for record in kept} == {("inference", "debiased", "recalibrated")}
    (commit,) = {record.environment["commit"] for record in kept}
    assert not commit.endswith("-dirty")


def test_the_twenty_runs_on_the_sources_own_stack_are_those_that_were_measured():
    """Mean loss over 20 seeds, as measured on TensorFlow 2.2.0 and addons 0.10.0."""
    original = store.load_original_stack().groupby("ordering")["loss"]
    assert original.count().eq(20).all()
    assert original.mean().round(4).to_dict() == {
        "bn/gn": 0.4603, "bn/none": 0.4323, "gn/bn": 0.4650, "gn/none": 0.4331, "none/none": 0.3990,
    }  # fmt: skip


def test_a_record_from_before_a_setting_was_added_has_its_default_in_the_table_and_its_key(make_record):
    """The kept records are such ones: what they lack has the source's values."""
    record = make_record("gn/bn", epochs=2)
    older = {name: value for name, value in record.instance.items() if name not in ("optimizer", "channels_per_group")}
    read = Record.from_json(dataclasses.replace(record, instance=older).to_json())
    frame = store.to_frame([read, make_record("gn/bn", 1, epochs=2)])
    assert frame["optimizer"].tolist() == ["adam", "adam"]
    assert frame["channels_per_group"].tolist() == [None, None]


def test_a_record_of_a_file_of_data_is_read_where_the_file_is_not(make_record, tmp_path):
    """Its name is in the record, without its path, and so are its slices, which cannot be checked there."""
    record = make_record()
    settings = record.instance | {"dataset": "mine.npz", "fit_split": "train[:70000]", "evaluate_split": "test"}
    facts = {"dataset": "mine.npz", "fit_split": "train[:70000]", "evaluate_split": "test"}
    versions = stack.deciding("addons", record.environment["versions"])
    key = record_module.digest(record.seed, record.data, versions, 1, facts)
    read = Record.from_json(dataclasses.replace(record, instance=settings, key=key).to_json())
    assert read.row()["dataset"] == "mine.npz"
    for change in ({"dataset": "/home/me/mine.npz"}, {"fit_split": "train[__import__('os')]"}, {"dataset": "a\nb.npz"}):
        with pytest.raises(RecordError):
            Record.from_json(dataclasses.replace(read, instance=settings | change).to_json())
