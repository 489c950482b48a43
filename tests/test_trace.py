"""What ``explain`` shows: which hooks fired, in what order, what each answered, how long it took, what it changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kernel import Bench, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Cache,
    Cancel,
    Fork,
    HookContext,
    LlmspellError,
    Modified,
    Redirect,
    Replace,
    Retry,
    Skipped,
    ToolCall,
)
from llmspell_hookspecs.difference import difference
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.trace import TraceRow

BEFORE, AROUND, AFTER = "before_tool_execution", "around_tool_execution", "after_tool_execution"


def traced(prepare: Callable[[Host], Any], *, trace: bool = True) -> Sequence[TraceRow]:
    """Call ``echo`` with these hooks; answer the rows."""

    async def main() -> Sequence[TraceRow]:
        async with opened(*Bench().plugins, trace=trace) as host:
            prepare(host)
            with contextlib.suppress(LlmspellError):
                await host.call("tool:echo", {"text": "plain"})
            return list(host.trace)

    return run(main)


def test_every_hook_has_a_row_in_the_order_of_the_calls() -> None:
    async def around(context: HookContext[Any]) -> Any:
        yield

    async def later(context: HookContext[Any]) -> Skipped:
        return Skipped("not mine")

    def prepare(host: Host) -> None:
        host.hooks.register(AFTER, lambda context: None, name="d", kind="observe")
        host.hooks.register(AROUND, around, name="c", kind="wrap")
        host.hooks.register(BEFORE, lambda context: None, name="b", kind="guard")
        host.hooks.register(BEFORE, later, name="a", plugin="mine")

    rows = traced(prepare)

    assert [(row.point, row.plugin, row.hook, row.kind, row.result, row.detail) for row in rows] == [
        (BEFORE, "mine", "a", "transform", "Skipped", "not mine"),
        (BEFORE, "code", "b", "guard", "Continue", ""),
        (AROUND, "code", "c", "wrap", "Continue", ""),
        (AFTER, "code", "d", "observe", "Continue", ""),
    ]
    assert {row.component for row in rows} == {"tool:echo"}
    assert len({row.operation for row in rows}) == 1
    assert all(row.elapsed_ns >= 0 for row in rows)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (Cancel("not today"), "not today"),
        (Redirect("tool:other"), "tool:other"),
        (Retry(0, 2), "delay_s 0"),
        (Fork((Call("tool:side"), Call("tool:other"))), "tool:side, tool:other"),
        (Cache("mine"), "key mine"),
    ],
)
def test_a_row_tells_what_was_answered(answer: Any, detail: str) -> None:
    row = traced(lambda host: host.hooks.register(BEFORE, lambda context: answer, match="echo"))[0]

    assert (row.result, row.detail) == (type(answer).__name__, detail)


def test_a_row_tells_what_was_changed_and_masks_secrets() -> None:
    def change(context: HookContext[ToolCall]) -> Modified:
        return context.modify(parameters={"text": "new", "api_key": "s3cret", "long": "x" * 500})

    row = traced(lambda host: host.hooks.register(BEFORE, change))[0]

    assert 'parameters.text: "plain" -> "new"' in row.change
    assert "parameters.api_key: (none) -> [masked]" in row.change
    assert "s3cret" not in row.change
    assert len(row.change) < 400


def test_a_row_tells_of_a_failure() -> None:
    def fail(context: HookContext[Any]) -> None:
        raise ValueError("broken")

    row = traced(lambda host: host.hooks.register(BEFORE, fail))[0]

    assert (row.result, row.error) == ("error", "broken")


def test_the_runner_notes_what_it_did_with_an_answer() -> None:
    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, lambda context: Cache("k"), match="echo", name="cache")
        host.hooks.register(BEFORE, lambda context: Fork((Call("tool:nowhere"),), join=True), match="echo", name="fork")
        host.hooks.register(AFTER, lambda context: Retry(0, 2), match="echo", name="retry")

    notes = [(row.result, row.detail) for row in traced(prepare) if row.kind == "runner"]

    assert notes[:2] == [("Cache", "miss"), ("Retry", "attempt 2 after 0 s")]
    assert notes[2][0] == "Fork"
    assert notes[2][1].startswith("tool:nowhere failed: ")


def test_without_a_trace_nothing_is_recorded() -> None:
    assert traced(lambda host: host.hooks.register(BEFORE, lambda context: None), trace=False) == []


def test_differences_of_values_are_named_by_their_path() -> None:
    old, new = ToolCall("t", {"a": 1, "b": {"c": 2}}), ToolCall("t", {"a": 1, "b": {"c": 3}, "d": None})

    assert difference(old, new) == "parameters.b.c: 2 -> 3; parameters.d: (none) -> null"
    assert difference({"a": 1, "b": 2}, {"b": 3}) == "b: 2 -> 3"
    assert difference(1, "one") == 'value: 1 -> "one"'
    assert difference(old, old) == ""


def test_a_replaced_value_is_a_change() -> None:
    row = traced(lambda host: host.hooks.register(AFTER, lambda context: Replace({"message": "new"})))[0]

    assert row.change == 'message: "" -> "new"'
