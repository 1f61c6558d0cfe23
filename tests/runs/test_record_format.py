import copy
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib.runs import record, store
from normlib.runs.record import OtherVersionError, RecordError

KEPT = dataclasses.asdict(store.read_records(store.SOURCE_RECORDS)[0])
PLACES = [
    ["seed"],
    ["training", "loss", 0],
    ["curve", "step", 0],
    ["evaluation", "inference", "loss"],
    ["evaluation", "debiased", "accuracy"],
    ["parameters", "total"],
    ["seconds", "fit"],
    ["environment", "threads"],
]


def changed(place, value):
    """Return what a kept record holds, but for one value."""
    content = copy.deepcopy(KEPT)
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return content


def test_what_is_written_is_read_again_and_is_json():
    text = record.write(KEPT)
    assert record.parse_record(text) == KEPT
    assert json.loads(text)["schema"] == 1
    assert "\n" not in text


@given(st.floats(width=32), st.floats(width=32))
def test_every_figure_that_a_model_gives_is_read_as_it_was_written(loss, accuracy):
    content = changed(["training", "loss"], [loss, accuracy])
    content["evaluation"]["inference"] = {"loss": loss, "accuracy": accuracy}
    again = record.parse_record(record.write(content))
    assert repr(again) == repr(content)  # by their text, since NaN is not equal to itself


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "1", '""', "{}", '{"schema": 1}', '{"checksum": "0"}', "[" * 100_000),
        *('{"a":' * 100_000, '{"schema": 1, "checksum": NaN}', '{"schema": 1, "checksum": %s}' % ("9" * 5000)),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_record_is_told(text):
    with pytest.raises(RecordError, match=r"no record of normlib's|breaks the rule"):
        record.parse_record(text)


@pytest.mark.parametrize("schema", ["2", '"1"', "true", "1.0", "[]", "null"])
def test_another_schema_is_told(schema):
    other = record.write(KEPT).replace('"schema": 1', f'"schema": {schema}')
    with pytest.raises(OtherVersionError, match="of another version of normlib, whose schema is not 1"):
        record.parse_record(other)


def test_an_edited_record_is_told():
    accuracy = repr(KEPT["training"]["accuracy"][0])
    with pytest.raises(RecordError, match="checksum does not match"):
        record.parse_record(record.write(KEPT).replace(accuracy, "0.99"))


@given(st.data())
def test_a_record_that_was_cut_or_of_which_a_character_changed_is_told(data):
    text = record.write(KEPT)
    place = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(RecordError):
        record.parse_record(text[:place])
    character = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[place] and not c.isspace()))
    with pytest.raises(RecordError):
        record.parse_record(f"{text[:place]}{character}{text[place + 1 :]}")


def test_what_later_versions_say_of_the_environment_is_let_through():
    content = changed(["environment", "gpu"], "A100")
    assert record.parse_record(record.write(content)) == content


def test_neither_depth_nor_another_spelling_of_nan_gets_past_the_checksum():
    """Settings 300 deep beside a NaN, and a NaN in whose name a letter is written by its number."""
    deep = changed(["training", "loss"], [float("nan")])
    for _ in range(300):
        deep["instance"] = {"a": deep["instance"]}
    with pytest.raises(RecordError, match="breaks the rule"):
        record.parse_record(record.write(deep))
    text = record.write(changed(["evaluation", "inference", "loss"], float("nan"))).replace('"NaN"', r'"\u004eaN"')
    assert repr(record.parse_record(text)["evaluation"]["inference"]["loss"]) == "nan"


HOSTILE = ["<script>alert(1)</script>", "=1+1", "\n", [], {}, None, True, 10**400, 1e39, -1e39, [[[[]]]], {"a": {}}]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_what_no_run_gives_is_told_whatever_the_checksum(place, value):
    with pytest.raises(RecordError) as told:
        record.parse_record(record.write(changed(place, value)))
    assert "script" not in str(told.value)
    assert "\n" not in str(told.value)


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
def test_what_is_not_of_the_form_of_a_record_is_told(place, value):
    with pytest.raises(RecordError, match=r"^[ -~]{1,100}$"):
        record.parse_record(record.write(changed(place, value)))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(sorted(KEPT)),
)
def test_anything_in_a_records_place_is_read_or_told(value, name):
    """Never another error than that, which is the one that is looked for."""
    try:
        record.parse_record(record.write({**KEPT, name: value}))
    except RecordError:
        return
