"""The eight built-in hooks: each has its effect wherever something runs, and fails as its kind says, harming nobody.

Two tables, each with its own row for each plugin: what a plugin does in a tool's call, an agent's turn and a workflow,
beside a host without it; and what becomes of calls where the plugin's own disk, storage, clock, port, library or
settings fail.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio
from msgspec import Struct

from kernel import make_tool
from llmspell import Host
from llmspell_hookspecs import Message, ModelRequest, ToolContext
from llmspell_hookspecs.errors import LlmspellError, PluginRequiredError, ProviderError, StorageError
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.hooks.cost import plugin as cost_plugin
from llmspell_plugins.hooks.debugging import plugin as debugging_plugin
from llmspell_plugins.hooks.logging.file import RotatingFile
from llmspell_plugins.hooks.metrics import plugin as metrics_plugin
from llmspell_plugins.storage.memory import Memory
from scripted_model import ScriptedModel, asks, says

EIGHT = ("caching", "cost", "debugging", "logging", "metrics", "rate_limit", "retry", "security")
JUDGES = ("agent_hooks", "cost", "hook_files", "rate_limit", "security")
PLACES = {"tool": "tool:echo", "agent": "agent:writer", "workflow": "workflow:report"}


class Found(Struct, frozen=True):
    """What came of two calls at one place.

    Attributes:
        ended: The code of each call's end, ``fine`` if it completed.
        runs: How often the tool's body ran.
        seen: What files of the plugins hold.
        problems: What the host was told.
        failed: What could not be loaded, with the reason.
        events: The topics that were published.
    """

    ended: list[str]
    runs: int
    seen: str
    problems: str
    failed: dict[str, str]
    events: list[str]


class Echo:
    """A tool that counts, and may fail the first time."""

    def __init__(self, *, fails: bool) -> None:
        self.runs = 0
        self.fails = fails
        self.tool = make_tool("echo", self.run, repeatable=True)

    async def run(self, parameters: dict[str, Any], context: ToolContext) -> str:
        self.runs += 1
        if self.fails and self.runs == 1:
            raise ProviderError("it is busy", code="unavailable", retryable=True)
        return "echo"


class Brittle(Memory):
    """The storage in memory, until its disk is full."""

    name: ClassVar[str] = "brittle"
    full: ClassVar[bool] = False

    async def write(self, batch: Any, /, *, expect: Any = None) -> Any:
        if Brittle.full:
            raise StorageError("storage: No space left on device")
        return await super().write(batch, expect=expect)


def table_of(name: str, folder: Path) -> dict[str, Any]:
    """Return settings under which a plugin has an effect that can be seen."""
    tables: dict[str, dict[str, Any]] = {
        "caching": {"rules": [{"match": "tool:echo", "scope": "host"}]},
        "cost": {"budgets": [{"match": "tool:echo", "calls": 1}], "price_list": "none"},
        "debugging": {"export": str(folder / "seen.json"), "format": "json"},
        "logging": {"path": str(folder / "seen.log")},
        "metrics": {"path": str(folder / "seen.prom")},
        "rate_limit": {"limits": [{"match": "tool:echo", "rate": 1, "per_s": 3600, "action": "refuse"}]},
        "retry": {"base_s": 0, "jitter": "none"},
        "security": {"rules": [{"name": "no-echo", "action": "deny", "tools": ["echo"]}]},
    }
    return {"enabled": True, **tables[name]}


async def use(host: Host, place: str) -> list[str]:
    """Run what stands at a place twice; return how each ended."""
    if place == "workflow":
        stages = [{"name": "say", "tool": "echo", "input": {}}]
        await host.get(Workflows).create({"name": "report", "stages": stages})
    agent = await host.agents.create(name="writer", model="scripted/play", tools=["echo"])
    ended = []
    for _ in range(2):
        agent.forget()
        try:
            await host.call(PLACES[place], {} if place == "tool" else "begin")
            ended.append("fine")
        except (LlmspellError, OSError) as error:
            ended.append(getattr(error, "code", "") or type(error).__name__)
    return ended


async def found(
    name: str,
    place: str,
    folder: Path,
    *,
    changes: dict[str, Any] | None = None,
    fails: bool = False,
    before: Callable[[], object] = lambda: None,
    told: str = "",
) -> Found:
    """Open a host with a plugin, or none if it is empty, use it, and return what came of it."""
    echo = Echo(fails=fails)
    model = ScriptedModel(
        lambda request: asks(("echo", {})) if request.messages[-1].content == "begin" else says("done"),
    )
    table = {**table_of(name, folder), **(changes or {})} if name else {}
    settings = {
        "storage": {"backend": "brittle"},
        "security": {"paths": {"write": [str(folder)], "read": [str(folder)]}},
        "plugins": {"disabled": ["model_retry"], **({name: table} if name else {})},
    }
    Brittle.full = False
    async with Host.open(settings, plugins=[Brittle, echo.tool, model]) as host:
        before()
        async with host.events.subscribe("**", capacity=10_000) as events:
            ended = await use(host, place)
            topics = await topics_until(told, events)
        failed = {info.name: info.error for info in host.plugins.infos if info.error}
    problems = "\n".join(map(str, host.problems))
    seen = "".join(path.read_text() for path in sorted(folder.glob("seen.*")) if path.is_file())
    return Found(ended, echo.runs, seen, problems, failed, topics)


async def topics_until(told: str, events: Any) -> list[str]:
    """Return the topics of what was published, until one comes that is waited for."""
    topics: list[str] = []
    with trio.move_on_after(30):
        while told and told not in topics:
            topics.append((await events.receive()).type)
    while (event := events.receive_nowait()) is not None:
        topics.append(event.type)
    return topics


def is_seen(done: Found, place: str) -> bool:
    """Whether files of the plugins tell of what ran there: as one text, or as kind and name."""
    kind, _, name = PLACES[place].partition(":")
    return PLACES[place] in done.seen or f'component="{name}",kind="{kind}"' in done.seen


Effect = Callable[[Found, str], bool]
EFFECTS: dict[str, Effect] = {
    "caching": lambda done, place: done.runs == 1 and done.ended == ["fine", "fine"],
    "cost": lambda done, place: done.runs == 1,
    "debugging": is_seen,
    "logging": is_seen,
    "metrics": is_seen,
    "rate_limit": lambda done, place: done.runs == 1,
    "retry": lambda done, place: done.runs == 3 and done.ended == ["fine", "fine"],
    "security": lambda done, place: done.runs == 0,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", EIGHT)
async def test_each_has_its_effect_in_a_call_a_turn_and_a_workflow(name: str, place: str, tmp_path: Path) -> None:
    with_it, without = tmp_path / "with", tmp_path / "without"
    with_it.mkdir()
    without.mkdir()
    (tmp_path / ".git").mkdir()

    done = await found(name, place, with_it, fails=name == "retry")
    plain = await found("", place, without, fails=name == "retry")

    assert done.failed == {}
    assert EFFECTS[name](done, place)
    assert not EFFECTS[name](plain, place)
    if place == "tool" and name in ("cost", "rate_limit", "security"):
        assert done.ended[1] == {"cost": "budget_exceeded", "rate_limit": "rate_limited", "security": "denied"}[name]


# Their own failures.


class Fault(Struct, frozen=True):
    """How a plugin is made to fail, and what is to come of two calls.

    Attributes:
        name: The plugin.
        what: What fails.
        ended: How both calls end.
        told: What is told of it: by the host's problems, by an event's topic, or by what could not be loaded.
        changes: Of its settings.
        inject: Makes it fail, before the host opens.
        later: Makes it fail when the host is open.
    """

    name: str
    what: str
    ended: tuple[str, str]
    told: str
    changes: dict[str, Any] = {}
    inject: Callable[[pytest.MonkeyPatch], object] = lambda patch: None
    later: Callable[[pytest.MonkeyPatch], object] = lambda patch: None


FINE = ("fine", "fine")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(*given: Any, **named: Any) -> Any:
    raise FULL


def fill_the_disk(patch: pytest.MonkeyPatch) -> None:
    Brittle.full = True


def set_the_clock_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(time, "time", lambda now=time.time: now() - 86_400 * 400)


def set_the_clock_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(time, "time", lambda now=time.time: now() + 7200)


def spoil_the_list(patch: pytest.MonkeyPatch) -> None:
    def spoiled() -> Any:
        raise ValueError("Input data was truncated")

    patch.setattr(cost_plugin, "read_list", spoiled)


def no_re2(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(__import__("sys").modules, "re2", None)


ALLOW: dict[str, Any] = {"rules": []}
FAULTS = [
    Fault("logging", "disk full", FINE, "logging.unwritten", inject=lambda p: p.setattr(RotatingFile, "write", fail)),
    Fault(
        "metrics",
        "disk full",
        FINE,
        "metrics.unwritten",
        {"every_s": 0.1},
        inject=lambda p: p.setattr(metrics_plugin, "replace_regular", fail),
    ),
    Fault("metrics", "port taken", FINE, "metrics: plugins.metrics.listen", {"listen": "127.0.0.1:1x"}),
    Fault(
        "debugging",
        "disk full",
        FINE,
        "plugins.debugging.export",
        inject=lambda p: p.setattr(debugging_plugin, "replace_regular", fail),
    ),
    Fault("debugging", "folder gone", FINE, "is no folder", {"export": "/nowhere/at/all/x.json"}),
    Fault("security", "storage full, refusals", FINE, "No space left", ALLOW | {"audit": "all"}, later=fill_the_disk),
    Fault(
        "security",
        "storage full, strict",
        ("guard_failed", "guard_failed"),
        "",
        ALLOW | {"audit": "strict"},
        later=fill_the_disk,
    ),
    Fault(
        "caching",
        "storage full",
        FINE,
        "store of results",
        {"rules": [{"match": "tool:echo", "scope": "host", "persist": True}]},
        later=fill_the_disk,
    ),
    Fault("caching", "clock back", FINE, "", later=set_the_clock_back),
    Fault("rate_limit", "clock back", ("fine", "rate_limited"), "", later=set_the_clock_back),
    Fault("rate_limit", "clock on", ("fine", "rate_limited"), "", later=set_the_clock_on),
    Fault("retry", "clock back", FINE, "", later=set_the_clock_back),
    Fault("cost", "storage full, behind", ("fine", "budget_exceeded"), "cost.unwritten", later=fill_the_disk),
    Fault(
        "cost",
        "storage full, strict",
        ("budget_unknown", "budget_unknown"),
        "",
        {"ledger": "strict"},
        later=fill_the_disk,
    ),
    Fault("cost", "clock back", ("fine", "budget_exceeded"), "", later=set_the_clock_back),
    *(
        Fault(name, "settings wrong", FINE, f"plugins.{name}.nonsense", {"nonsense": 1})
        for name in EIGHT
        if name not in JUDGES
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.name}: {fault.what}")
async def test_what_fails_of_its_own_fails_as_its_kind_says_and_is_told(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault.inject(monkeypatch)
    topic = fault.told if fault.told.endswith("unwritten") else ""

    done = await found(
        fault.name, "tool", tmp_path, changes=fault.changes, before=lambda: fault.later(monkeypatch), told=topic
    )

    assert tuple(done.ended) == fault.ended
    assert done.runs == fault.ended.count("fine") - (fault.name == "caching" and fault.what != "settings wrong")
    where = [*done.events, *(f"{name}: {error}" for name, error in done.failed.items()), done.problems]
    assert any(fault.told in each for each in where)


@pytest.mark.parametrize("name", EIGHT)
async def test_one_that_is_required_and_cannot_be_loaded_stops_operations_by_its_name(
    name: str, tmp_path: Path
) -> None:
    async with Host.open({"plugins": {name: {"enabled": True, "required": True, "nonsense": 1}}}) as host:
        with pytest.raises(LlmspellError, match=name):
            await host.call("tool:calculator", {"input": "1"})


@pytest.mark.parametrize("name", [*JUDGES, "cost: list spoiled", "security: re2 missing"])
async def test_one_that_judges_and_cannot_be_loaded_lets_nothing_run_until_it_is_repaired_or_disabled(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, fault = name.partition(": ")
    table: dict[str, Any] = {} if fault else {"nonsense": 1}
    if fault == "list spoiled":
        spoil_the_list(monkeypatch)
    elif fault:
        no_re2(monkeypatch)

    async with Host.open({"plugins": {name: {"enabled": True, **table}}}) as host:
        with pytest.raises(PluginRequiredError, match=f"plugin {name} is not loaded: .*; repair it, or disable"):
            await host.call("tool:calculator", {"input": "1"})
        failed = host.plugins.failed
    async with Host.open({"plugins": {name: {"enabled": False, **table}}}) as host:
        assert (await host.call("tool:calculator", {"input": "1"})).result["result"] == 1

    assert failed == (name,)


async def test_none_of_them_is_left_out_where_a_busy_machine_makes_all_hooks_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, 0.06)  # at each reading 60 ms later than at the last; a breaker calls 50 ms slow
    tables: dict[str, dict[str, Any]] = {
        "caching": {"rules": [{"match": "tool:*"}, {"match": "model:*"}]},
        "cost": {"budgets": [{"usd": 100}], "unknown_model": "estimate"},
        "rate_limit": {"limits": [{"match": "*", "rate": 1000}]},
        "retry": {"match": ["*"], "base_s": 0.001},
        "security": {"audit": "off"},
    }
    settings = {"plugins": {name: {"enabled": True, **table} for name, table in tables.items()}}
    model = ScriptedModel(says("yes"))

    async with Host.open(settings, plugins=[model]) as host:
        monkeypatch.setattr("llmspell.hooks.dispatch.perf_counter", lambda: next(clock))
        for number in range(6):
            await host.models.complete(ModelRequest("scripted/play", (Message("user", f"question {number}"),)))
        found = {info.breaker for info in host.hooks.list() if info.plugin in tables and info.kind == "transform"}

    assert found == {"closed"}


def test_each_of_the_eight_has_rows_in_both_tables() -> None:
    assert set(EFFECTS) == set(EIGHT) == {fault.name for fault in FAULTS}
