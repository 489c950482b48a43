"""Secrets that a server sends back in another spelling: JSON may write each letter in several ways."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmspell_hookspecs.network import HttpResponse
from llmspell_plugins.providers.event_stream import EventStream
from llmspell_plugins.tools.api.credentials import redact_value
from llmspell_plugins.tools.api.exchange import payload

SECRET = "sek/ret+tok\u00e9n"


def spelled(text: str, ways: list[int]) -> str:
    """Return a text as JSON, its letters escaped as the numbers say."""
    letters = []
    for place, letter in enumerate(text):
        way = ways[place % len(ways)]
        plain = json.dumps(letter, ensure_ascii=False)[1:-1]
        letters.append({0: plain, 1: f"\\u{ord(letter):04x}", 2: "\\/" if letter == "/" else plain}[way])
    return "".join(letters)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.sampled_from(["text", "key", "list"]))
def test_no_spelling_of_a_secret_comes_back(ways: list[int], place: str) -> None:
    inner = f'"before {spelled(SECRET, ways)} behind"'
    body = {"text": f'{{"a": {inner}}}', "key": f"{{{inner}: 1}}", "list": f"[[{inner}]]"}[place]

    shown = payload(HttpResponse(200, {"content-type": "application/json"}, body.encode(), "u"), [SECRET.encode()])

    assert SECRET not in json.dumps(shown, ensure_ascii=False)
    assert "before [redacted] behind" in json.dumps(shown, ensure_ascii=False)


def test_a_value_too_deep_to_walk_is_withheld() -> None:
    value: Any = SECRET
    for _ in range(100_000):
        value = [value]

    assert redact_value(value, [SECRET.encode()]) == "[redacted]"


def test_an_event_without_data_counts_where_its_name_says_so() -> None:
    stream = b"event: next\ndata: 1\n\nevent: complete\n\nevent: other\n\n: comment\n\n"

    assert list(EventStream(bare=b"complete").feed(stream)) == [(b"next", b"1"), (b"complete", b"")]
    assert list(EventStream().feed(stream)) == [(b"next", b"1")]
