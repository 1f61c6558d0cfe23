"""RequestError, and the checks that raise it: of single values, and of a function's arguments by their annotations."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import os
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar


class _Repr(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        try:
            return super().repr_int(value, level)
        except ValueError:  # Python's own limit
            return "a number of thousands of digits"


_repr = _Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80
_repr.maxlevel = 2  # a few lines of YAML can stand for more than any machine holds
_LONGEST = 1000  # characters of a message


class RequestError(ValueError):
    """A request that cannot be met; found before a run starts or a file is written.

    Its message reads "SETTING is VALUE, but must be ALLOWED", or "SETTING is VALUE, but PROBLEM".

    Args:
        setting: Name of the setting, as the user typed it or would type it.
        value: What it was given.
        allowed: What it takes, as it reads after "must be".
        names: The names that are allowed, where there is such a list; the nearest one is proposed.
        problem: Where no "must be" says it: what is wrong, as a clause.
    """

    def __init__(self, setting: str, value: object, allowed: str = "", names: Iterable[str] = (), problem: str = ""):
        self.arguments = (setting, value, allowed, tuple(names), problem)
        near = difflib.get_close_matches(value[:80], self.arguments[3], n=1) if isinstance(value, str) else []
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        super().__init__(one_line(f"{setting} is {_repr.repr(value)}, but {problem or f'must be {allowed}'}{hint}"))

    def __reduce__(self) -> tuple:
        # By what it was made of, so that it comes back whole from another process.
        return type(self), self.arguments


def one_line(text: str) -> str:
    r"""Return a text as one line, not too long, of characters that a terminal only shows.

    Others, among them those that colour, erase or turn round what stands beside them, are written as Python writes
    them, such as ``\x1b``.
    """
    line = " ".join(text[: 2 * _LONGEST].split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def describe_error(error: BaseException) -> str:
    """Return what an exception of somebody else's code says, as one line, its class first."""
    return one_line(f"{type(error).__name__}: {error}")[:300]


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def one_of(setting: str, value: object, names: Iterable[str], others: str = "") -> None:
    """Refuse a value that is not among the names; ``others`` says what else would have been taken, as a phrase.

    Raises:
        RequestError: It is not.
    """
    names = list(names)
    if not isinstance(value, str) or value not in names:
        raise RequestError(setting, value, f"one of {', '.join([*names, *filter(None, [others])])}", names=names)


def whole_number(setting: str, value: object, minimum: int, maximum: int = 1_000_000_000) -> int:
    """Return a whole number, NumPy's too, as Python's; refuse others. True and False are no numbers here.

    Raises:
        RequestError: It is none, or outside these bounds.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < minimum:
        raise RequestError(setting, value, f"a whole number from {minimum} up")
    if int(value) > maximum:
        raise RequestError(setting, value, f"a whole number from {minimum} to {maximum:,}")
    return int(value)


def real_number(setting: str, value: object, allowed: str, holds: Callable[[float], bool]) -> float:
    """Return a finite number, NumPy's too, as Python's float; refuse others. True and False are no numbers here.

    Raises:
        RequestError: It is no finite number, or one of which ``holds``, told by the phrase ``allowed``, does not hold.
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
    seeds = whole_number("seeds", seeds, minimum=1, maximum=100_000)
    first_seed = whole_number(setting, first_seed, minimum=0, maximum=2**32 - 1)
    if first_seed + seeds > 2**32:
        raise RequestError(setting, first_seed, problem="the last of the seeds that follow would be above 2 ** 32 - 1")
    return range(first_seed, first_seed + seeds)


def printable(setting: str, value: object, most: int, lines: bool = False) -> None:
    """Refuse what is no text that can be shown: control characters, and marks that turn the direction of writing.

    Raises:
        RequestError: It is none, has more than ``most`` characters, or several lines where ``lines`` does not allow it.
    """
    parts = value.splitlines() if isinstance(value, str) and lines else [value]
    if not all(isinstance(part, str) and part.isprintable() for part in parts) or len(str(value)) > most:
        raise RequestError(setting, value, f"text of at most {most:,} characters that can be printed")


def mapping(setting: str, value: object) -> dict[str, Any]:
    """Return names with their values; refuse what is none.

    Raises:
        RequestError: It is none.
    """
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RequestError(setting, value, "names with values, or left out")
    return value


def checked(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Have a public function refuse arguments that are not what its annotations say, as the command line does.

    Numbers are left to the function, which knows their bounds. Measures have to be columns of the records beside them.

    Raises:
        RequestError: An argument of another type, no records at all, or a measure that is no column.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        bound = signature.bind(*arguments, **options)
        given = bound.arguments
        for name, value in given.items():
            annotation = signature.parameters[name].annotation
            if isinstance(value, Iterator) and "Iterable[" in annotation:  # which can be gone through but once
                value = given[name] = list(value)
            if not _fits(annotation, value):
                raise RequestError(name, value, f"of type {_ALIASES.get(annotation, annotation)}")
            if annotation.startswith("Sequence[Record]") and value == []:
                raise RequestError(name, value, "one record or more")
            is_runs = annotation.startswith("pd.DataFrame") and "arm" not in signature.parameters
            if is_runs and not {"ordering", "seed"} <= set(_columns(value)):
                raise RequestError(name, value, "a table of one row a run, as normlib.load_records gives")
        for name in {"measure", "measures"} & set(given) if "records" in given else ():
            measures = [given[name]] if isinstance(given[name], str | None) else given[name]
            if not measures or not {*measures} <= {None, *_columns(given["records"])}:
                raise RequestError(name, given[name], "a column of the records, such as train_loss or eval_accuracy")
        return function(*bound.args, **bound.kwargs)

    return call


def _columns(records: Any) -> Iterable[str]:
    """Return the columns of a table of runs, or of that of a Comparison."""
    return getattr(records, "records", records).columns


_ALIASES = {
    "Columns": "Sequence[Mapping] | Sequence[str]",
    "Contrasts": "Mapping[str, str] | Iterable[Contrast]",
    "Diagnoses": "Diagnosis | Sequence[Diagnosis] | Mapping[str, Diagnosis]",
    "Varies": "Sequence[Mapping]",
}
_CLASSES = {"bool", "str", "DataFrame", "Comparison", "Contrast", "Diagnosis", "Instance", "Paper", "Record", "Results"}
_CLASSES |= {"Split", "Study"}


def _fits(annotation: str, value: Any) -> bool:
    """Tell whether a value is what an annotation says; of a type that is not looked into, every value is."""
    annotation = _ALIASES.get(annotation, annotation)
    if " | " in annotation:
        return any(_fits(alternative, value) for alternative in annotation.split(" | "))
    outer, _, inner = annotation.removesuffix("]").partition("[")
    name = outer.rpartition(".")[2]
    if name in ("Iterable", "Sequence", "list"):
        several = isinstance(value, Iterable if name == "Iterable" else list | tuple) and not isinstance(value, str)
        return several and all(_fits(inner, item) for item in value)
    if name == "Mapping":
        return isinstance(value, Mapping) and all(_fits(inner.rpartition(", ")[2], item) for item in value.values())
    if name == "Path":
        return isinstance(value, os.PathLike)
    if name in _CLASSES:  # by its name, so that nothing is imported for it
        return name in {base.__name__ for base in type(value).__mro__}
    return name != "None" or value is None
