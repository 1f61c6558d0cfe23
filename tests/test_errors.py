import pickle

import numpy as np
import pytest

from normlib import errors
from normlib.errors import RequestError, checked


def test_a_refusal_names_setting_and_value_and_what_is_allowed_or_wrong():
    assert str(RequestError("epochs", 0, "a number above 0")) == "epochs is 0, but must be a number above 0"
    assert str(RequestError("out", "a", problem="it is a file")) == "out is 'a', but it is a file"


def test_a_slip_gets_the_nearest_right_name_and_what_is_near_to_none_gets_none():
    assert str(RequestError("dataset", "mnits", "mnist", names=["mnist"])).endswith("(did you mean 'mnist'?)")
    assert "did you mean" not in str(RequestError("dataset", "imagenet", "mnist", names=["mnist"]))


def test_a_refusal_is_one_short_line_whatever_the_value():
    for value in ("bn\n" * 100_000, "\x1b[2J\u202e", 10**5000, [[[["x"] * 1000] * 1000]] * 1000):
        said = str(RequestError("ordering", value, "bn"))
        assert said.isprintable()
        assert len(said) < 200


def test_a_refusal_is_a_value_error_that_comes_back_whole_from_another_process():
    error = RequestError("dataset", "mnits", "mnist", names=["mnist"])
    assert isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_numbers_are_given_back_as_pythons():
    assert type(errors.whole_number("epochs", np.int64(3), minimum=1)) is int
    assert type(errors.real_number("margin", np.float32(0.5), "any", lambda _: True)) is float


def test_what_else_would_have_been_taken_is_said():
    with pytest.raises(RequestError) as refusal:
        errors.one_of("dataset", "minst", ["mnist", "cifar10"], "or a file")
    said = "dataset is 'minst', but must be one of mnist, cifar10, or a file (did you mean 'mnist'?)"
    assert str(refusal.value) == said


# Arguments of public functions, by their annotations, which are texts and import nothing.


class Record:
    """Stands for normlib's, which is known by its name."""


class Kept(Record):
    """One of them."""


@checked
def function(
    path: "Path | str" = "",  # noqa: F821
    quiet: "bool" = True,
    records: "Iterable[Record]" = (),  # noqa: F821
    shown: "Sequence[Record]" = (),  # noqa: F821
    groups: "int | None" = None,
    orderings: "str | Iterable[str] | None" = None,  # noqa: F821
    varies: "Varies" = (),  # noqa: F821
    other: "tf.keras.Model" = None,  # noqa: F821
):
    """Return its records."""
    return records


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ({"path": 3}, "of type Path | str"),
        ({"quiet": 1}, "of type bool"),
        ({"records": 3}, "of type Iterable[Record]"),
        ({"records": [Record(), 3]}, "of type Iterable[Record]"),
        ({"shown": []}, "one record or more"),
        ({"orderings": ["bn", 3]}, "of type str | Iterable[str] | None"),
        ({"varies": [3]}, "of type Sequence[Mapping]"),
    ],
)
def test_an_argument_that_is_not_what_its_annotation_says_is_refused(arguments, allowed):
    with pytest.raises(RequestError) as refusal:
        function(**arguments)
    assert str(refusal.value).endswith(f", but must be {allowed}")


def test_what_annotations_say_is_let_through_and_an_iterator_can_be_gone_through():
    records = [Kept(), Record()]
    assert function("a", False, iter(records), records, "anything", {"bn"}, [{"epochs": [1]}], "anything") == records
    assert function(orderings="bn", varies=({},)) == ()


def test_measures_have_to_be_columns_of_the_records():
    import pandas as pd

    @checked
    def mean(records: "pd.DataFrame", measure: "str | Sequence[str]"):  # noqa: F821
        return records[measure].mean()

    records = pd.DataFrame({"ordering": ["bn"], "seed": [0], "train_loss": [0.5]})
    assert mean(records, "train_loss") == 0.5
    for measure in ("loss", [], ["train_loss", "loss"]):
        with pytest.raises(RequestError, match=r"^measure is .*, but must be a column of the records"):
            mean(records, measure)
    with pytest.raises(RequestError, match=r"^records is .*, but must be a table of one row a run"):
        mean(records[["train_loss"]], "train_loss")
