"""Study: a YAML file with a question, the orderings that answer it, their settings and seeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import yaml

from normlib.errors import RequestError
from normlib.instance import Instance, one_of, seed_range

SHIPPED = Path(__file__).parent / "studies"


@dataclasses.dataclass(frozen=True)
class Study:
    """What is asked, and the runs that answer it.

    Args:
        name: What its outputs are called.
        question: The question, as a sentence.
        orderings: Orderings to compare; the baseline ``none/none`` belongs to them.
        citation: Where the question or the protocol comes from.
        seeds: Number of runs of each ordering.
        first_seed: The first run's seed; the others follow it.
        defaults: Settings that all runs share, where they differ from Instance's.

    Raises:
        RequestError: A setting that does not exist, or has a value that is not allowed.
    """

    name: str
    question: str
    orderings: tuple[str, ...]
    citation: str = ""
    seeds: int = 10
    first_seed: int = 0
    defaults: dict[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("question", "citation"):
            if not isinstance(getattr(self, key), str):
                raise RequestError(key, getattr(self, key), "text")
        seed_range(self.first_seed, self.seeds)
        named = isinstance(self.defaults, dict) and all(isinstance(name, str) for name in self.defaults)
        if not named or "ordering" in self.defaults:
            raise RequestError("defaults", self.defaults, "settings by name; orderings stand in 'orderings'")
        if not isinstance(self.orderings, list | tuple) or not self.orderings:
            raise RequestError("orderings", self.orderings, "a list of orderings, such as [bn/none, none/none]")
        orderings = tuple(instance.ordering for instance in self.instances)
        object.__setattr__(self, "orderings", orderings)
        for ordering in orderings:
            if orderings.count(ordering) > 1:
                raise RequestError("orderings", ordering, "each ordering once")

    @property
    def instances(self) -> list[Instance]:
        """The instances, one for each ordering."""
        return [Instance.of(ordering=ordering, **self.defaults) for ordering in self.orderings]

    @property
    def run_seeds(self) -> range:
        """The seeds of each instance's runs."""
        return seed_range(self.first_seed, self.seeds)

    def but(self, **changes: object) -> Study:
        """Return the study with other seeds or orderings; None changes nothing.

        Raises:
            RequestError: A value that is not allowed.
        """
        return dataclasses.replace(self, **{name: value for name, value in changes.items() if value is not None})

    def to_yaml(self) -> str:
        """Return the study as YAML, which ``read_study`` reads."""
        body = dataclasses.asdict(self)
        del body["name"]
        return yaml.safe_dump({**body, "orderings": list(self.orderings)}, sort_keys=False, allow_unicode=True)


def read_study(name_or_file: str | Path) -> Study:
    """Read a study that ships with normlib, by name, or a YAML file, by path.

    Raises:
        RequestError: No such study, not YAML, an unknown key, or a value that is not allowed.
    """
    path = SHIPPED / f"{name_or_file}.yaml"
    if str(name_or_file) not in shipped_studies():
        path = Path(name_or_file)
        if not path.is_file():
            allowed = f"{', '.join(shipped_studies())}, or the path of a YAML file"
            raise RequestError("study", str(name_or_file), allowed, names=shipped_studies())
    try:
        body = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise RequestError("study", str(name_or_file), f"a file that can be read; {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None)
        reason = f" ({problem})" if problem else ""
        raise RequestError("study", str(name_or_file), f"a YAML file; this is none{line}{reason}") from None
    if not isinstance(body, dict):
        raise RequestError("study", str(name_or_file), "a YAML file with keys such as 'question' and 'orderings'")
    keys = [field.name for field in dataclasses.fields(Study) if field.name != "name"]
    for key in body:
        one_of(f"a key of {path.name}", key, keys)
    for key in ("question", "orderings"):
        if key not in body:
            raise RequestError(f"a key of {path.name}", key, "to be there, and it is missing")
    return Study(name=path.stem, **body)


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice; PyYAML takes the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", node.value[i][0].start_mark)
        return super().construct_mapping(node, deep)


def shipped_studies() -> list[str]:
    """Return the names of the studies that ship with normlib."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))
