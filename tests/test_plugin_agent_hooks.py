"""The plugin agent_hooks in a host: who is asked about what, what passes, and what becomes of those who fail."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from kernel import make_plugin, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Cancel, Modified, OperationCancelledError, Replace, ToolError
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.hooks.agent_hooks import AgentHooks, AgentHooksSettings, AllowAll
from llmspell_plugins.hooks.agent_hooks.approval import Seam
from llmspell_plugins.hooks.agent_hooks.configuration import Binding, Configuration
from scripted_model import ScriptedModel, asks, says
from waiting import PATIENCE_S

Answer = Callable[[Mapping[str, Any]], Any]


class Asked:
    """An interceptor that notes what it is shown, and answers what a test says."""

    def __init__(self, answer: Answer | None = None, at: str = "") -> None:
        self.seen: list[dict[str, Any]] = []
        self._answer = answer
        self._at = at

    def intercept(self, context: dict[str, Any]) -> Any:
        self.seen.append(json.loads(json.dumps(context)))
        if self._answer is None or (self._at and context["interception_point"] != self._at):
            return {"decision": "allow"}
        return self._answer(context)

    def at(self, point: str) -> list[Any]:
        """Return the targets that it was shown there."""
        return [each["target"] for each in self.seen if each["interception_point"] == point]


def says_so(**verdict: Any) -> Answer:
    return lambda context: verdict


def asking(*interceptors: Any, **fields: Any) -> tuple[type[AgentHooks], list[AgentHooks]]:
    """Return the plugin with these interceptors, and where the one that a host makes will be."""
    made: list[AgentHooks] = []
    configuration = Configuration(bindings=tuple(map(Binding, interceptors)), **fields)

    class Asking(AgentHooks):
        name = "asking"

        def __init__(self, settings: AgentHooksSettings, services: Any) -> None:
            super().__init__(settings, services)
            made.append(self)

        def configuration(self, settings: AgentHooksSettings, services: Any) -> Configuration:
            return configuration

    return Asking, made


@asynccontextmanager
async def asked_about(*interceptors: Any, more: tuple[Any, ...] = (), **fields: Any) -> AsyncIterator[Host]:
    """A host with a tool ``act`` that answers what it was given."""

    async def act(parameters: dict[str, Any], context: Any) -> Any:
        if parameters.get("fails"):
            raise ToolError(f"no: {parameters['fails']}", code="broken", details={"said": parameters["fails"]})
        return {"did": parameters}

    plugin, _ = asking(*interceptors, **fields)
    async with opened(plugin, make_tool("act", act), *more) as host:
        yield host


async def denied(host: Host, **parameters: Any) -> OperationCancelledError:
    with pytest.raises(OperationCancelledError) as refused:
        await host.call("tool:act", parameters)
    return refused.value


async def test_a_call_is_shown_before_it_runs_and_its_answer_before_it_leaves() -> None:
    asked = Asked()
    async with asked_about(asked) as host:
        await host.call("tool:act", {"n": 1})

    assert [each["interception_point"] for each in asked.seen] == ["pre_tool_call", "post_tool_call"]
    assert asked.seen[1]["tool_call"] == {**asked.seen[0]["tool_call"], "args": {"n": 1}}
    assert asked.seen[1]["tool_result"]["value"] == {"did": {"n": 1}}
    assert [each["sequence"] for each in asked.seen] == [0, 1]


async def test_what_a_later_transform_makes_of_a_call_is_shown_too_and_nothing_else_runs() -> None:
    later = make_plugin("later", ("before_tool_execution", changes(n=2), {"priority": "lowest"}))
    asked = Asked(lambda context: refuse_two(context), "pre_tool_call")
    async with asked_about(asked, more=(later,)) as host:
        error = await denied(host, n=1)

    assert asked.at("pre_tool_call") == [{"n": 1}, {"n": 2}]
    assert "agent_hooks: two" in error.reason


def refuse_two(context: Mapping[str, Any]) -> Any:
    return {"decision": "deny", "reason": "two"} if context["target"].get("n") == 2 else {"decision": "allow"}


def changes(**parameters: Any) -> Any:
    return lambda context: context.modify(parameters=parameters)


async def test_what_would_have_to_be_changed_after_it_was_settled_is_denied() -> None:
    def change(context: Mapping[str, Any]) -> Any:
        value = context["target"]["n"] + 1
        return {"decision": "transform", "transform": {"path": "$target.n", "value": value}}

    later = make_plugin("later", ("before_tool_execution", changes(n=7), {"priority": "lowest"}))
    async with asked_about(Asked(change, "pre_tool_call"), more=(later,)) as host:
        error = await denied(host, n=1)

    assert "changed once more" in error.reason


async def test_a_transform_is_what_runs() -> None:
    change = says_so(decision="transform", transform={"path": "$target.n", "value": 5})
    async with asked_about(Asked(change, "pre_tool_call")) as host:
        assert (await host.call("tool:act", {"n": 1})).result == {"did": {"n": 5}}


async def test_an_answer_that_another_hook_puts_there_is_shown_as_well() -> None:
    other = make_plugin("other", ("before_tool_execution", lambda context: Replace("smuggled"), {}))
    asked = Asked(says_so(decision="deny", reason="no"), "post_tool_call")
    async with asked_about(asked, more=(other,)) as host:
        await denied(host)

    assert asked.at("post_tool_call") == ["smuggled"]


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        ({"decision": "deny", "reason": "no"}, "withheld: agent_hooks: no"),
        ({"decision": "transform", "transform": {"path": "$target", "value": "else"}}, "else"),
    ],
)
async def test_the_text_of_a_failure_is_shown_and_may_be_withheld(verdict: dict[str, Any], message: str) -> None:
    asked = Asked(says_so(**verdict), "post_tool_call")
    async with asked_about(asked) as host:
        with pytest.raises(ToolError) as failed:
            await host.call("tool:act", {"fails": "a secret"})

    assert asked.seen[1]["tool_result"]["is_error"] is True
    assert (str(failed.value), failed.value.details) == (message, None)


class Hanging:
    async def intercept(self, context: Any) -> Any:
        await trio.sleep_forever()


class HangingSync:
    def intercept(self, context: Any) -> Any:
        time.sleep(1.5)


class Ending:
    def intercept(self, context: Any) -> Any:
        sys.exit("out")


class Sullen:
    def intercept(self, context: Any) -> Any:
        return object()


@pytest.mark.parametrize(
    ("interceptor", "reason"),
    [
        (Hanging(), "host_error:interceptor_timeout"),
        (Ending(), "host_error:interceptor_failed: SystemExit"),
        (Sullen(), "host_error:verdict_invalid"),
        (Asked(says_so(decision="allow", reason="host_error:mine")), "host_error:verdict_invalid"),
    ],
    ids=["hangs", "exits", "answers nonsense", "speaks for the host"],
)
def test_one_that_fails_has_denied(interceptor: Any, reason: str) -> None:
    async def main() -> str:
        async with asked_about(interceptor) as host:
            return (await denied(host)).reason

    assert reason in run(main, virtual=isinstance(interceptor, Hanging))


async def test_a_sync_one_that_hangs_holds_up_nobody_else() -> None:
    binding = Binding(HangingSync(), "slow", None, 0.2)
    plugin, _ = asking()

    class Slow(plugin):  # type: ignore[misc, valid-type]
        name = "slow"

        def configuration(self, settings: Any, services: Any) -> Configuration:
            return Configuration(bindings=(binding,))

    async def act(parameters: Any, context: Any) -> str:
        return "done"

    turns = 0
    async with opened(Slow, make_tool("act", act)) as host, trio.open_nursery() as nursery:

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.sleep(0.01)

        nursery.start_soon(turn)
        error = await denied(host)
        nursery.cancel_scope.cancel()

    assert "host_error:interceptor_timeout" in error.reason
    assert turns >= 2


async def test_with_nobody_to_ask_everything_is_denied() -> None:
    async with asked_about() as host:
        error = await denied(host)

    assert "host_error:no_interceptor" in error.reason


async def test_to_evaluate_only_hinders_and_changes_nothing() -> None:
    plugin, made = asking(Asked(says_so(decision="deny", reason="no")), mode="evaluate_only")

    async def act(parameters: Any, context: Any) -> str:
        return "done"

    async with opened(plugin, make_tool("act", act)) as host:
        assert (await host.call("tool:act", {})).result == "done"

    assert {record["verdict"]["reason"] for record in made[0].records} == {"no"}
    assert made[0].stats() == {"deny": 2, "records_dropped": 0}


async def test_a_secret_is_shown_to_nobody_and_runs_as_it_is() -> None:
    asked, got = Asked(), []

    async def keep(parameters: dict[str, Any], context: Any) -> str:
        got.append(parameters["api_key"])
        return "kept"

    plugin, made = asking(asked)
    async with opened(plugin, make_tool("keep", keep)) as host:
        await host.call("tool:keep", {"api_key": "sk-1234567890abcdef", "url": "https://me:hunter22@x.example/"})

    assert got == ["sk-1234567890abcdef"]
    shown = json.dumps([asked.seen, list(made[0].records)])
    assert "sk-1234567890" not in shown
    assert "hunter22" not in shown


async def test_a_denial_that_may_be_lifted_waits_for_a_person_and_runs_once() -> None:
    ask = says_so(decision="deny", reason="large", approval={})
    async with asked_about(Asked(ask, "pre_tool_call")) as host:
        error = await denied(host, n=1)
        (question,) = await host.get(Approvals).list(status="pending")
        await host.get(Approvals).allow(question.id)
        done = (await host.call("tool:act", {"n": 1})).result
        again = await denied(host, n=1)

    assert error.code == "approval_required"
    assert done == {"did": {"n": 1}}
    assert again.code == "approval_required"


async def test_nothing_of_a_denied_answer_is_streamed() -> None:
    heard: list[str] = []

    async def hear(chunk: Any) -> None:
        heard.append(chunk.text)

    model = ScriptedModel(says("the secret is out"))
    async with asked_about(Asked(says_so(decision="deny", reason="no"), "output"), more=(model,)) as host:
        agent = await host.agents.create(name="a", model="scripted/play")
        with pytest.raises(OperationCancelledError):
            await agent.run("go", sink=hear)

    assert heard == []


async def test_the_tools_of_an_agent_in_a_workflow_are_shown_with_the_ids_that_its_model_gave_them() -> None:
    asked = Asked()
    model = ScriptedModel(asks(("act", {"n": 1}), ("act", {"n": 2})), says("done"))
    async with asked_about(asked, more=(model,)) as host:
        await host.agents.create(name="a", model="scripted/play", tools=["act"])
        stages = [{"name": "s", "address": "agent:a", "input": "go"}]
        workflow = await host.get(Workflows).create({"name": "flow", "stages": stages})
        await workflow.run({})

    calls = [each for each in asked.seen if each["interception_point"] == "pre_tool_call"]
    assert {each["tool_call"]["id"]: each["target"]["n"] for each in calls} == {"use-1": 1, "use-2": 2}
    assert {each["agent"]["id"] for each in asked.seen} == {"a"}
    assert len({each["session"]["id"] for each in asked.seen}) == 1
    numbers = [each["sequence"] for each in asked.seen]
    assert sorted(numbers) == list(range(len(numbers)))


async def test_a_value_that_is_no_json_is_denied_and_not_shown_in_part() -> None:
    asked = Asked()
    async with asked_about(asked) as host:
        error = await denied(host, data=b"\x00")

    assert "host_error:context_invalid" in error.reason
    assert asked.seen == []


async def test_a_context_that_is_too_large_is_denied() -> None:
    asked = Asked()
    async with asked_about(asked, most_bytes=2048) as host:
        await host.call("tool:act", {"text": "x" * 500})
        error = await denied(host, text="x" * 2000)

    assert "host_error:context_invalid" in error.reason


async def test_a_caller_who_goes_away_leaves_a_record_and_no_gap() -> None:
    plugin, made = asking(Hanging())

    async def act(parameters: Any, context: Any) -> str:
        return "done"

    async with opened(plugin, make_tool("act", act)) as host, trio.open_nursery() as nursery:
        nursery.start_soon(host.call, "tool:act", {})
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    (record,) = made[0].records
    assert record["verdict"] == {"decision": "deny", "reason": "host_error:interceptor_failed", "message": "Cancelled"}


async def test_twenty_agents_at_once_have_a_session_each(tmp_path: Path) -> None:
    asked = Asked()
    model = ScriptedModel(lambda request: says("hi"))

    async def ask(host: Host, name: str) -> None:
        agent = await host.agents.create(name=name, model="scripted/play")
        assert (await agent.run("go")).text == "hi"
        await agent.close()

    async with asked_about(asked, more=(model,)) as host, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(ask, host, f"a{number}")

    for number in range(20):
        mine = [each for each in asked.seen if each["agent"]["id"] == f"a{number}"]
        assert len({each["session"]["id"] for each in mine}) == 1
        assert [each["sequence"] for each in sorted(mine, key=lambda each: each["sequence"])] == list(range(6))


# Settings.


async def failure_of(table: dict[str, Any]) -> str:
    """Return what is told of a table; where interceptors cannot be asked nothing passes."""
    async with opened(settings={"plugins": {"agent_hooks": {"enabled": True, **table}}}) as host:
        failed = [info.error for info in host.plugins.infos if info.error]
        problems = [str(problem) for problem in host.problems]
        if problems and not failed:
            with pytest.raises(OperationCancelledError, match="not_loaded"):
                await host.call("tool:calculator", {"operation": "evaluate", "input": "1 + 1"})
    return " ".join([*failed, *problems])


async def test_interceptors_are_named_in_the_settings() -> None:
    table = {"interceptors": ["llmspell_plugins.hooks.agent_hooks:AllowAll"], "profile": "sequential/run_all"}

    assert await failure_of(table) == ""
    assert AllowAll().intercept({}) == {"decision": "allow"}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"interceptors": ["no.such.module:Thing"]}, "no.such.module:Thing cannot be loaded"),
        ({"interceptors": ["json:loads"]}, "json:loads: a function has no intercept(context)"),
        ({"interceptors": ["nonsense"]}, "interceptors.0"),
        ({"on_disagreement": "deny"}, "on_disagreement is not asked by the profile sequential/first_deny"),
        ({"declaration": "x.json", "profile": "sequential/run_all"}, "declaration says all that profile would"),
        ({"declaration": "/no/such/file.json"}, "declaration_error:unreadable"),
        ({"redactor": "json:loads"}, "set resolver, too"),
    ],
)
async def test_what_is_wrong_in_the_settings_is_told(table: dict[str, Any], told: str) -> None:
    assert told in await failure_of(table)


async def test_a_declaration_says_who_is_asked(tmp_path: Path) -> None:
    config = {"interceptor": "llmspell_plugins.hooks.agent_hooks:AllowAll"}
    document = {
        "declaration": "agent-hooks-declaration/1.0",
        "bindings": [{"id": "all", "kind": "llmspell.python", "config": config}],
    }
    (tmp_path / "hooks.json").write_text(json.dumps(document))

    assert await failure_of({"declaration": str(tmp_path / "hooks.json")}) == ""

    document["bindings"] = [{"id": "all", "kind": "llmspell.python", "config": {"secret": "sk-12345678"}}]
    (tmp_path / "hooks.json").write_text(json.dumps(document))

    told = await failure_of({"declaration": str(tmp_path / "hooks.json")})
    assert "declaration_error:binding_rejected" in told
    assert "sk-12345678" not in told


async def test_a_guard_of_another_plugin_denies_what_interceptors_allow() -> None:
    guard = make_plugin("policy", ("before_tool_execution", lambda context: Cancel("policy"), {"kind": "guard"}))
    async with asked_about(Asked(), more=(guard,)) as host:
        assert (await denied(host)).reason == "policy"


async def test_what_leaves_is_what_was_shown_although_another_hook_changes_it_later() -> None:
    async def later(context: Any) -> Any:
        return Modified({**{"result": "later"}})

    other = make_plugin("later", ("after_tool_execution", later, {"priority": "lowest"}))
    asked = Asked()
    async with asked_about(asked, more=(other,)) as host:
        assert (await host.call("tool:act", {"n": 1})).result == "later"

    assert asked.at("post_tool_call")[-1] == "later"


class ExitingResolver:
    def resolve(self, request: Any) -> Any:
        sys.exit("out")


class SullenResolver:
    def resolve(self, request: Any) -> Any:
        return {"outcome": "approve", "context_identity": request.context_identity, "verdict": {"decision": "maybe"}}


@pytest.mark.parametrize(
    ("resolver", "reason"),
    [
        (ExitingResolver(), "host_error:approval_resolver_failed: SystemExit"),
        (SullenResolver(), "host_error:verdict_invalid"),
        (object(), "host_error:approval_resolver_failed: AttributeError"),
    ],
)
async def test_a_resolver_that_fails_lifts_nothing(resolver: Any, reason: str) -> None:
    ask = says_so(decision="deny", reason="large", approval={})
    async with asked_about(Asked(ask, "pre_tool_call"), seam=Seam(resolver)) as host:
        assert reason in (await denied(host)).reason


async def test_to_evaluate_only_lets_pass_what_cannot_be_shown_and_notes_it() -> None:
    plugin, made = asking(Asked(), mode="evaluate_only")

    async def act(parameters: Any, context: Any) -> str:
        return "done"

    async with opened(plugin, make_tool("act", act)) as host:
        assert (await host.call("tool:act", {"data": b"\x00"})).result == "done"

    assert made[0].records[0]["verdict"]["reason"] == "host_error:context_invalid"
    assert made[0].records[0]["input_identity"] is None


@pytest.mark.parametrize("verdict", [{"reason": "x" * 1001}, {"result_labels": ["l"] * 1001}])
async def test_a_verdict_that_talks_without_end_is_none(verdict: dict[str, Any]) -> None:
    async with asked_about(Asked(says_so(decision="allow", **verdict))) as host:
        assert "host_error:verdict_invalid" in (await denied(host)).reason


async def test_each_asking_is_an_event_without_anything_of_what_was_shown() -> None:
    heard: list[Any] = []
    async with asked_about(Asked()) as host:
        host.events.on("agent_hooks.record", lambda event: heard.append(event.data))
        await host.call("tool:act", {"text": "confidential"})
        with trio.fail_after(PATIENCE_S):
            while len(heard) < 2:
                await trio.sleep(0.01)

    assert [each["interception_point"] for each in heard] == ["pre_tool_call", "post_tool_call"]
    assert "confidential" not in str(heard)
