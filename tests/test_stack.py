import pytest

from normlib import stack
from normlib.errors import RequestError


@pytest.fixture
def installed(monkeypatch):
    """Return a function that makes it look as if other versions were installed."""
    return lambda **versions: monkeypatch.setattr(stack, "version", lambda name: versions.get(name.replace("-", "_")))


def test_auto_takes_addons_where_it_can_be_imported(installed):
    installed(tensorflow="2.15.1", keras="2.15.0", tensorflow_addons="0.23.0")
    assert stack.resolve_provider("auto") == "addons"
    assert stack.versions("auto") == {"tensorflow": "2.15.1", "tensorflow-addons": "0.23.0"}
    assert stack.versions("keras") == {"tensorflow": "2.15.1", "keras": "2.15.0"}


def test_auto_takes_keras_where_addons_cannot_be_imported(installed):
    installed(tensorflow="2.20.0", keras="3.13.0", tensorflow_addons="0.23.0")
    assert stack.resolve_provider("auto") == "keras"


def test_addons_is_refused_where_it_cannot_be_imported(installed):
    installed(tensorflow="2.20.0", keras="3.13.0")
    said = r"^provider is 'addons', but tensorflow-addons needs Keras 2 .*addons None, keras 3.13.0"
    with pytest.raises(RequestError, match=said):
        stack.resolve_provider("addons")


def test_what_the_metadata_say_is_what_gets_imported():
    tensorflow = pytest.importorskip("tensorflow")
    assert stack.version("tensorflow") == tensorflow.__version__
    assert stack.version("no-such-distribution") is None


def test_where_two_stacks_differ_is_named_and_pythons_last_number_is_not():
    here = stack.installed()
    assert stack.differences(here, dict(here)) == ""
    there = here | {"python": "3.9", "tensorflow": "1.0"}
    said = f"python 3.9, here {here['python']}, tensorflow 1.0, here {here['tensorflow']}"
    assert stack.differences(here, there) == said
    assert here["python"].count(".") == 1
