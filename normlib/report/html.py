"""HTML that needs neither scripts nor style sheets: cards, tables, small pictures of models, pages.

Plain text in it is escaped by MarkupSafe: what others wrote never becomes markup. Where styles are taken out, as on
GitHub, text and tables are left.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

from normlib.models.kinds import EMPTY
from normlib.report.diagrams import Box


def as_markdown(text: str) -> str:
    """Return a text in Markdown that shows it as it is: no HTML, link, picture or emphasis in it is one.

    What has a meaning in Markdown is written as HTML's character references, which have none.
    """
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"[\\`*_\[\]$~|!]|#(?!\d+;)|:(?=//)", lambda match: f"&#{ord(match[0])};", text)


def as_page(title: str, body: str) -> str:
    """Return an HTML page with a title, which is also its heading, and what stands below, which is HTML already."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>body {{font-family: sans-serif}}</style>'
    main = f"<main><h1>{html.escape(title)}</h1>{body}</main>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{main}</body></html>\n'


_CELL = "text-align: left; vertical-align: top; padding: 2px 10px"
_BOX = (
    "display: inline-block; text-align: center; vertical-align: middle; font-size: 11px; line-height: 1.25; "
    "padding: 3px 6px; margin: 2px 0; border-radius: 5px; color: #000000; background: {}; border: 1px {}"
)


def card(title: str, *parts: str) -> str:
    """Return a title, and below it text and what the other functions give; empty parts are left out."""
    shown = (part if isinstance(part, Markup) else Markup("<p>{}</p>").format(part) for part in parts if part)
    return str(Markup("<div><p><b>{}</b></p>{}</div>").format(title, Markup("").join(shown)))


def picture(boxes: Iterable[Box]) -> Markup:
    """Return a small picture of what stands where in a model, from image to class, empty slots dashed."""
    return Markup("<div>{}</div>").format(Markup(" → ").join(map(_box, boxes)))


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table.

    Args:
        caption: What it shows.
        header: The columns' names.
        rows: Their cells; the first of a row is its header. Pictures stay what they are.
    """
    head = Markup("").join(Markup('<th scope="col" style="{}">{}</th>').format(_CELL, name) for name in header)
    body = Markup("").join(Markup("<tr>{}</tr>").format(_row(row)) for row in rows)
    return Markup(
        '<table><caption style="text-align: left; caption-side: top">{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    ).format(caption, head, body)


def settings(values: Mapping[str, object], defaults: Mapping[str, object]) -> Markup:
    """Return the settings that differ from the defaults, and behind a click all others.

    Args:
        values: Settings by name.
        defaults: Their defaults.
    """
    changed = [(name, value, defaults[name]) for name, value in values.items() if value != defaults[name]]
    same = [(name, value) for name, value in values.items() if value == defaults[name]]
    told = table("Settings that differ from the defaults", ["setting", "value", "default"], changed)
    others = folded("Settings at their defaults", table("", ["setting", "value"], same))
    return (told if changed else Markup("<p>All settings are at their defaults.</p>")) + (others if same else "")


def folded(summary: str, part: Markup) -> Markup:
    """Return what is seen after a click on its summary."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, part)


def _row(cells: Sequence[object]) -> Markup:
    first, *others = cells
    told = Markup("").join(Markup('<td style="{}">{}</td>').format(_CELL, cell) for cell in others)
    return Markup('<th scope="row" style="{}">{}</th>').format(_CELL, first) + told


def _box(box: Box) -> Markup:
    style = _BOX.format(box.colour, "dashed #767676" if box.kind == EMPTY else "solid #333333")
    return Markup('<span style="{}">{}</span>').format(style, Markup("<br>").join(map(escape, box.text.split("\n"))))
