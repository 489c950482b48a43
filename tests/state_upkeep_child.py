"""What the crash tests of migration and of what else moves all of state run in processes of their own; prints JSON.

``WORK FOLDER ROUNDS SEED``: works at it in a process that is forked and killed at a random moment of the work, that
many times, and then lets it come to its end. Each round looks whether what there is could be. How long the work takes
is measured on a copy first, so that a fast machine kills it as often as a slow one.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import sqlite_utils  # noqa: F401 - here, so that no child spends the time that it has on its import
import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.backup import Backups
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.migration import Custom, Migrations, Rename, Schema, SchemaField, SchemaVersion, Transition
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.sessions import SessionDraft, Sessions
from llmspell_hookspecs.state_scopes import StateScopes
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.services.vault.master import new_key, write_key

COUNT = 1000
SCOPE = "custom:notes"
Work = Callable[[Host], Awaitable[None]]


def settings(folder: Path, **tables: Any) -> Any:
    """Return settings of a project there."""
    plugins = {"disabled": ["model_retry"], "migrations": {"batch": 4}, **tables.pop("plugins", {})}
    return load_settings({"plugins": plugins, **tables}, environment={}, cwd=folder)


def use(folder: Path, work: Work, **tables: Any) -> None:
    """Run this with a host."""

    async def main() -> None:
        async with Host.open(settings(folder, **tables), discover=False) as host:
            await work(host)

    trio.run(main)


def killed(folder: Path, work: Work, after_s: float | None, **tables: Any) -> tuple[str, float]:
    """Fork a process that works, and kill it so long after it began; returns what it said, and how long it worked."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)

        async def begun(host: Host) -> None:
            os.write(writer, b"BEGUN ")
            await work(host)

        try:
            use(folder, begun, **tables)
            os.write(writer, b"DONE")
        except BaseException as error:
            os.write(writer, f"FAILED {error!r}".encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb", buffering=0) as said:
        words = said.read(len(b"BEGUN "))
        began = time.perf_counter()
        if after_s is not None:
            time.sleep(after_s)
            os.kill(child, signal.SIGKILL)
        while more := said.read(10_000):
            words += more
    os.waitpid(child, 0)
    return words.decode(), time.perf_counter() - began


def rounds(folder: Path, work: Work, look: Work, count: int, seed: int, **tables: Any) -> int:
    """Kill the work so many times, and then let it end; returns how often it was killed at it."""
    source = random.Random(seed)
    before = folder.with_name(folder.name + "-before")
    trial = folder.with_name(folder.name + "-trial")
    shutil.copytree(folder, before)
    shutil.copytree(folder, trial)
    words, longest_s = killed(trial, work, None, **tables)
    assert words == "BEGUN DONE", words
    cut = 0
    for _ in range(10 * count):
        words, _ = killed(folder, work, source.uniform(0, longest_s), **tables)
        assert "FAILED" not in words, words
        ended, _ = killed(folder, look, None, **tables)
        assert ended == "BEGUN DONE", ended
        if words == "BEGUN DONE":  # faster than it was killed: from the start, and sooner
            shutil.rmtree(folder)
            shutil.copytree(before, folder)
            longest_s /= 2
            continue
        cut += 1
        if cut == count:
            break
    words, _ = killed(folder, work, None, **tables)
    assert words == "BEGUN DONE", words
    shutil.rmtree(before)
    shutil.rmtree(trial)
    return cut


def custom(item: Any) -> Any:
    """Take as much time as a function of somebody's does."""
    return {**item, "double": item["number"] * 2}


NOTES = Schema(
    "notes",
    SCOPE,
    versions=(SchemaVersion("2.0.0", {"body": SchemaField("text", required=True)}),),
    transitions=(Transition("1.0.0", "2.0.0", (Rename("text", "body"), Custom("custom", custom))),),
)


def old(number: int) -> dict[str, Any]:
    """Return an item as it was."""
    return {"text": f"t{number}", "number": number}


def new(number: int) -> dict[str, Any]:
    """Return an item as it will be."""
    return {"body": f"t{number}", "number": number, "double": number * 2}


async def fill(host: Host) -> None:
    """Keep the items."""
    storage = await host.get(Storages).open()
    for number in range(COUNT):
        await host.state.set(f"k{number:04}", old(number), scope=SCOPE) if number < 5 else None
    encode = importlib.import_module("llmspell_plugins.services.state_value").encode
    await storage.write({f"state:{SCOPE}\nk{number:04}": encode("x", old(number), 999) for number in range(COUNT)})


async def bytes_of(host: Host) -> dict[str, bytes]:
    """Return what state keeps."""
    storage = await host.get(Storages).open()
    return {key: entry.value async for key, entry in storage.scan("state:", limit=10 * COUNT)}


async def migrate(host: Host) -> None:
    """Bring all to the new version."""
    migrations = host.get(Migrations)
    migrations.register(NOTES)
    done = await migrations.migrate("2.0.0")
    assert done.status in ("completed", "already_current"), done


async def look_on_the_way(host: Host) -> None:
    """Whoever reads sees one version only."""
    migrations = host.get(Migrations)
    migrations.register(NOTES)
    version = (await migrations.status("notes")).current_version
    expected = old if version == "1.0.0" else new
    for number in range(0, COUNT, 7):
        assert await host.state.get(f"k{number:04}", scope=SCOPE) == expected(number), (number, version)


async def undo(host: Host) -> None:
    """Bring all back."""
    migrations = host.get(Migrations)
    migrations.register(NOTES)
    (run,) = await migrations.runs()
    if run.status != "rolled_back":
        await migrations.rollback(run.id)


def migration(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Kill a migration, and then its undoing; returns how often each was."""
    before: dict[str, bytes] = {}

    async def remember(host: Host) -> None:
        await fill(host)
        before.update(await bytes_of(host))

    async def all_new(host: Host) -> None:
        for number in range(COUNT):
            assert await host.state.get(f"k{number:04}", scope=SCOPE) == new(number)

    async def all_old(host: Host) -> None:
        assert await bytes_of(host) == before

    use(folder, remember)
    forward = rounds(folder, migrate, look_on_the_way, count, seed)
    use(folder, all_new)
    back = rounds(folder, undo, look_on_the_way, count, seed)
    use(folder, all_old)
    return {"forward": forward, "back": back}


async def back_up(host: Host) -> None:
    """Make backups, of what changes in between."""
    backups = host.get(Backups)
    for number in range(6):
        await host.state.set("counter", number, scope="custom:other")
        await backups.create(incremental=number % 3 != 0)


async def look_at_backups(host: Host) -> None:
    """Whatever is listed can be restored."""
    backups = host.get(Backups)
    for each in await backups.list():
        assert (await backups.validate(each.id)).is_valid, each


async def restore(host: Host) -> None:
    """Go back to the first backup, or go on with that."""
    backups = host.get(Backups)
    try:
        await backups.resume()
    except InvalidInputError:
        await backups.restore((await backups.list())[-1].id)


async def abandon(host: Host) -> None:
    """Go back to the first backup, or, if that was broken off, not."""
    backups = host.get(Backups)
    try:
        await backups.abandon()
    except InvalidInputError:
        await backups.restore((await backups.list())[-1].id)


async def look_at_state(host: Host) -> None:
    """Whoever can read it reads all of one time."""
    try:
        first = await host.state.get("k0000", scope=SCOPE)
    except StorageError as error:
        assert error.code == "restoring"
        return
    version = old if "text" in first else new
    for number in range(0, COUNT, 7):
        assert await host.state.get(f"k{number:04}", scope=SCOPE) == version(number), number


def backup(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Kill who makes backups, goes back to one, and gives that up; returns how often each was."""

    async def begin(host: Host) -> None:
        await fill(host)
        await host.get(Backups).create()

    async def change(host: Host) -> None:
        storage = await host.get(Storages).open()
        encode = importlib.import_module("llmspell_plugins.services.state_value").encode
        await storage.write({f"state:{SCOPE}\nk{number:04}": encode("x", new(number), 999) for number in range(COUNT)})

    use(folder, begin)
    made = rounds(folder, back_up, look_at_backups, count, seed)
    use(folder, change)
    restored = rounds(folder, restore, look_at_state, count, seed)
    use(folder, change)
    abandoned = rounds(folder, abandon, look_at_state, count, seed)
    return {"made": made, "restored": restored, "abandoned": abandoned}


def scopes(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Kill who moves a scope; returns how often."""

    async def move(host: Host) -> None:
        await host.get(StateScopes).move(SCOPE, "custom:moved")

    async def look(host: Host) -> None:
        here, there = set(await host.state.keys(SCOPE)), set(await host.state.keys("custom:moved"))
        assert not here & there
        assert len(here | there) == COUNT

    async def all_moved(host: Host) -> None:
        assert await host.state.keys(SCOPE) == []
        for number in range(COUNT):
            assert await host.state.get(f"k{number:04}", scope="custom:moved") == old(number)

    use(folder, fill)
    cut = rounds(folder, move, look, count, seed)
    use(folder, all_moved)
    return {"cut": cut}


def rekey(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Kill who encrypts everything anew; returns how often."""
    key = folder / "master.key"
    write_key(key, new_key())
    os.environ["LLMSPELL_MASTER_KEY_FILE"] = str(key)
    seen: list[int] = []

    async def anew(host: Host) -> None:
        storage: Any = await host.get(Storages).open()
        await storage.rekey()

    async def look(host: Host) -> None:
        for number in range(COUNT):
            assert await host.state.get(f"k{number:04}", scope=SCOPE) == old(number)

    async def one_key(host: Host) -> None:
        storage: Any = await host.get(Storages).open()
        seen.extend((await storage.facts())["keys"])

    encrypted: dict[str, Any] = {"storage": {"backend": "encrypted"}}
    use(folder, fill)  # in the clear at first
    cut = rounds(folder, anew, look_if_encrypted(look), count, seed, **encrypted)
    cut += rounds(folder, anew, look, count, seed, **encrypted)
    use(folder, look, **encrypted)
    use(folder, one_key, **encrypted)
    assert len(seen) == 1
    return {"cut": cut}


def look_if_encrypted(look: Work) -> Work:
    """Return what also passes while nothing is encrypted yet."""

    async def looking(host: Host) -> None:
        try:
            await host.state.get("k0000", scope=SCOPE)
        except StorageError as error:
            assert error.code == "plain"
            return
        await look(host)

    return looking


def acknowledge(host: Host, *words: object) -> None:
    """Write down durably, beside what the host keeps, what it said was done."""
    told = os.open(host.get(ProjectFolder).data("acknowledged"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(told, (" ".join(map(str, words)) + "\n").encode())
    os.fsync(told)
    os.close(told)


def acknowledged(host: Host) -> list[list[str]]:
    """Return what was written down, line by line."""
    path = host.get(ProjectFolder).data("acknowledged")
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def session(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Kill who saves a session; returns how often."""
    keys = ("a", "b", "c")
    ids: list[str] = []
    tables: dict[str, Any] = {"plugins": {"sessions": {"keep_checkpoints": 10_000}}}

    async def begin(host: Host) -> None:
        ids.append((await (await host.enter(Sessions)).create(SessionDraft("crash"))).id)

    async def save(host: Host) -> None:
        sessions, (id,) = await host.enter(Sessions), ids
        first = len(await sessions.checkpoints(id)) + 1
        for number in range(first, first + 12):
            for key in keys:
                await host.state.set(key, [number, "x" * 5000], scope=f"session:{id}")
            saved = await sessions.save(id)
            acknowledge(host, saved.number, number)

    async def look(host: Host) -> None:
        sessions, (id,) = await host.enter(Sessions), ids
        there = [each.number for each in await sessions.checkpoints(id)]
        assert there == [*range(1, len(there) + 1)], there
        kept = {int(checkpoint): int(number) for checkpoint, number in acknowledged(host)}
        assert set(kept) <= set(there), set(kept) - set(there)
        for checkpoint in {1, len(there) - 1, len(there)} & set(there):
            await sessions.restore(id, checkpoint)
            values = [await host.state.get(key, scope=f"session:{id}") for key in keys]
            assert values == [values[0]] * len(keys), checkpoint  # all of one save
            assert values[0][0] == kept.get(checkpoint, values[0][0]), checkpoint

    use(folder, begin)
    return {"cut": rounds(folder, save, look, count, seed, **tables)}


def journal(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Kill who keeps a journal; returns how often."""
    kind, component = OperationKind("visit"), ComponentRef("visit", "it")

    async def body(subject: Any) -> Any:
        return {"number": subject, "text": "x" * (5000 if subject[1] % 7 == 0 else 500)}

    async def work(host: Host) -> None:
        kept, run, number = host.get(Journal), os.getpid(), 0
        for many in (1, 3, 50, 2, 300, 20, 1):
            for _ in range(many):
                number += 1
                visit = Operation(kind, component, [run, number], body, baggage={"session": "one"})
                await host.get(Operations).execute(visit)
            await kept.flush()
            acknowledge(host, run, number)

    async def look(host: Host) -> None:
        kept = host.get(Journal)
        reports = await kept.verify()
        assert [report.problem for report in reports] in ([], [""])
        found: dict[str, list[int]] = {}
        if reports:  # else it was killed before anything was on record
            for record in await kept.records("one"):
                found.setdefault(str(record.request[0]), []).append(record.request[1])
        assert all(numbers == [*range(1, len(numbers) + 1)] for numbers in found.values()), found
        for run, number in acknowledged(host):
            assert len(found.get(run, ())) >= int(number), (run, number)

    return {"cut": rounds(folder, work, look, count, seed, journal={"record": "all"})}


WORKS = {
    "migration": migration,
    "backup": backup,
    "scopes": scopes,
    "rekey": rekey,
    "session": session,
    "journal": journal,
}

if __name__ == "__main__":
    print(json.dumps(WORKS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
