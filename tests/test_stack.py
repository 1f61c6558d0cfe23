import os
import subprocess
import sys

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
    with pytest.raises(RequestError, match=r"provider is 'addons', but must be auto or keras.*addons None, keras 3.13.0"):
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


@pytest.mark.parametrize(
    ("variable", "value"), [("KERAS_BACKEND", "jax"), ("KERAS_BACKEND", "torch"), ("TF_USE_LEGACY_KERAS", "1")]
)
def test_a_variable_by_which_tensorflow_has_no_keras_is_named_before_it_is_imported(variable, value):
    if variable == "KERAS_BACKEND" and stack.version("keras").startswith("2."):
        pytest.skip("Keras 2 has one backend")
    code = "import normlib\ntry: normlib.compare(['bn'])\nexcept normlib.RequestError as error: print(error)"
    environment = {**os.environ, variable: value}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{variable} is '{value}', but must be ")


def test_a_backend_in_keras_configuration_file_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(stack, "version", lambda name: "3.10.0")
    stack.check_keras()
    (tmp_path / "keras.json").write_text('{"backend": "tensorflow"}')
    stack.check_keras()
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    with pytest.raises(RequestError, match=r"backend in .*keras.json is 'jax', but must be tensorflow"):
        stack.check_keras()
