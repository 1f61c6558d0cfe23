import copy
import dataclasses
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib import stack
from normlib.models.instance import Instance
from normlib.runs import record, store
from normlib.runs.record import OtherVersionError, Record, RecordError

KEPT = dataclasses.asdict(store.read_records(store.SOURCE_RECORDS)[0])


def written(*place, value):
    """Return the JSON of a kept record, but for one value, with the checksum of what it then holds."""
    content = copy.deepcopy(KEPT)
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return as_json(content)


def as_json(content):
    body = {"schema": 1, **record._encode(content)}
    return json.dumps({**body, "checksum": sha256(body)})


def sha256(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_a_record_file_has_what_the_contract_names_in_this_order(make_record):
    text = make_record().to_json()
    body = json.loads(text)
    assert list(body) == [
        "schema", "key", "instance", "seed", "training", "curve", "evaluation", "parameters", "seconds", "environment",
        "data", "checksum",
    ]  # fmt: skip
    assert body["schema"] == 1
    assert "\n" not in text
    assert body.pop("checksum") == sha256(body)


def test_reading_is_the_inverse_of_writing(make_record):
    for made in (make_record(), make_record("gn/bn", 3, provider="keras", groups=5, batch_size=64)):
        assert Record.from_json(made.to_json()) == made
        assert Record.from_json(made.to_json(indent=1)) == made


@given(st.floats(width=32), st.floats(width=32))
def test_every_figure_that_a_model_gives_is_read_as_it_was_written(loss, accuracy):
    content = copy.deepcopy(KEPT)
    content["training"]["loss"] = [loss, accuracy]
    content["evaluation"]["inference"] = {"loss": loss, "accuracy": accuracy}
    again = Record.from_json(Record(**content).to_json())
    assert repr(dataclasses.asdict(again)) == repr(content)  # by their text, since NaN is not equal to itself


# What is no record.


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "1", '""', "{}", '{"schema": 1}', '{"checksum": "0"}', "[" * 100_000),
        *('{"a":' * 100_000, '{"schema": 1, "checksum": NaN}', '{"schema": 1, "checksum": %s}' % ("9" * 5000)),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_record_is_refused(text):
    with pytest.raises(RecordError, match=r"no record of normlib's|breaks the rule"):
        Record.from_json(text)


@pytest.mark.parametrize("schema", ["2", '"1"', "true", "1.0", "[]", "null"])
def test_another_schema_is_that_of_another_version(schema):
    other = as_json(KEPT).replace('"schema": 1', f'"schema": {schema}')
    with pytest.raises(OtherVersionError, match="of another version of normlib, whose schema is not 1"):
        Record.from_json(other)


@given(st.data())
def test_a_record_that_was_cut_or_of_which_a_character_changed_is_refused(data):
    text = as_json(KEPT)
    place = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(RecordError):
        Record.from_json(text[:place])
    character = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[place] and not c.isspace()))
    with pytest.raises(RecordError):
        Record.from_json(f"{text[:place]}{character}{text[place + 1 :]}")


def test_what_later_versions_say_of_the_environment_is_let_through():
    assert Record.from_json(written("environment", "cards", value=2)).environment["cards"] == 2


PLACES = [
    ["seed"],
    ["training", "loss", 0],
    ["curve", "step", 0],
    ["evaluation", "inference", "loss"],
    ["parameters", "total"],
    ["seconds", "fit"],
    ["environment", "threads"],
]
HOSTILE = ["<script>alert(1)</script>", "\n", [], {}, None, True, 10**400, 1e39, -1e39, [[[[]]]]]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_what_no_run_gives_is_refused_whatever_the_checksum(place):
    for value in HOSTILE:
        with pytest.raises(RecordError, match=r"^[a-z0-9._]+ breaks the rule '\w+' of record.schema.json$"):
            Record.from_json(written(*place, value=value))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["environment", "processor"], "a\nb"),
        (["environment", "processor"], "\u202edlrow"),
        (["environment", "processor"], "x" * 1_000_000),
        (["environment", "versions", "tensorflow"], "<b>"),
        (["environment", "versions", "<b>"], "1.0"),
        (["environment", "commit"], "main; rm -rf"),
        (["environment", "<b>"], "1"),
        (["environment", "later"], "<b>\n"),
        (["environment", "later"], [1]),
        (["instance", "deep"], {}),
        (["environment", "device"], "TPU"),
        (["data", "x_test"], "../x"),
        (["data", "../x"], "0" * 64),
        (["evaluation", "train"], {"loss": 0.1, "accuracy": 1.0}),
        (["training", "loss"], []),
        (["training", "lose"], [0.1]),
        (["curve", "step"], [1]),
        (["curve", "epoch", 0], 0.5),
        (["key"], "../../0123456789"),
        (["key"], "0123456789abcdef\n"),
        (["<script>"], 1),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, list) else repr(value)[:12],
)
def test_what_has_not_the_form_of_a_record_is_refused(place, value):
    with pytest.raises(RecordError, match=r"^[ -~]{1,100}$"):
        Record.from_json(written(*place, value=value))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(sorted(KEPT)),
)
def test_anything_in_a_records_place_is_read_or_refused(value, name):
    """Never another error than that, which is the one that is looked for."""
    try:
        Record.from_json(as_json({**KEPT, name: value}))
    except RecordError:
        return


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["seed"], 7),
        (["key"], "0" * 16),
        (["instance", "ordering"], "gn/bn"),
        (["instance", "batch_size"], 64),
        (["environment", "threads"], 2),
        (["data", "x_test"], "0" * 64),
    ],
    ids=str,
)
def test_a_record_of_another_run_than_its_key_says_is_refused(place, value):
    with pytest.raises(RecordError, match="the key is not that of its seed, data, versions, threads and settings"):
        Record.from_json(written(*place, value=value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ordering", "<script>alert(1)</script>"),
        ("ordering", "bn"),  # not the form that is kept
        ("model", "../../etc/passwd"),
        ("batch_size", 32.0),
        ("batch_size", True),
        ("epochs", 0),
        ("provider", "mine"),
        ("learning_rate", [0.001]),
    ],
)
def test_settings_that_there_are_not_are_refused(name, value):
    with pytest.raises(RecordError, match=r"instance has settings that there are not|^instance\.\w+ breaks the rule"):
        Record.from_json(written("instance", name, value=value))


def test_a_setting_that_is_not_known_is_that_of_another_version():
    with pytest.raises(OtherVersionError, match="of another version of normlib, with the setting 'scheduler'"):
        Record.from_json(written("instance", "scheduler", value="cosine"))


# The key: SHA-256 over all that decides a run's bits, and over nothing else.


def test_a_key_is_sha256_over_what_decides_the_run():
    """Settings that have their defaults are not in it, so that one that is added later leaves old keys as they were."""
    instance = Instance("gn/bn", epochs=2)
    facts = {
        "seed": 3,
        "data": instance.data_facts.sha256,
        "versions": stack.versions("auto"),
        "threads": 1,
        "settings": {"ordering": "gn/bn", "epochs": 2},
    }
    assert record.run_key(instance, 3, 1) == sha256(facts)[:16]


def test_only_the_arrays_that_a_run_reads_are_named():
    instance = Instance(fit_split="test[:10]", evaluate_split="test[10:20]")
    assert set(record.data_used(instance)) == {"x_test", "y_test"}


def test_a_record_from_before_a_setting_was_added_has_its_default_in_the_table_and_its_key(make_record):
    """The kept records are such ones: what they lack has the source's values."""
    made = make_record("gn/bn", epochs=2)
    older = {name: value for name, value in made.instance.items() if name not in ("optimizer", "channels_per_group")}
    read = Record.from_json(dataclasses.replace(made, instance=older).to_json())
    assert read.key == made.key
    frame = store.to_frame([read, make_record("gn/bn", 1, epochs=2)])
    assert frame["optimizer"].tolist() == ["adam", "adam"]
    assert frame["channels_per_group"].tolist() == [None, None]


def test_a_record_of_a_provider_that_is_not_installed_here_can_be_read(make_record):
    """Its key is by the versions that it names, not by those that are installed."""
    made = make_record("gn/none")
    for provider, versions in (("addons", {"tensorflow-addons": "0.22.0"}), ("keras", {"keras": "3.99.0"})):
        there = {"tensorflow": "2.99.0", **versions}
        environment = {"provider": provider, "versions": made.environment["versions"] | there}
        key = record.digest(0, made.data, there, 1, {"ordering": "gn/none"})
        text = dataclasses.replace(made, key=key, environment=made.environment | environment).to_json()
        assert Record.from_json(text).row()["stack"].startswith("tensorflow 2.99.0")


def test_a_file_of_data_is_in_the_key_by_its_name_and_all_its_arrays_not_by_its_path(tmp_path):
    """All arrays, since from all labels comes the number of classes."""
    random = np.random.default_rng(0)
    arrays = {"x_train": random.random((9, 8, 8)), "x_test": random.random((9, 8, 8))}
    arrays |= dict.fromkeys(("y_train", "y_test"), np.arange(9) % 3)
    keys = []
    for folder, changes in (("a", {}), ("b", {}), ("c", {"y_test": np.arange(9)})):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "mine.npz", **arrays | changes)
        path = str(tmp_path / folder / "mine.npz")
        keys.append(record.run_key(Instance(dataset=path, fit_split="train[:5]", evaluate_split="train[5:]"), 0, 1))
    assert keys[0] == keys[1] != keys[2]


def test_a_record_of_a_file_of_data_is_read_where_the_file_is_not(make_record):
    """Its name is in the record, without its path, and so are its slices, which cannot be checked there."""
    made = make_record()
    facts = {"dataset": "mine.npz", "fit_split": "train[:70000]", "evaluate_split": "test"}
    versions = stack.versions("addons", made.environment["versions"])
    key = record.digest(made.seed, made.data, versions, 1, facts)
    read = Record.from_json(dataclasses.replace(made, instance=made.instance | facts, key=key).to_json())
    assert read.row()["dataset"] == "mine.npz"
    for change in ({"dataset": "/home/me/mine.npz"}, {"fit_split": "train[__import__('os')]"}, {"dataset": "a\nb.npz"}):
        with pytest.raises(RecordError):
            Record.from_json(dataclasses.replace(read, instance=read.instance | change).to_json())
