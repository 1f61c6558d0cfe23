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
