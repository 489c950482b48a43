from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from llmspell_hookspecs import (
    Cache,
    Cancel,
    Continue,
    Failure,
    Fork,
    HookContext,
    InvalidInputError,
    Modified,
    Redirect,
    Replace,
    Retry,
    Skipped,
    ToolCall,
    ToolResult,
)
from llmspell_hookspecs.context import ComponentRef, Metadata, OperationRef, Outcome
from llmspell_hookspecs.language import HookAdapter
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.tool import ToolListing
from llmspell_plugins.languages.adapter import PlainHookAdapter

CALL = ToolCall("calculator", MappingProxyType({"input": "1 + 1", "list": (1, 2)}), "utility", "safe")


def context_of(subject: Any = CALL, point: str = "before_tool_execution", **more: Any) -> HookContext[Any]:
    return HookContext(
        point,
        subject,
        ComponentRef("tool", "calculator", "tool:calculator"),
        OperationRef("o1", "c1", attempt=2),
        Metadata(audit={"seen": True}),
        "lua",
        **more,
    )


def result_of(value: Any, context: HookContext[Any] | None = None) -> Any:
    return PlainHookAdapter().adapt_result(value, context or context_of())


def table_of(context: HookContext[Any]) -> Any:
    return PlainHookAdapter().adapt_context(context)


def test_it_keeps_the_contract_of_an_adapter() -> None:
    adapter: HookAdapter = PlainHookAdapter()

    assert adapter.adapt_result(None, context_of()) is None


def test_a_context_is_a_plain_table_with_the_names_of_the_guides() -> None:
    table = table_of(context_of())

    assert table["point"] == "BeforeToolExecution"
    assert table["correlation_id"] == "c1"
    assert table["component_id"] == {
        "type": "Tool",
        "component_type": "Tool",
        "name": "calculator",
        "id": "tool:calculator",
    }
    assert table["language"] == "lua"
    assert "audit" not in table["metadata"], "what a plugin keeps is its own"
    assert table["data"]["parameters"] == {"input": "1 + 1", "list": [1, 2]}
    assert table["data"]["tool_name"] == table["data"]["name"] == "calculator"
    assert table["data"]["input"] == table["data"]["parameters"]
    assert table["data"]["attempt"] == 2


def test_a_context_after_the_fact_has_the_request_and_the_result() -> None:
    context = context_of(ToolResult(2, "evaluate"), "after_tool_execution", request=CALL, elapsed_ns=1_500_000)

    table = table_of(context)

    assert table["elapsed_ms"] == 1.5
    assert table["request"]["name"] == "calculator"
    assert (table["data"]["result"], table["data"]["output"], table["data"]["tool_name"]) == (2, 2, "calculator")


def test_a_context_of_a_failure_has_its_text() -> None:
    failure = Failure("ToolError", "it failed", "tool", ValueError("inner"))
    outcome = Outcome("failed", Cancel("no"), "guard", failure)

    table = table_of(context_of(failure, "tool_error", request=CALL, outcome=outcome))

    assert table["data"]["error"] == table["data"]["error_message"] == table["data"]["message"] == "it failed"
    assert table["outcome"]["error"]["error"] == "inner"


@pytest.mark.parametrize("subject", [{"a": 1}, [1, 2], 5, "text", None])
def test_a_custom_points_data_is_what_was_fired(subject: Any) -> None:
    table = table_of(context_of(subject, "custom:mine"))

    assert (table["point"], table["data"]) == ("custom:mine", subject)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, None),
        (True, Continue()),
        ({}, Continue()),
        ([], Continue()),
        ("continue", Continue()),
        ("skip", Skipped()),
        ("skipped", Skipped()),
        ("not today", Cancel("not today")),
        (("continue", "ignored"), Continue()),
        ({"type": "continue"}, Continue()),
        ({"type": "cancel", "reason": "no"}, Cancel("no")),
        ({"type": "Cancel", "reason": "no", "code": "approval_required"}, Cancel("no", "approval_required")),
        ({"type": "redirect", "target": "tool:other"}, Redirect("tool:other")),
        ({"type": "replace", "data": {"result": 3}}, Replace({"result": 3})),
        ({"type": "replace", "data": 5}, Replace(5)),
        ({"type": "retry"}, Retry(1.0, 3)),
        ({"type": "retry", "delay_ms": 250, "max_attempts": 5}, Retry(0.25, 5)),
        ({"type": "skipped", "reason": "other tool"}, Skipped("other tool")),
        ({"type": "cache", "key": "k", "ttl": 60}, Cache("k", 60.0)),
        ({"type": "cache"}, Cache()),
        ({"type": "cache", "key": "k", "scope": "host"}, Cache("k", 300.0, "host")),
        ({"type": "fork", "operations": ["calculator"]}, Fork((Call("tool:calculator"),))),
        (
            {"type": "fork", "branches": [{"tool": "a", "parameters": {"x": 1}}, {"address": "agent:b"}], "join": True},
            Fork((Call("tool:a", {"x": 1}), Call("agent:b")), True),
        ),
        (
            {"type": "fork", "operations": [{"id": "one", "operation_type": "tool:c", "parameters": {"y": 2}}]},
            Fork((Call("tool:c", {"y": 2}),)),
        ),
        ({"action": "cancel", "reason": "no"}, Cancel("no")),
        ({"action": "retry", "max_attempts": 2, "backoff_ms": 100}, Retry(0.1, 2)),
        ({"action": "redirect", "target": "other"}, Redirect("other")),
        ({"action": "skipped", "reason": "r"}, Skipped("r")),
        ({"action": "cache", "ttl": 5, "key": "k"}, Cache("k", 5.0)),
        ({"action": "cache", "ttl": 5, "key": "k", "result": {"result": 1}}, Replace({"result": 1})),
        ({"action": "replace", "result": {"result": 1}}, Replace({"result": 1})),
        ({"continue_execution": True}, Continue()),
        ({"continue_execution": False, "reason": "stop"}, Cancel("stop")),
        ({"continue_execution": False}, Cancel("cancelled by a script's hook")),
    ],
)
def test_every_documented_style_has_its_result(value: Any, result: Any) -> None:
    assert result_of(value) == result


@pytest.mark.parametrize(
    "value",
    [
        {"type": "modified", "data": {"parameters": {"input": "2"}}},
        {"action": "modified", "modified_data": {"input": {"input": "2"}}},
        {"continue_execution": True, "modified_data": {"parameters": {"input": "2"}}},
    ],
)
def test_a_modification_changes_only_the_fields_that_it_names(value: Any) -> None:
    result = result_of(value)

    assert isinstance(result, Modified)
    assert result.value == ToolCall("calculator", {"input": "2"}, "utility", "safe")


def test_a_hook_may_give_back_the_whole_data_with_one_change() -> None:
    data = table_of(context_of())["data"]
    data["tool_name"] = "csv_analyzer"

    result = result_of({"type": "modified", "data": data})

    assert result.value.name == "csv_analyzer"
    assert result.value.parameters == {"input": "1 + 1", "list": [1, 2]}


def test_a_change_at_after_goes_to_the_result() -> None:
    context = context_of(ToolResult(2, "evaluate"), "after_tool_execution", request=CALL)

    assert result_of({"type": "modified", "data": {"output": 3}}, context).value == ToolResult(3, "evaluate")
    assert result_of({"type": "replace", "data": {"result": 3}}, context).value == ToolResult(3, "evaluate")


def test_at_error_points_a_change_is_one_of_the_failure_and_what_else_is_given_is_kept_beside_it() -> None:
    context = context_of(Failure("ToolError", "x"), "tool_error", request=CALL)

    result = result_of({"type": "modified", "data": {"error_message": "y", "code": "z", "result": 1}}, context)

    assert result == Modified({"message": "y", "code": "z"})
    assert context.metadata["script"] == {"result": 1}
    assert result_of({"type": "replace", "data": {"result": 1}}, context) == Replace({"result": 1})


def test_scalar_data_is_allowed_where_the_subject_is_no_struct() -> None:
    assert result_of({"type": "modified", "data": 7}, context_of(5, "custom:mine")) == Modified(7)


def test_an_empty_table_is_an_empty_list_where_the_subject_has_one() -> None:
    context = context_of(ToolListing(({"name": "a"},)), "after_tool_discovery")

    assert result_of({"type": "modified", "data": {"tools": {}}}, context).value == ToolListing(())


def test_state_updates_go_to_the_metadata() -> None:
    context = context_of()

    result_of({"continue_execution": True, "state_updates": {"count": 1}}, context)

    assert context.metadata["script"] == {"count": 1}


def test_what_is_no_field_of_the_subject_is_kept_beside_it_and_shown_again() -> None:
    context = context_of()

    result = result_of({"type": "modified", "data": {"parameters": {"a": 1}, "checked_by": {"me": True}}}, context)

    assert result.value.parameters == {"a": 1}
    assert context.metadata["script"] == {"checked_by": {"me": True}}
    assert table_of(context)["data"]["checked_by"] == {"me": True}


def test_what_a_script_keeps_hides_no_field_of_the_subject() -> None:
    context = context_of()
    context.metadata["script"]["parameters"] = "mine"

    assert table_of(context)["data"]["parameters"] != "mine"


def test_jitter_shortens_the_wait_within_bounds() -> None:
    waits = {result_of({"action": "retry", "backoff_ms": 1000, "jitter": True}).delay_s for _ in range(20)}

    assert len(waits) > 1
    assert all(0.5 <= wait <= 1.0 for wait in waits)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (False, "returned False"),
        (1, "returned 1"),
        ([1], "a list"),
        ({"type": "modifed"}, "a table of type 'modifed'; there are continue"),
        ({"reason": "x"}, "a table with reason, without type"),
        ({"type": "redirect"}, "a redirect without target"),
        ({"type": "fork"}, "a fork without operations"),
        ({"type": "fork", "operations": [{}]}, "names nothing"),
        ({"type": "modified"}, "a table without data"),
        ({"type": "modified", "data": 5}, "give a table of ToolCall's fields"),
        ({"type": "modified", "data": {"name": 5}}, "does not accept this change"),
        ({"type": "retry", "max_attempts": 0}, "at least 1"),
        ({"type": "retry", "delay_ms": "soon"}, "delay_ms = 'soon'; give a number"),
        ({"type": "cache", "scope": "world"}, "use 'session' or 'host'"),
    ],
)
def test_what_stands_for_no_result_is_an_error_that_says_so(value: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^(hook at )?before_tool_execution: ") as caught:
        result_of(value)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
