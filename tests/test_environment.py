"""There is no GPU where these tests run: TensorFlow's answers about one are made up."""

import subprocess
import sys
import types

import pytest

from normlib.tf import describe_environment, tf


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU."""
    card = types.SimpleNamespace(name="/physical_device:GPU:0")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [card] if kind == "GPU" else [])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda _: {"device_name": "A card\N{TRADE MARK SIGN}"}
    )


def test_without_a_gpu_the_device_is_the_cpu():
    found = describe_environment("auto", 1)
    assert (found["device"], found["gpu"]) == ("CPU", None)


def test_a_gpu_is_recorded_by_its_name(gpu, make_record):
    found = describe_environment("auto", 1)
    assert (found["device"], found["gpu"]) == ("GPU", "A card?")
    record = make_record(environment={"device": "GPU", "gpu": found["gpu"]})
    assert type(record).from_json(record.to_json()) == record
    assert record.row()["device"] == "A card?"


def test_memory_of_a_gpu_is_taken_as_it_is_needed():
    code = """
import types
import tensorflow as tf
card, grown = types.SimpleNamespace(name="GPU:0"), []
tf.config.list_physical_devices = lambda kind=None: [card] if kind == "GPU" else []
tf.config.experimental.set_memory_growth = lambda device, enable: grown.append((device, enable))
import normlib.tf
assert grown == [(card, True)], grown
"""
    subprocess.run([sys.executable, "-c", code], check=True)
