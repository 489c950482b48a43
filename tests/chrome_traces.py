"""What a trace in Chrome's format must be: a schema written from its description, and what a viewer relies on."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import jsonschema

__all__ = ["check_trace", "slices"]

_NUMBER = {"type": "integer", "minimum": 0}
_WHERE = {"pid": _NUMBER, "tid": _NUMBER}
_WHEN = {"ts": {"type": "number", "minimum": 0}, **_WHERE}
_NAMED = {"name": {"type": "string", "minLength": 1}, "cat": {"type": "string", "minLength": 1}}


def _event(phase: str, required: dict[str, Any], **more: Any) -> dict[str, Any]:
    properties = {"ph": {"const": phase}, **required, **more}
    return {
        "type": "object",
        "properties": properties,
        "required": ["ph", *required],
        "additionalProperties": False,
    }


SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "traceEvents": {
            "type": "array",
            "items": {
                "oneOf": [
                    _event(
                        "M",
                        {
                            **_WHERE,
                            "name": {"enum": ["process_name", "thread_name"]},
                            "args": {
                                "type": "object",
                                "properties": {"name": {"type": "string"}},
                                "required": ["name"],
                                "additionalProperties": False,
                            },
                        },
                    ),
                    _event("B", {**_NAMED, **_WHEN, "args": {"type": "object"}}),
                    _event("E", {**_NAMED, **_WHEN}),
                    _event("s", {**_NAMED, **_WHEN, "id": _NUMBER}),
                    _event("f", {**_NAMED, **_WHEN, "id": _NUMBER, "bp": {"const": "e"}}),
                ]
            },
        },
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object"},
    },
    "required": ["traceEvents"],
    "additionalProperties": False,
}
_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def slices(trace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each slice by its operation, with where and when it is, and the one that it lies in on its thread."""
    found: dict[str, dict[str, Any]] = {}
    stacks: dict[int, list[str]] = defaultdict(list)
    latest: dict[int, float] = {}
    for event in trace["traceEvents"]:
        if event["ph"] not in "BE":
            continue
        thread, stack = event["tid"], stacks[event["tid"]]
        assert event["ts"] >= latest.get(thread, 0)
        latest[thread] = event["ts"]
        if event["ph"] == "B":
            operation = event["args"]["operation"]
            assert operation not in found
            found[operation] = {**event, "within": stack[-1] if stack else ""}
            stack.append(operation)
        else:
            ended = found[stack.pop()]
            assert ended["name"] == event["name"]
            ended["end"] = event["ts"]
    assert not any(stacks.values())
    return found


def check_trace(trace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Check that a trace is one, and return its slices by operation."""
    _VALIDATOR.validate(trace)
    found = slices(trace)
    named = {event["tid"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert named == {each["tid"] for each in found.values()}
    flows: dict[int, dict[str, Any]] = defaultdict(dict)
    for event in trace["traceEvents"]:
        if event["ph"] in "sf":
            assert event["ph"] not in flows[event["id"]]
            flows[event["id"]][event["ph"]] = event
    for flow in flows.values():
        left, came = flow["s"], flow["f"]
        assert left["ts"] <= came["ts"]
        for end in (left, came):  # each is tied to a slice that is there
            assert any(each["tid"] == end["tid"] and each["ts"] <= end["ts"] <= each["end"] for each in found.values())
    across = [each for each in found.values() if found.get(each["args"].get("parent"), each)["tid"] != each["tid"]]
    assert len(across) == len(flows)
    return found
