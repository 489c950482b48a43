"""Migrations through the host: batches, what others do meanwhile, undoing, hooks, settings, and scripts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kernel import opened, run
from llmspell import Host
from llmspell.cli.main import main
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, OperationCancelledError
from llmspell_hookspecs.errors import SettingsError, StorageError
from llmspell_hookspecs.migration import (
    Custom,
    Default,
    Migrations,
    Rename,
    Schema,
    SchemaField,
    SchemaVersion,
    Transition,
)
from llmspell_hookspecs.state import StateMigration
from llmspell_hookspecs.storage import Storages
from llmspell_testing.isolation import isolate

SCOPE = "custom:notes"
KEYS = st.sampled_from([f"note-{number}" for number in range(12)])
NOTES = Schema(
    "notes",
    SCOPE,
    "note-*",
    versions=(
        SchemaVersion("1.0.0", {"text": SchemaField("text", required=True)}),
        SchemaVersion("2.0.0", {"body": SchemaField("text", required=True), "stars": SchemaField("int")}),
    ),
    transitions=(Transition("1.0.0", "2.0.0", (Rename("text", "body"), Default("stars", 0))),),
)


def small(batch: int = 10) -> dict[str, Any]:
    """Return settings with small batches."""
    return {"plugins": {"disabled": ["model_retry"], "migrations": {"batch": batch}}}


async def fill(host: Host, count: int = 25) -> None:
    """Keep notes of the first version, and something that is none."""
    for number in range(count):
        await host.state.set(f"note-{number:03}", {"text": f"t{number}"}, scope=SCOPE)
    await host.state.set("other", {"text": "stays"}, scope=SCOPE)


async def everything(host: Host) -> dict[str, bytes]:
    """Return what state keeps, byte for byte."""
    storage = await host.get(Storages).open()
    return {key: entry.value async for key, entry in storage.scan("state:")}


async def migrated(host: Host) -> Migrations:
    """Return the service, which knows of notes."""
    migrations = host.get(Migrations)
    migrations.register(NOTES)
    return migrations


async def test_all_items_of_a_schema_go_to_the_new_version_and_nothing_else_does() -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        migrations = await migrated(host)

        done = await migrations.migrate("2.0.0")

        assert (done.status, done.items, done.changed, done.errors) == ("completed", 25, 25, ())
        assert await host.state.get("note-007", scope=SCOPE) == {"body": "t7", "stars": 0}
        assert await host.state.get("other", scope=SCOPE) == {"text": "stays"}
        assert (await migrations.status("notes")).current_version == "2.0.0"
        assert (await migrations.migrate("2.0.0")).status == "already_current"


async def test_undoing_it_puts_back_every_byte() -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        before = await everything(host)
        migrations = await migrated(host)
        done = await migrations.migrate("2.0.0")

        back = await migrations.rollback(done.id)

        assert (back.status, back.items) == ("rolled_back", 25)
        assert await everything(host) == before
        assert (await migrations.status("notes")).current_version == "1.0.0"
        with pytest.raises(InvalidInputError, match="it is undone already"):
            await migrations.rollback(done.id)


async def test_a_dry_run_tells_what_would_change_and_changes_nothing() -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        await host.state.set("note-999", {"text": 5}, scope=SCOPE)
        migrations = await migrated(host)
        storage = await host.get(Storages).open()
        before = [row async for row in storage.scan("")]

        done = await migrations.migrate("2.0.0", dry_run=True)

        assert (done.status, done.items, done.changed) == ("dry_run", 25, 25)
        assert done.errors == ("state custom:notes 'note-999': body: it is not a text",)
        assert len(done.samples) == 3
        assert 'body: (none) -> "t0"' in done.samples[0]
        assert "without text" in done.samples[0]
        assert [row async for row in storage.scan("")] == before


@pytest.mark.parametrize("keep", [False, True])
async def test_an_item_that_does_not_fit_ends_it_and_undoes_it_unless_told_otherwise(keep: bool) -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        await host.state.set("note-015", {"text": 5}, scope=SCOPE)
        before = await everything(host)
        migrations = await migrated(host)

        failed = await migrations.migrate("2.0.0", rollback_on_error=not keep)

        assert failed.errors == ("state custom:notes 'note-015': body: it is not a text",)
        assert failed.status == ("failed" if keep else "rolled_back")
        assert (await everything(host) == before) is not keep
        await host.state.set("note-015", {"body": "5", "stars": 5} if keep else {"text": "5"}, scope=SCOPE)
        assert (await migrations.migrate("2.0.0")).status == "completed"
        assert (await host.state.get("note-015", scope=SCOPE))["body"] == "5"


async def test_a_hook_sees_each_batch_and_its_cancel_ends_it_so_that_it_goes_on_later() -> None:
    seen: list[StateMigration] = []

    def stop(context: HookContext[StateMigration]) -> Cancel | None:
        seen.append(context.subject)
        return Cancel("enough for today") if context.subject.done == 10 and len(seen) < 3 else None

    async with opened(settings=small()) as host:
        await fill(host)
        migrations = await migrated(host)
        host.hooks.register("state_migration", stop, kind="guard", match="notes")

        with pytest.raises(OperationCancelledError, match="enough for today"):
            await migrations.migrate("2.0.0")
        (stopped,) = await migrations.runs()
        old, new = await host.state.get("note-020", scope=SCOPE), await host.state.get("note-003", scope=SCOPE)
        done = await migrations.migrate("2.0.0")

        assert (stopped.status, stopped.items) == ("stopped", 10)
        assert old == {"body": "t20", "stars": 0}
        assert new == {"body": "t3", "stars": 0}
        assert (done.id, done.status, done.items) == (stopped.id, "completed", 25)
        assert [batch.done for batch in seen] == [0, 10, 10, 20]


async def half_way(host: Host, migrations: Migrations) -> str:
    """Begin a migration and stop it after ten items; return its id."""

    def stop(context: HookContext[StateMigration]) -> Cancel | None:
        return Cancel("stop") if context.subject.done >= 10 else None

    handle = host.hooks.register("state_migration", stop, kind="guard")
    with pytest.raises(OperationCancelledError):
        await migrations.migrate("2.0.0")
    handle.unregister()
    return (await migrations.status("notes")).running


async def test_what_others_write_meanwhile_stays_as_they_wrote_it() -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        migrations = await migrated(host)
        await half_way(host, migrations)
        await host.state.set("note-020", {"body": "mine", "stars": 3}, scope=SCOPE)
        await host.state.set("note-002", {"body": "mine, too", "stars": 3}, scope=SCOPE)
        await host.state.set("note-100", {"body": "new", "stars": 1}, scope=SCOPE)
        await host.state.delete("note-021", scope=SCOPE)

        done = await migrations.migrate("2.0.0")

        assert (done.items, done.skipped) == (23, 2)
        assert await host.state.get("note-020", scope=SCOPE) == {"body": "mine", "stars": 3}
        assert await host.state.get("note-002", scope=SCOPE) == {"body": "mine, too", "stars": 3}
        assert await host.state.get("note-100", scope=SCOPE) == {"body": "new", "stars": 1}
        assert await host.state.get("note-021", scope=SCOPE) is None


async def test_a_version_read_on_the_way_is_good_for_a_write_that_expects_it() -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        migrations = await migrated(host)
        await half_way(host, migrations)
        value, version = await host.state.entry("note-020", scope=SCOPE)

        await host.state.set("note-020", {**value, "stars": 9}, scope=SCOPE, expect=version)
        with pytest.raises(StorageError) as caught:
            await host.state.set("note-020", value, scope=SCOPE, expect=version)
        await migrations.migrate("2.0.0")

        assert caught.value.code == "conflict"
        assert await host.state.get("note-020", scope=SCOPE) == {"body": "t20", "stars": 9}


@pytest.mark.parametrize("at_its_end", [True, False])
async def test_what_was_written_since_is_not_undone_without_force(at_its_end: bool) -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        before = await everything(host)
        migrations = await migrated(host)
        id = await half_way(host, migrations)
        if at_its_end:
            await migrations.migrate("2.0.0")
        await host.state.set("note-020", {"body": "mine", "stars": 3}, scope=SCOPE)
        await host.state.delete("note-003", scope=SCOPE)
        after = await everything(host)

        with pytest.raises(StorageError, match="2 items were written since"):
            await migrations.rollback(id)
        unchanged = await everything(host)
        await migrations.rollback(id, force=True)

        assert unchanged == after
        assert await everything(host) == before


async def test_an_item_made_since_keeps_it_from_being_undone() -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        migrations = await migrated(host)
        done = await migrations.migrate("2.0.0")
        await host.state.set("note-100", {"body": "new", "stars": 1}, scope=SCOPE)

        with pytest.raises(StorageError, match="1 item was written since"):
            await migrations.rollback(done.id)

        assert await host.state.get("note-001", scope=SCOPE) == {"body": "t1", "stars": 0}
        await host.state.set("note-101", {"body": "newer", "stars": 1}, scope=SCOPE)


async def test_forgetting_it_deletes_what_items_were_and_ends_undoing() -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        migrations = await migrated(host)
        done = await migrations.migrate("2.0.0")

        count = await migrations.forget(done.id)

        storage = await host.get(Storages).open()
        assert count == 25
        assert [key async for key, _ in storage.scan("migration/")] == ["migration/at/notes"]
        with pytest.raises(InvalidInputError, match="there is none, or it is forgotten"):
            await migrations.rollback(done.id)


async def test_items_that_nobody_knew_versions_of_are_of_the_first_one_and_new_ones_of_the_newest() -> None:
    async with opened(settings=small()) as old, opened(settings=small()) as new:
        await fill(old, 1)
        migrations = [await migrated(host) for host in (old, new)]
        await new.state.set("note-000", {"body": "x"}, scope=SCOPE)

        versions = [(await each.status("notes")).current_version for each in migrations]

        assert versions == ["1.0.0", "2.0.0"]


async def test_a_migration_with_other_steps_than_it_began_with_does_not_go_on() -> None:
    async with opened(settings=small()) as host:
        await fill(host)
        migrations = host.get(Migrations)
        forget = migrations.register(NOTES)
        id = await half_way(host, migrations)
        forget()
        ways = (Transition("1.0.0", "2.0.0", (Rename("text", "content"),)),)
        migrations.register(Schema("notes", SCOPE, "note-*", (), ways))

        with pytest.raises(StorageError, match="its steps are not those it began with"):
            await migrations.migrate("2.0.0")
        back = await migrations.rollback(id)

        assert back.status == "rolled_back"
        assert await host.state.get("note-003", scope=SCOPE) == {"text": "t3"}


async def test_one_that_is_not_at_its_end_is_named_to_who_wants_another() -> None:
    ways = (*NOTES.transitions, Transition("1.0.0", "3.0.0"))
    async with opened(settings=small()) as host:
        await fill(host)
        migrations = host.get(Migrations)
        migrations.register(Schema("notes", SCOPE, "note-*", (), ways))
        id = await half_way(host, migrations)

        with pytest.raises(StorageError, match=rf"migration {id} to 2\.0\.0 is not at its end"):
            await migrations.migrate("3.0.0")


async def test_several_that_migrate_at_once_do_each_item_once() -> None:
    calls: list[Any] = []

    def count(item: Any) -> Any:
        calls.append(item)
        return {"seen": item["seen"] + 1}

    async with opened(settings=small(3)) as host:
        for number in range(20):
            await host.state.set(f"k{number}", {"seen": 0}, scope="custom:seen")
        migrations = host.get(Migrations)
        way = Transition("1.0.0", "2.0.0", (Custom("count", count),))
        migrations.register(Schema("seen", "custom:seen", transitions=(way,)))
        ended = []

        async def go() -> None:
            ended.append(await migrations.migrate("2.0.0"))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(go)

        assert {each.status for each in ended} <= {"completed", "already_current"}
        assert [await host.state.get(f"k{number}", scope="custom:seen") for number in range(20)] == [{"seen": 1}] * 20


async def test_writers_and_readers_beside_a_migration_see_each_item_of_the_new_version() -> None:
    async with opened(settings=small(2)) as host:
        await fill(host, 60)
        migrations = await migrated(host)
        read: list[Any] = []

        async def use() -> None:
            for number in range(59, -1, -1):
                name = f"note-{number:03}"
                while (await migrations.status("notes")).current_version == "1.0.0":
                    await trio.lowlevel.checkpoint()
                value, _ = await host.state.entry(name, scope=SCOPE)
                read.append(value)
                if number % 3 == 0:
                    await host.state.set(name, {**value, "stars": value["stars"] + 1}, scope=SCOPE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            nursery.start_soon(migrations.migrate, "2.0.0")

        assert all(set(value) == {"body", "stars"} for value in read)
        for number in range(60):
            expected = {"body": f"t{number}", "stars": int(number % 3 == 0)}
            assert await host.state.get(f"note-{number:03}", scope=SCOPE) == expected


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(KEYS, st.text("ab", max_size=3)),
    st.lists(st.tuples(KEYS, st.none() | st.text("xy", max_size=2)), max_size=8),
    st.integers(1, 5),
    st.integers(0, 8),
)
def test_whatever_is_written_half_way_the_end_is_as_if_all_had_been_new_before(
    first: Mapping[str, str], writes: list[tuple[str, str | None]], batch: int, stop_at: int
) -> None:
    def stop(context: HookContext[StateMigration]) -> Cancel | None:
        return Cancel("x") if context.subject.done >= stop_at else None

    async def go() -> None:
        async with opened(settings=small(batch)) as host:
            for key, text in first.items():
                await host.state.set(key, {"text": text}, scope=SCOPE)
            migrations = await migrated(host)
            handle = host.hooks.register("state_migration", stop, kind="guard")
            with contextlib.suppress(OperationCancelledError):
                await migrations.migrate("2.0.0")
            handle.unregister()
            expected = {key: {"body": text, "stars": 0} for key, text in first.items()}
            for key, body in writes:
                if body is None:
                    await host.state.delete(key, scope=SCOPE)
                    expected.pop(key, None)
                else:
                    await host.state.set(key, {"body": body, "stars": 1}, scope=SCOPE)
                    expected[key] = {"body": body, "stars": 1}
            on_the_way = {key: await host.state.get(key, scope=SCOPE) for key in await host.state.keys(SCOPE)}
            await migrations.migrate("2.0.0")
            at_the_end = {key: await host.state.get(key, scope=SCOPE) for key in await host.state.keys(SCOPE)}

            assert on_the_way == at_the_end == expected

    run(go)


# Settings, scripts, the command line.

TABLE = {
    "scope": SCOPE,
    "keys": "note-*",
    "versions": [{"version": "2.0.0", "fields": {"body": {"type": "text", "required": True}}}],
    "transitions": [
        {"from": "1.0.0", "to": "2.0.0", "steps": [{"step": "rename", "from": "text", "to": "body"}]},
    ],
}


def shout(item: Any) -> Any:
    """Return the item, loudly."""
    return {**item, "body": item["body"].upper()}


async def test_settings_declare_schemas_whose_functions_are_named_there() -> None:
    steps = [{"step": "rename", "from": "text", "to": "body"}, {"step": "custom", "name": "shout"}]
    table = {**TABLE, "transitions": [{"from": "1.0.0", "to": "2.0.0", "steps": steps}]}
    section = {"schemas": {"notes": table}, "functions": {"shout": f"{__name__}:shout"}}
    async with opened(settings={"plugins": {"disabled": ["model_retry"], "migrations": section}}) as host:
        await host.get(Storages).open()
        storage = await host.get(Storages).open()
        await storage.write({f"state:{SCOPE}\nnote-1": b"\x81\xa4text\xa2hi"})

        done = await host.get(Migrations).migrate("2.0.0")

        assert done.status == "completed"
        assert await host.state.get("note-1", scope=SCOPE) == {"body": "HI"}


def way(step: dict[str, str]) -> dict[str, Any]:
    """Return a schema with one step."""
    return {"scope": SCOPE, "transitions": [{"from": "1.0.0", "to": "2.0.0", "steps": [step]}]}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"scope": SCOPE, "transitions": [{"from": "1", "to": "2.0.0"}]}, "'1' is no version as in SemVer"),
        ({"scope": SCOPE, "keyz": "*"}, "keyz"),
        ({"scope": SCOPE}, "it has no version"),
        ({"scope": "agnet:x", "versions": [{"version": "1.0.0"}]}, "did you mean agent:x"),
        (way({"step": "renam"}), "renam"),
        (way({"step": "custom", "name": "x"}), "the custom step 'x' has no function"),
    ],
)
async def test_a_schema_that_is_wrong_is_told_in_one_line(schema: Any, told: str) -> None:
    section = {"schemas": {"notes": schema}}
    with pytest.raises((SettingsError, InvalidInputError, Exception)) as caught:
        async with opened(settings={"plugins": {"disabled": ["model_retry"], "migrations": section}}) as host:
            await host.get(Migrations).status("notes")

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


SCRIPT = """
local before = State.get_migration_status()
local dry = State.migrate("2.0.0", {dry_run = true})
local done = State.migrate("2.0.0")
local again = State.migrate("2.0.0")
local wrong = State.migrate("7.0.0")
local versions = State.schema_versions()
local back = State.rollback_migration(done.migration_id)
return {before = before, dry = dry, done = done, again = again, wrong = wrong, versions = versions, back = back}
"""


async def test_scripts_migrate_in_the_shapes_of_the_original() -> None:
    async with opened(settings=small()) as host:
        await fill(host, 3)
        await migrated(host)

        told = await host.run_source(SCRIPT, "lua")

        assert told["before"]["current_version"] == "1.0.0"
        assert told["before"]["migration_targets"] == ["2.0.0"]
        assert (told["before"]["migration_available"], told["before"]["is_latest"]) == (True, False)
        assert (told["dry"]["success"], told["dry"]["items_migrated"]) == (True, 3)
        assert told["done"]["success"] is True
        assert (told["done"]["status"], told["done"]["from_version"], told["done"]["to_version"]) == (
            "completed",
            "1.0.0",
            "2.0.0",
        )
        assert (told["done"]["items_migrated"], told["done"]["duration_ms"] >= 0) == (3, True)
        assert (told["again"]["status"], told["again"]["current_version"]) == ("already_current", "2.0.0")
        assert told["wrong"]["success"] is False
        assert "it has no version 7.0.0" in told["wrong"]["error"]
        assert told["versions"] == ["1.0.0", "2.0.0"]
        assert (told["back"]["success"], told["back"]["items_migrated"]) == (True, 3)
        assert await host.state.get("note-001", scope=SCOPE) == {"text": "t1"}


def test_people_migrate_look_and_undo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    places = isolate(tmp_path, monkeypatch)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(ended.value.code or 0), *capfd.readouterr()

    call("state", "set", "note-1", '{"text": "hi"}', "--scope", SCOPE)
    call("state", "set", "note-2", '{"text": 7}', "--scope", SCOPE)
    places.write_project(PROJECT)

    assert call("state", "schemas")[1].split()[-5:] == ["notes", SCOPE, "note-*", "1.0.0", "2.0.0"]
    code, out, err = call("state", "migrate", "2.0.0")
    assert (code, out) == (1, "")
    assert "note-2': body: it is not a text" in err
    assert "an item does not fit 2.0.0; correct them, and migrate again" in err
    call("state", "set", "note-2", '{"text": "7"}', "--scope", SCOPE)
    assert "notes would go from 1.0.0 to 2.0.0: 2 items" in call("state", "migrate", "2.0.0", "--dry-run")[1]
    done = json.loads(call("state", "migrate", "2.0.0", "--output", "json")[1])
    assert (done["status"], done["items"]) == ("completed", 2)
    assert call("state", "get", "note-1", "--scope", SCOPE)[1] == '{\n  "body": "hi"\n}\n'
    assert call("state", "rollback", done["id"])[1] == "notes is back at 1.0.0: 2 items are as they were\n"
    assert len(json.loads(call("state", "migrations", "--output", "json")[1])) == 2
    assert call("state", "forget", done["id"])[0] == 0
    code, _, err = call("state", "migrate", "9.0.0")
    assert (code, "it has no version 9.0.0; it has 1.0.0, 2.0.0" in err) == (1, True)
    assert call("state", "rollback", "nothing")[0] == 1


PROJECT = """
[plugins.migrations.schemas.notes]
scope = "custom:notes"
keys = "note-*"
versions = [{version = "2.0.0", fields = {body = {type = "text", required = true}}}]
transitions = [{from = "1.0.0", to = "2.0.0", steps = [{step = "rename", from = "text", to = "body"}]}]
"""
