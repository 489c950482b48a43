"""Lifespans: what plugins bring is opened before it is used, and closed in reverse, whatever happens."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kernel import Anything, opened
from llmspell_hookspecs import (
    Agent,
    AgentInput,
    AgentOutput,
    Calls,
    HookContext,
    LlmspellError,
    Message,
    ModelRequest,
    Services,
    Tool,
    ToolCall,
    ToolContext,
    hookimpl,
)
from llmspell_hookspecs.agent import AgentConfig, AgentInfo
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.errors import PluginError, PluginRequiredError
from llmspell_hookspecs.plugin import PluginInfo
from scripted_model import ScriptedModel, says


@runtime_checkable
class Bridge(Protocol):
    """A service of the tests' own."""

    async def ask(self) -> str:
        """Return something."""


class Connected:
    """Implements `Bridge`; tells what happens to it."""

    name: ClassVar[str] = "bridge"
    provides: ClassVar[type[Any]] = Bridge

    def __init__(self, log: list[str], **faults: Any) -> None:
        self.log, self.faults, self.open = log, faults, False

    async def __aenter__(self) -> Self:
        self.log.append("bridge opens")
        await trio.sleep(self.faults.get("opens_s", 0))
        if self.faults.get("refused"):
            self.faults["refused"] -= 1
            raise ConnectionRefusedError("nobody listens")
        self.open = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.open = False
        self.log.append("bridge closes")
        await trio.sleep(self.faults.get("closes_s", 0))
        if self.faults.get("closes_badly"):
            raise OSError("it hung up first")

    async def ask(self) -> str:
        assert self.open
        return "an answer"


def bridge(log: list[str], **faults: Any) -> type[Any]:
    """Return a service class that tells what happens to it."""
    says: dict[str, bool] = {name: faults.pop(name) for name in ("eager", "required") if name in faults}
    made = Connected(log, **faults)
    return type("Bridge_", (Connected,), {**says, "__new__": lambda cls: made, "__init__": lambda self: None})


class Asking(Tool[Anything]):
    """Asks a bridge that it was given when it was constructed."""

    name = "asking"

    def __init__(self, settings: Any, services: Services) -> None:
        self._bridge = services.get(Bridge)

    async def run(self, parameters: Anything, context: ToolContext) -> str:
        """Ask it."""
        return await self._bridge.ask()


class Careless(Tool[Anything]):
    """Asks for a bridge only as it runs."""

    name = "careless"

    async def run(self, parameters: Anything, context: ToolContext) -> str:
        """Ask it."""
        return await context.services.get(Bridge).ask()


async def test_what_a_constructor_asked_for_is_opened_before_its_plugin_is_used_and_once() -> None:
    log: list[str] = []

    async with opened(bridge(log, opens_s=0.01), Asking) as host:
        assert log == []

        async def ask() -> None:
            assert (await host.call("tool:asking")).result == "an answer"

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert log == ["bridge opens"]

    assert log == ["bridge opens", "bridge closes"]


async def test_what_needs_a_service_that_failed_is_opened_again_after_it_and_closed_before_it() -> None:
    log: list[str] = []
    fails = trio.Event()

    class Failing(Connected):
        def __init__(self) -> None:
            super().__init__(log)

        async def run(self) -> None:
            await fails.wait()
            if log.count("bridge opens") == 1:
                raise ConnectionResetError("it hung up")
            await trio.sleep_forever()

    async def enter(self: Any) -> None:
        log.append("tool opens")

    async def leave(self: Any, *error: object) -> None:
        log.append("tool closes")

    using = type("Using", (Asking,), {"__aenter__": enter, "__aexit__": leave})
    async with opened(Failing, using) as host:
        await host.call("tool:asking")
        fails.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (await host.call("tool:asking")).result == "an answer"

    once = ["bridge opens", "tool opens"]
    assert log == [*once, "bridge closes", "tool closes", *once, "tool closes", "bridge closes"]


async def test_one_that_is_eager_is_opened_before_the_host_is() -> None:
    log: list[str] = []

    async with opened(bridge(log, eager=True), Careless) as host:
        assert log == ["bridge opens"]
        assert (await host.call("tool:careless")).result == "an answer"


async def test_a_service_that_is_not_open_is_refused_with_what_to_do() -> None:
    log: list[str] = []

    async with opened(bridge(log), Careless) as host:
        with pytest.raises(PluginError, match=r"Bridge: it is not open yet; .*await services\.enter\(Bridge\)"):
            await host.call("tool:careless")
        assert await (await host._services.enter(Bridge)).ask() == "an answer"
        assert (await host.call("tool:careless")).result == "an answer"


async def test_one_that_cannot_be_opened_fails_with_what_needs_it_and_is_tried_again_by_the_next() -> None:
    log: list[str] = []
    failed: list[PluginInfo] = []

    async with opened(bridge(log, refused=1), Asking) as host:
        host.hooks.register("plugin_failed", lambda context: failed.append(context.subject), kind="observe")
        with pytest.raises(PluginError, match=r"service bridge: it cannot be opened: .*nobody listens"):
            await host.call("tool:asking")
        await trio.testing.wait_all_tasks_blocked()
        assert [info.name for info in failed] == ["bridge", "asking"]
        assert (await host.call("tool:asking")).result == "an answer"


class Auditing:
    """A plugin of hooks that needs a bridge."""

    name = "auditing"

    def __init__(self, settings: Any, services: Services) -> None:
        self.bridge = services.get(Bridge)

    @hookimpl(kind="guard")
    async def before_tool_execution(self, context: HookContext[ToolCall]) -> None:
        """Ask the bridge about each call."""
        await self.bridge.ask()


async def test_a_plugin_whose_service_cannot_be_opened_is_not_loaded_and_leaves_no_hook() -> None:
    async with opened(bridge([], refused=9), Auditing) as host:
        assert host.plugins.failed == ("auditing",)
        assert not host.hooks.list("before_tool_execution")


@pytest.mark.parametrize("says", [{"required": True, "eager": True}, {"required": True}])
async def test_a_required_service_that_cannot_be_opened_refuses_operations(says: dict[str, bool]) -> None:
    async with opened(bridge([], refused=9, **says), Careless) as host:
        with pytest.raises(PluginRequiredError, match=r"bridge is not loaded: .*nobody listens"):
            await host.call("tool:careless")


async def test_a_plugin_of_hooks_is_opened_before_its_first_hook_and_closed_after_its_last() -> None:
    log: list[str] = []

    class Own(Auditing):
        name = "own"

        async def __aenter__(self) -> Self:
            log.append("own opens")
            return self

        async def __aexit__(self, *error: object) -> None:
            log.append(f"own closes, {await self.bridge.ask()}")

    async with opened(bridge(log), Own, Careless) as host:
        await host.call("tool:careless")

    assert log == ["bridge opens", "own opens", "own closes, an answer", "bridge closes"]


class Ticking:
    """Runs while the host does."""

    name: ClassVar[str] = "bridge"
    provides: ClassVar[type[Any]] = Bridge
    eager = True

    def __init__(self) -> None:
        self.ready, self.fails = False, trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.sleep(0.01)
        self.ready = True
        task_status.started()
        await self.fails.wait()
        raise OSError("the line is down")

    async def ask(self) -> str:
        return f"ready: {self.ready}"


async def test_a_task_runs_while_the_host_does_and_is_waited_for_until_it_is_ready() -> None:
    async with opened(Ticking, Careless) as host:
        assert (await host.call("tool:careless")).result == "ready: True"


async def test_a_task_that_fails_is_a_plugin_that_failed() -> None:
    ticking = Ticking()
    failed: list[PluginInfo] = []

    async with opened(ticking, Careless) as host:
        host.hooks.register("plugin_failed", lambda context: failed.append(context.subject), kind="observe")
        ticking.fails.set()
        await trio.testing.wait_all_tasks_blocked()
        assert "service bridge: it failed while it ran: OSError: the line is down" in failed[0].error
        with pytest.raises(PluginError, match="it is not open"):
            await host.call("tool:careless")


async def test_a_task_that_fails_and_cannot_be_closed_is_told_of_and_its_host_goes_on(
    autojump_clock: Any,
) -> None:
    class Stuck(Ticking):
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *error: object) -> None:
            await trio.sleep_forever()

    stuck = Stuck()
    failed: list[PluginInfo] = []

    async with opened(stuck, Careless) as host:
        host.hooks.register("plugin_failed", lambda context: failed.append(context.subject), kind="observe")
        stuck.fails.set()
        await trio.sleep(6)
        refused = host.plugins.infos[-1].error
        with pytest.raises(PluginError, match="it is not open"):
            await host.call("tool:careless")

    told = "service bridge: it failed while it ran: OSError: the line is down, and it took more than 5 s to close"
    assert [info.error for info in failed] == [f"{told}; repair it, or disable it"]
    assert refused == failed[0].error


@pytest.mark.parametrize("how", ["left", "error", "cancelled"])
async def test_whatever_ends_a_host_its_plugins_are_closed_in_reverse(how: str) -> None:
    log: list[str] = []

    class Second:
        name = "second"

        def __init__(self, settings: Any, services: Services) -> None:
            services.get(Bridge)

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *error: object) -> None:
            await trio.sleep(0.01)
            log.append("second closes")

    with trio.CancelScope() as scope:
        try:
            async with opened(bridge(log), Second):
                if how == "error":
                    raise LookupError
                if how == "cancelled":
                    scope.cancel()
                await trio.lowlevel.checkpoint()
        except LookupError:
            assert how == "error"

    assert log == ["bridge opens", "second closes", "bridge closes"]


@pytest.mark.parametrize(
    ("fault", "told", "most_s"),
    [
        ({"opens_s": 9999}, "it took more than 30 s to open", 31),
        ({"closes_s": 9999}, "it took more than 5 s to close", 6),
        ({"closes_badly": True}, "it hung up first", 1),
    ],
)
async def test_each_has_a_time_of_its_own_to_open_and_to_close(
    fault: dict[str, Any], told: str, most_s: float, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    started_s = trio.current_time()

    async with opened(bridge([], eager=True, **fault)) as host:
        errors = [info.error for info in host.plugins.infos]

    assert told in " ".join([*errors, caplog.text])
    assert trio.current_time() - started_s < most_s


async def test_what_is_opening_as_the_host_closes_is_cut_in_silence_and_keeps_nobody(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    started_s = trio.current_time()

    async with opened(bridge(log, opens_s=20), Asking) as host, trio.open_nursery() as nursery:
        nursery.start_soon(host.call, "tool:asking")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert (log, caplog.text) == (["bridge opens"], "")
    assert trio.current_time() - started_s < 6


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
async def test_in_any_net_of_needs_each_is_opened_after_what_it_needs_and_closed_before(needs: list[int]) -> None:
    log: list[tuple[str, int]] = []
    protocols = [type(f"Part{number}", (Protocol,), {}) for number in range(len(needs))]

    def part(number: int) -> type[Any]:
        def construct(self: Any, settings: Any, services: Services) -> None:
            if needs[number] < number:
                services.get(protocols[needs[number]])

        async def enter(self: Any) -> Any:
            await trio.lowlevel.checkpoint()
            log.append(("opens", number))

        async def leave(self: Any, *error: object) -> None:
            log.append(("closes", number))

        body = {"__init__": construct, "__aenter__": enter, "__aexit__": leave, "name": f"part{number}"}
        return type(f"Part{number}_", (), {**body, "provides": protocols[number], "eager": True})

    async with opened(*(part(number) for number in reversed(range(len(needs))))):
        pass

    for number, needed in enumerate(needs):
        if needed < number:
            assert log.index(("opens", needed)) < log.index(("opens", number))
            assert log.index(("closes", needed)) > log.index(("closes", number))
    assert sorted(log) == sorted((word, number) for word in ("opens", "closes") for number in range(len(needs)))


class Dialled(ScriptedModel):
    """A provider that connects when it is first asked, and listens meanwhile."""

    def __init__(self, refused: int = 0) -> None:
        super().__init__(says("hi"))
        self.log: list[str] = []
        self.refused = refused

    async def __aenter__(self) -> Self:
        if self.refused:
            self.refused -= 1
            raise ConnectionRefusedError("nobody listens")
        self.log.append("opens")
        return self

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.log.append("ran")

    async def __aexit__(self, *error: object) -> None:
        self.log.append("closes")


ASKED = ModelRequest("scripted/play", (Message("user", "hello"),))


async def test_a_provider_is_opened_when_it_is_first_asked_and_its_task_runs_until_the_host_closes() -> None:
    model = Dialled()

    async with opened(model) as host:
        [info] = [each for each in host.models.providers() if each.name == "scripted"]
        assert (info.available, model.log) == (True, [])
        for _ in range(2):
            assert (await host.models.complete(ASKED)).text == "hi"
        assert model.log == ["opens"]

    assert model.log == ["opens", "ran", "closes"]


async def test_a_provider_that_cannot_connect_is_a_plugin_that_failed_and_is_tried_again() -> None:
    model, failed = Dialled(refused=1), []

    async with opened(model) as host:
        host.hooks.register("plugin_failed", lambda context: failed.append(context.subject.error), kind="observe")
        with pytest.raises(PluginError, match="scripted: it cannot be opened: ConnectionRefusedError: nobody listens"):
            await host.models.complete(ASKED)
        await trio.testing.wait_all_tasks_blocked()
        assert [error.partition(":")[0] for error in failed] == ["provider scripted"]
        assert (await host.models.complete(ASKED)).text == "hi"

    assert model.log == ["opens", "ran", "closes"]


class Caller(Agent):
    """Holds a line to a bridge from when it is made until it is shut down."""

    kind = "caller"

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self._bridge = services.get(Bridge)

    async def __aenter__(self) -> Self:
        if "refused" in self.config.name:
            raise ConnectionRefusedError("the line is busy")
        assert await self._bridge.ask()
        return self

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        return AgentOutput(await self._bridge.ask())

    async def __aexit__(self, *error: object) -> None:
        assert await self._bridge.ask()
        self._bridge.log.append(f"{self.config.name} hangs up")  # type: ignore[attr-defined]


async def test_an_agent_is_open_while_its_hooks_run_and_what_it_needs_outlives_it() -> None:
    log: list[str] = []

    def told(context: HookContext[AgentInfo]) -> None:
        log.append(f"{context.subject.name}: {context.point}")

    async with opened(bridge(log), Caller) as host:
        for point in ("before_agent_shutdown", "after_agent_shutdown"):
            host.hooks.register(point, told, kind="observe")
        first = await host.agents.create(name="first", kind="caller")
        await host.agents.create(name="second", kind="caller", scope="script")
        await host.agents.create(name="third", kind="caller")
        assert (await first.run("hello")).text == "an answer"
        assert await host.agents.close_scope("script") == 1
        await first.close()

    def end(name: str) -> list[str]:
        return [f"{name}: before_agent_shutdown", f"{name} hangs up", f"{name}: after_agent_shutdown"]

    assert log == ["bridge opens", *end("second"), *end("first"), *end("third"), "bridge closes"]


async def test_an_agent_that_cannot_be_opened_is_not_made_and_its_name_is_free() -> None:
    log: list[str] = []

    async with opened(bridge(log), Caller) as host:
        for _ in range(2):
            with pytest.raises(LlmspellError, match=r"agent kind caller: it cannot be opened: .*the line is busy"):
                await host.agents.create(name="refused", kind="caller")
        assert host.agents.list() == []

    assert log == ["bridge opens", "bridge closes"]


async def test_what_is_opened_within_an_operation_is_no_part_of_it() -> None:
    parents: list[str] = []

    class Late(Connected):
        def __init__(self, services: Services) -> None:
            super().__init__([])
            self.calls = services.get(Calls)

        async def __aenter__(self) -> Self:
            await self.calls.call("tool:plain")
            return await super().__aenter__()

    made = type("Bridge_", (Late,), {"__init__": lambda self, settings, services: Late.__init__(self, services)})

    async with opened(made, Asking, Plain) as host:
        seen = lambda context: parents.append(context.operation.parent_id)  # noqa: E731
        host.hooks.register("before_tool_execution", seen, kind="observe", match="plain")
        await host.call("tool:asking")

    assert parents == [""]


class Plain(Tool[Anything]):
    """Says that it ran."""

    name = "plain"

    async def run(self, parameters: Anything, context: ToolContext) -> str:
        """Say so."""
        return "ran"
