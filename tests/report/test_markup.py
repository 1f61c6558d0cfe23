import html
import re

import nbconvert.filters
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlib.report.html import as_markdown


def shown(text):
    """Return what a reader sees of a text in Markdown, as nbconvert makes HTML of it, and the tags in it."""
    made = nbconvert.filters.markdown2html(f"a {as_markdown(text)} b")
    return html.unescape(re.sub(r"<[^>]*>", "", made)).strip(), re.findall(r"</?\w+", made)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[here](javascript:alert(1))",
        "![](http://example.invalid/pixel)",
        "*bold* __bold__ `code` ~~gone~~ $x^2$ | a table",
        r"\$ \< \\ \(x\) \[x\] \$x\$ \begin{align}x\end{align}",
        "# heading",
        "&lt;b&gt; & &amp;",
        "2 * 3 * 4",
    ],
)
def test_markup_is_shown_as_it_was_typed(text):
    assert shown(text) == (f"a {text} b", ["<p", "</p"])


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1))
def test_any_text_is_shown_and_makes_no_element(text):
    seen, tags = shown(text)
    assert seen == f"a {text} b"
    assert tags == ["<p", "</p"]


def test_line_breaks_do_not_begin_a_list_or_a_heading():
    assert as_markdown("a\n\n- b\n# c") == "a - b &#35; c"


def test_plain_words_stay_as_they_are():
    assert as_markdown("Does any of the source's orderings, gn/bn say, do better?") == (
        "Does any of the source's orderings, gn/bn say, do better?"
    )
