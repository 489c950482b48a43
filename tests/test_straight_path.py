"""The straight path and the full course: one meaning and two speeds.

Each case runs twice: with the hooks that it names, and with a wrap that only yields, so that the whole operation takes
the full course. What everybody sees must be the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from types import MappingProxyType, NoneType
from typing import Any

import pytest
import trio

from kernel import Anything, make_tool, opened
from llmspell import Host
from llmspell_hookspecs import (
    Cache,
    Cancel,
    Continue,
    Fork,
    HookContext,
    InvalidInputError,
    Modified,
    OperationCancelledError,
    Redirect,
    Replace,
    Retry,
    Skipped,
    Tool,
    ToolCall,
    ToolContext,
    ToolError,
    tool,
)
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import OperationTimeoutError, SecurityError
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.tool import PathAccess

BEFORE, ERROR = "before_tool_execution", "tool_error"
Answer = Callable[[HookContext[Any]], Any]
Seen = list[tuple[Any, ...]]


def raising(error: BaseException) -> Answer:
    def answer(context: HookContext[Any]) -> Any:
        raise error

    return answer


def once(result: Any) -> Answer:
    return lambda context: result if context.operation.attempt == 1 else None


ANSWERS: dict[str, Answer] = {
    "nothing": lambda context: None,
    "continue": lambda context: Continue(),
    "skipped": lambda context: Skipped(),
    "modified": lambda context: context.modify(parameters={"text": "new"}),
    "modified wrongly": lambda context: Modified({"parameters": 3}),
    "replace": lambda context: Replace({"result": "replaced"}),
    "cancel": lambda context: Cancel("no"),
    "retry": once(Retry(max_attempts=2)),
    "retry with another call": once(Retry(max_attempts=2, value={"parameters": {"text": "again"}})),
    "redirect": lambda context: Redirect("other"),
    "fork": lambda context: Fork((Call("tool:other", {"text": "forked"}),), join=True),
    "cache": lambda context: Cache("key", 60.0),
    "an answer that is none": lambda context: 3,
    "an error": raising(ValueError("broken")),
    "an exit": raising(SystemExit("gone")),
    "an interrupt of its own": raising(KeyboardInterrupt()),
}
BODIES = {"ok": "fine", "fails": ToolError("torn", code="io"), "exits": SystemExit("gone"), "odd": ValueError("odd")}


async def watched(host: Host, act: Callable[[], Any], seen: Seen) -> Any:
    """Do it; return what comes out, and note what observers at the failure are told."""

    def note(context: HookContext[Any]) -> None:
        decision = None if context.outcome is None else (context.outcome.status, context.outcome.hook)
        metadata = {name: dict(held) for name, held in context.metadata.items()}
        asked = plain(context.request)
        seen.append(("error", context.subject.message, context.subject.code, asked, decision, metadata))

    host.hooks.register(ERROR, note, kind="observe", name="note", match="echo")
    try:
        return plain(await act())
    except Exception as error:
        return type(error).__name__, str(error), type(error.__cause__).__name__


async def both(register: Callable[[Host, Seen], None], body: Any = "fine", **attributes: Any) -> tuple[Any, Seen]:
    """Run the case twice and return what came out, which is the same."""
    found = []
    for full in (False, True):
        seen: Seen = []
        async with opened(*tools(body, seen, **attributes)) as host:
            register(host, seen)
            if full:
                host.hooks.register("around_tool_execution", enclose, kind="wrap", name="wrap", match="echo")
            outcome = await watched(host, lambda host=host: host.call("tool:echo", {"text": "plain"}), seen)  # type: ignore[misc]
        found.append((outcome, seen))
    assert found[0] == found[1]
    return found[0]


async def wait(context: HookContext[Any]) -> None:
    """Be awaited, and answer nothing."""


async def enclose(context: HookContext[Any]) -> AsyncIterator[None]:
    """Stand around the body, and do nothing."""
    yield


def tools(body: Any, seen: Seen, **attributes: Any) -> list[Any]:
    async def echo(parameters: Any, context: ToolContext) -> Any:
        seen.append(("body", dict(parameters), plain(context.call), context.operation.attempt))
        if isinstance(body, BaseException):
            raise body
        return body

    async def other(parameters: Any, context: ToolContext) -> Any:
        seen.append(("other", dict(parameters)))
        return "other"

    return [make_tool("echo", echo, **attributes), make_tool("other", other)]


def asked(answer: Answer, seen: Seen, name: str) -> Answer:
    def hook(context: HookContext[Any]) -> Any:
        context.metadata["code"][name] = context.operation.attempt
        decided = context.outcome is not None and context.outcome.hook
        seen.append((name, plain(context.subject), context.operation.attempt, decided))
        return answer(context)

    return hook


@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("kind", ["transform", "guard"])
@pytest.mark.parametrize("answer", list(ANSWERS))
async def test_every_answer_means_the_same_on_both(answer: str, kind: str, body: str) -> None:
    def register(host: Host, seen: Seen) -> None:
        host.hooks.register(BEFORE, asked(ANSWERS[answer], seen, "first"), kind=kind, name="first", match="echo")
        host.hooks.register(BEFORE, asked(ANSWERS["nothing"], seen, "second"), kind=kind, name="second", match="echo")
        host.hooks.register(BEFORE, asked(ANSWERS["nothing"], seen, "guard"), kind="guard", name="guard", match="echo")

    _, seen = await both(register, BODIES[body])

    assert seen[0][0] == "first"


@pytest.mark.parametrize("recovery", ["nothing", "modified", "replace", "retry", "cancel", "redirect", "an error"])
async def test_a_failure_is_recovered_the_same_on_both(recovery: str) -> None:
    answers = {**ANSWERS, "modified": lambda context: Modified({"message": "redacted"})}

    def register(host: Host, seen: Seen) -> None:
        host.hooks.register(BEFORE, asked(ANSWERS["nothing"], seen, "before"), name="before", match="echo")
        host.hooks.register(ERROR, asked(answers[recovery], seen, "recover"), name="recover", match="echo")

    _, seen = await both(register, BODIES["fails"])

    assert [row[0] for row in seen][:3] == ["before", "body", "recover"]


@pytest.mark.parametrize("late", ["transform", "guard"])
@pytest.mark.parametrize("point", [BEFORE, "tool_parameter_validation", "tool_security_check", "after_tool_execution"])
async def test_a_guard_that_a_hook_registers_meanwhile_judges_the_points_to_come(point: str, late: str) -> None:
    def register(host: Host, seen: Seen) -> None:
        def add(context: HookContext[Any]) -> None:
            host.hooks.register(point, asked(ANSWERS["cancel"], seen, "late"), kind="guard", name="late", match="echo")

        host.hooks.register(BEFORE, asked(add, seen, "adds"), kind=late, name="adds", match="echo")

    outcome, _ = await both(register)

    judged = late == "transform" or point == "after_tool_execution"
    assert (outcome[0] == "OperationCancelledError") == judged if isinstance(outcome, tuple) else not judged


async def test_a_guard_that_comes_while_the_body_of_an_operation_without_hooks_runs_judges_its_result() -> None:
    async def deny(parameters: Any, context: ToolContext) -> Any:
        host.hooks.register("after_tool_execution", lambda context: Cancel("late"), kind="guard", name="late")
        return "secret"

    async with opened(make_tool("echo", deny)) as host:
        with pytest.raises(OperationCancelledError, match="late"):
            await host.call("tool:echo", {})


async def test_settings_that_change_drop_what_is_planned_for_a_tool() -> None:
    async with opened(*tools("fine", [])) as host:
        await host.call("tool:echo", {"text": "before"})
        await host.settings.change("tools.disabled", ["echo"])
        with pytest.raises(SecurityError, match="settings disable it"):
            await host.call("tool:echo", {"text": "after"})


async def test_a_hook_at_a_check_is_asked_from_its_registration_until_it_is_taken_out() -> None:
    seen: list[str] = []

    async with opened(*tools("fine", [])) as host:
        await host.call("tool:echo", {})
        handle = host.hooks.register("tool_security_check", lambda context: seen.append("asked"), match="echo")
        await host.call("tool:echo", {})
        handle.unregister()
        await host.call("tool:echo", {})

    assert seen == ["asked"]


@pytest.mark.parametrize("hooked", [False, True])
async def test_a_deadline_ends_the_body(hooked: bool, autojump_clock: trio.testing.MockClock) -> None:
    async def sleep(parameters: Any, context: ToolContext) -> Any:
        await trio.sleep(60)

    async with opened(make_tool("echo", sleep)) as host:
        if hooked:
            host.hooks.register(BEFORE, lambda context: None, name="quiet")
        with pytest.raises(OperationTimeoutError, match=r"longer than 0\.5 s"):
            await host.call("tool:echo", {}, deadline_s=0.5)


async def test_a_caller_that_is_cancelled_is_told_of_and_leaves_no_allocation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[str] = []

    async def sleep(parameters: Any, context: ToolContext) -> Any:
        host.hooks.register("tool_resource_released", lambda context: told.append("released"), name="released")
        await trio.sleep_forever()

    async with opened(make_tool("echo", sleep)) as host:
        host.hooks.register(ERROR, lambda context: told.append(context.outcome.status), kind="observe", name="told")
        with trio.move_on_after(1):
            await host.call("tool:echo", {})

    assert told == ["cancelled", "released"]


@tool(name="late")
def answer_later(text: str) -> Any:
    """Return something that is still to be awaited.

    Args:
        text: Any.
    """
    return trio.sleep(60)


@tool(name="prompt")
def answer_at_once(text: str) -> str:
    """Return the text.

    Args:
        text: Any.
    """
    if text == "odd":
        raise ValueError(text)
    if text == "exit":
        raise SystemExit(text)
    return text


async def test_a_sync_function_runs_without_a_deadline_and_what_it_leaves_to_wait_for_has_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened(answer_later, answer_at_once) as host:
        assert (await host.call("tool:prompt", {"text": "here"}, deadline_s=0.5)).result == "here"
        with pytest.raises(OperationTimeoutError):
            await host.call("tool:late", {"text": "here"}, deadline_s=0.5)


@pytest.mark.parametrize(
    ("text", "said"), [("odd", "it failed with ValueError: odd"), ("exit", "it raised SystemExit")]
)
async def test_what_a_sync_function_raises_is_told_as_a_tools_failure(text: str, said: str) -> None:
    async with opened(answer_at_once) as host:
        with pytest.raises(ToolError, match=said):
            await host.call("tool:prompt", {"text": text})


async def test_an_input_that_cannot_be_shown_is_refused_without_hooks_too() -> None:
    async with opened(*tools("fine", [])) as host:
        with pytest.raises(InvalidInputError, match="its input: a generator cannot be held"):
            await host.call("tool:echo", {"text": [(x for x in [1])]})


@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("before", ["nothing", "modified", "replace", "cancel", "cache", "retry", "an error"])
@pytest.mark.parametrize("point", [BEFORE, "after_tool_execution", "both"])
async def test_observers_are_told_the_same_on_both(point: str, before: str, body: str) -> None:
    def register(host: Host, seen: Seen) -> None:
        if before != "nothing":
            host.hooks.register(BEFORE, asked(ANSWERS[before], seen, "first"), name="first", match="echo")
        for each in (BEFORE, "after_tool_execution") if point == "both" else (point,):
            for name in ("one", "two"):
                host.hooks.register(each, watching(seen, each), kind="observe", name=name, match="echo")

    await both(register, BODIES[body])


def watching(seen: Seen, point: str) -> Answer:
    def observe(context: HookContext[Any]) -> None:
        context.metadata["code"][point] = len(context.metadata["code"])
        outcome = context.outcome and (context.outcome.status, context.outcome.hook, str(context.outcome.error))
        told = (plain(context.subject), plain(context.request), context.elapsed_ns > 0, outcome, context.forks)
        seen.append((point, *told, context.operation.attempt, context.point, context.component, context.language))
        seen.append(("metadata", dict(context.metadata["code"])))
        raise ValueError("an observer's failure harms nobody")

    return observe


async def test_what_observers_are_shown_on_the_straight_path_is_read_only_and_nobody_elses() -> None:
    shown: list[Any] = []
    async with opened(*tools({"rows": [1, 2]}, [])) as host:
        host.hooks.register("after_tool_execution", lambda context: shown.append(context.subject), kind="observe")
        result = await host.call("tool:echo", {"text": "plain"})

    result.result["rows"].append(3)
    assert plain(shown[0].result) == {"rows": [1, 2]}
    with pytest.raises(TypeError):
        shown[0].result["rows"] = ()


JOURNEY = OperationKind("journey", before="before_agent_execution", after="after_agent_execution", error="agent_error")
PLACE = ComponentRef("journey", "train", "journey:train")


@pytest.mark.parametrize("stands", ["after_agent_execution", "agent_error"])
async def test_observers_at_the_end_see_what_ran_whatever_the_body_does_to_its_input(stands: str) -> None:
    seen: list[Any] = []

    async def change(given: Any) -> str:
        with suppress(TypeError):
            given["to"] = "elsewhere"
        if stands == "agent_error":
            raise ToolError("torn", code="io")
        return "there"

    async with opened() as host:
        host.hooks.register(stands, lambda context: seen.append(plain(context.request)), kind="observe")
        with suppress(ToolError):
            await host.get(Operations).run(JOURNEY, PLACE, {"to": "home"}, change)

    assert seen == [{"to": "home"}]


async def test_an_input_that_cannot_be_shown_is_refused_before_the_body_where_only_observers_stand() -> None:
    ran: list[Any] = []

    async def body(given: Any) -> None:
        ran.append(given)

    async with opened() as host:
        host.hooks.register("after_agent_execution", lambda context: None, kind="observe")
        with pytest.raises(InvalidInputError, match="a generator cannot be held"):
            await host.get(Operations).run(JOURNEY, PLACE, {"to": (x for x in [1])}, body)

    assert not ran


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("walked", [False, True], ids=["while it is walked", "in the body"])
async def test_a_cancellation_is_told_with_nothing_that_can_be_changed_however_large_the_input(
    walked: bool, hooked: bool
) -> None:
    told: list[Any] = []

    async def body(given: Any) -> None:
        scope.cancel()
        await trio.sleep_forever()

    def tell(context: HookContext[Any]) -> None:
        told.append((context.outcome and context.outcome.status, type(context.request)))

    async with opened() as host:
        if hooked:
            host.hooks.register("agent_error", tell, kind="observe")
            host.hooks.register("before_agent_execution", wait)
        with trio.CancelScope() as scope:
            if not walked:
                scope.cancel()
            rows = {"rows": [{"number": number} for number in range(20_000)]}

            async def late(given: Any) -> None:
                host.hooks.register("agent_error", tell, kind="observe")
                await body(given)

            await host.get(Operations).run(JOURNEY, PLACE, rows, body if hooked else late)

    if hooked or walked:
        assert told == [("cancelled", MappingProxyType if walked else NoneType)]


async def test_a_wrap_that_an_observer_brings_is_around_the_body() -> None:
    def register(host: Host, seen: Seen) -> None:
        async def around(context: HookContext[Any]) -> Any:
            seen.append(("around", plain(context.subject)))
            yield

        def bring(context: HookContext[Any]) -> None:
            host.hooks.register("around_tool_execution", around, kind="wrap", name="around", match="echo")

        host.hooks.register(BEFORE, bring, kind="observe", name="brings", match="echo")

    _, seen = await both(register)

    assert [row[0] for row in seen] == ["around", "body"]


async def test_a_tool_that_is_given_its_access_when_it_is_made_is_judged_by_it() -> None:
    class Reader(Tool[Anything]):
        """Read a file."""

        name = "reader"

        def __init__(self) -> None:
            self.access = lambda parameters: [PathAccess("path", "read")]  # type: ignore[method-assign]

        async def run(self, parameters: Anything, context: ToolContext) -> Any:
            return "read"

    async with opened(Reader) as host:
        with pytest.raises(SecurityError, match="outside what may be read"):
            await host.call("tool:reader", {"path": "/etc/shadow"})


async def test_a_value_that_somebody_changes_while_it_is_walked_is_refused_in_words() -> None:
    given = {number: number for number in range(5_000)}

    def walk() -> None:
        for number in given:
            given[-1 - number] = number

    async with opened() as host:
        with pytest.raises(InvalidInputError, match=r"it cannot be read \(.*changed.*\); hand over a copy"):
            await host.get(Operations).beside(given, walk)


async def test_few_values_are_walked_at_once_however_many_are_handed_over() -> None:
    most = 0

    def walk() -> None:
        nonlocal most
        with lock:
            running.append(1)
            most = max(most, len(running))
        time.sleep(0.002)  # in a thread: others would begin meanwhile
        with lock:
            running.pop()

    running: list[int] = []
    lock = threading.Lock()
    async with opened() as host, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(host.get(Operations).beside, list(range(5_000)), walk)

    assert 1 <= most <= 2


async def test_guards_see_read_only_what_a_kind_makes_ready_that_shows_nothing_else() -> None:
    seen: list[Any] = []

    async def body(given: Any) -> Any:
        return plain(given)

    async with opened() as host:
        host.hooks.register("before_agent_execution", lambda context: seen.append(context.subject), kind="guard")
        operations = host.get(Operations)
        made = Operation(JOURNEY, PLACE, {}, body, ready=lambda given: {"to": ["home"]}, as_of=operations.as_of)
        assert await operations.execute(made) == {"to": ["home"]}

    with pytest.raises(TypeError):
        seen[0]["to"] = ()


@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("kind", ["transform", "guard", "observe"])
@pytest.mark.parametrize("answer", list(ANSWERS))
async def test_hooks_that_wait_mean_the_same_with_a_deadline_and_without(answer: str, kind: str, body: str) -> None:
    outcomes = []
    for deadline_s in (None, 60.0):  # with one, and hooks that wait, the whole operation takes the full course
        seen: Seen = []
        async with opened(*tools(BODIES[body], seen)) as host:
            host.hooks.register(BEFORE, waiting(ANSWERS[answer], seen, "first"), kind=kind, name="first", match="echo")
            host.hooks.register(BEFORE, waiting(ANSWERS["nothing"], seen, "last"), kind="guard", name="last")
            outcomes.append((await watched(host, partial(operate, host, BODIES[body], deadline_s), seen), seen))

    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1][0][0] == ("first" if kind != "observe" else "last")


async def test_a_caller_that_is_cancelled_while_a_hook_waits_leaves_in_order() -> None:
    ended: list[Any] = []

    async def hold(context: HookContext[Any]) -> None:
        scope.cancel()
        await trio.sleep_forever()

    async with opened(*tools("fine", [])) as host:
        host.hooks.register(BEFORE, hold, name="hold", match="echo")
        host.hooks.register(ERROR, lambda context: ended.append(context.outcome.status), kind="observe", name="ended")
        with trio.CancelScope() as scope:
            await operate(host, "fine", None)

    assert scope.cancelled_caught
    assert ended == ["cancelled"]


def waiting(answer: Answer, seen: Seen, name: str) -> Any:
    """Return a hook that waits a moment, and answers."""
    hook = asked(answer, seen, name)

    async def wait_first(context: HookContext[Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return hook(context)

    return wait_first


async def operate(host: Host, body: Any, deadline_s: float | None) -> Any:
    """Run an operation of the kind tool around a body of one's own."""

    async def run(call: Any) -> Any:
        if isinstance(body, BaseException):
            raise body
        return body

    kind = OperationKind("tool", BEFORE, "", "after_tool_execution", ERROR)
    call = ToolCall("echo", {"text": "plain"}, "utility", "safe")
    operations = host.get(Operations)
    return await operations.run(kind, ComponentRef("tool", "echo", "tool:echo"), call, run, deadline_s=deadline_s)


@pytest.mark.parametrize("body", list(BODIES))
async def test_who_watches_bodies_is_told_the_same_where_nobody_keeps_a_journal(body: str) -> None:
    told = []
    for full in (False, True):
        seen: Seen = []

        def watch(kind: OperationKind, ref: Any, subject: Any, seen: Seen = seen) -> Callable[..., None]:
            return lambda value, error: seen.append((kind.name, plain(subject), plain(value), type(error).__name__))

        async with opened(*tools(BODIES[body], [])) as host:
            leave = host.get(Operations).watch(watch)
            if full:
                host.hooks.register("around_tool_execution", enclose, kind="wrap", name="wrap", match="echo")
            with suppress(Exception):
                await host.call("tool:echo", {"text": "plain"})
            leave()
            with suppress(Exception):
                await host.call("tool:echo", {"text": "plain"})
        told.append(seen)

    assert told[0] == told[1]
    assert len(told[0]) == 1
