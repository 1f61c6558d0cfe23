"""What tests share: quiet TensorFlow, one thread, small slices of real MNIST, made-up records."""

import os

# Before any test imports TensorFlow; kernels inherit it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from normlib import stack
from normlib.models.instance import Instance
from normlib.runs import record, store

# A busy machine takes longer than Hypothesis allows by default; and the same examples everywhere.
hypothesis.settings.register_profile("normlib", deadline=None, derandomize=True)
hypothesis.settings.load_profile("normlib")

# Notebooks with defects, which tests execute themselves; not for nbval to collect.
collect_ignore_glob = ["notebooks/*"]


def pytest_addoption(parser):
    """Add what ``make soak`` and ``make applications`` ask more of."""
    parser.addoption("--trials", type=int, default=2, help="Trials of what is killed at a random moment.")
    parser.addoption("--executions", type=int, default=20, help="Executions in one process.")
    parser.addoption("--drawn-models", type=int, default=10, help="Models that Hypothesis draws, for each property.")
    parser.addoption("--applications", choices=["few", "all"], default="few", help="Models of keras.applications.")


def pytest_configure(config):
    """Register how many models are drawn."""
    slow = [hypothesis.HealthCheck.too_slow]
    how = {"max_examples": config.getoption("--drawn-models"), "suppress_health_check": slow}
    hypothesis.settings.register_profile("drawn models", hypothesis.settings.get_profile("normlib"), **how)


def pytest_generate_tests(metafunc):
    """Give a test that asks for a trial each of their numbers, and one that asks for an application each name."""
    if "trial" in metafunc.fixturenames:
        metafunc.parametrize("trial", range(metafunc.config.getoption("--trials")))
    every = metafunc.config.getoption("--applications") == "all"
    if "zoo_model" in metafunc.fixturenames:
        metafunc.parametrize("zoo_model", metafunc.module.MODELS if every else [])
    if "application" in metafunc.fixturenames:
        metafunc.parametrize("application", applications_with_batch_norm() if every else FEW_APPLICATIONS)


FEW_APPLICATIONS = ["MobileNetV2"]
WITHOUT_BATCH_NORM = ("ConvNeXt", "VGG")


def applications_with_batch_norm():
    """Return the names of all models of ``keras.applications`` with BatchNorm."""
    from normlib.tf import tf

    functions = [name for name, value in vars(tf.keras.applications).items() if name[0].isupper() and callable(value)]
    return sorted(name for name in functions if not name.startswith(WITHOUT_BATCH_NORM))


READINGS = ("inference", "debiased", "recalibrated")
SMALL = {"fit_split": "test[:320]", "evaluate_split": "train[:200]"}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """One thread an operation, as studies have it; TensorFlow takes the number only before its first operation."""
    from normlib.tf import use_threads

    use_threads(1)


@pytest.fixture(autouse=True)
def draw_without_a_screen():
    mpl.use("agg")
    yield
    plt.close("all")


def readings(evaluation):
    """Return figures by reading: as they are, or the same loss and accuracy in all three."""
    return evaluation if "inference" in evaluation else dict.fromkeys(READINGS, evaluation)


@pytest.fixture
def make_record():
    """Return a function that makes up a record; give it what the test is about.

    It has the key that its content gives; with ``environment=made_here``, that of a run of this stack.
    """

    def make(ordering="bn/none", seed=0, loss=0.4, accuracy=0.88, evaluation=None, environment=None, **changes):
        instance = Instance(ordering=ordering, **changes)
        environment = {
            "versions": {
                "python": "3.11.7",
                "normlib": "0.1.0",
                "tensorflow": "2.15.1",
                "keras": "2.15.0",
                "tensorflow-addons": "0.23.0",
                "numpy": "1.26.4",
            },
            "provider": "addons",
            "device": "CPU",
            "processor": "a processor",
            "threads": 1,
            "onednn": None,
            "commit": None,
            "study_sha256": None,
            **(environment or {}),
        }
        data = record.data_used(instance)
        versions = stack.versions(environment["provider"], environment["versions"])
        return store.Record(
            key=record.digest(seed, data, versions, environment["threads"], instance.changes),
            instance=instance.settings,
            seed=seed,
            training={"loss": [loss], "accuracy": [accuracy]},
            curve={"epoch": [1, 1], "step": [156, 313], "loss": [2 * loss, loss], "accuracy": [accuracy / 2, accuracy]},
            evaluation=readings(evaluation or {"loss": loss / 2, "accuracy": accuracy}),
            parameters={"total": 739_748, "trainable": 739_728, "non_trainable": 20},
            seconds={"build": 0.1, "fit": 5.0, "evaluate": 0.2},
            environment=environment,
            data=data,
        )

    return make


@pytest.fixture
def made_here():
    """What a record says of the stack that is installed here."""
    return {"versions": stack.installed(), "provider": stack.resolve_provider("auto")}


@pytest.fixture
def make_frame(make_record):
    """Return a function that makes a table of made-up records from ``{ordering: losses by seed}``.

    ``evaluation(ordering, seed)``, if given, returns what the run's evaluation gave.
    """

    def make(losses, evaluation=None, **changes):
        made = [
            make_record(ordering, seed, loss, 1 - loss / 4, evaluation and evaluation(ordering, seed), **changes)
            for ordering, values in losses.items()
            for seed, loss in enumerate(values)
        ]
        return store.to_frame(made)

    return make
