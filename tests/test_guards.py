"""Guards: nothing that stands beside one, and nothing that goes wrong in one, lets through what it denies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from kernel import Bench, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Cache,
    Calls,
    Cancel,
    Continue,
    Fork,
    HookContext,
    Modified,
    OperationCancelledError,
    Redirect,
    Replace,
    Retry,
    Skipped,
    ToolContext,
    ToolError,
)
from llmspell_hookspecs.errors import HookTimeoutError, UnsupportedResultError
from llmspell_hookspecs.results import Call

BEFORE, AFTER, ERROR = "before_tool_execution", "after_tool_execution", "tool_error"


def deny(context: HookContext[Any]) -> Cancel:
    return Cancel("no")


def raising(context: HookContext[Any]) -> None:
    raise ValueError("the guard is broken")


async def raising_later(context: HookContext[Any]) -> None:
    await trio.sleep(0)
    raise ValueError("the guard is broken")


async def hanging(context: HookContext[Any]) -> None:
    await trio.sleep_forever()


def hanging_in_a_thread(context: HookContext[Any]) -> None:
    trio.from_thread.run(trio.sleep, 0.2)


def wrong(context: HookContext[Any]) -> Any:
    return True


def replacing(context: HookContext[Any]) -> Replace:
    return Replace({"result": "allowed"})


BROKEN: list[tuple[Callable[..., Any], dict[str, Any], type[Exception]]] = [
    (raising, {}, ValueError),
    (raising_later, {}, ValueError),
    (raising, {"thread": True}, ValueError),
    (hanging, {"timeout_s": 0.02}, HookTimeoutError),
    (hanging_in_a_thread, {"timeout_s": 0.02, "thread": True}, HookTimeoutError),
    (wrong, {}, UnsupportedResultError),
    (replacing, {}, UnsupportedResultError),
    (raising, {"on_error": "continue"}, ValueError),
]


def calling(
    prepare: Callable[[Host, Bench], None], *, times: int = 1, settings: dict[str, Any] | None = None
) -> tuple[Any, Bench]:
    """Call ``echo`` with these hooks; answer the last outcome, errors as values."""
    bench = Bench()

    async def main() -> Any:
        async with opened(*bench.plugins, settings=settings) as host:
            prepare(host, bench)
            outcome: Any = None
            for _ in range(times):
                try:
                    outcome = (await host.call("tool:echo", {"text": "plain"})).result
                except (OperationCancelledError, ToolError) as error:
                    outcome = error
            return outcome

    return run(main), bench


@pytest.mark.parametrize("point", [BEFORE, AFTER])
@pytest.mark.parametrize(("guard", "options", "cause"), BROKEN)
def test_a_broken_guard_denies(
    guard: Callable[..., Any], options: dict[str, Any], cause: type[Exception], point: str
) -> None:
    outcome, bench = calling(lambda host, bench: _register(host, point, guard, kind="guard", **options))

    assert isinstance(outcome, OperationCancelledError)
    assert outcome.code == "guard_failed"
    assert isinstance(outcome.__cause__, cause)
    assert len(bench.runs) == (0 if point == BEFORE else 1)


def _register(host: Host, point: str, function: Callable[..., Any], **options: Any) -> None:
    host.hooks.register(point, function, **options)


PROPOSALS: list[tuple[str, Any]] = [
    ("Continue", Continue()),
    ("Modified", Modified({"parameters": {"text": "harmless"}})),
    ("Replace", Replace({"result": "fixed"})),
    ("Redirect", Redirect("other")),
    ("Retry", Retry(0, 3)),
    ("Fork", Fork((Call("tool:side"),), join=True)),
    ("Cache", Cache("k")),
    ("Skipped", Skipped()),
]


@pytest.mark.parametrize(("name", "proposal"), PROPOSALS)
def test_a_guard_before_denies_whatever_a_transform_proposes(name: str, proposal: Any) -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, lambda context: proposal, match="echo", name="proposer")
        host.hooks.register(BEFORE, deny, kind="guard", match="echo")

    outcome, bench = calling(prepare)

    assert isinstance(outcome, OperationCancelledError)
    assert outcome.hook == "code.deny"
    assert bench.runs == []
    assert bench.side == 0


AFTER_PROPOSALS = [(name, value) for name, value in PROPOSALS if name != "Modified"]


@pytest.mark.parametrize(("name", "proposal"), [*AFTER_PROPOSALS, ("Modified", Modified({"result": "harmless"}))])
def test_a_guard_after_denies_whatever_a_transform_proposes(name: str, proposal: Any) -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(AFTER, lambda context: proposal, match="echo", name="proposer")
        host.hooks.register(AFTER, deny, kind="guard", match="echo")

    outcome, bench = calling(prepare)

    assert isinstance(outcome, OperationCancelledError)
    assert len(bench.runs) == 1
    assert bench.side == 0


def test_a_guard_denies_a_cache_hit_that_it_allowed_before() -> None:
    judged: list[Any] = []

    def second_time(context: HookContext[Any]) -> Cancel | None:
        judged.append(context.outcome)
        return Cancel("changed my mind") if len(judged) > 1 else None

    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, lambda context: Cache("k"), name="cache")
        host.hooks.register(BEFORE, second_time, kind="guard")

    outcome, bench = calling(prepare, times=2)

    assert isinstance(outcome, OperationCancelledError)
    assert len(bench.runs) == 1
    assert judged[0] is None
    assert judged[1].decision == Cache("k")
    assert judged[1].hook == "code.cache"


def test_guards_see_the_final_value_with_paths_resolved_and_nothing_to_change() -> None:
    seen: list[Any] = []

    def judge(context: HookContext[Any]) -> None:
        seen.append(context.subject)
        with pytest.raises(TypeError):
            context.subject.parameters["text"] = "mine"
        with pytest.raises((TypeError, AttributeError)):
            context.subject.parameters["deep"][0]["list"].append(1)
        with pytest.raises(AttributeError):
            context.subject.level = "safe"

    def prepare(host: Host, bench: Bench) -> None:
        first = {"text": "first", "deep": [{"list": [1]}]}
        host.hooks.register(BEFORE, judge, kind="guard", priority="highest")
        host.hooks.register(BEFORE, lambda context: context.modify(parameters=first), name="one")
        host.hooks.register(
            BEFORE,
            lambda context: context.modify(
                parameters={**context.subject.parameters, "text": "last"}, level="privileged", category="lie"
            ),
            name="two",
        )

    outcome, bench = calling(prepare)

    assert outcome == {"text": "last"}
    assert bench.runs == [{"text": "last", "deep": [{"list": [1]}]}]
    assert dict(seen[0].parameters)["text"] == "last"
    assert (seen[0].level, seen[0].category) == ("safe", "utility")


def test_what_the_caller_keeps_cannot_change_what_was_approved() -> None:
    given = {"text": "plain", "list": [1]}

    async def main() -> Any:
        bench = Bench()
        async with opened(*bench.plugins) as host:

            async def slow(context: HookContext[Any]) -> None:
                given["text"] = "changed"
                given["list"].append(2)  # type: ignore[attr-defined]

            host.hooks.register(BEFORE, slow, kind="guard")
            await host.call("tool:echo", given)
            return bench.runs

    assert run(main) == [{"text": "plain", "list": [1]}]


# A transform's Cancel is final.

REVIVALS: list[tuple[str, Any]] = [
    ("Replace", Replace({"result": "revived"})),
    ("Modified", Modified({"result": "revived"})),
    ("Cache", Cache("k")),
    ("Redirect", Redirect("other")),
    ("Retry", Retry(0, 5)),
]


@pytest.mark.parametrize(("name", "revival"), REVIVALS)
@pytest.mark.parametrize("point", [BEFORE, AFTER, "tool_security_check", "tool_resource_allocated"])
@pytest.mark.parametrize("kind", ["transform", "guard"])
def test_nothing_revives_what_a_hook_cancelled(name: str, revival: Any, point: str, kind: str) -> None:
    entered: list[Any] = []

    def revive(context: HookContext[Any]) -> Any:
        entered.append(context)
        return revival

    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(ERROR, revive)
        host.hooks.register(point, deny, kind=kind, match="echo")

    outcome, bench = calling(prepare)

    assert isinstance(outcome, OperationCancelledError)
    assert outcome.point == point
    assert entered == []
    assert len(bench.runs) == (1 if point == AFTER else 0)


def test_a_stored_value_does_not_revive_a_cancelled_call() -> None:
    denying: list[bool] = []

    def cache_and_deny_next(context: HookContext[Any]) -> Cache:
        denying.append(True)
        return Cache("k")

    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, lambda context: Cancel("no") if denying else None, priority="high")
        host.hooks.register(BEFORE, cache_and_deny_next)

    outcome, bench = calling(prepare, times=2)

    assert isinstance(outcome, OperationCancelledError)
    assert len(bench.runs) == 1


def test_no_breaker_disarms_a_guard_however_often_it_fails_or_dawdles() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, raising, kind="guard", name="guard")

    outcome, bench = calling(prepare, times=20, settings={"hooks": {"breaker": "production"}})

    assert isinstance(outcome, OperationCancelledError)
    assert bench.runs == []


# After-guards see every value that leaves, exactly once.


def leaving(prepare: Callable[[Host, Bench], None], *, failing: int = 0, times: int = 1) -> list[Any]:
    """Return the values of ``echo`` that its after-guard saw, and that left."""
    seen: list[Any] = []

    def outer(host: Host, bench: Bench) -> None:
        bench.failing = failing
        host.hooks.register(
            AFTER, lambda context: seen.append(context.subject.result), kind="guard", match="echo", name="seeing"
        )
        prepare(host, bench)

    outcome, _ = calling(outer, times=times)
    return [value if isinstance(value, str) else dict(value) for value in seen] + [["left", outcome]]


def test_the_value_of_the_body_is_judged_once() -> None:
    assert leaving(lambda host, bench: None) == [{"text": "plain"}, ["left", {"text": "plain"}]]


def test_a_value_proposed_before_is_judged_once() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, lambda context: Replace({"result": "fixed"}))

    assert leaving(prepare) == ["fixed", ["left", "fixed"]]


def test_a_cache_hit_is_judged_once_more() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, lambda context: Cache("k"))

    assert leaving(prepare, times=2) == [{"text": "plain"}, {"text": "plain"}, ["left", {"text": "plain"}]]


def test_the_value_of_another_tool_is_judged_once() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, lambda context: Redirect("other"), match="echo")

    assert leaving(prepare) == [{"text": "other"}, ["left", {"text": "other"}]]


def test_a_value_passed_on_after_is_judged_before_it_goes_and_what_comes_back_too() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(AFTER, lambda context: Redirect("other"), match="echo")

    assert leaving(prepare) == [{"text": "plain"}, {"text": "other"}, ["left", {"text": "other"}]]


def test_a_recovered_value_is_judged_once() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(ERROR, lambda context: Replace({"result": "fixed"}))

    assert leaving(prepare, failing=1) == ["fixed", ["left", "fixed"]]


def test_a_fallback_is_judged_once() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(ERROR, lambda context: Redirect("other"))

    assert leaving(prepare, failing=1) == [{"text": "other"}, ["left", {"text": "other"}]]


def test_a_value_replaced_after_is_judged_as_it_leaves() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(AFTER, lambda context: Modified({"result": "one"}), name="one")
        host.hooks.register(AFTER, lambda context: Replace({"result": "two"}), name="two")

    assert leaving(prepare) == ["two", ["left", "two"]]


def test_a_guard_that_denies_a_recovered_value_withholds_it() -> None:
    def prepare(host: Host, bench: Bench) -> None:
        bench.failing = 1
        host.hooks.register(ERROR, lambda context: Replace({"result": "fixed"}))
        host.hooks.register(AFTER, deny, kind="guard")

    outcome, _ = calling(prepare)

    assert isinstance(outcome, OperationCancelledError)
    assert outcome.point == AFTER


# Nested operations.


def test_the_cancel_of_a_nested_operation_is_a_failure_of_the_outer_one_and_not_retried() -> None:
    failures: list[Any] = []
    runs: list[int] = []

    async def outer(parameters: dict[str, Any], context: ToolContext) -> Any:
        runs.append(1)
        return await context.services.get(Calls).call("tool:echo")

    def remember(context: HookContext[Any]) -> Retry:
        failures.append(context.subject)
        return Retry(0, 5)

    async def main() -> None:
        async with opened(*Bench().plugins, make_tool("outer", outer)) as host:
            host.hooks.register(BEFORE, deny, kind="guard", match="echo")
            host.hooks.register(ERROR, remember, match="outer")
            await host.call("tool:outer")

    with pytest.raises(OperationCancelledError) as caught:
        run(main)

    assert caught.value.component == "tool:echo"
    assert [failure.code for failure in failures] == ["denied"]
    assert runs == [1]


def test_the_outer_operation_may_recover_from_a_nested_cancel() -> None:
    async def outer(parameters: dict[str, Any], context: ToolContext) -> Any:
        return await context.services.get(Calls).call("tool:echo")

    async def main() -> Any:
        async with opened(*Bench().plugins, make_tool("outer", outer)) as host:
            host.hooks.register(BEFORE, deny, kind="guard", match="echo")
            host.hooks.register(ERROR, lambda context: Replace({"result": "without it"}), match="outer")
            return (await host.call("tool:outer")).result

    assert run(main) == "without it"


@pytest.mark.parametrize(
    ("proposal", "allowed"),
    [(Redirect("other"), False), (Fork((Call("tool:other"),), join=True), True)],
    ids=["Redirect", "Fork"],
)
def test_a_guard_of_the_target_judges_redirects_and_forks(proposal: Any, allowed: bool) -> None:
    denied: list[Any] = []

    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, lambda context: proposal, match="echo")
        host.hooks.register(BEFORE, lambda context: Cancel("no"), kind="guard", match="other", name="no")
        host.hooks.register(ERROR, lambda context: denied.append(context.outcome), kind="observe", match="other")

    outcome, _ = calling(prepare)

    assert [ending.status for ending in denied] == ["cancelled"]
    assert isinstance(outcome, OperationCancelledError) is not allowed


def test_every_guard_is_heard_until_one_denies_and_any_denial_wins() -> None:
    asked: list[str] = []

    def agree(context: HookContext[Any]) -> None:
        asked.append("agree")

    def refuse(context: HookContext[Any]) -> Cancel:
        asked.append("refuse")
        return Cancel("no")

    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, agree, kind="guard", priority="high")
        host.hooks.register(BEFORE, refuse, kind="guard")

    outcome, _ = calling(prepare)

    assert isinstance(outcome, OperationCancelledError)
    assert asked == ["agree", "refuse"]


def test_a_change_made_for_another_attempt_is_judged_again() -> None:
    judged: list[str] = []

    def change(context: HookContext[Any]) -> Any:
        return Retry(0, 2) if context.operation.attempt == 1 else context.modify(parameters={"text": "again"})

    def prepare(host: Host, bench: Bench) -> None:
        host.hooks.register(BEFORE, change)
        host.hooks.register(BEFORE, lambda context: judged.append(context.subject.parameters["text"]), kind="guard")

    outcome, _ = calling(prepare)

    assert outcome == {"text": "again"}
    assert judged == ["plain", "again"]
