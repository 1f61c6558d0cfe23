import dataclasses

import pytest

from normlib.models.instance import Instance
from normlib.studies.folder import Failure, failure_path, read_failures, write_failure


@pytest.fixture
def failure():
    return Failure("a" * 16, Instance("gn/bn").settings, 3, "OSError: out of luck", "a log", "notebooks/a.ipynb", 2)


def test_what_is_written_is_read_again(failure, tmp_path):
    write_failure(failure, tmp_path)
    assert failure_path(tmp_path, failure.key).name == f"{failure.key}.json"
    assert read_failures(tmp_path) == [failure]


def test_it_says_which_run_and_why_and_where_to_look(failure):
    assert str(failure) == "gn/bn, seed 3: OSError: out of luck, 2 times (see notebooks/a.ipynb)"
    assert str(dataclasses.replace(failure, tries=1, notebook="")) == "gn/bn, seed 3: OSError: out of luck"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"instance": 1}'])
def test_a_damaged_file_is_named_and_the_others_count(failure, tmp_path, text):
    write_failure(failure, tmp_path)
    (tmp_path / "failures" / "b.json").write_text(text)
    with pytest.warns(UserWarning, match="left out b.json of .*: no failure of normlib's"):
        assert read_failures(tmp_path) == [failure]


def test_a_failure_with_settings_that_are_none_is_left_out(failure, tmp_path):
    write_failure(dataclasses.replace(failure, instance={"ordering": "xx"}), tmp_path)
    with pytest.warns(UserWarning, match="left out"):
        assert read_failures(tmp_path) == []
