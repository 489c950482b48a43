"""Everything is bounded: what comes after the body, how far operations fork and nest, and how long others wait."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

import pytest
import trio
import trio.testing

import llmspell_hookspecs
from kernel import Bench, make_tool, opened
from llmspell import Host
from llmspell_hookspecs import (
    Event,
    Fork,
    HookContext,
    Message,
    ModelRequest,
    ModelResponse,
    NetworkAccess,
    Replace,
    State,
)
from llmspell_hookspecs.artifacts import ArtifactDraft, ArtifactQuery, Artifacts
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import DepthLimitError, OperationTimeoutError, ResourceLimitError, ScriptError
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.model import ToolUse
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.services import AsyncioThread
from llmspell_hookspecs.sessions import Sessions
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.switching import PluginSwitch
from llmspell_hookspecs.system import LoadSample
from scripted_model import ScriptedModel
from waiting import PATIENCE_S

BEFORE, AFTER, ERROR = "before_tool_execution", "after_tool_execution", "tool_error"
AROUND, TIMEOUT, RELEASED = "around_tool_execution", "tool_timeout", "tool_resource_released"
Hooks = tuple[tuple[str, Callable[..., Any], dict[str, Any]], ...]


async def nap(given: dict[str, Any], context: Any) -> str:
    """Sleep for so long."""
    await trio.sleep(given.get("s", 0))
    return "done"


async def hang(context: HookContext[Any]) -> None:
    """Never come back."""
    await trio.sleep_forever()


async def hang_to_leave(context: HookContext[Any]) -> AsyncIterator[None]:
    """Never come back from the body."""
    yield
    await trio.sleep_forever()


def fork_one(context: HookContext[Any]) -> Fork | None:
    """Fork a call that takes long."""
    return Fork((Call("tool:nap", {"s": 30}),), True) if not context.subject.parameters.get("s") else None


def recover(context: HookContext[Any]) -> Replace:
    """Recover."""
    return Replace({"text": "recovered"})


GUARD, OBSERVE, WRAP = {"kind": "guard"}, {"kind": "observe"}, {"kind": "wrap"}
HANGING: dict[str, tuple[Hooks, float]] = {
    "before guard": (((BEFORE, hang, GUARD),), 0),
    "before transform": (((BEFORE, hang, {}),), 0),
    "before observer": (((BEFORE, hang, OBSERVE),), 0),
    "after guard": (((AFTER, hang, GUARD),), 0),
    "after transform": (((AFTER, hang, {}),), 0),
    "after observer": (((AFTER, hang, OBSERVE),), 0),
    "error transform": (((ERROR, hang, {}),), 9),
    "error guard": (((ERROR, hang, GUARD),), 9),
    "error observer": (((ERROR, hang, OBSERVE),), 9),
    "timeout transform": (((TIMEOUT, hang, {}),), 9),
    "timeout observer": (((TIMEOUT, hang, OBSERVE),), 9),
    "after guard of a recovery": (((AFTER, hang, GUARD), (ERROR, recover, {})), 9),
    "after guard, and a recovery": (((AFTER, hang, GUARD), (ERROR, recover, {})), 0),
    "released transform": (((RELEASED, hang, {}),), 0),
    "released observer": (((RELEASED, hang, OBSERVE),), 0),
    "wrap": (((AROUND, hang_to_leave, WRAP),), 0),
    "joined fork": (((BEFORE, fork_one, {}),), 0),
    "all at once": (tuple((point, hang, OBSERVE) for point in (BEFORE, AFTER, ERROR, TIMEOUT, RELEASED)), 9),
}


@pytest.mark.parametrize("hanging", HANGING)
async def test_a_call_whose_hooks_hang_comes_back(hanging: str, autojump_clock: trio.abc.Clock) -> None:
    hooks, sleep_s = HANGING[hanging]
    async with opened(make_tool("nap", nap), settings={"hooks": {"final_s": 2.0}}) as host:
        for point, function, options in hooks:
            host.hooks.register(point, function, **options)
        began_s = trio.current_time()

        with trio.move_on_after(60) as scope:
            try:
                await host.call("tool:nap", {"s": sleep_s}, deadline_s=0.5)
            except Exception as error:
                assert isinstance(error, OperationTimeoutError) or "failed" in str(error)

        assert not scope.cancelled_caught
        assert trio.current_time() - began_s <= 0.5 + 2.0 * len(hooks) + 0.5


async def test_a_wrap_of_an_operation_without_a_deadline_leaves_in_time(autojump_clock: trio.abc.Clock) -> None:
    async with opened(*Bench().plugins) as host:
        host.hooks.register("around_script_run", hang_to_leave, kind="wrap")

        with trio.fail_after(PATIENCE_S):
            answer = await host.run_source("plain", "mini")

        assert answer == {"text": "plain"}


async def test_a_hook_that_hangs_at_a_notice_of_the_host_holds_up_nobody(autojump_clock: trio.abc.Clock) -> None:
    async with opened(*Bench().plugins) as host:
        host.hooks.register("configuration_change", hang, kind="observe")

        with trio.fail_after(PATIENCE_S):
            await host.settings.change("limits.hops", 3)

        assert host.settings.plain("limits")["hops"] == 3


@pytest.mark.parametrize("join", [False, True])
async def test_a_hook_that_forks_its_own_call_ends_at_a_limit(join: bool, autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    outcomes: list[Any] = []

    async with opened(*bench.plugins, settings={"limits": {"descendants": 100}}) as host:
        host.hooks.register(BEFORE, lambda context: Fork((Call("tool:echo"), Call("tool:echo")), join))
        host.hooks.register(AFTER, lambda context: outcomes.extend(context.forks), kind="observe")
        await host.call("tool:echo")

    assert len(bench.runs) < 500
    if join:
        refused = [outcome.error.message for outcome in outcomes if outcome.status == "failed"]
        assert any("limits.descendants" in message for message in refused)


@pytest.mark.timing
async def test_forks_without_number_that_are_cancelled_keep_their_caller_no_longer_than_its_last_moments() -> None:
    late_s: list[float] = []
    for _ in range(3):
        async with opened(*Bench().plugins) as host:
            host.hooks.register(BEFORE, lambda context: Fork((Call("tool:echo"), Call("tool:echo")), True))
            with trio.move_on_after(0.1) as scope:
                await host.call("tool:echo")
            assert scope.cancelled_caught
            late_s.append(trio.current_time() - scope.deadline)

    assert min(late_s) < 0.2


async def test_one_operation_forks_so_often_at_most() -> None:
    outcomes: list[Any] = []

    async with opened(*Bench().plugins) as host:
        calls = tuple(Call("tool:other") for _ in range(100))
        host.hooks.register(BEFORE, lambda context: Fork(calls, True), match="echo")
        host.hooks.register(AFTER, lambda context: outcomes.extend(context.forks), kind="observe", match="echo")
        await host.call("tool:echo")

    assert [outcome.status for outcome in outcomes] == ["completed"] * 64 + ["failed"] * 36
    assert "limits.forks" in outcomes[-1].error.message


# How operations come to nest: each calls itself by way of what stands there, until it is refused.


async def by_itself(host: Host) -> None:
    with pytest.raises(DepthLimitError):
        await host.call("tool:itself")


async def by_a_script(host: Host) -> None:
    with pytest.raises(ScriptError):
        await host.run_source("return Tool.invoke('script', {})", "lua")


async def by_an_agent(host: Host) -> None:
    agent = await host.agents.create(name="first", model="scripted/play", tools=["agent"])
    await agent.run("hi")


async def by_a_fork(host: Host) -> None:
    host.hooks.register(BEFORE, lambda context: Fork((Call("tool:nothing"),), True), match="nothing")
    await host.call("tool:nothing")


async def by_a_hook(host: Host) -> None:
    async def call(context: HookContext[Any]) -> None:
        await host.call("tool:nothing")

    host.hooks.register(BEFORE, call, match="nothing")
    await host.call("tool:nothing")


async def by_a_hook_of_state(host: Host) -> None:
    async def write(context: HookContext[Any]) -> None:
        await host.state.set("k", 1)

    host.hooks.register("before_state_write", write)
    await host.state.set("k", 1)


async def by_a_point_of_ones_own(host: Host) -> None:
    async def fire(context: HookContext[Any]) -> None:
        await host.hooks.fire("own", 1)

    host.hooks.register("custom:own", fire)
    await host.hooks.fire("own", 1)


async def by_a_scripts_hook(host: Host) -> None:
    call = "Tool.invoke('nothing', {})"
    await host.run_source(f"Hook.register('BeforeToolExecution', function() {call} end) {call}", "lua")


async def by_a_point_of_a_scripts_own(host: Host) -> None:
    await host.run_source("Hook.register('custom:own', function() Hook.fire('own', 1) end) Hook.fire('own', 1)", "lua")


NESTINGS: dict[str, Callable[[Host], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        by_itself,
        by_a_script,
        by_an_agent,
        by_a_fork,
        by_a_hook,
        by_a_hook_of_state,
        by_a_point_of_ones_own,
        by_a_scripts_hook,
        by_a_point_of_a_scripts_own,
    )
}
ABOUT = ("tool_execution", "agent_execution", "model_call", "script_run")


def nothing(context: HookContext[Any]) -> None:
    """Return nothing."""


async def enclose(context: HookContext[Any]) -> AsyncIterator[None]:
    """Do nothing around it."""
    yield


@pytest.mark.parametrize("depth", [1, 32, 34])
@pytest.mark.parametrize("hooked", [False, True], ids=["bare", "hooked"])
@pytest.mark.parametrize("way", NESTINGS)
async def test_operations_nest_as_deep_as_settings_say_in_every_way_there_is(
    way: str, hooked: bool, depth: int
) -> None:
    deepest, agents = 0, itertools.count()
    host: Host

    async def itself(given: dict[str, Any], context: Any) -> Any:
        return (await host.call("tool:itself")).result

    async def script(given: dict[str, Any], context: Any) -> Any:
        return await host.run_source("return Tool.invoke('script', {}).result", "lua")

    async def agent(given: dict[str, Any], context: Any) -> Any:
        made = await host.agents.create(name=f"a{next(agents)}", model="scripted/play", tools=["agent"])
        return (await made.run("hi")).text

    async def none(given: dict[str, Any], context: Any) -> Any:
        return 1

    def respond(request: ModelRequest) -> ModelResponse:
        told = request.messages[-1].role == "tool"
        return ModelResponse("", () if told else (ToolUse("u1", "agent", {}),))

    def note(context: HookContext[Any]) -> None:
        nonlocal deepest
        deepest = max(deepest, context.operation.depth)

    tools = [make_tool(*each) for each in (("itself", itself), ("script", script), ("agent", agent), ("nothing", none))]
    settings = {"limits": {"depth": depth}, "hooks": {"breaker": "off"}}
    async with opened(*tools, ScriptedModel(respond), settings=settings) as host:
        for point in (*(f"before_{each}" for each in ABOUT), "before_state_write", "custom:own"):
            host.hooks.register(point, note, kind="guard")
        for each in ABOUT if hooked else ():
            for kind in ("transform", "observe"):
                host.hooks.register(f"before_{each}", nothing, kind=kind)
                host.hooks.register(f"after_{each}", nothing, kind=kind)
            host.hooks.register(f"around_{each}", enclose, kind="wrap")
        await NESTINGS[way](host)

    assert deepest == depth


@pytest.mark.parametrize("hooked", [False, True], ids=["bare", "hooked"])
async def test_where_pythons_stack_ends_sooner_than_settings_say_it_is_the_same_error(hooked: bool) -> None:
    depths: list[int] = []
    host: Host

    async def again(given: dict[str, Any], context: Any) -> Any:
        depths.append(context.operation.depth)
        return (await host.call("tool:again")).result

    async with opened(make_tool("again", again), settings={"limits": {"depth": 100}}) as host:
        for point, kind in ((BEFORE, "guard"), (BEFORE, "transform"), (AFTER, "observe")) if hooked else ():
            host.hooks.register(point, nothing, kind=kind)
        with pytest.raises(DepthLimitError, match=r"nested more than \d+ times"):
            await host.call("tool:again")

    assert depths == list(range(len(depths)))
    assert depths[-1] > 33


async def test_all_that_runs_at_once_within_one_operation_is_counted() -> None:
    host: Host
    problems: list[Exception] = []
    waiting = 0

    async def wait(given: dict[str, Any], context: Any) -> Any:
        nonlocal waiting
        waiting += 1
        await trio.sleep_forever()

    async def one(nursery: trio.Nursery) -> None:
        try:
            await host.call("tool:wait")
        except ResourceLimitError as error:
            problems.append(error)

    async def many(given: dict[str, Any], context: Any) -> Any:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one, nursery)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return (await host.call("tool:echo")).result

    plugins = [make_tool("wait", wait), make_tool("many", many), *Bench().plugins]
    async with opened(*plugins, settings={"limits": {"descendants": 12}}) as host:
        await host.call("tool:many")
        await host.call("tool:many")

    assert waiting == 24
    assert len(problems) == 16
    assert all("limits.descendants" in str(problem) for problem in problems)


async def test_two_hosts_that_call_each_other_are_bounded() -> None:
    hosts: list[Host] = []
    calls = 0

    async def over(given: dict[str, Any], context: Any) -> Any:
        nonlocal calls
        calls += 1
        return (await hosts[calls % 2].call("tool:over")).result

    async with opened(make_tool("over", over)) as one, opened(make_tool("over", over)) as other:
        hosts += [one, other]
        with pytest.raises(DepthLimitError, match="nested"):
            await one.call("tool:over")

    assert calls <= 33


async def agent_run(host: Host) -> Any:
    """Ask an agent."""
    agent = await host.agents.create(name=f"a{trio.current_time()}", model="mini/one")
    return await agent.run("hi")


async def asked(host: Host) -> Event:
    """Make a request that a handler answers at once."""
    answers = host.events.on("a.b", lambda event: host.events.respond(event))
    try:
        return await host.events.request("a.b")
    finally:
        answers.close()


PUBLIC: dict[str, Callable[[Host], Awaitable[Any]]] = {
    "call of a tool": lambda host: host.call("tool:echo"),
    "call of a point": lambda host: host.call("custom:thing", 1),
    "call of a script": lambda host: host.run_source("plain", "mini"),
    "state.get": lambda host: host.state.get("a"),
    "events.publish": lambda host: host.events.publish("a.b", 1),
    "events.request": asked,
    "hooks.fire": lambda host: host.hooks.fire("thing", 1),
    "tools.discover": lambda host: host.tools.discover(),
    "settings.change": lambda host: host.settings.change("limits.hops", 8),
    "agents.create and run": agent_run,
    "models.complete": lambda host: host.models.complete(ModelRequest("mini/parrot", (Message("user", "x"),))),
    "storage.get": lambda host: reached(host, Storages, lambda storages: stored(storages, "get")),
    "storage.write": lambda host: reached(host, Storages, lambda storages: stored(storages, "write")),
    "storage.scan": lambda host: reached(host, Storages, lambda storages: stored(storages, "scan")),
    "State.entry": lambda host: host.state.entry("a"),
    "State.set": lambda host: host.state.set("a", 1),
    "State.keys": lambda host: host.state.keys(),
    "State.delete": lambda host: host.state.delete("a"),
    "Operations.ask": lambda host: reached(
        host, Operations, lambda service: service.ask("custom:thing", 1, ComponentRef("service", "x"))
    ),
    "Operations.beside": lambda host: reached(host, Operations, lambda service: service.beside(1, str, 1)),
    "Operations.together": lambda host: reached(host, Operations, lambda service: service.together([answer], 1)),
    "Operations.notify": lambda host: reached(
        host, Operations, lambda service: service.notify("memory_usage_high", LoadSample("memory_bytes", 2, 1))
    ),
    "Services.enter": lambda host: host._services.enter(State),
    "AsyncioThread.run": lambda host: reached(host, AsyncioThread, lambda thread: thread.run(answer)),
    "NetworkAccess.resolve": lambda host: reached(host, NetworkAccess, lambda net: net.resolve("http://1.1.1.1/")),
    "Artifacts.put": lambda host: with_artifacts(host, lambda kept: kept.put(ArtifactDraft("a"), b"1")),
    "Artifacts.query": lambda host: with_artifacts(host, lambda kept: kept.query(ArtifactQuery("none"))),
    "Artifacts.delete": lambda host: with_artifacts(host, lambda kept: kept.delete("none", 1)),
    "Artifacts.forget": lambda host: with_artifacts(host, lambda kept: kept.forget("none")),
    "Sessions.get": lambda host: with_session(host, lambda sessions, id: sessions.get(id)),
    "Sessions.list": lambda host: with_session(host, lambda sessions, id: sessions.list()),
    "Sessions.save": lambda host: with_session(host, lambda sessions, id: sessions.save(id)),
    "Sessions.within": lambda host: with_session(host, lambda sessions, id: sessions.within(id, answer)),
    "PluginSwitch.enable": lambda host: reached(host, PluginSwitch, lambda plugins: plugins.enable("retry")),
    "Storages.open": lambda host: reached(host, Storages, lambda storages: storages.open()),
    "Journal.flush": lambda host: journal_of(host, "flush"),
    "Journal.runs": lambda host: journal_of(host, "runs"),
    "Journal.verify": lambda host: journal_of(host, "verify"),
    "Journal.stats": lambda host: journal_of(host, "stats"),
}
NAMED_ELSE = {
    "Agents.create": "agents.create and run",
    "Agents.within": "an agent's run is an operation; a pattern asks, within one",
    "Agents.close_scope": "an end, which goes on though cancelled; each agent in it is closed by an operation",
    "EventFollower.acknowledge": "it writes where it stands each time",
    "EventFollower.receive": "it waits for an event, or reads the log",
    "Events.publish": "events.publish",
    "Events.request": "events.request",
    "EventRequests.ask": "events.request",
    "HookTable.ask_waiting": "call of a tool: it stands for the chain, and lets others run as that does",
    "Models.complete": "models.complete",
    "Calls.call": "call of a tool",
    "Hooks.fire": "hooks.fire",
    "Tools.discover": "tools.discover",
    "SettingsAccess.change": "settings.change",
    "State.get": "state.get",
    "NetworkAccess.resolve_address": "NetworkAccess.resolve",
    "NetworkAccess.request": "it waits for a server each time",
    "Operations.execute": "call of a tool",
    "Migrations.status": "it reads the storage each time",
    "Migrations.migrate": "it is an operation",
    "Migrations.rollback": "it is an operation",
    "Migrations.forget": "it writes each time",
    "Migrations.runs": "it scans the storage each time",
    **dict.fromkeys(
        ("Backups.create", "Backups.restore", "Backups.resume", "Backups.abandon", "Backups.cleanup"),
        "it is an operation, and works in threads each time",
    ),
    **dict.fromkeys(("Backups.list", "Backups.info", "Backups.validate"), "it reads files in a thread each time"),
    **dict.fromkeys(("StateScopes.copy", "StateScopes.move", "StateScopes.clear"), "it is an operation"),
    **dict.fromkeys(("Vault.lock", "Vault.unlock", "Vault.get", "Vault.set"), "it works in a thread each time"),
    **dict.fromkeys(("Vault.names", "Vault.remove"), "it works in a thread each time"),
    "BoundState.read": "State.entry",
    "BoundState.write": "State.set",
    "PluginSwitch.reload": "it opens a plugin each time",
    "PluginTable.load_asked": "PluginSwitch.enable",
    "PluginTable.replace": "it opens a plugin each time",
    "Processes.run": "it waits for a child each time",
    "Artifacts.put_file": "it reads in a thread each time",
    "Artifacts.get": "Artifacts.query",
    "Artifacts.read": "Artifacts.query",
    "Artifacts.versions": "Artifacts.query",
    "Artifacts.modify": "Artifacts.put",
    "Artifacts.grant": "Artifacts.put",
    "Artifacts.revoke": "Artifacts.put",
    "Artifacts.grants": "Artifacts.query",
    "Artifacts.audit": "Artifacts.query",
    "Artifacts.verify": "Artifacts.query",
    "Artifacts.sweep": "Artifacts.query",
    "Sessions.create": "Sessions.save",
    "Sessions.hold": "Sessions.within",
    "Sessions.release": "Sessions.within",
    "Sessions.checkpoints": "Sessions.list",
    "Sessions.restore": "Sessions.save",
    "Sessions.suspend": "Sessions.save",
    "Sessions.resume": "Sessions.save",
    "Sessions.complete": "Sessions.save",
    "Sessions.fail": "Sessions.save",
    "Sessions.archive": "Sessions.save",
    "Sessions.delete": "Sessions.save",
    "Sessions.export": "Sessions.list",
    "StorageSnapshot.get": "it reads in a thread each time",
    "CommandHost.call": "call of a tool",
    "CommandHost.enter": "Services.enter",
    "Scripts.run_script": "one script is one operation",
    "Scripts.run_file": "one script is one operation",
    "Journal.export": "it reads in a thread each time",
    "Journal.records": "it reads in a thread each time",
    "Journal.forget": "it writes to the storage each time",
    "Replay.run": "it reads in a thread each time",
}


async def answer() -> int:
    """Return 1."""
    return 1


async def journal_of(host: Host, method: str) -> Any:
    """Use the journal, opened."""
    return await getattr(await host.enter(Journal), method)()


async def with_artifacts(host: Host, use: Callable[[Artifacts], Awaitable[Any]]) -> Any:
    """Use the artifacts of a host; only the first is stored, since each takes room."""
    artifacts = await host.enter(Artifacts)
    return await use(artifacts)


async def with_session(host: Host, use: Callable[[Sessions, str], Awaitable[Any]]) -> Any:
    """Use the sessions of a host, with one that is made if there is none."""
    sessions = await host.enter(Sessions)
    for info in await sessions.list():
        return await use(sessions, info.id)
    return await use(sessions, (await sessions.create()).id)


async def reached(host: Host, protocol: type, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """Use a service of the host as a plugin reaches it."""
    return await use(host._services.get(protocol))


async def stored(storages: Any, what: str) -> None:
    """Use the storage that is open, as plugins do."""
    storage = await storages.open()
    if what == "get":
        await storage.get("a")
    elif what == "write":
        await storage.write({"a": b"1"})
    else:
        async for _ in storage.scan(""):
            pass


def services_of_the_contract() -> set[str]:
    """Return every public async method of what `Services.get` answers, as the contract declares it."""
    found = set()
    for module in pkgutil.iter_modules(llmspell_hookspecs.__path__, "llmspell_hookspecs."):
        for name, declared in vars(importlib.import_module(module.name)).items():
            if getattr(declared, "_is_protocol", False) and declared.__module__ == module.name:
                found |= {f"{name}.{each}" for each, method in vars(declared).items() if iscoroutinefunction(method)}
    return found


NO_SERVICE = {
    "ScriptConsole": "one chunk is one operation",
    "Asker": "asked within an operation",
    "Registry": "opening one waits for what is opened",
    "AgentContext": "asked by an agent, within an operation",
    "AgentHandle": "an agent's runs are operations",
    "AsyncResource": "entered by the host",
    "Component": "run by the runner",
    "HttpStream": "waits for a server",
    "Language": "run by the runner",
    "LanguageSession": "one chunk is one operation",
    "Pattern": "run by the runner",
    "Provider": "asked by the runner",
    "Approvals": "each of its calls waits for the storage",
    "EventLog": "each of its calls waits for the storage",
    "ResultCache": "the runner alone asks it, where a hook of an operation wants a result kept",
    "ResultStore": "each of its calls waits for the storage",
    "WorkflowHandle": "a workflow's runs are operations",
    "WorkflowRun": "asked by a pattern, within an operation",
    "Dependencies": "its question waits for a thread",
    "Timeline": "each of its questions waits for a thread",
    "Workflows": "one is made of a definition, once",
    "ScriptInterface": "each call is one of another service",
    "ScriptScope": "ends once",
    "Stateful": "asked once, as a plugin is made anew",
    "Storage": "listed as storage.get, storage.write and storage.scan",
    "Subscription": "tested on its own",
    "ToolContext": "waits for a thread or a process each time",
}


def test_every_async_method_of_the_contract_is_tried_or_left_out_for_a_reason() -> None:
    declared = {each for each in services_of_the_contract() if not each.partition(".")[2].startswith("_")}
    asked = {each for each in declared if each.partition(".")[0] not in NO_SERVICE}
    tried = {*PUBLIC, *NAMED_ELSE, "Operations.run"}  # every call of a tool is one

    assert asked <= tried, sorted(asked - tried)


async def test_iterating_over_waiting_events_lets_others_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with opened() as host, trio.open_nursery() as nursery, host.events.subscribe("a.*") as events:
        for number in range(200):
            host.events.publish_nowait("a.b", number)
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        before, seen = turns, 0
        async for _ in events:
            seen += 1
            if seen == 200:
                break
        passed = turns - before
        nursery.cancel_scope.cancel()

    assert passed >= 2


@pytest.mark.parametrize("name", PUBLIC)
async def test_a_loop_of_calls_notices_a_cancellation_and_lets_others_run(name: str) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with opened(*Bench().plugins) as host, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        before, calls = turns, 0
        for _ in range(200):
            await PUBLIC[name](host)
        seen = turns - before
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(200):
                await PUBLIC[name](host)
                calls += 1
        nursery.cancel_scope.cancel()

    assert seen >= 2
    assert scope.cancelled_caught
    assert calls <= 64


@pytest.mark.parametrize("kind", ["transform", "guard", "observe"])
@pytest.mark.parametrize("point", [BEFORE, AFTER, RELEASED, "tool_resource_allocated"])
async def test_a_row_of_hooks_lets_others_run_in_between(point: str, kind: str) -> None:
    if point == RELEASED and kind == "guard":
        pytest.skip("no guard stands at a notice")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with opened(*Bench().plugins) as host, trio.open_nursery() as nursery:
        for _ in range(20):
            host.hooks.register(point, lambda context: time.sleep(0.003), kind=kind)
        await host.call("tool:echo")
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        before = turns
        await host.call("tool:echo")
        seen = turns - before
        nursery.cancel_scope.cancel()

    assert seen >= 19
