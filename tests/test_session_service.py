"""The service Sessions, through the host: a session's life, what runs within, checkpoints, leases and limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
from msgspec import structs

from kernel import make_plugin, make_tool
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, OperationCancelledError
from llmspell_hookspecs.errors import ComponentNotFoundError, OperationError, StorageError
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.sessions import SessionDraft, SessionInfo, SessionQuery, Sessions
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.services.sessions.records import place_of

DAY_S = 86_400.0


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time_s = 1_000_000.0

    def now_s(self) -> float:
        """Return the time that was set."""
        return self.time_s


@asynccontextmanager
async def hosted(
    *plugins: Any,
    folder: Path | None = None,
    clock: SetClock | None = None,
    project: Path | None = None,
    **sessions: Any,
) -> AsyncIterator[tuple[Host, Sessions]]:
    """Open a host, over a storage of its own or over one in a folder, and its sessions."""
    storage: dict[str, Any] = {"backend": "memory"}
    if folder is not None:
        storage = {"backend": "sqlite", "sqlite": {"path": str(folder / "kept.sqlite")}}
    settings = {"storage": storage, "plugins": {"sessions": sessions}}
    loaded = load_settings(settings, environment={}, cwd=project or Path(__file__).parent)
    async with Host.open(loaded, plugins=plugins, discover=False) as host:
        if clock is not None:
            cast(Any, host.get(Clock)).now_s = clock.now_s
        yield host, await host.enter(Sessions)


def scope_of(session: SessionInfo) -> str:
    return f"session:{session.id}"


async def test_a_session_lives_from_its_making_to_its_archive_and_each_step_is_told() -> None:
    async with hosted() as (host, sessions), host.events.subscribe("session.*") as events:
        made = await sessions.create(SessionDraft("report", "the weekly one", ("weekly",), "ann", custom={"week": 3}))
        await sessions.save(made.id)
        suspended = await sessions.suspend(made.id)
        resumed = await sessions.resume(made.id)
        completed = await sessions.complete(made.id)
        archived = await sessions.archive(made.id)
        told = [event.type for event in [await events.receive() for _ in range(7)] if event is not None]

        assert [each.status for each in (made, suspended, resumed, completed, archived)] == [
            "active",
            "suspended",
            "active",
            "completed",
            "archived",
        ]
        assert told == [
            f"session.{word}"
            for word in ["created", "started", "saved", "suspended", "resumed", "completed", "archived"]
        ]
        kept = await sessions.get(made.id)
        assert (kept.name, kept.tags, kept.created_by, kept.custom) == ("report", ("weekly",), "ann", {"week": 3})
        assert kept.ended_s >= kept.started_s > 0


@pytest.mark.parametrize(
    ("before", "verb", "told"),
    [
        ((), "resume", "it is active"),
        ((), "archive", "it is active"),
        (("suspend",), "suspend", "it is suspended"),
        (("suspend",), "hold", "it is suspended, so you cannot run in it; resume it first"),
        (("complete",), "suspend", "it is completed"),
        (("complete",), "complete", "it is completed"),
        (("complete",), "resume", "it is completed"),
        (("complete",), "restore", "it is completed"),
        (("fail", "archive"), "archive", "it is archived"),
        (("fail",), "hold", "it is failed"),
    ],
)
async def test_a_step_that_does_not_follow_is_refused_and_changes_nothing(
    before: tuple[str, ...], verb: str, told: str
) -> None:
    async with hosted() as (_, sessions):
        session = await sessions.create()
        for step in before:
            await getattr(sessions, step)(session.id)
        was = await sessions.get(session.id)

        with pytest.raises(InvalidInputError, match=told):
            await getattr(sessions, verb)(session.id)

        assert await sessions.get(session.id) == was


@pytest.mark.parametrize(
    "verb", ["get", "hold", "save", "checkpoints", "restore", "suspend", "resume", "complete", "archive", "export"]
)
async def test_a_session_that_there_is_not_is_named(verb: str) -> None:
    async with hosted() as (_, sessions):
        with pytest.raises(ComponentNotFoundError, match="session none: there is none; 'llmspell session list'"):
            await getattr(sessions, verb)("none")


@pytest.mark.parametrize("id", ["", "a/b", "../x", "é", "x" * 65, "a\n"])
async def test_what_is_no_id_is_refused(id: str) -> None:
    async with hosted() as (_, sessions):
        with pytest.raises(InvalidInputError, match="it is no id"):
            await sessions.get(id)


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (SessionDraft("x" * 256), "name"),
        (SessionDraft(tags=("",)), "tags"),
        (SessionDraft(tags=("x" * 65,)), "tags"),
        (SessionDraft(tags=tuple(map(str, range(65)))), "tags"),
        (SessionDraft(max_operations=0), "max_operations"),
        (SessionDraft(max_duration_s=float("nan")), "max_duration_s"),
        (SessionDraft(custom={"x": object()}), "value"),
    ],
)
async def test_a_draft_that_does_not_do_names_its_field(draft: SessionDraft, field: str) -> None:
    async with hosted() as (_, sessions):
        with pytest.raises(InvalidInputError) as refused:
            await sessions.create(draft)

        assert refused.value.field == field
        assert await sessions.list() == []


async def test_all_that_runs_within_carries_the_session_and_nothing_else_does() -> None:
    seen: list[tuple[str, str]] = []

    def watch(context: HookContext[Any]) -> None:
        seen.append((context.point, context.operation.session_id))

    async def nothing(given: Any, context: Any) -> str:
        return "done"

    points = ("before_tool_execution", "before_state_write")
    hooks = make_plugin("watch", *((point, watch, {"name": point, "kind": "observe"}) for point in points))
    async with hosted(hooks, make_tool("do", nothing)) as (host, sessions):
        session = await sessions.create()

        async def work() -> None:
            await host.call("tool:do")
            await host.state.set("k", 1, scope=scope_of(session))

        await sessions.within(session.id, work)
        await work()

        assert [id for _, id in seen] == [session.id, session.id, "", ""]
        assert (await sessions.get(session.id)).operations == 2


async def test_what_carries_a_text_from_now_on_does_so_until_it_is_empty() -> None:
    seen: list[dict[str, str]] = []

    async def note(given: Any, context: Any) -> None:
        seen.append(dict(operations.current().baggage))

    async with hosted(make_tool("note", note)) as (host, _):
        operations = host.get(Operations)
        operations.carry("user", "ann")
        await host.call("tool:note")
        operations.carry("user", "")
        await host.call("tool:note")
        with pytest.raises(InvalidInputError, match="baggage"):
            operations.carry("user", 3)  # type: ignore[arg-type]

    assert seen == [{"user": "ann"}, {}]


async def test_a_session_is_brought_back_to_each_of_its_checkpoints() -> None:
    async with hosted() as (host, sessions):
        session = await sessions.create()
        scope = scope_of(session)
        states: list[dict[str, Any]] = [{"a": 1}, {"a": 1, "b": [1, {"c": 2}]}, {"b": "new"}, {}]
        for state in states:
            for key in await host.state.keys(scope):
                await host.state.delete(key, scope=scope)
            for key, value in state.items():
                await host.state.set(key, value, scope=scope)
            await sessions.save(session.id)

        for number in (2, 4, 1, 3, 2):
            restored = await sessions.restore(session.id, number)

            found = {key: await host.state.get(key, scope=scope) for key in await host.state.keys(scope)}
            assert found == states[number - 1]
            assert restored.number == number


async def test_values_that_did_not_change_are_kept_once_and_old_checkpoints_go_with_theirs() -> None:
    async with hosted(keep_checkpoints=2) as (host, sessions):
        session = await sessions.create()
        scope, storage = scope_of(session), await host.get(Storages).open()
        await host.state.set("same", "x" * 100, scope=scope)
        for number in range(5):
            await host.state.set("new", number, scope=scope)
            await sessions.save(session.id)

        kept = [key async for key, _ in storage.scan(place_of(session.id, "value/"))]
        assert [each.number for each in await sessions.checkpoints(session.id)] == [4, 5]
        assert len(kept) == 3
        with pytest.raises(ComponentNotFoundError, match="there is no checkpoint 3"):
            await sessions.restore(session.id, 3)
        await sessions.restore(session.id, 4)
        assert await host.state.get("new", scope=scope) == 3


async def test_a_value_that_was_changed_in_the_storage_is_named_and_nothing_is_restored() -> None:
    async with hosted() as (host, sessions):
        session = await sessions.create()
        scope, storage = scope_of(session), await host.get(Storages).open()
        await host.state.set("k", "old", scope=scope)
        await sessions.save(session.id)
        await host.state.set("k", "new", scope=scope)
        [(place, entry)] = [found async for found in storage.scan(place_of(session.id, "value/"))]
        for damaged, told in (
            (entry.value[:-1] + b"X", "was changed"),
            (entry.value[:-1], "was changed"),
            (None, "is missing"),
        ):
            await storage.write({place: damaged})

            with pytest.raises(StorageError, match=f"the value of 'k' in checkpoint 1 {told}"):
                await sessions.restore(session.id)

            assert await host.state.get("k", scope=scope) == "new"


@pytest.mark.parametrize(
    ("point", "verb"),
    [
        ("session_save", "save"),
        ("session_restore", "restore"),
        ("session_suspend", "suspend"),
        ("session_save", "suspend"),
    ],
)
async def test_a_hook_refuses_and_the_session_goes_on(point: str, verb: str) -> None:
    async def do(given: Any, context: Any) -> str:
        return "done"

    async with hosted(make_tool("do", do)) as (host, sessions):
        session = await sessions.create(SessionDraft("careful"))
        await sessions.save(session.id)
        await sessions.hold(session.id)
        host.hooks.register(point, lambda context: Cancel("not now"), match="careful", kind="guard")

        with pytest.raises(OperationCancelledError, match="not now"):
            await getattr(sessions, verb)(session.id)

        assert (await sessions.within(session.id, host.call, "tool:do")).result == "done"


async def test_a_session_that_a_hook_refused_is_nowhere() -> None:
    async with hosted() as (host, sessions):
        host.hooks.register("session_start", lambda context: Cancel("full"))

        with pytest.raises(OperationCancelledError, match="full"):
            await sessions.create()

        storage = await host.get(Storages).open()
        assert [key async for key, _ in storage.scan("session")] == []


async def test_a_suspended_session_lets_what_runs_end_and_nothing_begin(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[str] = []

    async def nap(given: Any, context: Any) -> str:
        await trio.sleep(given["s"])
        ended.append("done")
        return "done"

    async with hosted(make_tool("nap", nap), grace_s=5) as (host, sessions), trio.open_nursery() as nursery:
        session = await sessions.create()
        failures: list[Exception] = []

        async def work(length_s: float) -> None:
            try:
                await sessions.within(session.id, host.call, "tool:nap", {"s": length_s})
            except OperationError as error:
                failures.append(error)

        nursery.start_soon(work, 2)
        nursery.start_soon(work, 60)
        await trio.testing.wait_all_tasks_blocked()
        await sessions.suspend(session.id)
        await trio.testing.wait_all_tasks_blocked()

        assert ended == ["done"]
        assert [f"session {session.id} is suspended" in str(error) for error in failures] == [True]
        host.get(Operations).carry("session", session.id)
        with pytest.raises(OperationCancelledError, match="is suspended; resume it"):
            await host.call("tool:nap", {"s": 0})
        host.get(Operations).carry("session", "")


async def test_one_host_at_a_time_holds_a_session(tmp_path: Path) -> None:
    async def do(given: Any, context: Any) -> str:
        return "done"

    clock = SetClock()
    async with hosted(make_tool("do", do), clock=clock, folder=tmp_path) as (_, here):
        session = await here.create()
        await here.hold(session.id)
        async with hosted(make_tool("do", do), clock=clock, folder=tmp_path) as (other, there):
            with pytest.raises(OperationError, match="another host holds it, or did until lately; wait 30 s"):
                await there.within(session.id, other.call, "tool:do")
            with pytest.raises(OperationError, match="another host holds it"):
                await there.resume(session.id)
            with pytest.raises(OperationError, match="another host holds it"):
                await there.delete(session.id)

            taken = await there.hold(session.id, take_over=True)
            await there.within(session.id, other.call, "tool:do")

            assert taken.fence == 2


async def test_a_host_whose_lease_ran_out_begins_nothing_and_another_resumes(tmp_path: Path) -> None:
    async def do(given: Any, context: Any) -> str:
        return "done"

    clock = SetClock()
    async with hosted(make_tool("do", do), clock=clock, folder=tmp_path) as (one, here):
        session = await here.create()
        await here.hold(session.id)
        clock.time_s += 31
        with pytest.raises(OperationCancelledError, match=r"the lease of session .* ran out"):
            await here.within(session.id, one.call, "tool:do")

        async with hosted(make_tool("do", do), clock=clock, folder=tmp_path) as (other, there):
            await there.resume(session.id)

            assert (await there.within(session.id, other.call, "tool:do")).result == "done"
            assert (await there.get(session.id)).live


async def test_a_session_that_another_host_suspended_is_let_go_here(tmp_path: Path) -> None:
    napping = trio.Event()

    async def nap(given: Any, context: Any) -> None:
        napping.set()
        await trio.sleep_forever()

    async with hosted(make_tool("nap", nap), folder=tmp_path, lease_s=1) as (one, here):
        session = await here.create()
        async with hosted(folder=tmp_path) as (_, there), trio.open_nursery() as nursery:

            async def work() -> None:
                with pytest.raises(OperationError, match="was taken from this host"):
                    await here.within(session.id, one.call, "tool:nap")

            nursery.start_soon(work)
            await napping.wait()
            await there.suspend(session.id)

        assert (await here.get(session.id)).status == "suspended"


async def test_a_session_goes_on_in_the_next_host_with_what_was_written(tmp_path: Path) -> None:
    async with hosted(folder=tmp_path) as (host, sessions):
        session = await sessions.create(SessionDraft("long"))
        await sessions.within(session.id, lambda: host.state.set("k", {"n": 1}, scope=scope_of(session)))

    async with hosted(folder=tmp_path) as (host, sessions):
        found = await sessions.get(session.id)
        await sessions.hold(session.id)

        assert (found.status, found.live, found.checkpoints, found.operations) == ("active", False, 1, 1)
        assert await host.state.get("k", scope=scope_of(session)) == {"n": 1}


@pytest.mark.parametrize("limits", [{"max_operations": 3}, {"max_duration_s": 100.0}])
async def test_a_limit_is_kept_and_told_once(limits: dict[str, Any]) -> None:
    exceeded: list[Any] = []

    async def do(given: Any, context: Any) -> str:
        return "done"

    hooks = make_plugin("watch", ("resource_limit_exceeded", lambda context: exceeded.append(context.subject), {}))
    clock = SetClock()
    async with hosted(hooks, make_tool("do", do), clock=clock, lease_s=3600.0) as (host, sessions):
        session = await sessions.create(SessionDraft(**limits))
        for _ in range(3):
            await sessions.within(session.id, host.call, "tool:do")
        clock.time_s += 101
        for _ in range(2):
            with pytest.raises(OperationCancelledError, match="complete it and begin another, or raise the limit"):
                await sessions.within(session.id, host.call, "tool:do")
        await trio.testing.wait_all_tasks_blocked()

        assert [each.resource for each in exceeded] == [
            "session_operations" if "max_operations" in limits else "session_duration_s"
        ]


async def test_a_held_session_is_saved_now_and_then_if_it_changed(autojump_clock: trio.testing.MockClock) -> None:
    async with hosted(autosave_s=300, lease_s=3600) as (host, sessions):
        session = await sessions.create()
        await sessions.hold(session.id)
        await host.state.set("k", 1, scope=scope_of(session))
        await trio.sleep(1000)

        saved = await sessions.checkpoints(session.id)
        assert [(each.number, each.automatic, each.values) for each in saved] == [(1, True, 1)]


async def test_sessions_are_found_by_everything() -> None:
    clock = SetClock()
    async with hosted(clock=clock) as (_, sessions):
        made = []
        for number, tags in enumerate([("a",), ("a", "b"), ("b",), ()]):
            draft = SessionDraft(f"name{3 - number}", tags=tags, created_by="ann" if number % 2 else "bob")
            made.append(await sessions.create(draft))
            clock.time_s += 10
        await sessions.complete(made[0].id)
        child = await sessions.create(SessionDraft("child", parent=made[1].id))
        every = [*made, child]

        async def find(**query: Any) -> list[int]:
            ids = [each.id for each in every]
            return [ids.index(info.id) for info in await sessions.list(SessionQuery(**query))]

        assert await find() == [0, 1, 2, 3, 4]
        assert await find(status=("completed",)) == [0]
        assert await find(status=("active", "completed"), limit=2) == [0, 1]
        assert await find(tags=("a", "b")) == [1]
        assert await find(created_by="ann") == [1, 3]
        assert await find(parent=made[1].id) == [4]
        assert await find(name="name?", sort="name") == [3, 2, 1, 0]
        assert await find(since_s=made[1].created_s, until_s=made[2].created_s) == [1, 2]
        assert await find(descending=True, limit=1) == [4]
        for wrong in (
            SessionQuery(status=("odd",)),
            structs.replace(SessionQuery(), sort="odd"),
            SessionQuery(limit=-1),
        ):
            with pytest.raises(InvalidInputError):
                await sessions.list(wrong)


async def test_a_deleted_session_leaves_nothing_behind() -> None:
    async with hosted() as (host, sessions):
        storage = await host.get(Storages).open()
        session = await sessions.create()
        await host.state.set("k", 1, scope=scope_of(session))
        await sessions.save(session.id)

        assert await sessions.delete(session.id) is True
        assert await sessions.delete(session.id) is False
        left = [key async for key, _ in storage.scan("") if session.id in key]
        assert left == []


async def test_sessions_that_ended_long_ago_go_and_a_file_of_each_stays(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    clock = SetClock()
    async with hosted(clock=clock, project=tmp_path, retention_days=30) as (host, sessions):
        old = await sessions.create(SessionDraft("old"))
        await host.state.set("k", b"\x00", scope=scope_of(old))
        await sessions.complete(old.id)
        running = await sessions.create(SessionDraft("running"))
        clock.time_s += 31 * DAY_S
        fresh = await sessions.create(SessionDraft("fresh"))
        await sessions.complete(fresh.id)
        await trio.sleep(7300)
        for _ in range(10_000):  # the file is written in a thread, which a jumping clock does not wait for
            if len(await sessions.list()) == 2:
                break
            await trio.to_thread.run_sync(int)

        assert [each.id for each in await sessions.list()] == [running.id, fresh.id]
        [file] = (tmp_path / ".llmspell" / "sessions").iterdir()
        assert file.name == f"{old.id}.json"
        assert json.loads(file.read_text())["session"]["name"] == "old"


async def test_a_session_that_a_later_version_keeps_or_that_was_damaged_hides_no_other() -> None:
    async with hosted() as (host, sessions):
        storage = await host.get(Storages).open()
        later, damaged, good = [(await sessions.create()).id for _ in range(3)]
        await storage.write({place_of(later): b"\x81\xa6format\x63", place_of(damaged): b"\xc1"})

        assert [each.id for each in await sessions.list()] == [good]
        with pytest.raises(StorageError, match="a later version keeps it"):
            await sessions.get(later)
        with pytest.raises(StorageError, match="none of ours; restore the storage, or delete it"):
            await sessions.get(damaged)
        await sessions.delete(damaged)
        assert [key async for key, _ in storage.scan("") if damaged in key] == []
