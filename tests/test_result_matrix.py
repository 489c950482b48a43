"""Each of the nine results at each point: honoured as the table in docs/design.md says, or refused.

The cells are made from the points' own declarations; each is a test of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kernel import (
    ALL_POINTS,
    FAILS,
    HOST_LEVEL,
    MORE_PLUGINS,
    SCENARIOS,
    SETTINGS,
    Bench,
    make_plugin,
    opened,
    run,
    side_call,
)
from llmspell import Host
from llmspell_hookspecs import (
    Cache,
    Cancel,
    Continue,
    Fork,
    HookContext,
    HookResult,
    Modified,
    OperationCancelledError,
    Phase,
    Redirect,
    Replace,
    Retry,
    Skipped,
    ToolError,
)
from llmspell_hookspecs.errors import HookRegistrationError, UnsupportedResultError
from llmspell_hookspecs.points import ACCEPTED, HookPoint
from llmspell_hookspecs.results import RESULT_TYPES
from workflow_scenarios import WORKFLOW_MODIFIED

# What Modified and Replace carry at each point, and what comes out of the scenario then.

ENVELOPES: dict[str, Any] = {
    "tool": {"result": {"text": "new"}},
    "tool_discovery": {"tools": ({"name": "new"},)},
    "script": {"value": {"text": "new"}},
    "model": {"text": "new"},
    "agent": {"text": "new"},
    "workflow": {"output": {"text": "new"}},
    "event": {"type": "greeting.sent", "data": {"text": "new"}},
    "state": {"value": {"text": "new"}},
    "artifact": {"description": "new"},
    "custom": {"text": "new"},
    "deploy": {"text": "new"},
}
MODIFIED: dict[str, Any] = {
    "before_tool_execution": {"parameters": {"text": "new"}},
    "before_tool_discovery": {"tag": "The other."},  # as its description says
    "before_script_run": {"source": "new"},
    "before_model_call": {"messages": [{"role": "user", "content": "new"}]},
    "before_agent_init": {"description": "new"},
    "tool_resource_allocated": {"limits": {"time_s": 7.0}},
    **WORKFLOW_MODIFIED,
    "before_state_read": {"key": "other"},
    "before_state_delete": {"key": "other"},
}
DISCOVERY = frozenset({"before_tool_discovery", "after_tool_discovery"})
FIRED_BY_TOOL = frozenset(
    {"resource_limit_exceeded", "security_violation", "performance_threshold_exceeded", "tool_timeout"}
)
BODILESS = frozenset({"custom", "deploy"})
LIFE = frozenset(
    {
        "before_agent_init",
        "after_agent_init",
        "before_agent_shutdown",
        "after_agent_shutdown",
        "agent_state_changed",
        "agent_paused",
        "agent_resumed",
        "agent_recovering",
    }
)
NARROW = frozenset({"event", "state", "workflow", "artifact"})
"""Topics whose points accept less than their phase could honour."""
SUCCEEDING = {
    "tool_error": "before_tool_execution",
    "script_error": "before_script_run",
    "model_error": "before_model_call",
    "agent_error": "before_agent_execution",
    "workflow_error": "before_workflow_start",
}
"""For each point of failures, a scenario of the same kind that succeeds."""


def family(point: HookPoint) -> str:
    """Return which kind of operation the point belongs to."""
    return "tool_discovery" if point.name in DISCOVERY else point.topic


def plain_text(point: HookPoint) -> str:
    """Return what the scenario yields with no hook."""
    return "echo" if point.name in DISCOVERY else "plain"


class Trial:
    """One result at one point."""

    def __init__(self, point: HookPoint, result: HookResult) -> None:
        self.point = point
        self.result = result
        self.bench = Bench()
        self.attempts: list[int] = []
        self.host: Host | None = None
        self.outcome: Any = None
        self.problems: list[Exception] = []

    def hook(self, context: HookContext[Any]) -> HookResult | None:
        """Return the result; a Retry once, none for what it set off itself, nor at the end of a stream."""
        if context.component.name in ("other", "side") or getattr(context.subject, "final", False):
            return None
        self.attempts.append(context.operation.attempt)
        if isinstance(self.result, Retry) and context.operation.attempt > 1:
            return None
        return self.result

    def go(self, act: Callable[[Host], Awaitable[Any]] | None = None) -> Any:
        """Run the scenario and return what comes out; an error is answered, not raised."""
        act = act or self.fire

        async def main() -> None:
            hooks = make_plugin("answering", (self.point.name, self.hook, {"name": "answer"}))
            plugins = [*self.bench.plugins, *MORE_PLUGINS.get(self.point.name, ()), hooks]
            async with opened(*plugins, settings=SETTINGS.get(self.point.name), trace=True) as host:
                self.host = host
                try:
                    self.outcome = await act(host)
                except Exception as error:
                    self.outcome = error

        run(main)
        assert self.host is not None
        self.problems = list(self.host.problems)
        return self.outcome

    async def fire(self, host: Host) -> Any:
        """Run the point's scenario."""
        return await SCENARIOS[self.point.name](host, self.bench)

    def as_without(self) -> None:
        """Assert that the scenario ended as it does with no hook."""
        if self.point.name in FAILS:
            assert isinstance(self.outcome, FAILS[self.point.name])
            assert not isinstance(self.outcome, UnsupportedResultError)
        else:
            assert self.outcome == plain_text(self.point)
        assert self.problems == []

    def body_ran(self, times: int) -> None:
        """Assert how often the body ran, where there is one to count."""
        counted = ("tool", "script", "event", "model", "agent", "state")
        if family(self.point) in counted and self.point.name not in LIFE:
            assert len(self.bench.runs) == times


# Honoured results, by phase.


def goes_on(trial: Trial) -> None:
    trial.go()

    trial.as_without()
    assert trial.attempts


def modifies_the_subject(trial: Trial) -> None:
    trial.result = Modified(MODIFIED.get(trial.point.name, ENVELOPES[family(trial.point)]))

    assert trial.go() == ("other" if trial.point.name in DISCOVERY else "new")


def modifies_the_result(trial: Trial) -> None:
    trial.result = Modified(ENVELOPES[family(trial.point)])

    assert trial.go() == "new"


def modifies_the_failure(trial: Trial) -> None:
    plain = Trial(trial.point, Continue())
    old = plain.go()
    trial.result = Modified({"message": "withheld", "code": "hidden"})
    error = trial.go()

    assert isinstance(error, type(old))
    assert (str(error), error.code) == ("withheld", "hidden")
    assert error.__cause__ is None and error.__context__ is None
    assert str(old) not in repr((error.args, vars(error)))


def cancels_before(trial: Trial) -> None:
    error = trial.go()

    assert isinstance(error, OperationCancelledError)
    assert (error.point, error.reason, error.code) == (trial.point.name, "not today", "holiday")
    assert error.hook == "answering.answer"
    trial.body_ran(1 if trial.point.name == "model_chunk" else 0)  # its body is what yields the chunk


def withholds(trial: Trial) -> None:
    error = trial.go()

    assert isinstance(error, OperationCancelledError)
    assert error.point == trial.point.name
    trial.body_ran(1)


def chains_the_error(trial: Trial) -> None:
    error = trial.go()

    assert isinstance(error, FAILS[trial.point.name])
    cause = error.__cause__
    while isinstance(cause, ToolError):  # a workflow fails with its stage's failure as the cause
        cause = cause.__cause__
    assert isinstance(cause, OperationCancelledError)
    assert cause.reason == "not today"


def redirects_before(trial: Trial) -> None:
    assert trial.go() == "other"
    trial.body_ran(0)


def redirects_after(trial: Trial) -> None:
    assert trial.go() == "other"
    trial.body_ran(1)


def replaces_before(trial: Trial) -> None:
    trial.result = Replace(ENVELOPES[family(trial.point)])

    assert trial.go() == "new"
    trial.body_ran(0)


def replaces_after(trial: Trial) -> None:
    trial.result = Replace(ENVELOPES[family(trial.point)])

    assert trial.go() == "new"
    trial.body_ran(1)


def retries_before(trial: Trial) -> None:
    trial.go()

    trial.as_without()
    assert trial.attempts == [1, 2]
    trial.body_ran(1)


def retries_after(trial: Trial) -> None:
    trial.go()

    trial.as_without()
    assert trial.attempts == [1, 2]
    trial.body_ran(2)


def retries_the_failed(trial: Trial) -> None:
    outcome = trial.go()

    if trial.point.topic == "deploy":  # its body fails again
        assert isinstance(outcome, Exception)
        assert trial.attempts == [1, 2]
    else:
        assert outcome == "plain"
    trial.body_ran(2)


def forks(trial: Trial) -> None:
    trial.go()

    trial.as_without()
    assert trial.bench.side == len(trial.attempts) > 0


def caches_before(trial: Trial) -> None:
    async def twice(host: Host) -> Any:
        return [await trial.fire(host), await trial.fire(host)]

    first, second = trial.go(twice)

    assert first == second == plain_text(trial.point)
    assert notes(trial) == ["miss", "hit"]
    trial.body_ran(1)


def caches_after(trial: Trial) -> None:
    before = trial.point.name.replace("after", "before").replace("workflow_complete", "workflow_start")
    other = next(point for point in ALL_POINTS if point.name == before)

    async def twice(host: Host) -> Any:
        first = await trial.fire(host)
        host.hooks.register(before, lambda context: trial.result, plugin="answering")
        return [first, await SCENARIOS[other.name](host, trial.bench)]

    first, second = trial.go(twice)

    assert first == second == plain_text(trial.point)
    assert notes(trial) == ["hit"]
    trial.body_ran(1)


def serves_the_stored(trial: Trial) -> None:
    before = SUCCEEDING.get(trial.point.name)

    async def twice(host: Host) -> Any:
        if before is None:
            return await trial.fire(host)
        host.hooks.register(before, lambda context: Cache("kept", ttl_s=-1), plugin="answering")
        await SCENARIOS[before](host, trial.bench)
        return await trial.fire(host)

    outcome = trial.go(twice)

    if before is None:  # nothing stores under this point, so the error goes on
        assert isinstance(outcome, Exception)
        assert notes(trial) == ["miss"]
    else:
        assert outcome == "plain"
        assert notes(trial)[-1] == "hit"
        trial.body_ran(2)


def notes(trial: Trial) -> list[str]:
    """Return what the runner noted about the cache."""
    assert trial.host is not None
    return [row.detail for row in trial.host.trace if row.kind == "runner" and row.result == "Cache"]


def changes_the_inputs(trial: Trial) -> None:
    kind = Modified if isinstance(trial.result, Modified) else Replace
    if trial.point.name == "tool_resource_allocated":
        trial.result = kind(MODIFIED[trial.point.name])
        trial.go()

        trial.as_without()
        assert [limits.time_s for limits in trial.bench.limits] == [7.0]
    else:
        trial.result = kind(MODIFIED.get(trial.point.name, ENVELOPES["deploy"]))

        assert trial.go() == "new"


HONOURED: dict[Phase, dict[type, Callable[[Trial], None]]] = {
    Phase.BEFORE: {
        Continue: goes_on,
        Modified: modifies_the_subject,
        Cancel: cancels_before,
        Redirect: redirects_before,
        Replace: replaces_before,
        Retry: retries_before,
        Fork: forks,
        Cache: caches_before,
        Skipped: goes_on,
    },
    Phase.AFTER: {
        Continue: goes_on,
        Modified: modifies_the_result,
        Cancel: withholds,
        Redirect: redirects_after,
        Replace: replaces_after,
        Retry: retries_after,
        Fork: forks,
        Cache: caches_after,
        Skipped: goes_on,
    },
    Phase.ERROR: {
        Continue: goes_on,
        Modified: modifies_the_failure,
        Cancel: chains_the_error,
        Redirect: redirects_after,
        Replace: replaces_after,
        Retry: retries_the_failed,
        Fork: forks,
        Cache: serves_the_stored,
        Skipped: goes_on,
    },
    Phase.DECISION: {
        Continue: goes_on,
        Modified: changes_the_inputs,
        Replace: changes_the_inputs,
        Cancel: cancels_before,
        Skipped: goes_on,
    },
    Phase.CHECK: {Continue: goes_on, Cancel: cancels_before, Skipped: goes_on},
    Phase.NOTICE: {Continue: goes_on, Fork: forks, Skipped: goes_on},
}
RESULTS: dict[type, HookResult] = {
    Continue: Continue(),
    Modified: Modified({}),
    Cancel: Cancel("not today", "holiday"),
    Redirect: Redirect("tool:other"),
    Replace: Replace({}),
    Retry: Retry(delay_s=0, max_attempts=2),
    Fork: Fork((side_call(),), join=True),
    Cache: Cache("kept"),
    Skipped: Skipped("not mine"),
}
CELLS = [(point, result) for point in ALL_POINTS if point.phase is not Phase.AROUND for result in RESULT_TYPES]


@pytest.mark.parametrize(
    ("point", "result"), CELLS, ids=lambda value: value.name if isinstance(value, HookPoint) else value.__name__
)
def test_a_result_is_honoured_or_refused(point: HookPoint, result: type) -> None:
    trial = Trial(point, RESULTS[result])

    if result.__name__ in point.accepts:
        HONOURED[point.phase][result](trial)
    else:
        is_refused(trial)


def is_refused(trial: Trial) -> None:
    """The error names the hook, the point and what is accepted; the host's own notices keep it."""
    outcome = trial.go()

    if trial.point.name in HOST_LEVEL:
        assert outcome == "plain"
        outcome = trial.problems[0]
    assert isinstance(outcome, UnsupportedResultError)
    assert (outcome.hook, outcome.point) == ("answer", trial.point.name)
    assert outcome.result == type(trial.result).__name__
    assert set(outcome.accepted) == trial.point.accepts
    assert all(name in str(outcome) for name in trial.point.accepts)


@pytest.mark.parametrize("result", RESULT_TYPES, ids=lambda result: result.__name__)
@pytest.mark.parametrize(
    "point", [point for point in ALL_POINTS if point.phase is Phase.AROUND], ids=lambda point: point.name
)
def test_a_point_around_a_body_takes_wraps_only_so_nothing_answers_there(point: HookPoint, result: type) -> None:
    async def main() -> None:
        async with opened(*Bench().plugins) as host:
            host.hooks.register(point.name, lambda context: RESULTS[result])

    assert point.accepts == frozenset()
    with pytest.raises(HookRegistrationError, match="say kind='wrap'"):
        run(main)


def test_the_table_of_honoured_results_is_the_one_that_points_declare() -> None:
    for point in ALL_POINTS:
        if point.phase is not Phase.AROUND:
            honoured = {result.__name__ for result in HONOURED[point.phase]}
            assert honoured == ACCEPTED[point.phase]
            assert honoured >= point.accepts
            assert honoured == point.accepts or point.topic in NARROW or point.name in LIFE


@pytest.mark.parametrize("answer", ["yes", True, 1, {"result": 1}, object])
def test_what_is_no_result_at_all_is_refused_by_name(answer: object) -> None:
    point = next(point for point in ALL_POINTS if point.name == "before_tool_execution")
    trial = Trial(point, answer)  # type: ignore[arg-type]

    error = trial.go()

    assert isinstance(error, UnsupportedResultError)
    assert error.result == type(answer).__name__
    trial.body_ran(0)


def test_an_unsupported_answer_at_after_or_error_does_not_enter_the_error_point() -> None:
    for name in ("after_tool_execution", "tool_error"):
        point = next(point for point in ALL_POINTS if point.name == name)
        trial = Trial(point, "wrong")  # type: ignore[arg-type]
        entered: list[Any] = []

        async def watched(host: Host, trial: Trial = trial, entered: list[Any] = entered) -> Any:
            host.hooks.register("tool_error", entered.append, name="watch", priority="highest")
            return await trial.fire(host)

        error = trial.go(watched)

        assert isinstance(error, UnsupportedResultError)
        assert len(entered) == (1 if name == "tool_error" else 0)
