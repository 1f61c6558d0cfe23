"""Instance: an ordering with every other setting that decides a run, but the seed."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable

from normlib import catalog, stack
from normlib.errors import RequestError
from normlib.ordering import Ordering
from normlib.splits import Split, parse_split

MOST_SEEDS = 100_000  # of an instance


@dataclasses.dataclass(frozen=True)
class Instance:
    """The settings of a run. All are checked when it is made, before TensorFlow loads.

    The defaults are the source notebook's: it fits on the *test* split, one epoch, batches of 32, Adam at 0.001.

    Args:
        ordering: What stands in each slot, such as ``"gn/bn"``; kept in its full form.
        model: Name of the model.
        activation: ``"none"`` or ``"relu"``: what follows each convolution and its normalization.
        dataset: Name of the data set.
        fit_split: Images to train on, in TensorFlow Datasets' slice notation.
        evaluate_split: Images to evaluate on.
        epochs: Passes over the fit split.
        batch_size: Images a step.
        learning_rate: Adam's.
        groups: GroupNorm's number of groups; None: the model's own (``source_cnn``: 5).
        momentum: BatchNorm's, of its moving averages.
        provider: Library that GroupNorm comes from: ``"addons"``, ``"keras"`` or ``"auto"``.

    Raises:
        RequestError: A setting has a value that is not allowed.
    """

    ordering: str = "bn/none"
    model: str = "source_cnn"
    activation: str = "none"
    dataset: str = "mnist"
    fit_split: str = "test"
    evaluate_split: str = "train[:10000]"
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 0.001
    groups: int | None = None
    momentum: float = 0.99
    provider: str = "auto"

    def __post_init__(self) -> None:
        one_of("model", self.model, catalog.MODELS)
        one_of("activation", self.activation, catalog.ACTIVATIONS)
        one_of("dataset", self.dataset, catalog.DATASETS)
        ordering = Ordering.parse(self.ordering, len(self.model_facts.slot_channels))
        object.__setattr__(self, "ordering", str(ordering))
        self.fit_examples, self.evaluate_examples  # noqa: B018  (properties that refuse a wrong split)
        for name in ("epochs", "batch_size"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), minimum=1))
        rate = real_number("learning_rate", self.learning_rate, "a positive, finite number", lambda value: value > 0)
        object.__setattr__(self, "learning_rate", rate)
        allowed = "a number from 0 up to, but not including, 1"
        object.__setattr__(self, "momentum", real_number("momentum", self.momentum, allowed, lambda m: 0 <= m < 1))
        self._check_groups()
        stack.resolve_provider(self.provider)

    @property
    def layers(self) -> Ordering:
        """The ordering, read."""
        return Ordering.parse(self.ordering, len(self.model_facts.slot_channels))

    @property
    def model_facts(self) -> catalog.ModelFacts:
        """What the catalog says of the model."""
        return catalog.MODELS[self.model]

    @property
    def data_facts(self) -> catalog.DataSet:
        """What the catalog says of the data set."""
        return catalog.DATASETS[self.dataset]

    @property
    def fit_examples(self) -> Split:
        """The fit split, read."""
        return parse_split(self.fit_split, self.data_facts.sizes, "fit_split")

    @property
    def evaluate_examples(self) -> Split:
        """The evaluate split, read."""
        return parse_split(self.evaluate_split, self.data_facts.sizes, "evaluate_split")

    @property
    def settings(self) -> dict[str, object]:
        """All settings by name, in the order of the fields."""
        return dataclasses.asdict(self)

    @property
    def changes(self) -> dict[str, object]:
        """The settings that differ from the defaults."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    @property
    def follows_source(self) -> bool:
        """Whether all but the ordering and the provider is as in the source, so that its figures can stand beside."""
        return not set(self.changes) - {"ordering", "provider"}

    @property
    def overlap(self) -> int:
        """Number of images to evaluate on that are also trained on."""
        fit, evaluate = self.fit_examples, self.evaluate_examples
        if fit.name != evaluate.name:
            return 0
        return max(0, min(fit.stop, evaluate.stop) - max(fit.start, evaluate.start))

    @classmethod
    def of(cls, /, **settings: object) -> Instance:
        """Make an Instance of settings that somebody typed: an unknown name is refused in one line.

        Raises:
            RequestError: An unknown setting, or one with a value that is not allowed.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in names:
                raise RequestError("setting", name, ", ".join(names), names=names)
        return cls(**settings)  # type: ignore[arg-type]

    def _check_groups(self) -> None:
        if self.groups is None:
            return
        object.__setattr__(self, "groups", whole_number("groups", self.groups, minimum=1))
        for channels in self.model_facts.slot_channels:
            if channels % self.groups:
                divisors = [str(d) for d in range(1, channels + 1) if channels % d == 0]
                raise RequestError(
                    "groups", self.groups, f"a divisor of the {channels} channels: {', '.join(divisors)}"
                )


def one_of(setting: str, value: object, names: Iterable[str]) -> None:
    """Refuse a value that is not among the names.

    Raises:
        RequestError: It is not.
    """
    names = list(names)
    if not isinstance(value, str) or value not in names:
        raise RequestError(setting, value, ", ".join(names), names=names)


def whole_number(setting: str, value: object, minimum: int, maximum: int = 1_000_000_000) -> int:
    """Return a whole number, NumPy's too, as Python's; refuse others. True and False are no numbers here.

    Raises:
        RequestError: It is none, or outside these bounds.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < minimum:
        raise RequestError(setting, value, f"a whole number from {minimum} up")
    if value > maximum:
        raise RequestError(setting, value, f"a whole number from {minimum} to {maximum:,}")
    return int(value)


def real_number(setting: str, value: object, allowed: str, holds: Callable[[float], bool]) -> float:
    """Return a finite number, NumPy's too, as Python's float; refuse others. True and False are no numbers here.

    Args:
        setting: Its name.
        value: What it was given.
        allowed: What it takes, as a phrase.
        holds: Whether a number is allowed.

    Raises:
        RequestError: It is no finite number, or not allowed.
    """
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not holds(number):
        raise RequestError(setting, value, allowed)
    return number


def thread_count(threads: int) -> int:
    """Return a number of threads; refuse what is none.

    Raises:
        RequestError: Not a whole number from 1 up, or more than any machine has.
    """
    return whole_number("threads", threads, minimum=1, maximum=1024)


def seed_range(first_seed: int, seeds: int = 1, setting: str = "first_seed") -> range:
    """Return the seeds of some runs; refuse those that NumPy's and TensorFlow's generators do not take.

    Args:
        first_seed: The first run's seed, from 0 up to 2 ** 32 - 1, as the last one.
        seeds: Number of runs; the seeds follow each other.
        setting: Name of the first seed in the message when it is refused.

    Raises:
        RequestError: They do not fit.
    """
    seeds = whole_number("seeds", seeds, minimum=1, maximum=MOST_SEEDS)
    first_seed = whole_number(setting, first_seed, minimum=0, maximum=2**32 - 1)
    if first_seed + seeds > 2**32:
        raise RequestError(setting, first_seed, "a number below 2 ** 32, as all seeds")
    return range(first_seed, first_seed + seeds)
