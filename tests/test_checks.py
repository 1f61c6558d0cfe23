"""What somebody typed is taken as Python's, or refused in one line that names the setting."""

import numpy as np
import pytest

from normlib import errors
from normlib.errors import RequestError, seed_range


@pytest.mark.parametrize(("first_seed", "seeds"), [(0, 0), (-1, 1), (0, 1.5), (2**32, 1), (2**32 - 1, 2), ("0", 1)])
def test_seeds_that_the_generators_do_not_take_are_refused(first_seed, seeds):
    with pytest.raises(RequestError, match="seed"):
        seed_range(first_seed, seeds)


def test_numbers_are_given_back_as_pythons():
    assert type(errors.whole_number("epochs", np.int64(3), minimum=1)) is int
    assert type(errors.real_number("margin", np.float32(0.5), "any", lambda _: True)) is float
    assert errors.thread_count(2) == 2


def test_what_else_would_have_been_taken_is_said_and_the_nearest_name_proposed():
    with pytest.raises(
        RequestError, match=r"^dataset is 'minst', but must be mnist, or a file \(did you mean 'mnist'\?\)$"
    ):
        errors.one_of("dataset", "minst", ["mnist"], "or a file")


@pytest.mark.parametrize(
    ("text", "lines"), [("a\nb", False), ("a\x1bb", True), ("\u202eb", True), ("x" * 11, True), (3, True)]
)
def test_text_that_cannot_be_shown_is_refused(text, lines):
    errors.printable("question", "a\nb", most=10, lines=True)
    with pytest.raises(RequestError, match="text of at most 10 characters that can be printed"):
        errors.printable("question", text, most=10, lines=lines)


@pytest.mark.parametrize("value", [None, [1], "a", {1: 2}])
def test_what_is_no_mapping_of_names_is_refused(value):
    with pytest.raises(RequestError, match=r"tune is .*, but must be names with values, or left out"):
        errors.mapping("tune", value)
    assert errors.mapping("tune", {"a": 1}) == {"a": 1}
