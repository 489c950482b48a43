"""Hook files in the form of Claude Code: real commands, at tools, agents and workflows, and all the ways they end."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import make_plugin, make_tool, opened
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, OperationCancelledError, Replace
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.errors import PluginRequiredError, SettingsError
from llmspell_hookspecs.workflows import Workflows
from scripted_model import ScriptedModel, asks, says
from test_optional_plugins import PLUGINS, answers
from waiting import PATIENCE_S

PASS = {"exit": 0}


class Desk:
    """A folder with a hook file, and what its commands were sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "sent"

    def command(self, say: str = "", *, exit: int = 0, error: str = "", before: str = "") -> dict[str, Any]:
        """A command that keeps what it is sent, and then says this."""
        parts = [f"cat >> {self.log}; echo >> {self.log}", before]
        parts += [f"printf %s {shlex.quote(say)}" if say else "", f"echo {shlex.quote(error)} >&2" if error else ""]
        return {"type": "command", "command": "; ".join([*filter(None, parts), f"exit {exit}"])}

    def answers(self, **members: Any) -> dict[str, Any]:
        return self.command(json.dumps(members))

    def own(self, event: str, **members: Any) -> dict[str, Any]:
        return self.answers(hookSpecificOutput={"hookEventName": event, **members})

    def file(self, **events: Any) -> dict[str, Any]:
        """Write a hook file, and return the settings that name it. An event is a command, or (matcher, command) s."""
        hooks = {}
        for event, groups in events.items():
            rows = groups if isinstance(groups, list) else [groups]
            pairs = [row if isinstance(row, tuple) else ("", row) for row in rows]
            hooks[event] = [{"matcher": matcher, "hooks": [command]} for matcher, command in pairs]
        return self.whole({"hooks": hooks})

    def whole(self, document: Any) -> dict[str, Any]:
        path = self.folder / "hooks.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        pinned = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        return {"enabled": True, "files": [pinned]}

    def sent(self, event: str = "") -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        found = [json.loads(line) for line in lines if line]
        return [each for each in found if event in ("", each["hook_event_name"])]

    @asynccontextmanager
    async def host(self, table: Mapping[str, Any], *more: Any, **settings: Any) -> AsyncIterator[Host]:
        """A host with a tool ``act`` that answers what it was given."""

        async def act(parameters: dict[str, Any], context: Any) -> Any:
            return {"did": parameters}

        paths = {"security": {"paths": {"read": [str(self.folder)], "write": [str(self.folder)]}}}
        named = {**paths, **settings, "plugins": {"hook_files": dict(table)}}
        async with opened(make_tool("act", act), *more, settings=named) as host:
            assert [info.error for info in host.plugins.infos if info.error] == []
            yield host


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def denied(host: Host, tool: str = "act", **parameters: Any) -> OperationCancelledError:
    with pytest.raises(OperationCancelledError) as refused:
        await host.call(f"tool:{tool}", parameters)
    return refused.value


# How a command ends.

ENDS: list[tuple[str, dict[str, Any], str]] = [
    ("nothing", {}, ""),
    ("words", {"say": "all is well"}, ""),
    ("an empty object", {"say": "{}"}, ""),
    ("allow", {"say": '{"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow"}}'}, ""),
    ("approve", {"say": '{"decision": "approve"}'}, ""),
    ("output that is hidden", {"say": '{"suppressOutput": true, "continue": true}'}, ""),
    ("2", {"exit": 2, "error": "not today"}, "not today"),
    ("2, and JSON that allows", {"exit": 2, "say": '{"decision": "approve"}', "error": "no"}, "no"),
    ("2 without a word", {"exit": 2}, "it refuses"),
    ("1", {"exit": 1, "error": "broken"}, "it ended with 1: broken"),
    ("127", {"before": "no-such-program-at-all"}, "it ended with"),
    ("a signal", {"before": "kill -9 $$"}, "it ended with -9"),
    (
        "deny",
        {"say": '{"hookSpecificOutput": {"permissionDecision": "deny", "permissionDecisionReason": "why"}}'},
        "why",
    ),
    ("block", {"say": '{"decision": "block", "reason": "so"}'}, "so"),
    ("stop", {"say": '{"continue": false, "stopReason": "enough"}'}, "enough"),
    ("no JSON", {"say": '{"decision": '}, "begins as JSON and is none"),
    ("words before its JSON", {"say": 'loading...\n{"decision": "block"}'}, "words before its JSON"),
    ("two objects of JSON", {"say": '{}\n{"decision": "block"}'}, "begins as JSON and is none"),
    ("a word that is none", {"say": '{"decision": "maybe"}'}, "its decision 'maybe' is none"),
    ("a permission that is none", {"say": '{"hookSpecificOutput": {"permissionDecision": "yes"}}'}, "'yes' is none"),
    ("a member of another type", {"say": '{"continue": "no"}'}, "its continue is a str"),
    ("a member that is none", {"say": '{"descision": "block"}'}, "'descision'"),
    ("another event's answer", {"say": '{"hookSpecificOutput": {"hookEventName": "Stop"}}'}, "answers for 'Stop'"),
    ("a number that is none", {"say": '{"hookSpecificOutput": {"updatedInput": {"n": NaN}}}'}, "begins as JSON"),
    ("two answers in one", {"say": '{"decision": "block", "decision": "approve"}'}, "begins as JSON"),
    ("no text", {"before": "printf '\\377\\376'"}, "not UTF-8"),
]


@pytest.mark.parametrize(("ends", "reason"), [(each[1], each[2]) for each in ENDS], ids=[each[0] for each in ENDS])
async def test_a_command_that_ends_so_lets_pass_or_denies(desk: Desk, ends: dict[str, Any], reason: str) -> None:
    if ends.get("before", "").startswith("no-such"):
        ends = {**ends, "before": "no-such-program-at-all || exit $?"}
    async with desk.host(desk.file(PreToolUse=desk.command(**ends))) as host:
        if not reason:
            assert (await host.call("tool:act", {"n": 1})).result == {"did": {"n": 1}}
        else:
            error = await denied(host, n=1)
            assert reason in error.reason
            assert (error.code, error.point) == ("denied", "before_tool_execution")

    assert len(desk.sent()) == 1


async def test_what_a_command_is_sent_has_the_members_that_its_event_has(desk: Desk) -> None:
    async with desk.host(desk.file(PreToolUse=desk.command(), PostToolUse=desk.command())) as host:
        await host.call("tool:act", {"n": 1, "api_key": "sk-1234567890abcdef"})

    before, after = desk.sent()
    assert before == {
        "session_id": before["session_id"],
        "transcript_path": "/dev/null",
        "cwd": str(Path(__file__).parent),
        "permission_mode": "default",
        "hook_event_name": "PreToolUse",
        "tool_name": "act",
        "tool_input": {"n": 1, "api_key": "**********"},
        "tool_use_id": before["tool_use_id"],
        "llmspell": {**before["llmspell"], "tool": "act", "parameters": {"n": 1, "api_key": "**********"}},
    }
    assert before["session_id"]
    assert after["tool_response"] == {"did": {"n": 1, "api_key": "**********"}}
    assert after["tool_use_id"] == before["tool_use_id"]


async def test_a_command_that_hangs_is_ended_with_all_that_it_started_and_has_denied(desk: Desk) -> None:
    hang = {"type": "command", "command": f"sleep 300 & echo $! > {desk.folder}/child; wait", "timeout": 0.3}
    async with desk.host(desk.file(PreToolUse=hang)) as host:
        error = await denied(host)

    assert "it ran for more than 0.3 s" in error.reason
    assert await is_gone(desk.folder)


async def test_a_file_cannot_give_a_command_more_time_than_settings_do(desk: Desk) -> None:
    hang = {"type": "command", "command": "sleep 300", "timeout": 100_000}
    async with desk.host({**desk.file(PreToolUse=hang), "max_timeout_s": 0.2}) as host:
        assert "more than 0.2 s" in (await denied(host)).reason


async def test_a_command_that_floods_is_ended_and_has_denied(desk: Desk) -> None:
    flood = {"type": "command", "command": "yes"}
    async with desk.host({**desk.file(PreToolUse=flood), "max_output_bytes": 4096}) as host:
        assert "it printed more than 4096 bytes" in (await denied(host)).reason


async def test_a_call_that_is_too_large_to_send_is_denied(desk: Desk) -> None:
    async with desk.host({**desk.file(PreToolUse=desk.command()), "max_input_bytes": 2048}) as host:
        await host.call("tool:act", {"text": "x" * 100})
        assert "2048 are sent" in (await denied(host, text="x" * 4000)).reason


async def test_a_caller_who_goes_away_takes_the_whole_group_along(desk: Desk) -> None:
    begun = desk.folder / "begun"
    hang = {"type": "command", "command": f"sleep 300 & echo $! > {desk.folder}/child; touch {begun}; wait"}
    async with desk.host(desk.file(PreToolUse=hang)) as host, trio.open_nursery() as nursery:
        nursery.start_soon(host.call, "tool:act", {})
        while not begun.exists():
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()

    assert await is_gone(desk.folder)


async def is_gone(folder: Path) -> bool:
    """Wait until the process that a command started is no more: who is killed may take a moment to die."""
    pid = int((folder / "child").read_text())
    with trio.fail_after(PATIENCE_S):
        while runs(pid):
            await trio.sleep(0.01)
    return True


def runs(pid: int) -> bool:
    """Whether a process runs; one that only waits to be looked after does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_a_command_that_reads_nothing_and_leaves_a_child_ends_all_the_same(desk: Desk) -> None:
    leaves = {"type": "command", "command": f"(sleep 300 & echo $! > {desk.folder}/child); exit 0"}
    async with desk.host(desk.file(PreToolUse=leaves)) as host:
        await host.call("tool:act", {"text": "x" * 200_000})

    assert await is_gone(desk.folder)


async def test_twenty_at_once_run_so_many_beside_each_other_as_settings_allow(desk: Desk) -> None:
    count = f"""python3 - <<'END'
import os, time
here = "{desk.folder}/now"
os.makedirs(here, exist_ok=True)
mine = os.path.join(here, str(os.getpid()))
open(mine, "w").close()
time.sleep(0.05)
with open("{desk.folder}/most", "a") as stream:
    stream.write(str(len(os.listdir(here))) + chr(10))
os.unlink(mine)
END"""
    table = {**desk.file(PreToolUse={"type": "command", "command": count}), "max_parallel": 3}
    async with desk.host(table) as host, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(host.call, "tool:act", {"n": number})

    most = [int(line) for line in (desk.folder / "most").read_text().split()]
    assert len(most) == 20
    assert max(most) <= 3


async def test_a_command_has_no_variable_that_holds_a_secret(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_SECRET_TOKEN", "hunter2222")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")
    show = {"type": "command", "command": f"env > {desk.folder}/env"}
    async with desk.host(desk.file(PreToolUse=show)) as host:
        await host.call("tool:act", {})

    shown = (desk.folder / "env").read_text()
    assert "hunter2222" not in shown
    assert "sk-1234567890" not in shown
    assert f"CLAUDE_PROJECT_DIR={Path(__file__).parent}" in shown


# Matchers, and tools by the names that they have there.


@pytest.mark.parametrize(
    ("matcher", "asked"),
    [
        ("", 1), ("*", 1), ("act", 1), ("Act", 0), ("ac", 0), ("Bash|act", 1), ("Bash, act", 1), ("a.t", 1), (".*", 1),
        ("^ac", 1), ("Bash", 0), ("mcp__.*", 0), ("[ab]ct", 1),
    ],
)  # fmt: skip
async def test_a_matcher_says_which_tools_a_command_is_about(desk: Desk, matcher: str, asked: int) -> None:
    async with desk.host(desk.file(PreToolUse=[(matcher, desk.command(exit=2))])) as host:
        if asked:
            await denied(host)
        else:
            await host.call("tool:act", {})

    assert len(desk.sent()) == asked


@pytest.mark.parametrize("matcher", ["(a+)+$", "(", "(a)\\1", "(?=a)b", "(?:a*)*", "a*b*c*d*e", "x" * 501, "(a|b){9}"])
async def test_a_matcher_that_may_take_for_ever_is_refused(desk: Desk, matcher: str) -> None:
    assert "hooks.PreToolUse[0].matcher" in await failure_of(desk, desk.file(PreToolUse=[(matcher, desk.command())]))


async def test_a_tool_of_a_server_is_matched_by_its_name(desk: Desk) -> None:
    async def read(parameters: Any, context: Any) -> str:
        return "read"

    tools = [make_tool(name, read) for name in ("mcp__memory__read", "mcp__files__write")]
    async with desk.host(desk.file(PreToolUse=[("mcp__memory__.*", desk.command(exit=2))]), *tools) as host:
        await denied(host, "mcp__memory__read")
        await host.call("tool:mcp__files__write", {})


CALLS: list[tuple[str, dict[str, Any], list[tuple[str, dict[str, Any]]]]] = [
    (
        "process_executor",
        {"executable": "echo", "arguments": ["a b", "$x"]},
        [("Bash", {"command": "echo 'a b' '$x'"})],
    ),
    ("file_operations", {"operation": "write", "path": "a.txt", "input": "hi"}, [("Write", {"content": "hi"})]),
    ("file_operations", {"operation": "read", "path": "there.txt"}, [("Read", {})]),
    ("file_operations", {"operation": "delete", "path": "there.txt"}, [("Write", {})]),
    ("file_operations", {"operation": "list_dir", "path": "."}, [("LS", {})]),
    (
        "file_operations",
        {"operation": "move", "source_path": "there.txt", "target_path": "b.txt"},
        [("Write", {"file_path": "there.txt"}), ("Write", {"file_path": "b.txt"})],
    ),
    (
        "file-editor",
        {"operation": "str_replace", "path": "there.txt", "old_text": "here", "new_text": "now"},
        [("Edit", {"old_string": "here", "new_string": "now"})],
    ),
    ("file_search", {"pattern": "her", "path": "."}, [("Grep", {"pattern": "her"})]),
]


@pytest.mark.parametrize(("tool", "parameters", "shown"), CALLS, ids=[f"{c[0]}-{c[1].get('operation')}" for c in CALLS])
async def test_a_tool_of_the_box_is_shown_as_the_one_that_it_is_there_once(
    desk: Desk, tool: str, parameters: dict[str, Any], shown: list[tuple[str, dict[str, Any]]]
) -> None:
    (desk.folder / "there.txt").write_text("here")
    given = {k: str(desk.folder / v) if k == "path" or k.endswith("_path") else v for k, v in parameters.items()}
    async with desk.host(desk.file(PreToolUse=[("Bash|Read|Write|Edit|LS|Grep", desk.command())])) as host:
        await host.call(f"tool:{tool}", given)

    sent = desk.sent()
    assert [each["tool_name"] for each in sent] == [name for name, _ in shown]
    for each, (_, members) in zip(sent, shown, strict=True):
        assert each["llmspell"]["tool"] == tool
        for member, value in members.items():
            assert each["tool_input"][member] == (str(desk.folder / value) if member == "file_path" else value)


async def test_a_command_that_guards_a_path_sees_it_in_a_move(desk: Desk) -> None:
    (desk.folder / "keep.txt").write_text("kept")
    kept = f"jq -e '.tool_input.file_path == \"{desk.folder}/keep.txt\"' > /dev/null"
    guard = f"if {kept}; then echo kept >&2; exit 2; fi"
    table = desk.file(PreToolUse=[("Write", {"type": "command", "command": guard})])
    async with desk.host(table) as host:
        move = {
            "operation": "move",
            "source_path": str(desk.folder / "keep.txt"),
            "target_path": str(desk.folder / "x"),
        }
        assert "kept" in (await denied(host, "file_operations", **move)).reason

    assert (desk.folder / "keep.txt").read_text() == "kept"


# What a command changes.


async def test_a_command_changes_what_a_tool_is_given_and_all_are_asked_about_that(desk: Desk) -> None:
    first, second = desk.command(), desk.own("PreToolUse", permissionDecision="allow", updatedInput={"n": 2})
    async with desk.host(desk.file(PreToolUse=[("act", first), ("act", second)])) as host:
        assert (await host.call("tool:act", {"n": 1})).result == {"did": {"n": 2}}

    assert [each["tool_input"]["n"] for each in desk.sent()] == [1, 1, 2, 2]


async def test_one_that_refuses_what_another_made_of_a_call_is_heard(desk: Desk) -> None:
    refuses = {"type": "command", "command": "jq -e '.tool_input.n == 2' > /dev/null && exit 2 || exit 0"}
    changes = desk.own("PreToolUse", updatedInput={"n": 2})
    async with desk.host(desk.file(PreToolUse=[("act", refuses), ("act", changes)])) as host:
        await denied(host, n=1)


async def test_a_command_that_never_settles_is_denied(desk: Desk) -> None:
    script = "jq -c '{hookSpecificOutput: {hookEventName: \"PreToolUse\", updatedInput: {n: (.tool_input.n + 1)}}}'"
    async with desk.host(desk.file(PreToolUse={"type": "command", "command": script})) as host:
        assert "changed once more" in (await denied(host, n=1)).reason


async def test_a_secret_that_a_command_leaves_alone_stays_what_it_is(desk: Desk) -> None:
    got = []

    async def keep(parameters: dict[str, Any], context: Any) -> str:
        got.append(parameters)
        return "kept"

    script = "jq -c '{hookSpecificOutput: {hookEventName: \"PreToolUse\", updatedInput: (.tool_input + {n: 2})}}'"
    table = desk.file(PreToolUse={"type": "command", "command": script})
    async with desk.host(table, make_tool("keep", keep)) as host:
        await host.call("tool:keep", {"n": 1, "api_key": "sk-1234567890abcdef"})

    assert got == [{"n": 2, "api_key": "sk-1234567890abcdef"}]


@pytest.mark.parametrize(
    ("command", "answer"),
    [("echo two 'and three'", "two and three\n"), ("rm -rf / ; echo", None), ("echo `id`", None), ("A=1 echo", None)],
)
async def test_a_bash_is_changed_only_into_what_needs_no_shell(desk: Desk, command: str, answer: str | None) -> None:
    change = desk.own("PreToolUse", updatedInput={"command": command})
    async with desk.host(desk.file(PreToolUse=[("Bash", change)])) as host:
        call = {"executable": "echo", "arguments": ["one"]}
        if answer is None:
            assert "needs a shell" in (await denied(host, "process_executor", **call)).reason
        else:
            assert (await host.call("tool:process_executor", call)).result["stdout"] == answer


async def test_what_a_later_hook_makes_of_a_call_is_asked_about_too(desk: Desk) -> None:
    later = make_plugin(
        "later", ("before_tool_execution", lambda c: c.modify(parameters={"n": 666}), {"priority": "lowest"})
    )
    guard = {"type": "command", "command": "jq -e '.tool_input.n == 666' > /dev/null && exit 2 || exit 0"}
    async with desk.host(desk.file(PreToolUse=guard), later) as host:
        await denied(host, n=1)


async def test_allow_is_no_more_than_no_objection(desk: Desk) -> None:
    policy = make_plugin("policy", ("before_tool_execution", lambda context: Cancel("policy"), {"kind": "guard"}))
    async with desk.host(desk.file(PreToolUse=desk.own("PreToolUse", permissionDecision="allow")), policy) as host:
        assert (await denied(host)).reason == "policy"


async def test_ask_asks_a_person_about_this_call_and_lets_it_pass_once(desk: Desk) -> None:
    ask = desk.own("PreToolUse", permissionDecision="ask", permissionDecisionReason="sure?")
    table = desk.file(PreToolUse=ask, Notification=[("permission_prompt", desk.command())])
    async with desk.host(table) as host:
        error = await denied(host, n=1)
        (question,) = await host.get(Approvals).list(status="pending")
        await host.get(Approvals).allow(question.id)
        await host.call("tool:act", {"n": 1})
        again = await denied(host, n=1)

    assert (error.code, again.code) == ("approval_required", "approval_required")
    assert "sure?" in error.reason
    told = desk.sent("Notification")
    assert "tool act needs your permission" in told[0]["message"]


# PostToolUse.


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ({"exit": 2, "error": "lint: 3 errors"}, "lint: 3 errors"),
        ({"say": '{"decision": "block", "reason": "bad"}'}, "bad"),
        ({"exit": 1}, "ended with 1"),
    ],
)
async def test_a_result_that_is_blocked_is_withheld(desk: Desk, ends: dict[str, Any], reason: str) -> None:
    async with desk.host(desk.file(PostToolUse=desk.command(**ends))) as host:
        error = await denied(host)

    assert reason in error.reason
    assert "its result is withheld" in error.reason
    assert error.point == "after_tool_execution"


async def test_a_command_puts_another_result_in_its_place(desk: Desk) -> None:
    change = desk.own("PostToolUse", updatedToolOutput={"clean": True})
    async with desk.host(desk.file(PostToolUse=change)) as host:
        assert (await host.call("tool:act", {})).result == {"clean": True}


async def test_a_result_that_another_hook_puts_there_is_shown_to_the_commands(desk: Desk) -> None:
    other = make_plugin("other", ("before_tool_execution", lambda context: Replace("smuggled"), {}))
    async with desk.host(desk.file(PostToolUse=desk.command(exit=2)), other) as host:
        await denied(host)

    assert desk.sent()[0]["tool_response"] == "smuggled"


async def test_what_a_command_wants_the_model_told_stands_behind_the_tools_answer(desk: Desk) -> None:
    table = desk.file(
        PreToolUse=desk.own("PreToolUse", additionalContext="mind the gap"),
        PostToolUse=desk.own("PostToolUse", additionalContext="it was slow"),
    )
    model = ScriptedModel(asks(("act", {"n": 1})), says("done"))
    async with desk.host(table, model) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["act"])
        await agent.run("go")
        bare = (await host.call("tool:act", {"n": 1})).result

    assert model.requests[1].messages[-1].content == '{"did": {"n": 1}}\n\nmind the gap\n\nit was slow'
    assert bare == {"did": {"n": 1}}


# Agents.


async def answer_of(desk: Desk, table: Mapping[str, Any], *lines: Any, tools: tuple[str, ...] = ()) -> Any:
    """Ask an agent ``go`` and return its answer and its model."""
    model = ScriptedModel(*(lines or (says("done"),)))
    async with desk.host(table, model) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=list(tools), system_prompt="Be kind.")
        try:
            return (await agent.run("go")).text, model
        except OperationCancelledError as error:
            return error, model


@pytest.mark.parametrize(
    "ends", [{"exit": 2, "error": "no"}, {"exit": 3}, {"say": '{"decision": "block", "reason": "no"}'}, {"say": "{no"}]
)
async def test_a_prompt_that_is_blocked_is_not_asked(desk: Desk, ends: dict[str, Any]) -> None:
    error, model = await answer_of(desk, desk.file(UserPromptSubmit=desk.command(**ends)))

    assert isinstance(error, OperationCancelledError)
    assert model.requests == []
    assert desk.sent()[0]["prompt"] == "go"


@pytest.mark.parametrize("own", [False, True])
async def test_what_a_command_prints_at_a_prompt_is_added_to_it(desk: Desk, own: bool) -> None:
    command = desk.own("UserPromptSubmit", additionalContext="it is noon") if own else desk.command("it is noon")
    text, model = await answer_of(desk, desk.file(UserPromptSubmit=command))

    assert text == "done"
    assert model.requests[0].messages[-1].content == "go\n\nit is noon"
    assert len(desk.sent()) == 1


async def test_what_a_command_prints_as_a_session_starts_is_part_of_the_system_prompt(desk: Desk) -> None:
    table = desk.file(SessionStart=[("startup", desk.command("Today is Monday."))], SessionEnd=desk.command())
    _, model = await answer_of(desk, table)

    assert model.requests[0].messages[0].content == "Be kind.\n\nToday is Monday."
    assert [each["hook_event_name"] for each in desk.sent()] == ["SessionStart", "SessionEnd"]


async def test_a_session_that_a_command_fails_at_starts_and_the_failure_is_told(desk: Desk) -> None:
    heard = []
    model = ScriptedModel(says("done"))
    async with desk.host(desk.file(SessionStart=desk.command(exit=1, error="oh")), model) as host:
        host.events.on("hook_files.*", lambda event: heard.append(event.data["message"]))
        await host.agents.create(name="a", model="scripted/play")
        with trio.fail_after(PATIENCE_S):
            while not heard:
                await trio.sleep(0.01)
        problems = [str(problem) for problem in host.problems]

    assert any("it ended with 1: oh" in each for each in problems)
    assert any("it ended with 1: oh" in each for each in heard)


async def test_an_agent_that_may_not_stop_yet_goes_on_with_what_it_is_told(desk: Desk) -> None:
    script = "jq -e .stop_hook_active > /dev/null && exit 0; echo 'run the tests' >&2; exit 2"
    command = {"type": "command", "command": script}
    text, model = await answer_of(desk, desk.file(Stop=command), says("first"), says("second"))

    assert text == "second"
    assert "It is not done: run the tests" in model.requests[1].messages[-1].content


async def test_an_agent_that_may_never_stop_has_its_answer_withheld(desk: Desk) -> None:
    table = {**desk.file(Stop=desk.command(exit=2, error="never")), "stop_continuations": 2}
    error, model = await answer_of(desk, table)

    assert "never (its answer is withheld)" in error.reason
    assert len(model.requests) == 3


async def test_a_stop_command_that_fails_lets_no_answer_out(desk: Desk) -> None:
    error, _ = await answer_of(desk, {**desk.file(Stop=desk.command("{nonsense")), "stop_continuations": 0})

    assert "begins as JSON and is none" in error.reason


async def test_a_command_that_stops_an_agent_at_a_tool_lets_it_ask_its_model_no_more(desk: Desk) -> None:
    table = desk.file(PostToolUse=desk.answers(**{"continue": False, "stopReason": "enough"}))
    error, model = await answer_of(desk, table, asks(("act", {})), says("never"), tools=("act",))

    assert isinstance(error, OperationCancelledError)
    assert error.code == "stopped"
    assert len(model.requests) == 1


async def test_an_agent_that_another_runs_is_a_subagent(desk: Desk) -> None:
    table = desk.file(UserPromptSubmit=desk.command(), Stop=desk.command(), SubagentStop=[("inner", desk.command())])
    model = ScriptedModel(asks(("agent_inner", {"text": "sub"})), says("inner done"), says("outer done"))
    async with desk.host(table, model) as host:
        await host.agents.create(name="inner", model="scripted/play", description="helps")
        outer = await host.agents.create(name="outer", model="scripted/play", tools=["agent:inner"])
        await outer.run("go")

    assert [each["prompt"] for each in desk.sent("UserPromptSubmit")] == ["go"]
    assert [each["last_assistant_message"] for each in desk.sent("SubagentStop")] == ["inner done"]
    assert [each["last_assistant_message"] for each in desk.sent("Stop")] == ["outer done"]


async def test_a_denied_tool_is_told_to_the_model_and_the_agent_goes_on(desk: Desk) -> None:
    table = desk.file(PreToolUse=[("act", desk.command(exit=2, error="use another"))])
    text, model = await answer_of(desk, table, asks(("act", {})), says("I will"), tools=("act",))

    assert text == "I will"
    assert "use another" in model.requests[1].messages[-1].content


async def test_the_tool_of_a_workflows_stage_is_asked_about(desk: Desk) -> None:
    async with desk.host(desk.file(PreToolUse=[("act", desk.command(exit=2, error="not here"))])) as host:
        stages = [{"name": "s", "address": "tool:act", "input": {"n": 1}}]
        workflow = await host.get(Workflows).create({"name": "flow", "stages": stages})
        with pytest.raises(Exception, match="not here"):
            await workflow.run({})

    assert desk.sent()[0]["tool_input"] == {"n": 1}


async def test_a_message_for_the_user_is_an_event(desk: Desk) -> None:
    heard = []
    async with desk.host(desk.file(PreToolUse=desk.answers(systemMessage="careful"))) as host:
        host.events.on("hook_files.message", lambda event: heard.append(event.data["message"]))
        await host.call("tool:act", {})
        with trio.fail_after(PATIENCE_S):
            while not heard:
                await trio.sleep(0.01)

    assert heard == ["careful"]


async def test_a_command_in_python_with_arguments_needs_no_shell(desk: Desk) -> None:
    script = desk.folder / "check.py"
    script.write_text("import json, sys\nsys.exit(2 if json.load(sys.stdin)['tool_input'].get('n') == 3 else 0)\n")
    command = {"type": "command", "command": sys.executable, "args": [str(script), "$HOME; exit 2"]}
    async with desk.host(desk.file(PreToolUse=command)) as host:
        await host.call("tool:act", {"n": 1})
        await denied(host, n=3)


# Files.


async def failure_of(desk: Desk, table: Mapping[str, Any]) -> str:
    """Return why a file is not read; then nothing passes that its commands could have been about."""
    async with opened(settings={"plugins": {"hook_files": dict(table)}}) as host:
        problems = [str(problem) for problem in host.problems]
        with pytest.raises(OperationCancelledError) as refused:
            await host.call("tool:calculator", {"operation": "evaluate", "input": "1 + 1"})
    assert refused.value.reason in problems
    return refused.value.reason


GOOD = {"type": "command", "command": "true"}
BAD: list[tuple[Any, str]] = [
    ("{", "correct it"),
    ("[]", "the file: it is no object"),
    ({}, 'it has no "hooks"'),
    ({"hooks": []}, "hooks: it is no object"),
    ({"hooks": {"PreTolUse": []}}, "there is no such event; did you mean PreToolUse"),
    ({"hooks": {"PreToolUse": {}}}, "hooks.PreToolUse: it is no list"),
    ({"hooks": {"PreToolUse": [{"matcher": 3, "hooks": []}]}}, "matcher: it is no text"),
    ({"hooks": {"PreToolUse": [{"hooks": [{**GOOD, "type": "prompt"}]}]}}, "'prompt' is not run here"),
    ({"hooks": {"PreToolUse": [{"hooks": [{**GOOD, "shell": "powershell"}]}]}}, "'powershell' is not run here"),
    ({"hooks": {"PreToolUse": [{"hooks": [{**GOOD, "timeout": 0}]}]}}, "is no number of seconds above 0"),
    ({"hooks": {"PreToolUse": [{"hooks": [{**GOOD, "timeout": True}]}]}}, "is no number of seconds above 0"),
    ({"hooks": {"PreToolUse": [{"hooks": [{**GOOD, "timeuot": 5}]}]}}, "did you mean timeout"),
    ({"hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": " "}]}]}}, "no text that can be run"),
    ({"hooks": {"PreToolUse": [{"hooks": [{**GOOD, "args": [1]}]}]}}, "no list of texts"),
    ({"hooks": {"PreToolUse": [{"matchers": "x", "hooks": []}]}}, "did you mean matcher"),
    ('{"hooks": {"Stop": [], "Stop": []}}', "stands twice"),
    ({"hooks": {"Stop": [{"hooks": [{**GOOD, "command": f"true {n}"} for n in range(201)]}]}}, "at most 200"),
]


@pytest.mark.parametrize(("document", "told"), BAD, ids=[each[1] for each in BAD])
async def test_a_file_that_is_wrong_is_refused_with_the_place(desk: Desk, document: Any, told: str) -> None:
    assert told in await failure_of(desk, desk.whole(document))


async def test_an_event_that_is_not_honoured_is_told_or_refused(desk: Desk) -> None:
    document = {"hooks": {"PreCompact": [{"hooks": [GOOD]}], "Stop": [{"hooks": [{**GOOD, "async": True}]}]}, "env": {}}
    async with desk.host(desk.whole(document)) as host:
        told = " ".join(str(problem) for problem in host.problems)

    assert "PreCompact is not honoured: nothing is compacted here" in told
    assert "hooks.Stop[0].hooks[0].async has no effect: it is waited for" in told
    assert "env: only hooks are read" in told
    assert "PreCompact is not honoured" in await failure_of(desk, {**desk.whole(document), "unsupported": "refuse"})


async def test_a_file_whose_hooks_are_all_disabled_runs_none_and_says_so(desk: Desk) -> None:
    document = {"disableAllHooks": True, "hooks": {"PreToolUse": [{"hooks": [{**GOOD, "command": "exit 2"}]}]}}
    async with desk.host(desk.whole(document)) as host:
        await host.call("tool:act", {})
        assert "disableAllHooks" in " ".join(str(problem) for problem in host.problems)


async def test_a_file_where_others_may_write_is_refused_until_its_hash_is_named(desk: Desk) -> None:
    table = desk.file(PreToolUse=desk.command())
    (pinned,) = table["files"]

    told = await failure_of(desk, {**table, "files": [pinned["path"]]})
    assert f'sha256 = "{pinned["sha256"]}"' in told

    Path(pinned["path"]).write_text(json.dumps({"hooks": {"Stop": [{"hooks": [GOOD]}]}}))
    assert "it holds something else than it did" in await failure_of(desk, table)


async def test_where_the_plugin_is_required_a_file_that_cannot_be_read_stops_everything(desk: Desk) -> None:
    table = {"enabled": True, "required": True, "files": ["/no/such/hooks.json"]}
    async with opened(settings={"plugins": {"hook_files": table}}) as host:
        with pytest.raises(PluginRequiredError, match="cannot be read"):
            await host.call("tool:calculator", {"operation": "evaluate", "input": "1 + 1"})


async def test_a_file_that_is_not_there_is_named(desk: Desk) -> None:
    assert "it cannot be read" in await failure_of(desk, {"enabled": True, "files": ["/no/such/hooks.json"]})


async def test_the_same_command_twice_runs_once(desk: Desk) -> None:
    command = desk.command()
    async with desk.host(desk.file(PreToolUse=[("act", command), ("act", command)])) as host:
        await host.call("tool:act", {})

    assert len(desk.sent()) == 1


async def test_a_projects_file_brings_no_commands_unless_somebody_trusts_it(desk: Desk, tmp_path: Path) -> None:
    table = desk.file(PreToolUse=desk.command(exit=2))
    (pinned,) = table["files"]
    project = tmp_path / "project"
    project.mkdir()
    entry = f'{{path = "{pinned["path"]}", sha256 = "{pinned["sha256"]}"}}'
    (project / "llmspell.toml").write_text(f"[plugins.hook_files]\nenabled = true\nfiles = [{entry}]\n")

    with pytest.raises(SettingsError, match=r"plugins\.hook_files\.files"):
        load_settings({}, environment={"HOME": str(tmp_path)}, cwd=project)


ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "hook-files" / "hooks.json"


async def test_the_example_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    entry = {"path": str(EXAMPLE), "sha256": hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()}
    paths = {"read": [str(tmp_path)], "write": [str(tmp_path)]}
    settings = {
        "plugins": {"hook_files": {"enabled": True, "files": [entry]}},
        "security": {"paths": paths},
        "storage": {"backend": "memory"},
    }
    loaded = load_settings(settings, environment={}, cwd=ROOT)
    write = {"operation": "write", "input": "x"}
    async with Host.open(loaded, discover=False) as host:
        await host.call("tool:calculator", {"operation": "evaluate", "input": "6 / 2"})
        with pytest.raises(OperationCancelledError, match="nothing is divided by nought"):
            await host.call("tool:calculator", {"operation": "evaluate", "input": "6 / 0"})
        await host.call("tool:file_operations", {**write, "path": str(tmp_path / "a.txt")})
        with pytest.raises(OperationCancelledError, match="by its package manager, not by hand"):
            await host.call("tool:file_operations", {**write, "path": str(tmp_path / "uv.lock")})
        told = [str(problem) for problem in host.problems]

    assert any("PreCompact is not honoured" in each for each in told)
    assert (tmp_path / "llmspell-hook-files.log").read_text().startswith("calculator: ")
    assert not (tmp_path / "uv.lock").exists()


def test_a_file_is_checked_without_running_any_of_it(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "llmspell", "hookfile", "check", str(EXAMPLE), "--output", "json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
    )

    found = json.loads(run.stdout)
    assert [each["event"] for each in found["commands"]] == ["PreToolUse", "PreToolUse", "PostToolUse"]
    assert found["sha256"] == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert "PreCompact is not honoured" in found["told"][0]
    assert not (tmp_path / "llmspell-hook-files.log").exists()


def test_a_file_that_is_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"hooks": {"PreTolUse": []}}')
    run = subprocess.run(
        [sys.executable, "-m", "llmspell", "hookfile", "check", str(tmp_path / "bad.json")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "HOME": str(tmp_path)},
    )

    assert run.returncode == 1
    assert "did you mean PreToolUse" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


@pytest.mark.long
async def test_commands_that_let_everything_pass_change_nothing_that_a_caller_gets(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = desk.file(
        PreToolUse={"type": "command", "command": "true"}, PostToolUse={"type": "command", "command": ":"}
    )
    monkeypatch.setitem(PLUGINS, "hook_files", table)
    bare = await answers(())

    assert await answers(("hook_files",)) == bare


async def test_a_copy_is_a_read_and_a_write_afterwards_too(desk: Desk) -> None:
    (desk.folder / "a.txt").write_text("a")
    copy = {"operation": "copy", "source_path": str(desk.folder / "a.txt"), "target_path": str(desk.folder / "b.txt")}
    async with desk.host(desk.file(PostToolUse=[("Write", desk.command())])) as host:
        await host.call("tool:file_operations", copy)

    (sent,) = desk.sent()
    assert sent["tool_input"]["file_path"] == str(desk.folder / "b.txt")


async def test_a_conversation_that_is_handed_over_is_a_prompt_by_what_its_user_said_last(desk: Desk) -> None:
    model = ScriptedModel(says("done"))
    messages = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "?"}]
    messages.append({"role": "user", "content": "delete all"})
    refuses = {"type": "command", "command": "jq -e '.prompt == \"delete all\"' > /dev/null && exit 2 || exit 0"}
    async with desk.host(desk.file(UserPromptSubmit=refuses), model) as host:
        agent = await host.agents.create(name="a", model="scripted/play")
        with pytest.raises(OperationCancelledError):
            await agent.run({"messages": messages})

    assert model.requests == []


async def test_a_bash_that_holds_a_secret_is_not_changed(desk: Desk) -> None:
    change = desk.own("PreToolUse", updatedInput={"command": "echo two"})
    async with desk.host(desk.file(PreToolUse=[("Bash", change)])) as host:
        call = {"executable": "echo", "arguments": ["https://me:hunter22@x.example/"]}
        error = await denied(host, "process_executor", **call)

    assert "holds a secret" in error.reason
    assert "hunter22" not in json.dumps(desk.sent())


@pytest.mark.long
async def test_callers_who_go_away_at_any_moment_leave_no_process_and_no_file(desk: Desk) -> None:
    slow = {"type": "command", "command": f"sleep 300 & echo $! >> {desk.folder}/all; wait"}
    chance = random.Random(7)
    async with desk.host(desk.file(PreToolUse=slow)) as host:
        await cut(host, 0.05)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(25):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(cut, host, chance.uniform(0, 0.12))
        assert len(os.listdir("/proc/self/fd")) == before

    with trio.fail_after(PATIENCE_S):
        while any(runs(int(pid)) for pid in (desk.folder / "all").read_text().split()):
            await trio.sleep(0.01)


async def cut(host: Host, after_s: float) -> None:
    """Make a call that is cut off."""
    with trio.move_on_after(after_s):
        await host.call("tool:act", {})


async def test_a_later_command_that_changes_nothing_leaves_an_earlier_change(desk: Desk) -> None:
    """What users of claude-code report (#15897, #16117): an empty answer took the change of another hook back."""
    first, second = desk.own("PreToolUse", updatedInput={"n": 2}), desk.own("PreToolUse", permissionDecision="allow")
    async with desk.host(desk.file(PreToolUse=[("act", first), ("act", second)])) as host:
        assert (await host.call("tool:act", {"n": 1})).result == {"did": {"n": 2}}


async def test_two_commands_that_change_a_call_both_count(desk: Desk) -> None:
    """What users of claude-code report (#83353): of two changes the slower one won."""
    script = "jq -c '{hookSpecificOutput: {updatedInput: (.tool_input + {MEMBER: 1})}}'"
    commands = [{"type": "command", "command": script.replace("MEMBER", name)} for name in "ab"]
    async with desk.host(desk.file(PreToolUse=[("act", each) for each in commands])) as host:
        assert (await host.call("tool:act", {"n": 1})).result == {"did": {"n": 1, "a": 1, "b": 1}}


async def test_the_tool_of_an_agent_that_another_runs_is_asked_about(desk: Desk) -> None:
    """What users of claude-code report (#34692): hooks were not asked about the tools of agents within agents."""
    model = ScriptedModel(asks(("agent_inner", {"text": "sub"})), asks(("act", {"n": 1})), says("inner"), says("outer"))
    async with desk.host(desk.file(PreToolUse=[("act", desk.command(exit=2, error="no"))]), model) as host:
        await host.agents.create(name="inner", model="scripted/play", tools=["act"], description="helps")
        outer = await host.agents.create(name="outer", model="scripted/play", tools=["agent:inner"])
        await outer.run("go")

    assert [each["tool_input"] for each in desk.sent()] == [{"n": 1}]
    assert "no" in model.requests[2].messages[-1].content


async def test_two_hosts_in_one_process_run_their_own_files(tmp_path: Path) -> None:
    desks = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        desks.append(Desk(tmp_path / name))
    tables = [each.file(PreToolUse=each.command(exit=code)) for each, code in zip(desks, (0, 2), strict=True)]
    async with desks[0].host(tables[0]) as first, desks[1].host(tables[1]) as second:
        await first.call("tool:act", {"n": 1})
        await denied(second, n=2)

    assert [[each["tool_input"]["n"] for each in desk.sent()] for desk in desks] == [[1], [2]]


async def test_a_matcher_that_names_no_tool_of_ours_is_told_of(desk: Desk) -> None:
    async with desk.host(desk.file(PreToolUse=[("Task|act", desk.command())])) as host:
        told = " ".join(str(problem) for problem in host.problems)
        await host.call("tool:act", {})

    assert "hooks.PreToolUse[0].matcher: no tool here is Task" in told
    assert len(desk.sent()) == 1


@pytest.mark.parametrize("matcher", ["file-editor", "file_editor"])
async def test_a_tool_is_named_with_either_line_between_its_words(desk: Desk, matcher: str) -> None:
    (desk.folder / "a.txt").write_text("a")
    async with desk.host(desk.file(PreToolUse=[(matcher, desk.command(exit=2))])) as host:
        await denied(host, "file-editor", operation="view", path=str(desk.folder / "a.txt"))
