"""What a paper reports, in numbers, to be shown beside what a study found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from normlib.analysis.conditions import Varies
from normlib.checks import printable, real_number
from normlib.errors import RequestError

_FORM = (
    "{reports: what and where, against: the setting that varies, lines: {ordering: {value: number}}, "
    "differs: in what the study's settings differ}"
)


@dataclasses.dataclass(frozen=True)
class Paper:
    """What a paper reports.

    Args:
        reports: What it reports and where, such as ``"Wu and He 2018, table 2: validation error on ImageNet, in %"``.
        against: The setting that its figure goes along, the first of a group that the study varies.
        lines: For each ordering, its numbers by the values of that setting.
        differs: In what the study's settings differ from the paper's.
    """

    reports: str
    against: str
    lines: Mapping[str, Mapping[float, float]]
    differs: str

    @classmethod
    def of(cls, content: object, varies: Varies) -> Paper:
        """Read what stands under ``paper`` in a study's file.

        Args:
            content: As in the file.
            varies: What the study varies.

        Raises:
            RequestError: It is not of this form.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(content, dict) or {*content} != names or not isinstance(content["lines"], dict):
            raise RequestError("paper", content, _FORM)
        paper = cls(**content)
        for name in ("reports", "differs"):
            printable(f"paper: {name}", getattr(paper, name), most=2000, lines=True)
        first = next(iter(varies[0]), "") if len(varies) == 1 else ""
        if paper.against != first or not all(map(_positive, varies[0][first])):
            allowed = "the first setting of the one group that the study varies, whose values are positive numbers"
            raise RequestError("paper: against", paper.against, allowed)
        if not paper.lines:
            raise RequestError("paper: lines", paper.lines, "at least one")
        for ordering, line in paper.lines.items():
            printable("paper: lines", ordering, most=100)
            if not isinstance(line, dict) or not line:
                raise RequestError("paper: lines", line, "numbers by the values of the setting")
            for number in line.values():
                real_number("paper: lines", number, "finite numbers", lambda _: True)
            for value in line:
                real_number("paper: lines", value, "positive values of the setting", lambda value: value > 0)
        return paper


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0
