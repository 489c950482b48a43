"""The life of an agent, in a host: nine states, pausing and steering, stopping, recovering, and ending gracefully."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernel import make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Agent,
    AgentInput,
    AgentOutput,
    Cancel,
    HookContext,
    InvalidInputError,
    Message,
    OperationCancelledError,
    ToolContext,
)
from llmspell_hookspecs.agent_life import TRANSITIONS, AgentState
from llmspell_hookspecs.agents import AgentContext, AgentHandle
from llmspell_hookspecs.errors import OperationTimeoutError, ResourceLimitError
from scripted_model import WAITS, ScriptedModel, asks, says


def in_host(main: Callable[[Host], Awaitable[Any]], *plugins: Any, virtual: bool = True, **options: Any) -> Any:
    async def opening() -> Any:
        async with opened(*plugins, **options) as host:
            return await main(host)

    return run(opening, virtual=virtual)


class Sleepy(Agent):
    """Sleep for as many seconds as it is told, fail if told to, and recover at the third attempt."""

    kind = "sleepy"
    recoveries: ClassVar[int] = 0

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        if input.text == "fail":
            raise KeyError("a bug")
        await trio.sleep(float(input.text or 0))
        if context.attention:
            said = await context.checkpoint()
            return AgentOutput("; ".join(message.content for message in said))
        return AgentOutput("slept")

    async def recover(self) -> None:
        type(self).recoveries += 1
        if type(self).recoveries < 3:
            raise RuntimeError("not yet")


async def made(host: Host, **fields: Any) -> AgentHandle:
    return await host.agents.create(**{"name": "bear", "kind": "sleepy", **fields})


async def _quick(parameters: dict[str, Any], context: ToolContext) -> str:
    return "looked"


LOOK = make_tool("look", _quick)


# States.


def test_an_agent_is_running_from_its_first_runs_begin_to_its_last_ones_end() -> None:
    async def main(host: Host) -> list[str]:
        agent = await made(host)
        states = [agent.info.state]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, "1")
            nursery.start_soon(agent.run, "2")
            for _ in range(3):
                await trio.sleep(0.75)
                states.append(agent.info.state)
        await agent.close()
        return [*states, agent.info.state, *(f"{c.previous}>{c.state}" for c in agent.life.history)]

    found = in_host(main, Sleepy)

    assert found[:5] == ["ready", "running", "running", "ready", "terminated"]
    assert found[5:] == [
        "uninitialized>initializing",
        "initializing>ready",
        "ready>running",
        "running>ready",
        "ready>terminating",
        "terminating>terminated",
    ]


def test_each_change_is_told_after_the_fact_and_no_hook_can_keep_an_agent_between_two_states() -> None:
    told: list[str] = []

    async def main(host: Host) -> str:
        def note(context: HookContext[Any]) -> None:
            told.append(f"{context.component.name}: {context.subject.previous}>{context.subject.state}")

        host.hooks.register("agent_state_changed", note, kind="observe")
        agent = await made(host)
        await agent.run("0")
        await agent.close()
        return agent.info.state

    assert in_host(main, Sleepy) == "terminated"
    assert told == [
        f"bear: {change}"
        for change in (
            "uninitialized>initializing",
            "initializing>ready",
            "ready>running",
            "running>ready",
            "ready>terminating",
            "terminating>terminated",
        )
    ]


def test_a_cancelled_run_leaves_the_agent_ready_and_tells_so() -> None:
    told: list[str] = []

    async def main(host: Host) -> str:
        host.hooks.register("agent_state_changed", lambda context: told.append(context.subject.state), kind="observe")
        agent = await made(host)
        with trio.move_on_after(1):
            await agent.run("10")
        return agent.info.state

    assert in_host(main, Sleepy) == "ready"
    assert told[2:4] == ["running", "ready"]


# Pausing and steering.


def test_a_paused_agent_begins_nothing_and_its_time_stands_still() -> None:
    model = ScriptedModel(asks(("look", {})), says("done"))

    async def main(host: Host) -> tuple[Any, ...]:
        agent = await host.agents.create(name="bear", model="scripted/play", tools=["look"], time_s=5)
        await agent.pause("tea")
        paused = agent.info.state
        outputs: list[AgentOutput] = []

        async def ask() -> None:
            outputs.append(await agent.run("look"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(100)
            asked = len(model.requests)
            await agent.resume()
        return paused, asked, outputs[0].text, agent.info.state

    assert in_host(main, model, LOOK) == ("paused", 0, "done", "ready")


def test_a_run_stops_between_two_steps_and_takes_in_what_it_is_told() -> None:
    model = ScriptedModel(asks(("look", {})), says("done"))

    async def main(host: Host) -> Any:
        agent = await host.agents.create(name="bear", model="scripted/play", tools=["look"])

        async def pause(context: HookContext[Any]) -> None:
            await agent.pause()

        host.hooks.register("after_tool_execution", pause, timeout_s=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, "look")
            await trio.sleep(1)
            agent.tell("look at the sea")
            asked = len(model.requests)
            await agent.resume()
        return asked, [(message.role, message.content) for message in agent.conversation]

    asked, conversation = in_host(main, model, LOOK)

    assert asked == 1
    assert conversation == [
        ("user", "look"),
        ("assistant", ""),
        ("tool", "looked"),
        ("user", "look at the sea"),
        ("assistant", "done"),
    ]


def test_what_a_run_is_told_as_it_answers_is_answered_too_and_judged_like_any_message() -> None:
    model = ScriptedModel(lambda request: says("first"), says("second"))
    seen: list[str] = []

    async def main(host: Host) -> AgentOutput:
        agent = await host.agents.create(name="bear", model="scripted/play")

        def steer(context: HookContext[Any]) -> None:
            if len(model.requests) == 1:
                agent.tell("and then?")

        def judge(context: HookContext[Any]) -> None:
            seen.append(context.subject.messages[-1].content)

        host.hooks.register("after_model_call", steer)
        host.hooks.register("before_model_call", judge, kind="guard")
        return await agent.run("go")

    output = in_host(main, model)

    assert (output.text, output.steps, seen) == ("second", 2, ["go", "and then?"])


def test_pausing_now_cuts_off_the_model_and_asks_it_again() -> None:
    model = ScriptedModel(WAITS, says("done"))

    async def main(host: Host) -> str:
        agent = await host.agents.create(name="bear", model="scripted/play", interruptible=True)
        texts: list[str] = []

        async def ask() -> None:
            texts.append((await agent.run("go")).text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await model.begun.wait()
            await agent.pause(when="now")
            await agent.resume()
        return texts[0]

    assert in_host(main, model) == "done"
    assert (len(model.requests), model.ended) == (2, 2)


def test_what_cannot_be_cut_off_says_so_instead_of_waiting() -> None:
    model = ScriptedModel(WAITS)

    async def main(host: Host) -> None:
        agent = await host.agents.create(name="bear", model="scripted/play")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, "go")
            await model.begun.wait()
            with pytest.raises(InvalidInputError, match="interruptible"):
                await agent.pause(when="now")
            assert agent.info.state == "running"
            nursery.cancel_scope.cancel()

    in_host(main, model)


def test_a_pause_is_bounded() -> None:
    async def main(host: Host) -> None:
        agent = await made(host)
        await agent.pause()
        with pytest.raises(ResourceLimitError, match=r"agents\.pause_s"):
            await agent.run("0")

    in_host(main, Sleepy, settings={"agents": {"pause_s": 60}})


def test_a_hook_may_keep_an_agent_paused() -> None:
    async def main(host: Host) -> str:
        agent = await made(host)
        host.hooks.register("agent_resumed", lambda context: Cancel("not yet"), kind="guard")
        await agent.pause("tea")
        with pytest.raises(OperationCancelledError, match="not yet"):
            await agent.resume()
        return agent.info.state

    assert in_host(main, Sleepy) == "paused"


# Stopping and ending.


def test_what_is_stopped_fails_with_the_reason_and_the_agent_goes_on() -> None:
    async def main(host: Host) -> tuple[str, int, str]:
        agent = await made(host)
        errors: list[str] = []

        async def ask() -> None:
            with pytest.raises(OperationTimeoutError) as caught:
                await agent.run("1000")
            errors.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            ended = await agent.stop("enough of that")
        return errors[0], ended, (await agent.run("0")).text

    assert in_host(main, Sleepy) == ("agent:bear: enough of that", 1, "slept")


@pytest.mark.parametrize(("needs_s", "ended"), [(5, "slept"), (100, "agent:bear: it is being shut down; make another")])
def test_an_agent_that_is_shut_down_lets_its_runs_end_within_its_grace(needs_s: int, ended: str) -> None:
    async def main(host: Host) -> tuple[str, ...]:
        agent = await made(host)
        ends: list[str] = []

        async def ask() -> None:
            try:
                ends.append((await agent.run(str(needs_s))).text)
            except OperationTimeoutError as error:
                ends.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            nursery.start_soon(agent.close)
            await trio.sleep(1)
            state = agent.info.state
            with pytest.raises(InvalidInputError, match="shut down"):
                await agent.run("0")
        return state, ends[0], agent.info.state

    assert in_host(main, Sleepy) == ("terminating", ended, "terminated")


@pytest.mark.parametrize("how", ["parallel", "queue", "refuse"])
def test_runs_at_once_go_beside_each_other_one_after_the_other_or_not_at_all(how: str) -> None:
    most = 0

    async def main(host: Host) -> list[str]:
        agent = await made(host, concurrency=how)
        ends: list[str] = []

        def count(context: HookContext[Any]) -> None:
            nonlocal most
            most = max(most, agent.info.running)

        async def ask() -> None:
            try:
                ends.append((await agent.run("2")).text)
            except ResourceLimitError as error:
                ends.append(error.resource)

        host.hooks.register("after_agent_execution", count, kind="observe")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        return sorted(ends)

    ends = in_host(main, Sleepy)

    expected = {"parallel": (3, ["slept"] * 3), "queue": (1, ["slept"] * 3), "refuse": (1, ["runs", "runs", "slept"])}
    assert (most, ends) == expected[how]


# Errors and recovery.


def test_a_failed_run_is_no_state_of_error_until_so_many_fail_in_a_row() -> None:
    async def main(host: Host) -> list[str]:
        agent = await made(host, max_failures=3)
        states: list[str] = []
        for text in ("fail", "fail", "0", "fail", "fail", "fail"):
            with suppress(KeyError):
                await agent.run(text)
            states.append(agent.info.state)
        with pytest.raises(InvalidInputError, match="recover it"):
            await agent.run("0")
        return states

    assert in_host(main, Sleepy) == ["ready"] * 5 + ["error"]


def test_an_agent_recovers_with_growing_waits_and_is_given_up_in_the_end() -> None:
    async def main(host: Host) -> list[Any]:
        Sleepy.recoveries = 0
        agent = await made(host)
        await agent.set_error("it rained")
        await agent.recover()
        found: list[Any] = [Sleepy.recoveries, agent.info.state, agent.life.errors]
        Sleepy.recoveries = -10
        await agent.set_error("it rained again")
        with pytest.raises(ResourceLimitError, match=r"agents\.recoveries"):
            await agent.recover()
        return [*found, agent.info.state, agent.life.recoveries]

    assert in_host(main, Sleepy) == [3, "ready", 3, "error", 3]


def test_a_hook_that_keeps_an_agent_in_error_counts_as_no_attempt() -> None:
    async def main(host: Host) -> tuple[str, int]:
        agent = await made(host)
        host.hooks.register("agent_recovering", lambda context: Cancel("leave it"), kind="guard")
        await agent.set_error("it rained")
        for _ in range(5):
            with pytest.raises(OperationCancelledError):
                await agent.recover()
        return agent.info.state, agent.life.recoveries

    assert in_host(main, Sleepy) == ("error", 0)


def test_a_recovery_that_is_cancelled_leaves_the_agent_in_error() -> None:
    class Slow(Sleepy):
        kind = "slow"

        async def recover(self) -> None:
            await trio.sleep(100)

    async def main(host: Host) -> str:
        agent = await made(host, kind="slow")
        await agent.set_error("it rained")
        with trio.move_on_after(1):
            await agent.recover()
        return agent.info.state

    assert in_host(main, Slow) == "error"


class Life(RuleBasedStateMachine):
    """Every order of calls, with runs under way: each change is one that the table has, and counts are right."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = trio.testing.MockClock()
        self.steps: list[tuple[str, Any]] = []

    @rule(name=st.sampled_from(["run", "fail", "pause", "resume", "error", "recover", "stop", "tell", "wait", "close"]))
    def do(self, name: str) -> None:
        self.steps.append((name, None))

    @invariant()
    def holds(self) -> None:
        """Nothing here: the steps run together at the end."""

    def teardown(self) -> None:
        steps = [name for name, _ in self.steps]

        async def main(host: Host) -> None:
            Sleepy.recoveries = 5
            agent = await made(host, max_failures=2)
            asked = ended = 0

            async def ask(text: str) -> None:
                nonlocal ended
                with suppress(KeyError, InvalidInputError, OperationTimeoutError):
                    await agent.run(text)
                ended += 1

            async with trio.open_nursery() as nursery:
                for step in steps:
                    if step in ("run", "fail"):
                        asked += 1
                        nursery.start_soon(ask, "3" if step == "run" else "fail")
                    elif step == "wait":
                        await trio.sleep(1)
                    else:
                        calls: dict[str, Callable[[], Any]] = {
                            "pause": agent.pause,
                            "resume": agent.resume,
                            "error": lambda: agent.set_error("it rained"),
                            "recover": agent.recover,
                            "stop": agent.stop,
                            "close": lambda: agent.close(grace_s=2),
                        }
                        with suppress(InvalidInputError, ResourceLimitError):
                            if step == "tell":
                                agent.tell("hear")
                            else:
                                await calls[step]()
                    await trio.testing.wait_all_tasks_blocked()
                await agent.resume()
            assert (asked, agent.info.running) == (ended, 0)
            assert agent.info.state in ("ready", "error", "terminated")
            previous: AgentState = "uninitialized"
            for change in agent.life.history:
                assert change.previous == previous
                assert change.state in TRANSITIONS[previous]
                previous = change.state
            assert previous == agent.info.state

        in_host(main, Sleepy)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=40, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_conversation_may_be_told_before_it_begins() -> None:
    model = ScriptedModel(says("yes"))

    async def main(host: Host) -> list[Message]:
        agent = await host.agents.create(name="bear", model="scripted/play")
        agent.tell("be brief")
        await agent.run("are you there?")
        return list(model.requests[0].messages)

    assert [message.content for message in in_host(main, model)] == ["are you there?", "be brief"]
