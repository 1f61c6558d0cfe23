"""What a paper reports, in numbers, to be shown beside what a study found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from normlib.checks import printable, real_number
from normlib.conditions import Varies
from normlib.errors import RequestError

_FORM = (
    "{reports: what and where, against: a setting that varies, lines: {ordering: {value: number}}, "
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
        firsts = [next(iter(group)) for group in varies]
        if paper.against not in firsts:
            raise RequestError("paper: against", paper.against, f"one of what the study varies: {', '.join(firsts)}")
        for ordering, line in paper.lines.items():
            printable("paper: lines", ordering, most=100)
            if not isinstance(line, dict) or not line:
                raise RequestError("paper: lines", line, "numbers by the values of the setting")
            for number in (*line, *line.values()):
                real_number("paper: lines", number, "finite numbers", lambda _: True)
        return paper
