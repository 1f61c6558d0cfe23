"""Instance: an ordering with every other setting that decides a run, but the seed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from typing import Any

from normlib import datasets, stack
from normlib.datasets import Split, parse_split
from normlib.errors import RequestError, one_of, real_number, whole_number
from normlib.models import kinds, zoo
from normlib.models.ordering import Ordering


def check_splits_named(dataset: object, named: Collection[str]) -> None:
    """Refuse data of one's own of which the settings named do not say what to train on: the default is the source's."""
    for name in ("fit_split", "evaluate_split"):
        if datasets.is_file(dataset) and name not in named:
            problem = f"{name} is not named, as data of your own need it: such as train to fit, test to evaluate"
            raise RequestError("dataset", datasets.recorded_name(dataset), problem=problem)


@dataclasses.dataclass(frozen=True)
class Instance:
    """The settings of a run. All are checked when it is made, before TensorFlow loads.

    The defaults are the source notebook's: it fits on the *test* split, one epoch, batches of 32, Adam at 0.001.

    Args:
        ordering: What stands in each slot, such as ``"gn/bn"``; kept in its full form. A kind of your own is named by
            where Python imports it from, ``"bn/package.module:name"``.
        model: ``"source_cnn"``, ``"convnet"``, ``"small_maps"``, ``"dense"``, ``"resnet20"``, ``"vit"``, or one of your
            own, ``"package.module:function"``.
        activation: ``"none"`` or ``"relu"``: what follows each convolution and its normalization in ``source_cnn``;
            other models have activations of their own.
        dataset: ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, or the path of an ``.npz`` file.
        fit_split: Images to train on, in TensorFlow Datasets' slice notation.
        evaluate_split: Images to evaluate on, none of which is trained on.
        epochs: Passes over the fit split.
        batch_size: Images a step.
        learning_rate: The optimizer's.
        groups: GroupNorm's number of groups; None: the model's own (``source_cnn``: 5, one of your own: 32, or the
            nearest divisor below; others: 8).
        momentum: BatchNorm's, of its moving averages.
        provider: Library that GroupNorm comes from: ``"addons"``, ``"keras"`` or ``"auto"``.
        optimizer: ``"adam"``, or ``"sgd"``, stochastic gradient descent with momentum 0.9.
        weight_decay: Decoupled, as Keras' optimizers have it: each step takes this share times the learning rate off
            all trainable weights, beside the gradient (Loshchilov and Hutter 2019, arXiv 1711.05101, section 2; there
            without the learning rate). It is not L2 in the loss, which momentum would multiply.
        epsilon: What normalization layers add to the variance.
        channels_per_group: GroupNorm's channels in a group, instead of ``groups``; None: as ``groups`` says.
        statistics_batch: Images over which BatchNorm takes mean and variance while it trains, a divisor of
            ``batch_size``; None: the whole batch. See ``normlib.models.layers.BatchNormalizationInParts``.
        fit_sample: So many images of the fit split, drawn by the seed; None: all, the same for each seed.
        schedule: ``"constant"``, or ``"cosine"``, which goes from the learning rate to zero, where it is after the last
            step (Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, without restarts).
        warmup: Steps over which the learning rate first grows linearly from zero (Goyal et al. 2017, arXiv 1706.02677,
            section 2.2); the cosine starts after them.

    In a model of your own, BatchNorm layers keep the momentum and epsilon that they have, unless these settings differ
    from the defaults.

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
    optimizer: str = "adam"
    weight_decay: float = 0.0
    epsilon: float = 0.001
    channels_per_group: int | None = None
    statistics_batch: int | None = None
    fit_sample: int | None = None
    schedule: str = "constant"
    warmup: int = 0

    def __post_init__(self) -> None:
        self._check_model()
        self._check_data()
        one_of("optimizer", self.optimizer, zoo.OPTIMIZERS)
        one_of("schedule", self.schedule, zoo.SCHEDULES)
        optional = ("groups", "channels_per_group", "statistics_batch", "fit_sample")
        for name in ("epochs", "batch_size", *(name for name in optional if getattr(self, name) is not None)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), minimum=1))
        object.__setattr__(self, "warmup", whole_number("warmup", self.warmup, minimum=0))
        self._check_parts()
        self._check_steps()
        for name, allowed, holds in (
            ("learning_rate", "a positive, finite number", lambda rate: rate > 0),
            ("momentum", "a number from 0 up to, but not including, 1", lambda momentum: 0 <= momentum < 1),
            ("weight_decay", "a number from 0 up to, but not including, 1", lambda decay: 0 <= decay < 1),
            ("epsilon", "a positive number, at most 1", lambda epsilon: 0 < epsilon <= 1),
        ):
            object.__setattr__(self, name, real_number(name, getattr(self, name), allowed, holds))
        for name in ("groups", "channels_per_group"):
            self._check_groups(name)
        if self.groups is not None and self.channels_per_group is not None:
            problem = f"groups is given too ({self.groups}): set one of the two"
            raise RequestError("channels_per_group", self.channels_per_group, problem=problem)
        stack.resolve_provider(self.provider)

    def _check_model(self) -> None:
        if not kinds.is_own(self.model):
            one_of("model", self.model, zoo.MODELS, "or a function that builds one, 'package.module:function'")
        object.__setattr__(self, "ordering", str(self.layers))
        if not self.model_facts.has_positions and any("in" in slot for slot in self.layers.slots):
            problem = f"{self.model} has no positions, so that a group of 'in' would be one number"
            raise RequestError("ordering", self.ordering, problem=problem)
        grouped = [kind for slot in self.layers.slots for kind in slot if kinds.kind_of(kind).groups]
        if self.model_facts.has_tokens and grouped:
            problem = f"{self.model} has tokens, of which {grouped[0]!r} would take all of an image together: see 'lnc'"
            raise RequestError("ordering", self.ordering, problem=problem)
        one_of("activation", self.activation, zoo.ACTIVATIONS)
        if self.activation not in self.model_facts.activations:
            raise RequestError("activation", self.activation, f"none for {self.model}, whose activations are its own")

    def _check_data(self) -> None:
        if not datasets.is_file(self.dataset):
            one_of("dataset", self.dataset, datasets.DATASETS, "or the path of an .npz file")
        if overlap := self.fit_examples.overlap(self.evaluate_examples):
            problem = f"{overlap:,} of its images are also trained on, since fit_split is {self.fit_split!r}"
            raise RequestError("evaluate_split", self.evaluate_split, problem=problem)
        least, size = self.model_facts.smallest_image, self.data_facts.image_shape[:2]
        if min(size) < least:
            problem = f"its images are {size[0]} x {size[1]}, and {self.model} needs {least} x {least} or more"
            raise RequestError("dataset", datasets.recorded_name(self.dataset), problem=problem)
        if any(side % self.model_facts.side_divisor for side in size):
            needed = f"{self.model} needs sides that are multiples of {self.model_facts.side_divisor}"
            problem = f"its images are {size[0]} x {size[1]}, and {needed}"
            raise RequestError("dataset", datasets.recorded_name(self.dataset), problem=problem)

    def _check_parts(self) -> None:
        """Refuse parts of the batch that BatchNorm cannot take its statistics over."""
        name, value = "statistics_batch", self.statistics_batch
        if value is None:
            return
        if self.batch_size % value:
            raise RequestError(name, value, f"a divisor of batch_size, {self.batch_size}")
        if not any("bn" in slot for slot in self.layers.slots):
            raise RequestError(name, value, problem=f"{self.ordering} has no bn, which takes statistics of a batch")
        if self.model_facts.build is None:
            raise RequestError(name, value, f"None for {self.model}, whose BatchNorm layers are its own")
        if value == 1 and not self.model_facts.has_positions:
            problem = f"{self.model} has no positions, so that a part would be one number"
            raise RequestError(name, value, problem=problem)

    def _check_steps(self) -> None:
        """Refuse more images than there are, and a schedule that does not fit into the run."""
        if self.fit_sample is not None:
            whole_number("fit_sample", self.fit_sample, minimum=1, maximum=len(self.fit_examples))
        most = self.steps - (self.schedule == "cosine")  # which has one step or more of its own
        if self.warmup > most:
            raise RequestError("warmup", self.warmup, f"at most {most:,}, since the run has {self.steps:,} steps")

    @property
    def layers(self) -> Ordering:
        """The ordering, read; of a model of one's own, along which it is repeated, the shortest that is the same."""
        layers = Ordering.parse(self.ordering, self.model_facts.slots)
        return layers if self.model_facts.slots else layers.shortest

    @property
    def needs_own_code(self) -> bool:
        """Whether its model, or a kind in its ordering, is one's own, which a run imports."""
        return self.model not in zoo.MODELS or any(kinds.is_own(kind) for slot in self.layers.slots for kind in slot)

    @property
    def model_facts(self) -> zoo.Model:
        """What is known of the model before it is built."""
        return zoo.MODELS.get(self.model, zoo.OWN_MODEL)

    @property
    def data_facts(self) -> datasets.DataSet:
        """What is known of the data set: from the catalog, or from its file.

        Raises:
            RequestError: The file is not there, or is no data set.
        """
        if datasets.is_file(self.dataset):
            from normlib import data  # NumPy, which other instances start without

            return data.read_facts(self.dataset)
        return datasets.DATASETS[self.dataset]

    @property
    def fit_examples(self) -> Split:
        """The fit split, read."""
        return parse_split(self.fit_split, self.data_facts.sizes, "fit_split")

    @property
    def evaluate_examples(self) -> Split:
        """The evaluate split, read."""
        return parse_split(self.evaluate_split, self.data_facts.sizes, "evaluate_split")

    @property
    def steps(self) -> int:
        """Number of training steps of a run, a last, smaller batch of each epoch among them."""
        return self.epochs * -(-(self.fit_sample or len(self.fit_examples)) // self.batch_size)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings in the order of the fields, as records keep them: a file by its name, without its path."""
        return {**dataclasses.asdict(self), "dataset": datasets.recorded_name(self.dataset)}

    @property
    def parameters(self) -> dict[str, Any]:
        """All settings by name, as a kernel with another working directory needs them: a file by its absolute path."""
        path = os.path.abspath(self.dataset) if datasets.is_file(self.dataset) else self.dataset
        return {**dataclasses.asdict(self), "dataset": path}

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that differ from the defaults, as records keep them."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name, value in self.settings.items() if value != defaults[name]}

    @property
    def follows_source(self) -> bool:
        """Whether all but the ordering and the provider is as in the source, so that its figures can stand beside."""
        return not set(self.changes) - {"ordering", "provider"}

    @classmethod
    def from_settings(cls, /, **settings: Any) -> Instance:
        """Make an Instance of settings that somebody typed: an unknown name is refused in one line.

        Raises:
            RequestError: An unknown setting, or one with a value that is not allowed.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in names:
                raise RequestError("setting", name, f"one of {', '.join(names)}", names=names)
        return cls(**settings)

    @classmethod
    def from_variables(cls, variables: Mapping[str, Any]) -> Instance:
        """Make an Instance of variables that are named as the settings, such as ``globals()`` of a notebook.

        Raises:
            RequestError: A setting without a variable, or one with a value that is not allowed.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if missing := [name for name in names if name not in variables]:
            raise RequestError("variables", missing[0], problem="there is none of this name")
        return cls(**{name: variables[name] for name in names})

    def _repr_html_(self) -> str:
        """Return what stands where as a small picture, then the settings that differ from the defaults, then others."""
        from normlib.report import cards  # shown only

        return cards.instance_card(self)

    def groups_of(self, channels: int) -> int:
        """Return GroupNorm's number of groups where it normalizes so many channels."""
        if self.channels_per_group:
            return channels // self.channels_per_group
        return self.groups or self.model_facts.groups

    def _check_groups(self, name: str) -> None:
        value = getattr(self, name)
        for channels in self.model_facts.channels if value is not None else ():
            if channels % value:
                divisors = [str(d) for d in range(1, channels + 1) if channels % d == 0]
                raise RequestError(name, value, f"a divisor of the {channels} channels: {', '.join(divisors)}")
            if not self.model_facts.has_positions and self.groups_of(channels) == channels:
                problem = f"{self.model} has no positions, so that a group would be one number"
                raise RequestError(name, value, problem=problem)
