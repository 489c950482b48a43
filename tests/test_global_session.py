"""The global Session, as scripts call it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from kernel import opened, run
from llmspell import Host
from llmspell_hookspecs.errors import ScriptError


def run_lua(*sources: str) -> Any:
    """Run Lua scripts in one host and return what the last one returns."""

    async def main() -> Any:
        async with opened() as host:
            return [await host.run_source(source, "lua") for source in sources][-1]

    return run(main)


@pytest.mark.parametrize(
    "make",
    [
        "Session.create{name='n', description='d', tags={'a', 'b'}}",
        "Session:create({name='n', description='d', tags={'a', 'b'}})",
        "Session.builder():name('n'):description('d'):tag('a'):tag('b'):build()",
        "Session.builder():name('n'):description('d'):tags{'a', 'b'}:create()",
    ],
)
def test_every_way_to_make_a_session_makes_the_same(make: str) -> None:
    found = run_lua(f"return Session.get({make})")

    assert (found["name"], found["description"], found["tags"], found["status"]) == ("n", "d", ["a", "b"], "active")
    assert found["id"].count("-") == 4
    assert found["created_at"] == found["updated_at"]


def test_a_session_is_current_for_the_script_that_says_so_and_until_it_leaves() -> None:
    source = """
        local id = Session.create()
        local seen = {Session.get_current() or "none"}
        Session.set_current(id)
        seen[#seen + 1] = Session.getCurrent() == id
        Session.setCurrent(nil)
        seen[#seen + 1] = Session.current() or "none"
        Session.set_current(id)
        return seen
    """

    assert run_lua(source) == ["none", True, "none"]
    assert run_lua(source, "return Session.get_current() or 'none'") == "none"


def test_what_is_saved_is_restored_and_what_is_kept_is_loaded() -> None:
    found = run_lua(
        """
        local id = Session.create{name = "work"}
        Session.set_current(id)
        local scope = "session:" .. id
        State.save(scope, "step", 1)
        local saved = Session.save()
        State.save(scope, "step", 2)
        local restored = Session.restore(id, saved.number)
        local loaded = Session.load(id) == id
        return {loaded, State.load(scope, "step"), saved.values, restored.number, #Session.checkpoints()}
        """
    )

    assert found == [True, 1, 1, 1, 1]


def test_a_script_suspends_its_own_session_goes_on_outside_it_and_takes_it_up_again() -> None:
    found = run_lua(
        """
        local id = Session.create()
        Session.set_current(id)
        local suspended = Session.suspend()
        local outside = Session.get_current() or "none"
        State.set("k", 1)
        local resumed = Session.resume(id)
        local inside = Session.get_current() == id
        local completed = Session.complete()
        return {suspended, outside, resumed, inside, completed, Session.get(id).status}
        """
    )

    assert found == [True, "none", True, True, True, "completed"]


def test_a_list_honours_status_tags_and_limit() -> None:
    found = run_lua(
        """
        local one = Session.create{name = "one", tags = {"a"}}
        local two = Session.create{name = "two", tags = {"a", "b"}}
        local three = Session.create{name = "three"}
        Session.complete(three)
        local function names(query)
          local found = {}
          for _, each in ipairs(Session.list(query)) do found[#found + 1] = each.name end
          return table.concat(found, " ")
        end
        return {names(), names{status = "active"}, names{tags = {"b"}}, names{limit = 1}, names{status = "completed"},
          names{sort = "name", descending = true}}
        """
    )

    assert found == ["one two three", "one two", "two", "one", "three", "two three one"]


def test_archive_fail_export_and_delete_do_what_they_say() -> None:
    found = run_lua(
        """
        local id = Session.create{name = "n"}
        State.save("session:" .. id, "k", "v")
        local whole = Session.export(id)
        local failed = Session.fail(id, "the disk is full")
        local why = Session.get(id).error
        local archived = Session.archive(id)
        local gone = Session.delete(id)
        return {whole.state.k, failed, why, archived, gone, Session.delete(id), Session.exists(id)}
        """
    )

    assert found == ["v", True, "the disk is full", True, True, False, False]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("Session.save()", "no session is current; name one, or call Session.set_current"),
        ("Session.get('nope')", "session nope: there is none"),
        ("Session.load('nope')", "session nope: there is none"),
        ("Session.set_current('nope')", "session nope: there is none"),
        ("Session.list{status = 'odd'}", "status 'odd' is none; they are active, suspended"),
        ("Session.list{limit = -1}", "Session.list: limit"),
        ("Session.create{name = {}}", "Session.create: name"),
        ("Session.create{tags = {''}}", "session tags"),
        ("Session.restore(Session.create(), 7)", "there is no checkpoint 7"),
    ],
)
def test_what_is_wrong_is_an_error_that_says_so(call: str, told: str) -> None:
    with pytest.raises(ScriptError, match=told):
        run_lua(f"return {call}")


def test_an_unknown_key_is_told_with_the_nearest_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = run_lua("return Session.get(Session.create{name = 'n', tgas = {'a'}}).name")

    assert found == "n"
    assert "Session.create: a session has no 'tgas'; did you mean 'tags'?" in caplog.text


async def test_all_that_a_script_does_in_a_session_carries_it() -> None:
    seen: list[str] = []
    source = """
        Session.set_current(Session.create())
        Tool.invoke("calculator", {operation = "evaluate", input = "1 + 1"})
        Session.set_current(nil)
        Tool.invoke("calculator", {operation = "evaluate", input = "1 + 1"})
    """

    async def watch(host: Host) -> None:
        host.hooks.register(
            "before_tool_execution", lambda context: seen.append(context.operation.session_id), kind="observe"
        )
        await host.run_source(source, "lua")

    async with opened() as host:
        await watch(host)

    assert [bool(id) for id in seen] == [True, False]
