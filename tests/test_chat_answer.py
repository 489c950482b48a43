"""What services answer, however they cut, number and name it: the same calls come of it, and errors are judged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmspell_hookspecs import Message
from llmspell_hookspecs.model import ToolUse
from llmspell_hookspecs.values import thaw
from llmspell_plugins.json_text import sound
from llmspell_plugins.providers.chat_answer import Assembly
from llmspell_plugins.providers.chat_names import ToolNames, object_schema
from llmspell_plugins.providers.event_stream import EventStream
from llmspell_plugins.providers.failures import error_in, status_error, stream_error
from llmspell_plugins.tool_uses import ids_of, settled

parameters = st.dictionaries(st.text(max_size=4), st.text('{}[]"\\ab\ud835', max_size=6) | st.integers(), max_size=3)
calls = st.lists(st.tuples(st.sampled_from(["look", "add"]), parameters), min_size=1, max_size=4)
indexes = st.sampled_from(["own", "zero", "none", "text"])
ids = st.sampled_from(["own", "same", "empty", "none", "each piece"])


def chunk(use: Mapping[str, Any] | None = None, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"tool_calls": [use]} if use else {}, "finish_reason": reason}]}


def pieces(
    asked: list[tuple[str, dict[str, Any]]], index: str, id: str, cuts: list[int], *, named: bool
) -> Iterator[dict[str, Any]]:
    """Yield the calls as this or that server streams them."""
    fresh = count()
    for place, (name, told) in enumerate(asked):
        text = json.dumps(told)
        ends = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
        for number, (start, end) in enumerate(pairwise(ends)):
            use: dict[str, Any] = {"function": {"arguments": text[start:end]}}
            if number == 0 or named:
                use["function"]["name"] = name
            if index != "none":
                use["index"] = {"own": place, "zero": 0, "text": str(place)}[index]
            if id != "none" and (number == 0 or id != "empty"):
                use["id"] = {"own": f"c{place}", "same": "x", "empty": "", "each piece": f"p{next(fresh)}"}[id]
            yield chunk(use)


@given(asked=calls, index=indexes, id=ids, cuts=st.lists(st.integers(1, 60), max_size=4), named=st.booleans())
def test_calls_come_out_alike_however_a_server_cuts_numbers_and_names_them(
    asked: list[tuple[str, dict[str, Any]]], index: str, id: str, cuts: list[int], named: bool
) -> None:
    repeated = any(one == two for one, two in pairwise(asked))
    if (named and id == "each piece") or (repeated and (id in ("same", "empty", "none"))):
        return  # nothing tells these apart from a call that is said once more
    assembly = Assembly()
    for value in (*pieces(asked, index, id, cuts, named=named), chunk(reason="tool_calls")):
        assembly.add(value)

    uses = assembly.response().tool_uses

    assert [(use.name, thaw(use.parameters), use.problem) for use in uses] == [
        (name, sound(told), "") for name, told in asked
    ]
    assert len({use.id for use in uses} - {""}) == len(asked)


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize("field", ["tool_calls", "function_call", "refusal", "content", "reasoning_content"])
def test_nothing_is_nothing_whatever_it_is_written_as(field: str, nothing: Any) -> None:
    assembly = Assembly("m")
    assembly.add({"choices": [{"message": {"content": "hi", field: nothing}, "finish_reason": "stop"}]}, whole=True)

    response = assembly.response()

    assert response.text == ("" if field == "content" else "hi")
    assert (response.tool_uses, response.finish_reason) == ((), "stop")


@given(st.lists(st.sampled_from(["a", "b", "b", "", "call00000", "call00001"]), max_size=8))
def test_no_two_calls_of_a_conversation_share_an_id(given_ids: list[str]) -> None:
    messages: list[Message] = []
    for id in given_ids:
        uses = settled((ToolUse(id, "look"), ToolUse(id, "add")), "tool_use", ids_of(messages))
        messages.append(Message("assistant", "", uses))

    all_ids = [use.id for message in messages for use in message.tool_uses]
    assert len(set(all_ids) - {""}) == len(all_ids)
    assert all(re.fullmatch(r"\w+", id) for id in all_ids)


@given(st.lists(st.text(min_size=1, max_size=90), unique=True, max_size=12))
def test_each_name_is_sent_as_one_that_services_take_and_comes_back(names: list[str]) -> None:
    table = ToolNames(names)
    sent = [table.sent(name) for name in names]

    assert len(set(sent)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in sent)
    assert [table.known(name) for name in sent] == names


schemas = st.recursive(
    st.sampled_from([None, True, {}, {"type": "string"}, {"type": "object"}, {"$ref": "#/$defs/A"}, {"$ref": "#"}]),
    lambda inner: (
        st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"allOf": st.lists(inner, max_size=3), "$defs": st.fixed_dictionaries({"A": inner})})
        | st.fixed_dictionaries({"type": st.just("object"), "properties": st.fixed_dictionaries({"a": inner})})
    ),
    max_leaves=6,
)


@example({"allOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}})
@example({"$ref": "#/$defs/0", "$defs": {str(n): {"anyOf": [{"$ref": f"#/$defs/{n + 1}"}] * 9} for n in range(20)}})
@given(schemas)
def test_every_schema_becomes_an_object_at_its_root(schema: Any) -> None:
    made = object_schema(schema)

    assert made["type"] == "object"
    assert isinstance(made["properties"], Mapping)
    assert not {"anyOf", "oneOf", "allOf", "enum", "not", "$ref"} & set(made)


PERMANENT = [
    {"message": "maximum context length is 4096", "type": "BadRequestError", "code": 400},
    {"error_type": "BadRequestError", "error_message": "maximum context length is 4096", "choices": None},
    {"error": {"message": "no", "code": "400"}},
    {"error": {"message": "no", "code": "context_length_exceeded"}},
    {"error": {"message": "no", "status": "INVALID_ARGUMENT"}},
    {"error": {"message": "no", "type": "invalid_request_error"}},
    {"error": {"message": "no", "code": "insufficient_quota"}},
    {"error": {"message": "no", "status": "PERMISSION_DENIED"}},
    {"error": {"error": {"message": "no", "code": 401}}},
    {"error": "invalid api key", "code": 401},
    {"detail": [{"loc": ["body"], "msg": "no"}], "status": 422},
    {"error_code": 403, "error_msg": "no"},
    {"object": "error", "message": "the model `x` does not exist", "type": "NotFoundError"},
    {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}},
    [{"error": {"code": 400, "message": "no"}}],
    {"errors": [{"message": "no", "code": 400}]},
    "invalid request: prompt is too long",
]
PASSING = [
    {"error": {"message": "no", "code": 503}},
    {"error": {"message": "no", "code": "429"}},
    {"error": {"message": "no", "type": "overloaded_error"}},
    {"error": {"message": "no", "status": "RESOURCE_EXHAUSTED"}},
    {"error": {"message": "no"}},
    {"error": "upstream broke"},
    {"object": "error", "message": "no", "code": 500},
    {"choices": [{"error": {"message": "no", "code": 502}}]},
    {"message": "no", "status_code": 529},
    "Rate limit exceeded",
]


@pytest.mark.parametrize(
    ("told", "again"), [*((each, False) for each in PERMANENT), *((each, True) for each in PASSING)]
)
def test_an_error_within_an_answer_is_found_in_any_form_and_what_is_permanent_is_not_asked_again(
    told: Any, again: bool
) -> None:
    found = error_in(told)

    assert found is not None
    assert stream_error("model:m", found).retryable is again, stream_error("model:m", found)
    assert "no reason given" not in str(stream_error("model:m", found))


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 422, 501])
def test_a_status_that_is_permanent_is_not_asked_again(status: int) -> None:
    assert not status_error("model:m", status, {}, b'{"error": {"message": "no"}}').retryable


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 522, 529])
def test_a_status_that_passes_is_asked_again_unless_the_words_say_that_it_stays(status: int) -> None:
    assert status_error("model:m", status, {}, b"busy").retryable
    assert not status_error("model:m", status, {}, b'{"error": {"code": "insufficient_quota"}}').retryable
    assert not status_error("model:m", status, {}, b'{"error": "maximum context length is 4"}').retryable


@given(cuts=st.lists(st.integers(1, 80), max_size=6), end=st.sampled_from(["\n", "\r\n", "\r"]), bom=st.booleans())
def test_events_are_the_same_wherever_the_network_cuts_them(cuts: list[int], end: str, bom: bool) -> None:
    lines = [": hello", "", "event: note", "id: 7", "data: a", "data:b", "", "retry: 3", "data:  c", "", "data: d"]
    data = ("\ufeff" * bom + end.join(lines)).encode()
    ends = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    stream = EventStream()

    events = [event for start, stop in pairwise(ends) for event in stream.feed(data[start:stop])]
    events += stream.end()

    assert events == [(b"note", b"a\nb"), (b"", b" c"), (b"", b"d")]
