"""Foreign text of any make takes time in proportion to its length, where it is shown, masked or read.

A search that begins anew at each letter of a row takes its square: minutes for what is given here, with the whole
process held, since an expression lets nobody else run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmspell_hookspecs.masking import masked
from llmspell_hookspecs.secret import hide
from llmspell_hookspecs.spelling import one_line, spell_out
from llmspell_hookspecs.values import freeze
from llmspell_plugins.providers.failures import _TITLE
from llmspell_plugins.tools.data.csv_rows import _CONDITION
from waiting import processor_s

READERS: dict[str, Callable[[str], Any]] = {
    "a message": one_line,
    "spelled out": spell_out,
    "a URL": lambda text: hide(freeze({"url": f"http://x/{text}"})),
    "a log line": lambda text: masked(text, ()),
    "a page": _TITLE.search,
    "a condition": _CONDITION.fullmatch,
}
ROWS = [
    " ",
    "\t",
    "\r",
    "\n",
    " \n",
    "a",
    "9",
    "-",
    "_",
    "?",
    "&",
    "=",
    "a=",
    "?a",
    "a:",
    "://",
    "<title",
    "token",
    "key=",
    "bearer ",
    "`",
    '"',
    "\u200d",
    "\x1b",
    "@",
]


@pytest.mark.parametrize("reader", READERS)
def test_no_text_takes_the_square_of_its_length(reader: str) -> None:
    read = READERS[reader]
    for unit in ROWS:
        text = "x" + unit * (200_000 // len(unit)) + "\x00"
        assert processor_s(lambda text=text: read(text)) < 3, repr(unit)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("http://x/?a=1&token=**********#y", "http://x/?a=1&token=abc#y"),
        ("http://x/?a?key=**********;b=", "http://x/?a?key=abc;b="),
        ("http://x/?token=&a", "http://x/?token=&a"),
    ],
)
def test_secrets_in_urls_are_hidden_as_before(shown: str, text: str) -> None:
    assert str.__str__(hide(text)) == shown


def test_blanks_around_line_ends_are_one() -> None:
    assert one_line("a  \r\n \n\t b \x00\n  c") == "a b \\x00 c"
