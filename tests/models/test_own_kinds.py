"""A kind of one's own: imported when a run needs it, checked before fit, and called by the part behind the colon."""

import re
import sys

import numpy as np
import pytest

from normlib.analysis.verdicts import Contrast, estimate
from normlib.errors import RequestError
from normlib.execution.schedule import run_study
from normlib.execution.workers import find_refusal
from normlib.models.build import build_model
from normlib.models.instance import Instance
from normlib.models.ordering import Ordering, short_form
from normlib.models.swap import slots, swap
from normlib.report.diagrams import boxes
from normlib.runs.store import to_frame
from normlib.runs.train import train
from normlib.studies.study import Study
from normlib.tf import tf

MODULE = """
import tensorflow as tf


class Centred(tf.keras.layers.Layer):
    def build(self, shape):
        self.offset = self.add_weight(shape=(shape[-1],), initializer="ones", name="offset")

    def call(self, inputs):
        return inputs - tf.reduce_mean(inputs, axis=(1, 2), keepdims=True) + self.offset


def grouped(channels, groups):
    layer = Centred()
    layer.seen = (channels, groups)
    return layer


class Smaller(tf.keras.layers.Layer):
    def call(self, inputs):
        return inputs[:, ::2]


class Half(tf.keras.layers.Layer):
    def call(self, inputs):
        return tf.cast(inputs, "float16")


class Fails(tf.keras.layers.Layer):
    def call(self, inputs):
        raise ValueError("out of luck")


def number(channels, groups):
    return 7
"""
SMALL = {"fit_split": "test[:64]", "evaluate_split": "train[:50]"}


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "ones_norms.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("ones_norms", None)


def own(ordering, **settings):
    return Instance(ordering, **SMALL, **settings)


def test_it_is_named_by_its_path_in_full_and_by_the_part_behind_the_colon_where_it_is_shown():
    ordering = Ordering.parse("BN + pack.ones_norms:Centred", 2)
    assert str(ordering) == "bn+pack.ones_norms:Centred/none"
    assert short_form(str(ordering)) == "bn+Centred/none"
    assert [box.text for box in boxes(own("ones_norms:Centred/bn"))][2] == "Centred"


def test_it_is_imported_only_when_a_run_needs_it():
    own("no.such.module:Kind")
    assert "ones_norms" not in sys.modules
    build_model(own("ones_norms:Centred"))
    assert "ones_norms" in sys.modules


def test_a_class_and_a_function_of_channels_and_groups_stand_in_their_slots():
    model = build_model(own("ones_norms:Centred/ones_norms:grouped", groups=2))
    assert model.get_layer("slot_2_1").seen == (10, 2)
    layer = model.get_layer("slot_1_1")
    images = np.random.default_rng(0).normal(3, 2, (4, 5, 5, 10)).astype("float32")
    np.testing.assert_allclose(layer(images), images - images.mean((1, 2), keepdims=True) + 1, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "model", "said"),
    [
        ("Smaller", "source_cnn", "in slot_1_1 it takes (None, 26, 26, 10) of float32 and gives (None, 13, 26, 10)"),
        ("Smaller", "resnet20", "kinds that can stand in the slots of resnet20, and it gave ValueError"),
        ("Half", "source_cnn", "(None, 26, 26, 10) of float32 and gives (None, 26, 26, 10) of float16"),
        ("Fails", "source_cnn", "kinds that can stand in the slots of source_cnn, and it gave "),
        ("number", "source_cnn", "a function of channels and groups that returns a layer, and it gave 7"),
        ("Absent", "source_cnn", "and it gave AttributeError: module 'ones_norms' has no attribute 'Absent'"),
    ],
)
def test_what_cannot_stand_in_a_slot_is_refused_in_one_line(kind, model, said):
    with pytest.raises(RequestError, match=re.escape(said)) as refusal:
        build_model(own(f"ones_norms:{kind}", model=model))
    assert "\n" not in str(refusal.value)


def test_a_broken_one_is_refused_once_before_any_kernel_starts_or_a_byte_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_refusal([own("ones_norms:Centred")]) is None
    study = Study("own", "Which?", ("bn", "ones_norms:Smaller"), defaults=SMALL)
    with pytest.raises(RequestError, match="kind is 'ones_norms:Smaller', but must be a layer that keeps shape and dtype"):
        run_study(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_slots_and_swap_know_it_and_its_weights_are_kept():
    model = build_model(own("ones_norms:Centred/bn"))
    assert slots(model)["kind"].tolist() == ["ones_norms:Centred", "bn"]
    model.get_layer("slot_1_1").offset.assign(np.arange(10.0))
    images = np.random.default_rng(0).random((2, 28, 28), "float32")
    np.testing.assert_array_equal(swap(model, "bn")(images), model(images))
    swapped = swap(model, "gn+ones_norms:Centred", groups=5, replace=["bn", "ones_norms:Centred"])
    assert slots(swapped)["kind"].tolist() == ["gn", "ones_norms:Centred"] * 2
    with pytest.raises(RequestError, match=r"in slot_2_1 it takes .* and gives"):
        swap(model, "ones_norms:Smaller")


def test_a_run_of_it_is_the_same_to_the_bit_when_it_is_made_again_and_contrasts_read_it():
    instance = own("bn/ones_norms:Centred")
    first, again = train(instance, 0), train(instance, 0)
    assert (first.training, first.evaluation, first.key) == (again.training, again.evaluation, again.key)
    assert first.instance["ordering"] == "bn/ones_norms:Centred"
    frame = to_frame([first, train(instance, 1), train(own("none"), 0), train(own("none"), 1)])
    assert frame["ordering"].tolist() == ["bn/Centred"] * 2 + ["none/none"] * 2
    losses = frame["train_loss"].to_numpy()
    for text in ("bn/ones_norms:Centred - none", "bn/Centred - none"):
        contrast = Contrast.parse("own", text, frame["ordering"])
        estimated = estimate(frame, [contrast], "train_loss", 0.01)
        assert estimated["mean"].tolist() == pytest.approx([losses[:2].mean() - losses[2:].mean()])


def test_two_that_are_called_alike_are_refused_in_one_study():
    with pytest.raises(RequestError, match="kinds of your own that differ behind the colon"):
        Study("own", "Which?", ("a:Norm", "b:Norm"))


def test_all_orderings_start_from_the_same_kernels():
    kernels = []
    for ordering in ("ones_norms:Centred", "bn"):
        tf.keras.utils.set_random_seed(3)
        kernels.append(np.array(build_model(own(ordering)).get_layer("convolution_2").kernel))
    np.testing.assert_array_equal(*kernels)
