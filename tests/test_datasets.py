import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib.datasets import Split, parse_split
from normlib.errors import RequestError

SIZES = {"train": 60_000, "test": 10_000}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train", Split("train", 0, 60_000)),
        ("train[:10000]", Split("train", 0, 10_000)),
        ("train[50000:]", Split("train", 50_000, 60_000)),
        ("test[50%:]", Split("test", 5_000, 10_000)),
        ("test[10%:30%]", Split("test", 1_000, 3_000)),
        ("test[:]", Split("test", 0, 10_000)),
        ("test[-100:]", Split("test", 9_900, 10_000)),
        ("test[:-90%]", Split("test", 0, 1_000)),
        ("train[:10_000]", Split("train", 0, 10_000)),
    ],
)
def test_slices_are_read_as_tensorflow_datasets_reads_them(text, expected):
    assert parse_split(text, SIZES) == expected


def test_a_percentage_is_rounded_to_the_nearest_example():
    assert parse_split("test[:33%]", {"test": 10}) == Split("test", 0, 3)
    assert parse_split("test[:37%]", {"test": 10}) == Split("test", 0, 4)


@given(st.integers(-100, 200), st.integers(-100, 200))
def test_a_slice_covers_what_python_covers_or_is_refused(start, stop):
    examples = list(range(100))
    expected = examples[start:stop]
    text = f"test[{start}:{stop}]"
    if expected and stop <= 100:
        split = parse_split(text, {"test": 100})
        assert examples[split.start : split.stop] == expected
        assert len(split) == len(expected)
    else:
        with pytest.raises(RequestError):
            parse_split(text, {"test": 100})


@pytest.mark.parametrize(
    "text", ["train[:60001]", "train[5:5]", "test[7:3]", "test[:101%]", "test[:0]", "test[-10001:]"]
)
def test_a_slice_outside_the_data_or_without_examples_is_refused(text):
    with pytest.raises(RequestError, match=r"^fit_split is '.*', but a slice has to hold an example or more of"):
        parse_split(text, SIZES, "fit_split")


@pytest.mark.parametrize(
    "text", ["validation", "train[", "train[a:]", "train[--5:]", "train+test", "", None, "train\n"]
)
def test_what_is_no_slice_of_a_split_is_refused(text):
    with pytest.raises(RequestError, match=r"split is .*, but must be train or test, or a slice such as"):
        parse_split(text, SIZES)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("train[:100]", "train[90:200]", 10),
        ("train[:100]", "train[100:]", 0),
        ("train", "test", 0),
        ("test", "test", 50),
    ],
)
def test_examples_that_two_slices_share_are_counted(first, second, both):
    sizes = {"train": 300, "test": 50}
    assert parse_split(first, sizes).overlap(parse_split(second, sizes)) == both
