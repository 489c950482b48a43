from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import trio
import trio.testing
from pydantic import BaseModel

from kernel import opened
from llmspell import Host
from llmspell_hookspecs import Cancel, InvalidInputError, OperationCancelledError, Tool, ToolContext
from llmspell_hookspecs.errors import HookRegistrationError, ResourceLimitError
from llmspell_plugins.globals.hook import Hook
from puppet import Body, Puppet, Script


class EchoParameters(BaseModel):
    text: str = ""


class Echo(Tool[EchoParameters]):
    """Return the text."""

    name = "echo"

    async def run(self, parameters: EchoParameters, context: ToolContext) -> Any:
        return parameters.text


async def run_script(body: Body, **others: Body) -> Any:
    puppet = Puppet(main=body, **others)
    async with opened(puppet, Echo) as host:
        return await host.run_source("main", "puppet", name="tour.puppet")


def returning(value: Any, seen: list[Any] | None = None) -> Callable[..., Awaitable[Any]]:
    async def function(*arguments: Any) -> Any:
        if seen is not None:
            seen.append(arguments)
        return value

    return function


async def echo(script: Script, text: str = "x") -> Any:
    return (await script("Tool.invoke", "echo", {"text": text}))["result"]


@pytest.mark.parametrize(
    "register",
    [
        lambda fn: ("BeforeToolExecution", fn),
        lambda fn: ("tool:before_execution", fn, "high"),
        lambda fn: ("before_tool_execution", fn, -5.0),
        lambda fn: ("BeforeToolExecution", fn, {"priority": "low", "name": "mine", "tags": {}}),
        lambda fn: ("tool:echo:before_execution", fn, {}),
        lambda fn: ({"point": "BeforeToolExecution", "handler": fn, "priority": "high", "tags": ["a"]},),
        lambda fn: ({"hook_point": "BeforeToolExecution", "callback": fn, "kind": "transform", "match": "ec*"},),
    ],
)
async def test_a_hook_registered_in_any_style_changes_the_call(register: Callable[[Any], tuple[Any, ...]]) -> None:
    seen: list[Any] = []
    change = {"type": "modified", "data": {"parameters": {"text": "changed"}}}

    async def body(script: Script) -> Any:
        await script("Hook.register", *register(returning(change, seen)))
        return await echo(script)

    assert await run_script(body) == "changed"
    assert seen[0][0]["point"] == "before_tool_execution"
    assert seen[0][0]["data"]["parameters"] == {"text": "x"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("NoSuchPoint", print), "Unknown hook point: NoSuchPoint"),
        (("BeforeToolExecution", None), "the hook for BeforeToolExecution is no function"),
        ((None, print), "the point is missing"),
        (("BeforeToolExecution", print, "urgent"), "'urgent' is none; use a number or one of highest, high"),
        (("BeforeToolExecution", print, {"priority": True}), "priority: True is none"),
        (("BeforeToolExecution", print, {"kind": "spy"}), "kind = 'spy' is wrong"),
        (("BeforeToolExecution", print, {"timeout": 5}), "there is no option 'timeout'; did you mean 'timeout_s'?"),
        (("BeforeToolExecution", print, {"timeout_ms": 0}), "timeout_ms = 0 is wrong"),
        (
            ("BeforeToolExecution", print, {"kind": "wrap"}),
            "kind = 'wrap' stands inside of the guards, for plugins only",
        ),
        (({"handler": print},), "the point is missing"),
    ],
)
async def test_a_registration_that_is_wrong_says_so(arguments: tuple[Any, ...], message: str) -> None:
    async def body(script: Script) -> Any:
        await script("Hook.register", *arguments)

    with pytest.raises((InvalidInputError, HookRegistrationError)) as caught:
        await run_script(body)

    assert message in str(caught.value)


async def test_a_handle_tells_its_point_until_it_is_unregistered() -> None:
    async def body(script: Script) -> Any:
        handle = await script("Hook.register", "tool:before_execution", returning("no"))
        told = [await script.of(handle, "hookPoint"), await script.of(handle, "id") != ""]
        told += [await script.of(handle, "unregister"), await script.of(handle, "unregister")]
        told.append(await echo(script))
        for method in ("hook_point", "id", "enable"):
            with pytest.raises(HookRegistrationError, match="the hook is unregistered"):
                await script.of(handle, method)
        return told

    assert await run_script(body) == ["BeforeToolExecution", True, True, False, "x"]


async def test_hooks_are_unregistered_by_handle_and_by_name_but_not_foreign_ones() -> None:
    async def body(script: Script) -> Any:
        handle = await script("Hook.register", "BeforeToolExecution", returning("no"))
        await script("Hook.register", "BeforeToolExecution", returning("no"), {"name": "b"})
        answers = [await script("Hook.unregister", handle), await script("Hook.unregister", handle)]
        answers += [await script("Hook.unregister", {"name": "b"}), await script("Hook.unregister", {"name": "b"})]
        with pytest.raises(InvalidInputError, match=r"Hook\.unregister: expected a hook"):
            await script("Hook.unregister", 5)
        with pytest.raises(InvalidInputError, match=r"Hook\.unregister: .* is no hook of this script"):
            await script("Hook.unregister", script.interface.globals["Tool"])
        with pytest.raises(InvalidInputError, match=r"Hook\.unregister: 'nobody' is no hook of this script"):
            await script("Hook.unregister", "nobody")
        return answers, await echo(script)

    assert await run_script(body) == ([True, False, True, False], "x")


async def test_unregistering_the_handle_of_another_script_is_false_and_it_stays() -> None:
    async def body(script: Script) -> Any:
        handle = await script("Hook.register", "BeforeToolExecution", returning("no"))
        other = Hook(script.interface.services, script.interface.scope)
        foreign = other.unregister(handle)
        return foreign, await script("Hook.unregister", handle)

    assert await run_script(body) == (False, True)


async def test_hooks_of_others_are_listed_only_on_request() -> None:
    async def body(host: Host, script: Script) -> Any:
        await script("Hook.register", "BeforeToolExecution", returning(None), {"name": "mine"})

        async def names(*filters: Any) -> list[str]:
            return [entry["name"] for entry in await script("Hook.list", *filters)]

        return [
            await names(),
            await names("BeforeToolExecution"),
            await names({"point": "BeforeToolExecution", "all": True}),
            await names({"plugin": "code"}),
            await names({"language": "python", "hook_point": "BeforeToolExecution"}),
        ]

    puppet = Puppet()
    async with opened(puppet, Echo) as host:
        host.hooks.register("BeforeToolExecution", returning(None), name="others")
        puppet.bodies["main"] = lambda script: body(host, script)
        result = await host.run_source("main", "puppet")

    assert result == [["mine"], ["mine"], ["others", "mine"], ["others"], ["others"]]


async def test_a_script_touches_only_hooks_of_its_own() -> None:
    async def body(host: Host, script: Script) -> Any:
        answers = [await script("Hook.unregister", {"name": "policy"}), await script("Hook.disable", "policy")]
        listed = await script("Hook.list", {"name": "policy", "all": True})
        answers.append(await script("Hook.disable", listed[0]["id"]))
        return answers, listed[0]["mine"]

    puppet = Puppet()
    async with opened(puppet, Echo) as host:
        host.hooks.register("BeforeToolExecution", returning(Cancel("policy says no")), kind="guard", name="policy")
        puppet.bodies["main"] = lambda script: body(host, script)
        answers = await host.run_source("main", "puppet")
        with pytest.raises(OperationCancelledError, match="policy says no"):
            await host.call("tool:echo", {})
        result = answers

    assert result == ([False, False, False], False)


async def test_disabled_hooks_are_not_called_until_they_are_enabled() -> None:
    async def body(script: Script) -> Any:
        handle = await script("Hook.register", "BeforeToolExecution", returning("no"), {"name": "n", "enabled": False})
        before = await echo(script)
        await script.of(handle, "enable")
        with pytest.raises(OperationCancelledError):
            await echo(script)
        await script("Hook.disable", {"name": "n"})
        return (
            before,
            await echo(script),
            await script("Hook.enable", "n"),
            (await script.of(handle, "info"))["enabled"],
        )

    assert await run_script(body) == ("x", "x", True, True)


async def test_hooks_go_when_the_script_ends() -> None:
    async def body(script: Script) -> Any:
        await script("Hook.register", "BeforeToolExecution", returning("no"), {"kind": "guard"})

    async def failing(script: Script) -> Any:
        await body(script)
        raise InvalidInputError("as planned")

    async with opened(Puppet(main=body, bad=failing), Echo) as host:
        await host.run_source("main", "puppet")
        with pytest.raises(InvalidInputError, match="as planned"):
            await host.run_source("bad", "puppet")
        result = host.hooks.list(), (await host.call("tool:echo", {"text": "on"})).result

    assert result == ([], "on")


async def test_a_guard_that_fails_denies_and_a_transform_that_fails_does_not() -> None:
    async def broken(context: Any) -> Any:
        raise InvalidInputError("the script died")

    async def body(script: Script) -> Any:
        await script("Hook.register", "BeforeToolExecution", broken)
        passed = await echo(script)
        await script("Hook.register", "BeforeToolExecution", broken, {"kind": "guard"})
        with pytest.raises(
            OperationCancelledError, match=r"Tool execution failed: echo was denied .*by hook .* the script died"
        ):
            await echo(script)
        return passed

    assert await run_script(body) == "x"


async def test_an_observer_sees_what_was_denied_and_its_answer_is_ignored() -> None:
    seen: list[Any] = []

    async def body(script: Script) -> Any:
        await script("Hook.register", "BeforeToolExecution", returning(12345, seen), {"kind": "observe"})
        await script("Hook.register", "BeforeToolExecution", returning("no"), {"kind": "guard"})
        with pytest.raises(OperationCancelledError):
            await echo(script)

    await run_script(body)

    assert len(seen) == 1


async def test_a_hook_that_takes_too_long_is_stopped() -> None:
    ended: list[str] = []

    async def slow(context: Any) -> Any:
        await trio.sleep(5)
        ended.append("slow")

    async def body(script: Script) -> Any:
        await script("Hook.register", "BeforeToolExecution", slow, {"kind": "guard", "timeout_ms": 10})
        with pytest.raises(OperationCancelledError):
            await echo(script)

    await run_script(body)

    assert ended == []


async def test_a_listing_has_the_originals_fields_and_ours() -> None:
    async def body(script: Script) -> Any:
        await script("Hook.register", "BeforeToolExecution", returning(None), "high")
        options = {"name": "late", "tags": ["x"], "priority": "low", "description": "mine", "version": "2.0.0"}
        await script("Hook.register", "AfterToolExecution", returning(None), options)
        return await script("Hook.list")

    first, second = await run_script(body)

    assert first["name"].startswith("puppet_")
    assert first["priority"] == "Priority(-100)"
    assert first["language"] == "puppet"
    assert first["version"] == "1.0.0"
    assert first["description"] == "puppet hook for BeforeToolExecution"
    assert first["tags"] == ["cross-language", "puppet"]
    assert first["point"] == "BeforeToolExecution"
    assert first["plugin"] == "script:tour.puppet"
    assert (first["kind"], first["enabled"], first["mine"]) == ("transform", True, True)
    assert (second["name"], second["description"], second["version"]) == ("late", "mine", "2.0.0")
    assert second["tags"] == ["cross-language", "puppet", "x"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (None, ["a", "b"]),
        ([], ["a", "b"]),
        ("BeforeToolExecution", ["a"]),
        ("tool:*", ["a", "b"]),
        ("agent:*", []),
        ("After*", ["b"]),
        ({"point": "AfterToolExecution"}, ["b"]),
        ({"hook_point": "tool:after*", "language": "puppet"}, ["b"]),
        ({"language": "lua"}, []),
        ({"priority": "high"}, ["a"]),
        ({"priority": 0}, ["b"]),
        ({"tag": "x"}, ["b"]),
        ({"name": "a", "enabled": True}, ["a"]),
        ({"kind": "observe"}, ["b"]),
    ],
)
async def test_listings_are_filtered(filters: Any, names: list[str]) -> None:
    async def body(script: Script) -> Any:
        await script("Hook.register", "BeforeToolExecution", returning(None), {"name": "a", "priority": "high"})
        options: Mapping[str, Any] = {"name": "b", "tags": "x", "kind": "observe"}
        await script("Hook.register", "AfterToolExecution", returning(None), options)
        return [entry["name"] for entry in await script("Hook.list", filters)]

    assert await run_script(body) == names


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ("Nothing", "Unknown hook point: Nothing"),
        ({"pont": "x"}, "there is no filter 'pont'"),
        ({"priority": "urgent"}, "'urgent' is none"),
        (5, "the filter must be a point's name or a table"),
    ],
)
async def test_a_filter_that_is_wrong_says_so(filters: Any, message: str) -> None:
    with pytest.raises((InvalidInputError, HookRegistrationError), match=message):
        await run_script(lambda script: script("Hook.list", filters))


async def test_points_are_listed_with_all_their_names() -> None:
    points = {point["name"]: point for point in await run_script(lambda script: script("Hook.points"))}

    before = points["BeforeToolExecution"]
    assert before["snake_name"] == "before_tool_execution"
    assert before["alias"] == "tool:before_execution"
    assert (before["topic"], before["phase"], len(before["accepts"])) == ("tool", "before", 9)
    assert points["ToolParameterValidation"]["aliases"] == ["ToolValidation"]


async def test_a_script_fires_points_of_its_own() -> None:
    async def body(script: Script) -> Any:
        await script("Hook.register", "custom:price", returning({"type": "modified", "data": {"eur": 2}}))
        changed = [await script("Hook.fire", "price", {"eur": 1}), await script("Hook.fire", "custom:price", {})]
        await script("Hook.register", "custom:price", returning("too dear"), {"kind": "guard"})
        with pytest.raises(OperationCancelledError, match="too dear"):
            await script("Hook.fire", "price", {"eur": 1})
        return changed, await script("Hook.fire", "nobody", 7)

    assert await run_script(body) == ([{"eur": 2}, {"eur": 2}], 7)


async def test_a_script_has_a_thousand_hooks_at_most() -> None:
    async def body(script: Script) -> Any:
        for number in range(1001):
            await script("Hook.register", f"custom:{number}", returning(None))

    with pytest.raises(ResourceLimitError, match="1000 hooks"):
        await run_script(body)
