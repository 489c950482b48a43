"""The plugin retry: what is run again, after which waits, and how a budget bounds it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kernel import make_plugin, make_tool, opened, run
from llmspell_hookspecs import Cancel, OperationCancelledError, ToolContext, ToolError
from llmspell_hookspecs.errors import ProviderError
from llmspell_plugins.hooks.retry import RetrySettings, delay_of
from scripted_model import ScriptedModel, says


class Flaky:
    """A tool that fails as it is told to."""

    def __init__(self, *failures: Exception, **attributes: Any) -> None:
        self.failures = list(failures)
        self.at: list[float] = []
        self.tool = make_tool("flaky", self.run, **attributes)

    async def run(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        self.at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if parameters.get("always") or self.failures:
            raise self.failures.pop(0) if self.failures else busy()
        return "fine"

    @property
    def waits(self) -> list[float]:
        return [round(after - before, 3) for before, after in zip(self.at, self.at[1:], strict=False)]


def busy(code: str = "unavailable", retry_after_s: float | None = None) -> ProviderError:
    return ProviderError(f"it is {code}", code=code, retry_after_s=retry_after_s, retryable=True)


def settings(**given: Any) -> dict[str, Any]:
    return {"plugins": {"retry": {"enabled": True, "jitter": "none", "base_s": 1, **given}}}


def called(tool: Flaky, *plugins: Any, parameters: dict[str, Any] | None = None, **given: Any) -> Any:
    async def main() -> Any:
        async with opened(tool.tool, *plugins, settings=settings(**given)) as host:
            return (await host.call("tool:flaky", parameters or {})).result

    return run(main, virtual=True)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        ("exponential", [1, 2, 4, 8, 16]),
        ("linear", [1, 2, 3, 4, 5]),
        ("fibonacci", [1, 1, 2, 3, 5]),
        ("fixed", [1, 1, 1, 1, 1]),
    ],
)
def test_waits_grow_as_settings_say(backoff: str, waits: list[float]) -> None:
    tool = Flaky(*[busy() for _ in range(5)])

    assert called(tool, attempts=6, backoff=backoff, base_s=0.5) == "fine"
    assert tool.waits == [wait / 2 for wait in waits]


def test_three_attempts_are_three_calls() -> None:
    tool = Flaky()

    with pytest.raises(ProviderError):
        called(tool, parameters={"always": True}, attempts=3)

    assert len(tool.at) == 3


def test_no_wait_is_longer_than_it_may_be_and_none_ends_too_late() -> None:
    tool = Flaky()

    with pytest.raises(ProviderError):
        called(tool, parameters={"always": True}, attempts=50, max_delay_s=3, max_s=10)

    assert tool.waits == [1, 2, 3, 3]


def test_a_provider_that_says_when_is_taken_at_its_word() -> None:
    tool, late = Flaky(busy(retry_after_s=7)), Flaky(busy(retry_after_s=61))

    assert called(tool) == "fine"
    with pytest.raises(ProviderError):
        called(late)

    assert (tool.waits, late.waits) == ([7], [])


@pytest.mark.parametrize(
    ("error", "given", "calls"),
    [
        (busy(), {}, 2),
        (ProviderError("no", code="authentication", status=401), {}, 1),
        (ToolError("wrong input", code="input"), {}, 1),
        (ToolError("it broke", code="broken"), {"retry_on": ["broken"]}, 2),
        (ToolError("the Disk is busy now", code="broken"), {"retry_on": ["disk is busy"]}, 2),
        (ToolError("it broke", code="broken"), {"retry_on": ["broken"], "never_on": ["IT BROKE"]}, 1),
        (ConnectionResetError("gone"), {}, 2),
        (busy(), {"match": ["model:*"]}, 1),
    ],
)
def test_what_is_run_again_is_told_by_code_text_and_error(error: Exception, given: dict[str, Any], calls: int) -> None:
    tool = Flaky(error)

    if calls == 1:
        with pytest.raises(Exception, match=r"."):
            called(tool, **given)
    else:
        assert called(tool, **given) == "fine"

    assert len(tool.at) == calls


def test_what_a_guard_denied_is_not_run_again() -> None:
    tool = Flaky()
    guard = make_plugin("policy", ("before_tool_execution", lambda _: Cancel("no"), {"kind": "guard"}))

    with pytest.raises(OperationCancelledError):
        called(tool, guard, retry_on=["no"])

    assert tool.at == []


def test_what_is_not_repeatable_is_not_run_again() -> None:
    tool = Flaky(busy(), repeatable=False)

    with pytest.raises(Exception, match=r"unavailable|repeatable"):
        called(tool)

    assert len(tool.at) == 1


def test_calls_at_once_count_their_attempts_apart() -> None:
    tool = Flaky(*[busy() for _ in range(10)])

    async def main() -> list[Any]:
        results: list[Any] = []

        async def call() -> None:
            results.append((await host.call("tool:flaky", {})).result)

        given = settings(attempts=2, budget_least=100)
        async with opened(tool.tool, settings=given) as host, trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(call)
        return results

    assert run(main, virtual=True) == ["fine"] * 10
    assert len(tool.at) == 20


def test_a_storm_of_two_hundred_failures_asks_a_tenth_again() -> None:
    tool = Flaky()

    async def main() -> int:
        failed = 0

        async def call() -> None:
            nonlocal failed
            try:
                await host.call("tool:flaky", {"always": True})
            except ProviderError:
                failed += 1

        async with opened(tool.tool, settings=settings(attempts=5)) as host, trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(call)
        return failed

    assert run(main, virtual=True) == 200
    assert 200 < len(tool.at) <= 225


def test_a_model_that_an_agent_asks_is_asked_again() -> None:
    async def main() -> str:
        async with opened(ScriptedModel(busy(), says("hi")), settings=settings()) as host:
            agent = await host.agents.create(name="a", model="scripted/play")
            return (await agent.run("go")).text

    assert run(main, virtual=True) == "hi"


async def test_wrong_settings_leave_it_out_and_are_named() -> None:
    async with opened(settings=settings(jitter="some")) as host:
        (failed,) = [info for info in host.plugins.infos if info.error]

    assert "plugins.retry.jitter" in failed.error


@given(
    st.sampled_from(["exponential", "linear", "fibonacci", "fixed"]),
    st.sampled_from(["none", "full", "equal", "decorrelated"]),
    st.floats(0, 10),
    st.floats(0, 100),
    st.integers(1, 10_000),
    st.floats(0, 1000),
    st.floats(0, 1),
)
def test_a_wait_lies_between_nothing_and_the_longest(
    backoff: Any, jitter: Any, base_s: float, most_s: float, attempt: int, last_s: float, chance: float
) -> None:
    given_ = RetrySettings(backoff=backoff, jitter=jitter, base_s=base_s, max_delay_s=most_s)
    delay_s = delay_of(given_, attempt, last_s, chance)

    assert 0 <= delay_s <= most_s
    if jitter == "equal":
        assert delay_s >= delay_of(given_, attempt, last_s, 1.0) / 2 - 1e-9
