"""Switching plugins and hooks while the host runs: for all, for a session, by flags, and without forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import Bench, make_tool, opened
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, OperationCancelledError, hookimpl
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import InvalidInputError, PluginError, PluginRequiredError, ResourceLimitError
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.switching import HookSwitch, PluginSwitch

POINT = "before_tool_execution"


class Counting:
    """A plugin that knows how often it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked = 0

    @hookimpl(name="count", specname=POINT)
    def count(self, context: HookContext[Any]) -> None:
        self.asked += 1

    def stats(self) -> dict[str, int]:
        return {"asked": self.asked}

    async def dump_state(self) -> Any:
        return {"asked": self.asked}

    async def load_state(self, state: Any, /) -> None:
        self.asked = state["asked"]


class Denying:
    """A plugin with a guard."""

    name = "denying"

    @hookimpl(name="deny", specname=POINT, kind="guard")
    async def deny(self, context: HookContext[Any]) -> Cancel:
        return Cancel("no")


async def call(host: Host, session: str = "") -> str:
    """Call the tool within a session; returns what became of it."""

    async def body(given: Any) -> Any:
        return await host.call("tool:echo", {"text": "x"})

    visit = Operation(
        OperationKind(name="visit"), ComponentRef("visit", "it"), None, body, baggage={"session": session}
    )
    try:
        await host.get(Operations).execute(visit)
    except OperationCancelledError:
        return "denied"
    return "ran"


async def asked(host: Host, session: str = "") -> int:
    """Return how often the plugin is asked about a call."""
    plugin = host.get(PluginSwitch).plugin("counting")
    before = int(plugin.asked)
    await call(host, session)
    return int(plugin.asked) - before


async def test_a_hook_is_switched_off_and_on_for_all() -> None:
    async with opened(*Bench().plugins, Counting, Denying) as host:
        switch = host.get(HookSwitch)
        told = [await call(host), switch.switch("denying.*", False), await call(host), await asked(host)]
        told += [switch.switch("denying.d*", True), await call(host), switch.switch("nobody.*", False)]
        enabled = {hook.name: hook.enabled for hook in host.hooks.list()}

    assert told == ["denied", 1, "ran", 1, 1, "denied", 0]
    assert enabled == {"count": True, "deny": True}


async def test_a_hook_is_switched_in_one_session_whatever_holds_for_all() -> None:
    async with opened(*Bench().plugins, Counting, Denying) as host:
        switch = host.get(HookSwitch)
        switch.switch("denying.deny", False, session="a")
        some = [await call(host, session) for session in ("a", "b", "")]
        switch.switch("denying.deny", False)
        switch.switch("denying.deny", True, session="b")
        others = [await call(host, session) for session in ("a", "b", "")]
        switch.switch("denying.deny", None, session="b")
        switch.switch("denying.deny", None)
        back = [await call(host, session) for session in ("a", "b", "")]

    assert some == ["ran", "denied", "denied"]
    assert others == ["ran", "denied", "ran"]
    assert back == ["ran", "denied", "denied"]


async def test_what_is_registered_later_is_switched_too_and_hooks_of_scripts_are_not() -> None:
    async with opened(*Bench().plugins) as host:
        host.get(HookSwitch).switch("*", False)
        host.hooks.register(POINT, lambda context: Cancel("no"), kind="guard", plugin="late")
        later = await call(host)
        scripts = await host.run_source(
            "Hook.register('BeforeToolExecution', function() return {type = 'cancel', reason = 'no'} end)"
            " return (pcall(Tool.invoke, 'echo', {text = 'x'}))",
            "lua",
        )

    assert (later, scripts) == ("ran", False)


async def test_what_hooks_disabled_says_no_switch_lifts() -> None:
    settings = {"hooks": {"disabled": ["denying.*"]}, "plugins": {}}
    async with opened(*Bench().plugins, Denying, settings=settings) as host:
        host.get(HookSwitch).switch("denying.*", True)

        assert await call(host) == "ran"


async def test_wraps_and_observers_are_switched_in_sessions() -> None:
    seen: list[str] = []

    async def wrap(context: HookContext[Any]) -> Any:
        seen.append("wrap")
        yield

    async with opened(*Bench().plugins) as host:
        host.hooks.register("around_tool_execution", wrap, kind="wrap")
        host.hooks.register("after_tool_execution", lambda context: seen.append("observe"), kind="observe")
        host.get(HookSwitch).switch("code.*", False, session="a")
        await call(host, "a")
        quiet = list(seen)
        await call(host, "b")

    assert (quiet, seen) == ([], ["wrap", "observe"])


@pytest.mark.parametrize(
    ("pattern", "on", "session"), [(3, False, ""), (None, True, ""), ("*", "no", ""), ("*", 1, ""), ("*", True, 3)]
)
async def test_what_is_no_switch_is_refused_and_changes_nothing(pattern: Any, on: Any, session: Any) -> None:
    asked: list[str] = []

    async with opened(*Bench().plugins) as host:
        with pytest.raises(InvalidInputError, match=r"give a glob for plugin\.hook"):
            host.get(HookSwitch).switch(pattern, on, session=session)
        host.hooks.register(POINT, lambda context: asked.append("asked"))
        await host.call("tool:echo")

    assert asked == ["asked"]


async def test_switches_are_bounded() -> None:
    async with opened() as host:
        switch = host.get(HookSwitch)
        for number in range(1000):
            switch.switch("x.*", False, session=str(number))

        with pytest.raises(ResourceLimitError, match="1000 patterns and sessions are switched"):
            switch.switch("x.*", False, session="one more")
        switch.switch("x.*", None, session="0")
        switch.switch("x.*", False, session="one more")


async def test_an_optional_plugin_is_loaded_when_it_is_switched_on_and_keeps_what_it_knows_while_off() -> None:
    limits = [{"match": "tool:echo", "rate": 2, "per_s": 3600.0, "action": "refuse"}]
    notices: list[str] = []
    bench = Bench()
    async with opened(*bench.plugins, settings={"plugins": {"rate_limit": {"limits": limits}}}) as host:
        host.hooks.register("plugin_loaded", lambda context: notices.append(context.subject.name), kind="observe")
        switch = host.get(PluginSwitch)
        told: list[Any] = [switch.plugin("rate_limit"), await call(host)]
        await switch.enable("rate_limit")
        told += [await call(host)]
        switch.disable("rate_limit")
        told += [await call(host), await call(host)]
        await switch.enable("rate_limit")
        told += [await call(host), await call(host)]
        await switch.reload("rate_limit")
        told += [await call(host), switch.plugin("rate_limit").stats()["refused"]]

    assert told == [None, "ran", "ran", "ran", "ran", "ran", "denied", "denied", 2]
    assert notices == ["rate_limit"]


async def test_an_optional_plugin_is_loaded_for_one_session_only() -> None:
    rules = [{"name": "none", "action": "deny", "tools": ["echo"]}]
    settings = {"plugins": {"security": {"rules": rules, "audit": "off"}}}
    async with opened(*Bench().plugins, settings=settings) as host:
        await host.get(PluginSwitch).enable("security", session="a")

        assert [await call(host, session) for session in ("", "a", "b")] == ["ran", "denied", "ran"]


@pytest.mark.parametrize(
    ("plugins", "name", "problem"),
    [
        ({"disabled": ["retry"]}, "retry", "or the settings disable it"),
        ({"retry": {"enabled": False}}, "retry", "or the settings disable it"),
        ({}, "retri", "none that may be switched on is called so"),
        ({"retry": {"attempts": 0}}, "retry", "plugins.retry.attempts"),
        ({"security": {"nonsense": 1}}, "security", "plugins.security.nonsense"),
    ],
)
async def test_what_cannot_be_switched_on_is_told_and_leaves_nothing(
    plugins: dict[str, Any], name: str, problem: str
) -> None:
    async with opened(*Bench().plugins, settings={"plugins": {"model_retry": {"enabled": False}, **plugins}}) as host:
        with pytest.raises(PluginError) as caught:
            await host.get(PluginSwitch).enable(name)

        assert problem in str(caught.value)
        assert host.hooks.list() == []
        assert (await host.call("tool:echo", {"text": "x"})).success  # whoever asked is told, and all goes on


@pytest.mark.parametrize("name", [3, None, [], b"retry", {"name": "retry"}])
async def test_what_is_no_name_of_a_plugin_is_refused_and_changes_nothing(name: Any) -> None:
    async with opened(Counting) as host:
        switch = host.get(PluginSwitch)
        before = switch.known(), host.hooks.list()

        with pytest.raises(InvalidInputError, match=r"^plugins: the plugin .* is no name; give a text$"):
            await switch.enable(name)
        with pytest.raises(InvalidInputError, match=r"^plugins: the plugin .* is no name; give a text$"):
            await switch.reload(name)
        for call in (switch.disable, switch.plugin):
            with pytest.raises(InvalidInputError, match=r"^plugins: the plugin .* is no name; give a text$"):
                call(name)
        with pytest.raises(InvalidInputError, match=r"^plugins: the session .* is no name; give a text$"):
            await switch.enable("counting", session=name)
        with pytest.raises(InvalidInputError, match=r"^plugins: the session .* is no name; give a text$"):
            switch.disable("counting", session=name)

        assert (switch.known(), host.hooks.list()) == before


async def test_what_is_required_or_not_loaded_is_not_switched_off() -> None:
    async with opened(Counting, settings={"plugins": {"required": ["counting"]}}) as host:
        switch = host.get(PluginSwitch)
        with pytest.raises(PluginError, match="plugin counting: it is required"):
            switch.disable("counting")
        with pytest.raises(PluginError, match=r"plugin nobody: it is not loaded; loaded are .*counting"):
            switch.disable("nobody")


async def test_a_plugin_that_is_made_anew_goes_on_where_it_was() -> None:
    async with opened(*Bench().plugins, Counting) as host:
        switch = host.get(PluginSwitch)
        await call(host)
        before = switch.plugin("counting")
        await switch.reload("counting")
        await call(host)

        assert switch.plugin("counting") is not before
        assert (before.asked, switch.plugin("counting").asked) == (1, 2)
        assert [hook.name for hook in host.hooks.list()] == ["count"]


class Forgetful:
    """A plugin that counts and hands nothing on."""

    name = "forgetful"
    opens = True

    @hookimpl(name="count", specname=POINT)
    def count(self, context: HookContext[Any]) -> None:
        return None

    def stats(self) -> dict[str, int]:
        return {}


class Failing(Counting):
    """A plugin that opens once."""

    name = "counting"
    opened = 0

    async def __aenter__(self) -> Failing:
        type(self).opened += 1
        if type(self).opened > 1:
            raise PluginError("it opens once; no more", plugin="counting")
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


async def test_one_that_would_forget_is_not_made_anew() -> None:
    async with opened(Forgetful) as host:
        switch = host.get(PluginSwitch)
        before = switch.plugin("forgetful")
        with pytest.raises(PluginError, match="it counts and hands nothing on"):
            await switch.reload("forgetful")

        assert switch.plugin("forgetful") is before


@pytest.mark.parametrize(("required", "closed"), [(True, False), (False, False), (False, True)])
async def test_one_that_does_not_open_anew_is_a_plugin_that_failed(
    required: bool, closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Failing.opened = 0
    monkeypatch.setattr(Failing, "fails_closed", closed, raising=False)
    settings = {"plugins": {"required": ["counting"] if required else []}}
    async with opened(*Bench().plugins, Failing, settings=settings) as host:
        switch = host.get(PluginSwitch)
        with pytest.raises(PluginError, match="it opens once"):
            await switch.reload("counting")

        assert switch.plugin("counting") is None
        assert host.plugins.failed == ("counting",)
        assert {hook.plugin for hook in host.hooks.list()} == {"model_retry"}
        if required or closed:
            with pytest.raises(PluginRequiredError, match="counting"):
                await host.call("tool:echo", {"text": "x"})


class Gated(Counting):
    """A plugin with a guard, which takes its time to open."""

    name = "gated"
    began, goes_on = trio.Event(), trio.Event()
    opened = 0

    @hookimpl(name="deny", specname=POINT, kind="guard")
    def deny(self, context: HookContext[Any]) -> Cancel:
        return Cancel("no")

    async def __aenter__(self) -> Gated:
        type(self).opened += 1
        if type(self).opened > 1:
            type(self).began.set()
            await type(self).goes_on.wait()
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


async def test_what_begins_while_a_plugin_is_made_anew_waits_for_its_guards() -> None:
    Gated.opened, Gated.began, Gated.goes_on = 0, trio.Event(), trio.Event()
    bench = Bench()
    done: list[str] = []
    async with opened(*bench.plugins, Gated) as host:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.get(PluginSwitch).reload, "gated")
            await Gated.began.wait()
            nursery.start_soon(_note, host, done)
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            before = list(done)
            Gated.goes_on.set()
        hooks = {hook.name for hook in host.hooks.list()}

    assert (before, done, bench.runs) == ([], ["denied"], [])
    assert hooks == {"count", "deny"}


# Flags.


def flags(table: Mapping[str, Any], **plugins: Any) -> dict[str, Any]:
    return {"plugins": {"model_retry": {"enabled": False}, "features": {"enabled": True, "flags": table}, **plugins}}


SECURITY = {"rules": [{"name": "none", "action": "deny", "tools": ["echo"]}], "audit": "off"}


async def test_a_flag_that_is_on_loads_what_it_names_and_one_that_is_off_does_not_even_import_it() -> None:
    table = {"strict": {"plugins": ["security"]}, "counted": {"on": True, "needs": ["strict"], "hooks": ["counting.*"]}}
    async with opened(*Bench().plugins, Counting, settings=flags(table, security=SECURITY)) as host:
        assert [await call(host), await asked(host)] == ["denied", 1]

    quiet = {**table, "counted": {"hooks": ["counting.*"]}}
    async with opened(*Bench().plugins, Counting, settings=flags(quiet, security=SECURITY)) as host:
        switch = host.get(PluginSwitch)
        assert [await call(host), await asked(host), switch.plugin("security")] == ["ran", 0, None]
        await switch.plugin("features").switch("strict", True)
        await switch.plugin("features").switch("counted", True)
        assert [await call(host), await asked(host)] == ["denied", 1]
        await switch.plugin("features").switch("strict", False)
        assert await call(host) == "ran"


async def test_a_flag_is_switched_in_a_session_with_what_it_needs() -> None:
    table = {"strict": {"plugins": ["security"]}, "counted": {"needs": ["strict"], "hooks": ["counting.*"]}}
    async with opened(*Bench().plugins, Counting, settings=flags(table, security=SECURITY)) as host:
        features = host.get(PluginSwitch).plugin("features")
        await features.switch("counted", True, session="a")
        told = [(await call(host, session), await asked(host, session)) for session in ("", "a", "b")]
        on = [features.is_on("strict", session=session) for session in ("", "a", "b")]
        with pytest.raises(PluginError, match="flag strict: counted is on and needs it; switch counted off first"):
            await features.switch("strict", False, session="a")
        stats = features.stats()
        features.forget("a")

        assert [await call(host, session) for session in ("", "a")] == ["ran", "ran"]

    assert told == [("ran", 0), ("denied", 1), ("ran", 0)]
    assert on == [False, True, False]
    assert stats == {"strict": {"on": False, "sessions": 1}, "counted": {"on": False, "sessions": 1}}


async def test_what_two_flags_name_is_asked_while_one_of_them_is_on() -> None:
    table = {"one": {"on": True, "hooks": ["counting.*"]}, "two": {"on": True, "hooks": ["counting.*"]}}
    async with opened(*Bench().plugins, Counting, settings=flags(table)) as host:
        features = host.get(PluginSwitch).plugin("features")
        await features.switch("one", False)
        one = await asked(host)
        await features.switch("two", False, session="a")
        both = [await asked(host, session) for session in ("", "a")]
        await features.switch("one", True)
        again = [await asked(host, session) for session in ("", "a")]

    assert (one, both, again) == (1, [1, 0], [1, 1])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"a": {"needs": ["b"], "hooks": ["x.*"]}}, "flag a needs 'b', which is no flag; there are a"),
        ({"aa": {"needs": ["ab"]}, "abc": {"hooks": ["x"]}}, "did you mean abc?"),
        ({"a": {"needs": ["b"]}, "b": {"needs": ["c"]}, "c": {"needs": ["a"]}}, "circle: a -> b -> c -> a"),
        ({"a": {"needs": ["a"]}}, "in a circle: a -> a; take one need out"),
        ({"a": {}}, "flag a names nothing"),
        ({"a": {"hook": ["x"]}}, "hook"),
    ],
)
async def test_flags_that_do_not_hold_together_are_a_plugin_that_failed(table: dict[str, Any], problem: str) -> None:
    async with opened(settings=flags(table)) as host:
        errors = [info.error for info in host.plugins.infos if info.name == "features"]

    assert problem in errors[0]


async def test_an_unknown_flag_and_a_plugin_that_is_not_there_are_named(caplog: pytest.LogCaptureFixture) -> None:
    table = {"here": {"on": True, "plugins": ["nobody"]}, "off": {"plugins": ["nothing"]}}
    async with opened(settings=flags(table)) as host:
        features = host.get(PluginSwitch).plugin("features")
        with pytest.raises(PluginError, match="flag 'hear': which is no flag; did you mean here"):
            await features.switch("hear", True)
        with pytest.raises(PluginError, match="plugin nothing: none that may be switched on is called so"):
            await features.switch("off", True)

        assert not features.is_on("off")
    assert any("features: plugin nobody: none" in record.getMessage() for record in caplog.records)


async def test_a_misspelt_name_in_a_flag_is_told_though_the_flag_is_off(caplog: pytest.LogCaptureFixture) -> None:
    table = {
        "right": {"plugins": ["metrics", "counting"], "hooks": ["denying.*", "security.judge*", "*.deny"]},
        "wrong": {"plugins": ["metrix"], "hooks": ["denyng.*", "denying.deyn", "securty.*"]},
    }

    async with opened(Counting, Denying, settings=flags(table)):
        pass

    told = [record.getMessage() for record in caplog.records if "features:" in record.getMessage()]
    assert told == [
        "features: flag wrong: no plugin is called 'metrix'; did you mean metrics?",
        "features: flag wrong: no hook fits 'denyng.*'; did you mean denying?",
        "features: flag wrong: no hook fits 'denying.deyn'; did you mean denying.deny?",
        "features: flag wrong: no hook fits 'securty.*'; did you mean security?",
    ]


async def test_flags_are_kept_when_their_plugin_is_made_anew() -> None:
    table = {"one": {"hooks": ["counting.*"]}}
    async with opened(*Bench().plugins, Counting, settings=flags(table)) as host:
        switch = host.get(PluginSwitch)
        await switch.plugin("features").switch("one", True, session="a")
        await switch.reload("features")

        assert switch.plugin("features").is_on("one", session="a")
        assert [await asked(host, session) for session in ("", "a")] == [0, 1]


async def _note(host: Host, done: list[str]) -> None:
    done.append(await call(host))


@pytest.mark.parametrize("ledger", ["memory", "behind", "strict"])
async def test_a_budget_goes_on_where_it_was_when_its_plugin_is_made_anew_while_calls_run(ledger: str) -> None:
    budgets = [{"match": "tool:echo", "calls": 3}]
    table = {"plugins": {"cost": {"enabled": True, "budgets": budgets, "ledger": ledger, "price_list": "none"}}}
    began, goes_on = trio.Event(), trio.Event()

    async def echo(parameters: Any, context: Any) -> None:
        began.set()
        await goes_on.wait()

    async with opened(make_tool("echo", echo), settings=table) as host:
        switch = host.get(PluginSwitch)
        done: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_note, host, done)
            await began.wait()
            await switch.reload("cost")
            goes_on.set()
        done += [await call(host) for _ in range(3)]
        stats = switch.plugin("cost").stats()

    assert done == ["ran", "ran", "ran", "denied"]
    assert stats["unwritten"] == 0


@pytest.mark.parametrize("name", ["caching", "cost", "metrics", "rate_limit", "retry"])
async def test_built_in_plugins_that_count_go_on_counting_when_made_anew(name: str, tmp_path: Path) -> None:
    tables: dict[str, dict[str, Any]] = {
        "caching": {"rules": [{"match": "tool:echo"}]},
        "cost": {"budgets": [{"match": "tool:echo", "calls": 100}], "price_list": "none"},
        "metrics": {},
        "rate_limit": {"limits": [{"match": "tool:echo", "rate": 100}]},
        "retry": {"attempts": 2, "base_s": 0.0, "retry_on": ["broken"]},
    }
    bench = Bench()
    async with opened(*bench.plugins, settings={"plugins": {name: {"enabled": True, **tables[name]}}}) as host:
        switch = host.get(PluginSwitch)
        bench.failing = 1 if name == "retry" else 0
        await call(host)
        await call(host)
        before = switch.plugin(name).stats()
        await switch.reload(name)

        assert before
        assert switch.plugin(name).stats() == before
