import subprocess
import sys

import numpy as np
import pytest
import source_cells

from conftest import SMALL
from normlib import data
from normlib.errors import RequestError
from normlib.models import build
from normlib.models.instance import Instance
from normlib.runs import train as train_module
from normlib.runs.record import run_key
from normlib.runs.store import Record

CELLS = {
    "bn/none": source_cells.instance_1,
    "gn/none": source_cells.instance_2,
    "gn/bn": source_cells.instance_3,
    "bn/gn": source_cells.instance_4,
}


@pytest.mark.parametrize("ordering", CELLS)
def test_training_gives_the_sources_figures_to_the_last_bit(ordering):
    instance = Instance(ordering, fit_split="test[:1000]", evaluate_split="train[:100]")
    images, labels = data.load_array("mnist", "x_test")[:1000] / 255.0, data.load_array("mnist", "y_test")[:1000]
    loss, accuracy = source_cells.run(CELLS[ordering], images, labels, seed=3)
    assert train_module.train(instance, seed=3).training == {"loss": loss, "accuracy": accuracy}


def test_same_seed_same_bits_whatever_ran_before_and_other_seed_other_bits():
    """In a run of all settings: parts of a batch, a sample, a schedule."""
    settings = {**SMALL, "statistics_batch": 8, "fit_sample": 100, "schedule": "cosine", "warmup": 2}
    here, other = (train_module.train(Instance("bn/gn", "small_maps", **settings), seed) for seed in (1, 6))
    code = f"import normlib; instance = normlib.Instance('bn/gn', 'small_maps', **{settings}); "
    code += "print(normlib.train(instance, seed=1).to_json())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    elsewhere = Record.from_json(done.stdout)
    assert (elsewhere.training, elsewhere.curve, elsewhere.evaluation) == (here.training, here.curve, here.evaluation)
    assert elsewhere.key == here.key
    assert other.training != here.training
    assert len({figures["loss"] for figures in here.evaluation.values()}) == 3
    assert here.curve["step"][-1] == 4  # of 32 images, and one of four


def test_a_record_says_what_was_run_and_where():
    instance = Instance("bn/none", **SMALL, epochs=2)
    record = train_module.train(instance, seed=4, threads=1)
    assert (record.instance, record.seed, record.key) == (instance.settings, 4, run_key(instance, 4, threads=1))
    assert len(record.training["loss"]) == len(record.training["accuracy"]) == 2
    assert record.parameters == {"total": 739_748, "trainable": 739_728, "non_trainable": 20}
    assert set(record.seconds) == {"build", "fit", "evaluate"}
    assert record.environment["threads"] == 1
    assert record.data["x_test"] == "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"
    # The curve: 320 images are ten steps of 32, all of which are kept, in each of two epochs.
    assert record.curve["step"] == [*range(1, 11), *range(1, 11)]
    assert record.curve["epoch"] == [1] * 10 + [2] * 10
    assert [record.curve["loss"][9], record.curve["loss"][19]] == pytest.approx(record.training["loss"], rel=1e-6)
    assert Record.from_json(record.to_json()) == record


def test_the_readings_are_those_of_the_trained_model():
    """Against the public functions, on a model that the same steps give; statistics come from the fit split."""
    from normlib.models import readings
    from normlib.tf import tf

    instance = Instance("bn/bn", **SMALL)
    record = train_module.train(instance, seed=2)
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(2)
    model = build.build_model(instance)
    images, labels = data.load_split("mnist", instance.fit_examples)
    model.fit(images, labels, verbose=0)
    gap = readings.moving_average_gap(model, *data.load_split("mnist", instance.evaluate_examples), images)
    for reading, figures in record.evaluation.items():
        assert figures == pytest.approx(gap.loc[reading, ["loss", "accuracy"]].to_dict(), rel=1e-6)


def test_orderings_with_one_seed_start_from_the_same_kernels_and_see_the_same_batches():
    from normlib.tf import tf

    kernels, seen = [], []
    for ordering in ("none", "bn/gn"):
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(9)
        model = build.build_model(Instance(ordering))
        kernels.append([np.array(layer.kernel) for layer in model.layers if hasattr(layer, "kernel")])
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", run_eagerly=True)
        batches, step = [], model.train_step

        def noting(batch, batches=batches, step=step):
            batches.append(batch[1].numpy().ravel().tolist())
            return step(batch)

        model.train_step = noting
        model.fit(*data.load_split("mnist", Instance(fit_split="test[:96]").fit_examples), verbose=0)
        seen.append(batches)
    for expected, kernel in zip(*kernels, strict=True):
        np.testing.assert_array_equal(kernel, expected)
    assert len(seen[0]) == 3
    assert seen[0] == seen[1]


def dropped(ordering):
    """Train three steps, and return which units dropout let pass in each; -1 where a unit was zero before."""
    from normlib.tf import tf

    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(9)
    model = build.build_model(Instance(ordering))
    (layer,) = (layer for layer in model.layers if isinstance(layer, tf.keras.layers.Dropout))
    original, masks = layer.call, []

    def note(before, after):
        masks.append(np.where(before.numpy() != 0, after.numpy() != 0, -1))

    @tf.autograph.experimental.do_not_convert
    def call(inputs, training=None):
        outputs = original(inputs, training=training)
        if training:
            tf.py_function(note, [tf.stop_gradient(inputs), tf.stop_gradient(outputs)], [])
        return outputs

    layer.call = call
    model.fit(*data.load_split("mnist", Instance(fit_split="test[:96]").fit_examples), verbose=0)
    return masks


def test_a_transformer_is_trained_and_read():
    record = train_module.train(Instance("none/none/lnc", "vit", fit_split="test[:64]", evaluate_split="train[:50]"), 1)
    assert all(np.isfinite(figures["loss"]) for figures in record.evaluation.values())


def test_orderings_with_one_seed_drop_the_same_units():
    """Compared where a unit is not zero anyway, in both; independent masks would differ in a third of them."""
    for mask, other in zip(dropped("none"), dropped("bn/gn"), strict=True):
        compared = (mask >= 0) & (other >= 0)
        assert compared.sum() > 500
        assert 0.7 < mask[compared].mean() < 0.9
        np.testing.assert_array_equal(mask[compared], other[compared])


def test_records_are_saved_as_soon_as_their_run_ends(tmp_path, monkeypatch, make_record, made_here):
    def interrupted(instance, seed, *_, **__):
        if seed == 1:
            raise KeyboardInterrupt
        return make_record(instance.ordering, seed, environment=made_here, **SMALL)

    monkeypatch.setattr(train_module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_module.train_all([Instance("none", **SMALL)], seeds=3, records_dir=tmp_path)
    assert [path.stem for path in tmp_path.iterdir()] == [run_key(Instance("none", **SMALL), 0, threads=1)]


def own_network(input_shape, classes):
    """A model that is named, and never built."""


@pytest.mark.parametrize("model", [lambda input_shape: None, Instance.settings, 3])
def test_what_cannot_be_found_under_its_name_is_no_model(model):
    with pytest.raises(RequestError, match=r"^model is "):
        train_module.compare(["bn", "none"], seeds=1, model=model)


def test_compare_gives_one_row_a_run_also_of_a_function_that_builds_a_model(monkeypatch, make_record):
    """What comes of the runs is made up; README's Python, which test_readme.py runs, trains such a model."""
    monkeypatch.setattr(
        train_module, "train", lambda instance, seed, *_, **__: make_record(seed=seed, **instance.changes)
    )
    frame = train_module.compare(["bn", "none"], seeds=2, first_seed=7, model=own_network, **SMALL)
    assert frame["model"].unique().tolist() == ["test_train:own_network"]
    rows = [("bn", 7), ("bn", 8), ("none", 7), ("none", 8)]
    assert list(zip(frame["ordering"], frame["seed"], strict=True)) == rows
    assert {"train_loss", "train_accuracy", "eval_loss", "eval_accuracy", "batch_size"} <= set(frame)


WRONG = {
    "normlib.compare(['bn'], seeds=0)": "seeds is 0",
    "normlib.compare(['bn'], epoch=1)": "setting is 'epoch'",
    "normlib.compare(['bx'])": "ordering is 'bx'",
    "normlib.compare([])": "orderings is [], but must be one ordering or more",
    "normlib.compare(['bn', 'bn/none'])": "orderings is ['bn', 'bn/none'], but must be one ordering or more",
    "normlib.compare(3)": "orderings is 3, but must be of type str | Iterable[str]",
    "normlib.compare(['bn'], threads=0)": "threads is 0",
    "normlib.train_all([normlib.Instance()], records_dir='/proc/records')": "records_dir is '/proc/records'",
    "normlib.train(normlib.Instance(), seed=2**32)": "seed is 4294967296",
    "normlib.train(normlib.Instance(), seed=0, threads=0)": "threads is 0",
    "normlib.diagnose(normlib.Instance(), seed=-1)": "seed is -1",
    "normlib.diagnose(normlib.Instance(), seed=0, threads=0)": "threads is 0",
    "normlib.diagnose(normlib.Instance(), seed=0, points=1)": "points is 1, but must be a whole number from 2 up",
    "normlib.diagnose(normlib.Instance(), seed=0, images=2.5)": "images is 2.5, but must be a whole number from 2 up",
}


def test_a_wrong_request_is_refused_before_tensorflow_loads():
    code = f"""
import sys, normlib
for call in {list(WRONG)}:
    try:
        eval(call)
    except normlib.RequestError as refusal:
        print(refusal)
print("tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *refusals, loaded = done.stdout.splitlines()
    for refusal, expected in zip(refusals, WRONG.values(), strict=True):
        assert refusal.startswith(expected)
    assert loaded == "False"


def test_a_run_whose_weights_are_not_finite_has_diverged_whatever_its_figures_say():
    """A moving variance without bound leaves the loss, as Keras evaluates it, a number."""
    from normlib.tf import tf

    class Overflow(tf.keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            (variance,) = (layer.moving_variance for layer in self.model.layers if hasattr(layer, "moving_variance"))
            variance.assign(np.full(variance.shape, np.inf))

    instance = Instance("bn/none", fit_split="test[:64]", evaluate_split="train[:50]")
    record = train_module.train(instance, seed=0, callbacks=[Overflow()])
    assert np.isfinite(record.training["loss"]).all()
    assert np.isnan([figures["loss"] for figures in record.evaluation.values()]).all()
    assert Record.from_json(record.to_json()).key == record.key
