import json
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


def test_same_seed_same_bits_other_seed_other_bits():
    instance = Instance("gn/bn", **SMALL)
    first, again, other = (train_module.train(instance, seed) for seed in (5, 5, 6))
    assert (again.training, again.curve, again.evaluation) == (first.training, first.curve, first.evaluation)
    assert other.training != first.training


def test_what_ran_before_in_the_process_leaves_the_bits_alone():
    instance = Instance("bn/gn", **SMALL)
    here = train_module.train(instance, seed=1, threads=1)
    code = f"import normlib; print(normlib.train(normlib.Instance('bn/gn', **{SMALL!r}), seed=1, threads=1).to_json())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    elsewhere = Record.from_json(done.stdout)
    assert (elsewhere.training, elsewhere.evaluation) == (here.training, here.evaluation)
    assert elsewhere.key == here.key


def test_a_record_says_what_was_run_and_where():
    record = train_module.train(Instance("bn/none", **SMALL, epochs=2), seed=4, threads=1)
    assert record.instance == Instance("bn/none", **SMALL, epochs=2).settings
    assert record.seed == 4
    assert record.key == run_key(Instance("bn/none", **SMALL, epochs=2), 4, threads=1)
    assert len(record.training["loss"]) == len(record.training["accuracy"]) == 2
    assert list(record.evaluation) == ["inference", "debiased", "recalibrated"]
    assert all(set(figures) == {"loss", "accuracy"} for figures in record.evaluation.values())
    assert record.parameters == {"total": 739_748, "trainable": 739_728, "non_trainable": 20}
    assert set(record.seconds) == {"build", "fit", "evaluate"}
    assert record.environment["threads"] == 1
    assert record.environment["provider"] in ("addons", "keras")
    assert record.data["x_test"] == "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"
    json.loads(record.to_json())


def test_the_curve_holds_the_running_figures_up_to_the_epochs_last():
    record = train_module.train(Instance("none", **SMALL, epochs=2), seed=0)
    # 320 images are ten steps of 32, all of which are kept, in each of two epochs.
    assert record.curve["step"] == [*range(1, 11), *range(1, 11)]
    assert record.curve["epoch"] == [1] * 10 + [2] * 10
    assert [record.curve["loss"][9], record.curve["loss"][19]] == pytest.approx(record.training["loss"], rel=1e-6)


def test_evaluation_is_on_the_evaluate_split_with_weights_fixed_and_dropout_off():
    """The figures of the model that the same steps give, computed by hand from its predictions."""
    from normlib.models.build import build_model
    from normlib.tf import tf

    instance = Instance("none", **SMALL)
    record = train_module.train(instance, seed=2)
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(2)
    model = build_model(instance)
    model.fit(*data.load_split("mnist", instance.fit_examples), verbose=0)
    images, labels = data.load_split("mnist", instance.evaluate_examples)
    probabilities = model.predict(images, verbose=0).astype(np.float64)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    assert record.evaluation["inference"]["loss"] == pytest.approx(loss, rel=1e-4)
    assert record.evaluation["inference"]["accuracy"] == pytest.approx((probabilities.argmax(1) == labels).mean())


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


def test_orderings_with_one_seed_start_from_the_same_kernels():
    from normlib.models.build import build_model
    from normlib.tf import tf

    kernels = []
    for ordering in ("none", "bn/gn", "gn+bn/none"):
        tf.keras.utils.set_random_seed(9)
        layers = build_model(Instance(ordering)).layers
        kernels.append([layer.kernel.numpy() for layer in layers if hasattr(layer, "kernel")])
    for other in kernels[1:]:
        for expected, kernel in zip(kernels[0], other, strict=True):
            np.testing.assert_array_equal(kernel, expected)


def test_orderings_with_one_seed_see_the_same_batches():
    from normlib.tf import tf

    seen = []
    for ordering in ("none", "bn/gn", "gn+bn/none"):
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(9)
        model = build.build_model(Instance(ordering))
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", run_eagerly=True)
        batches, step = [], model.train_step

        def noting(batch, batches=batches, step=step):
            batches.append(batch[1].numpy().ravel().tolist())
            return step(batch)

        model.train_step = noting
        model.fit(*data.load_split("mnist", Instance(**SMALL).fit_examples), verbose=0)
        seen.append(batches)
    assert len(seen[0]) == 10
    assert seen[0] == seen[1] == seen[2]


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


def test_orderings_with_one_seed_drop_the_same_units():
    """Compared where a unit is not zero anyway, in both; independent masks would differ in a third of them."""
    expected = dropped("none")
    for ordering in ("bn/gn", "gn+bn/none"):
        for mask, other in zip(expected, dropped(ordering), strict=True):
            compared = (mask >= 0) & (other >= 0)
            assert compared.sum() > 500
            assert 0.7 < mask[compared].mean() < 0.9
            np.testing.assert_array_equal(mask[compared], other[compared])


def test_records_are_saved_as_soon_as_their_run_ends(tmp_path, monkeypatch):
    def interrupted(instance, seed, *others, train=train_module.train, **options):
        if seed == 1:
            raise KeyboardInterrupt
        return train(instance, seed, *others, **options)

    monkeypatch.setattr(train_module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_module.train_all([Instance("none", **SMALL)], seeds=3, records_dir=tmp_path)
    assert [path.stem for path in tmp_path.iterdir()] == [run_key(Instance("none", **SMALL), 0, threads=1)]


def test_compare_gives_one_row_a_run():
    frame = train_module.compare(["bn", "none"], seeds=2, first_seed=7, **SMALL)
    assert list(zip(frame["ordering"], frame["seed"], strict=True)) == [
        ("bn/none", 7),
        ("bn/none", 8),
        ("none/none", 7),
        ("none/none", 8),
    ]
    assert {"train_loss", "train_accuracy", "eval_loss", "eval_accuracy", "batch_size"} <= set(frame)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train_module.compare(["bn"], seeds=0), "seeds is 0"),
        (lambda: train_module.compare(["bn"], epoch=1), "setting is 'epoch'.*did you mean 'epochs'"),
        (lambda: train_module.compare(["bx"]), "ordering is 'bx'"),
        (lambda: train_module.compare([]), "orderings is"),
        (lambda: train_module.compare(["bn", "bn/none"]), "orderings is .*, but must be one ordering or more, each once"),
        (lambda: train_module.compare(["bn"], threads=0), "threads is 0"),
        (lambda: train_module.train_all([Instance()], records_dir="/proc/records"), "records_dir is '/proc/records'"),
        (lambda: train_module.train(Instance(), seed=2**32), "seed is 4294967296"),
        (lambda: train_module.train(Instance(), seed=-1), "seed is -1"),
        (lambda: train_module.train(Instance(), seed=0, threads=0), "threads is 0"),
        (
            lambda: train_module.train(Instance(), seed=0, threads=7),
            "threads is 7, but must be 1, with which TensorFlow",
        ),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_trained(call, message, monkeypatch):
    monkeypatch.setattr(build, "build_model", lambda instance: pytest.fail("training started"))
    with pytest.raises(RequestError, match=f"^{message}"):
        call()


def test_a_wrong_request_is_refused_before_tensorflow_loads():
    code = """
import sys, normlib
for call in (
    lambda: normlib.compare(["bn"], seeds=0),
    lambda: normlib.compare(["bx"]),
    lambda: normlib.compare(["bn"], epochs=0),
    lambda: normlib.train(normlib.Instance(), seed=-1),
    lambda: normlib.train(normlib.Instance(), seed=0, threads=0),
):
    try:
        call()
    except normlib.RequestError:
        print("refused")
print("tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused"] * 5 + ["False"]


def test_building_a_model_first_does_not_change_the_number_of_threads():
    code = (
        "import normlib; normlib.build_model(normlib.Instance()); "
        f"print(normlib.train(normlib.Instance(**{SMALL!r}), seed=0).environment['threads'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
