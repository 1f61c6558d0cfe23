"""Text that others wrote, shown as it is in Markdown and HTML: data never becomes markup."""

from __future__ import annotations

import html
import re


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
