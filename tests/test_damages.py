"""Damages of every kind, in every store that a host has: what is told of them, and that nothing else is lost.

Every key of the storage and every file that the host wrote belongs to a store of the table below. Whatever is kept
elsewhere one day fails the first test here, until its store stands in the table.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from kernel import make_tool
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.artifacts import ArtifactDraft, Artifacts
from llmspell_hookspecs.backup import Backups
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.event_log import EventLog
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.sessions import SessionDraft, Sessions
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.vault import Vault
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.services.vault.master import FILE, new_key, write_key

Read = Callable[[Host], Awaitable[Any]]
SCOPE = "custom:notes"


async def state(host: Host) -> Any:
    return [await host.state.get(key, scope=SCOPE) for key in ("a", "b")]


async def sessions(host: Host) -> Any:
    kept, storage = await host.enter(Sessions), await host.get(Storages).open()
    await kept.list()  # one that is damaged hides no other, and is told
    told = []
    async for key, _ in storage.scan("session-by/"):
        each = await kept.get(key.rpartition("/")[2])
        told.append((each.name, [one.values for one in await kept.checkpoints(each.id)], await kept.export(each.id)))
    return told


async def artifacts(host: Host) -> Any:
    kept = await host.enter(Artifacts)
    return [await kept.read("host", number) for number in (1, 2)]


async def journal(host: Host) -> Any:
    kept = await host.enter(Journal)
    for report in await kept.verify("one"):
        if report.problem:
            raise StorageError(report.problem)
    return [each.request for each in await kept.records("one")]


async def event_log(host: Host) -> Any:
    kept = await host.enter(EventLog)
    report = await kept.verify()
    if report.problem:
        raise StorageError(str(report.problem))
    return [each.event.data for each in await kept.read()]


async def backups(host: Host) -> Any:
    kept = await host.enter(Backups)
    await kept.list()
    for path in sorted(host.get(ProjectFolder).data("backups").glob("*.lsb")):
        check = await kept.validate(path.stem)
        if not check.is_valid:
            raise StorageError("; ".join(check.errors))
    return "whole"


async def vault(host: Host) -> Any:
    kept = await host.enter(Vault)
    held = await kept.get("mail")
    return None if held is None else held.get_secret_value()


async def workflows(host: Host) -> Any:
    return (await host.get(Workflows).resume("r", take_over=True)).outputs


STORES: dict[str, Read] = {
    "state": state,
    "sessions": sessions,
    "artifacts": artifacts,
    "journal": journal,
    "event log": event_log,
    "backups": backups,
    "vault": vault,
    "workflows": workflows,
}
KEYS = {
    f"state:{SCOPE}": "state",
    "state:session:": "sessions",
    "session/": "sessions",
    "session-by/": "sessions",
    "artifact": "artifacts",
    "backup/": "backups",
    "content": "artifacts",
    "journal/": "journal",
    "event": "event log",
    "workflow": "workflows",
}
"""Which store the keys of the storage belong to, by what they begin with."""
FILES = {
    "keys.enc": "vault",
    "backups/": "backups",
    "events.": "event log",
    "content/": "artifacts",
    "artifacts.": "artifacts",
}
BESIDE = (".gitignore", "state.db")
"""Files that are the storage itself, or nobody's."""
ONE = {"session": "one"}
PLAIN = {"state", "sessions", "workflows"}
"""What carries no hash: in it a changed letter is a changed letter, unless the storage is encrypted. What is none of
its entries is told all the same, but for a value of the state, which may be anything."""


def in_folder(folder: Path) -> Any:
    async def act(parameters: Any, context: Any) -> Any:
        return {"said": "done"}

    tables = {
        "journal": {"record": "sessions"},
        "plugins": {
            "vault": {"file": str(folder / ".llmspell" / "keys.enc")},
            "event_log": {"enabled": True, "patterns": ["user.**"]},
            "artifacts": {"audit": "changes"},
        },
    }
    loaded = load_settings(tables, environment={}, cwd=folder)
    return Host.open(loaded, plugins=[make_tool("act", act)], discover=False)


async def fill(folder: Path) -> None:
    """Let every store keep something."""
    async with in_folder(folder) as host:
        for key in ("a", "b"):
            await host.state.set(key, {"words": key * 50}, scope=SCOPE)
        kept = await host.enter(Sessions)
        id = (await kept.create(SessionDraft("work", tags=("t",)))).id
        await host.state.set("mine", "m" * 100, scope=f"session:{id}")
        await kept.save(id)
        keeps = await host.enter(Artifacts)
        for content in (b"small" * 100, random.Random(1).randbytes(50_000)):
            await keeps.put(ArtifactDraft("kept"), content)
        for number in range(3):
            await host.events.publish("user.created", {"number": number})
        handle = await host.get(Workflows).create({"name": "w", "stages": [{"name": "s", "tool": "act"}]})
        await handle.run(run_id="r", durable=True)
        for number in range(3):
            visit = Operation(OperationKind("visit"), ComponentRef("visit", "it"), [number], said, baggage=ONE)
            await host.get(Operations).execute(visit)
        await (await host.enter(Journal)).flush()
        await (await host.enter(Vault)).set("mail", SecretStr("a secret of the vault"))
        await (await host.enter(Backups)).create()


async def said(subject: Any) -> Any:
    return {"said": "x" * 3000, "number": subject}


def store_of(name: str, table: dict[str, str]) -> str | None:
    """Return which store a key or a file belongs to."""
    return next((store for start, store in table.items() if name.startswith(start)), None)


async def kept_in(folder: Path) -> dict[str, bytes]:
    """Return what the storage keeps, and what stands in files, by ``key:NAME`` and ``file:NAME``."""
    async with in_folder(folder) as host:
        storage = await host.get(Storages).open()
        kept = {f"key:{key}": entry.value async for key, entry in storage.scan("", limit=10_000)}
    data = folder / ".llmspell"
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        if path.is_file() and not name.startswith(BESIDE) and path.suffix != ".lock":
            kept[f"file:{name}"] = path.read_bytes()
    return kept


def owner_of(place: str) -> str | None:
    kind, _, name = place.partition(":")
    return store_of(name, KEYS if kind == "key" else FILES)


def flipped(value: bytes, others: list[bytes], dice: random.Random) -> bytes:
    at = dice.randrange(len(value))
    return value[:at] + bytes([value[at] ^ (1 << dice.randrange(8))]) + value[at + 1 :]


def cut(value: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return value[: dice.randrange(len(value))]


def swapped(value: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return dice.choice(others) if others else value[::-1]


def foreign(value: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return b"\x89PNG\r\n" + dice.randbytes(len(value))


def later(value: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Return what a later version may have written there: more fields, of a format that nobody knows yet."""
    try:
        fields = msgspec.msgpack.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b"llmspell 99\n" + value
    if isinstance(fields, dict):
        return msgspec.msgpack.encode({**fields, "format": 99, "new": True})
    return msgspec.msgpack.encode([99, fields])


DAMAGES: dict[str, Callable[[bytes, list[bytes], random.Random], bytes]] = {
    "flipped": flipped,
    "cut": cut,
    "swapped": swapped,
    "foreign": foreign,
    "later": later,
    "of nobody": lambda value, others, dice: msgspec.msgpack.encode({"other": 1}),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which every store keeps something."""
    monkeypatch.setenv(FILE, str(tmp_path / "master.key"))
    write_key(tmp_path / "master.key", new_key())
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


async def all_read(host: Host) -> dict[str, Any]:
    """Return what each store tells: what it keeps, or the text of its one error."""
    told: dict[str, Any] = {}
    for name, read in STORES.items():
        try:
            told[name] = await read(host)
        except LlmspellError as error:
            told[name] = error
    return told


async def test_every_key_and_every_file_belongs_to_a_store_of_the_table(project: Path) -> None:
    await fill(project)

    kept = await kept_in(project)

    strays = [place for place in kept if owner_of(place) is None]
    assert strays == [], "add their store to the tables of this module"
    assert {owner_of(place) for place in kept} == set(STORES)


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("store", STORES)
async def test_a_damage_is_one_clear_line_and_harms_no_other_store(store: str, damage: str, project: Path) -> None:
    await fill(project)
    whole = await kept_in(project)
    async with in_folder(project) as host:
        before = await all_read(host)
    places = [place for place in whole if owner_of(place) == store and whole[place]]
    shutil.copytree(project, project.with_name("whole"))
    dice = random.Random(f"{store} {damage}")
    for place in places:
        others = [whole[each] for each in places if each != place and whole[each] != whole[place]]
        value = DAMAGES[damage](whole[place], others, dice)
        kind, _, name = place.partition(":")
        if kind == "file":
            (project / ".llmspell" / name).write_bytes(value)
        else:
            async with in_folder(project) as host:
                await (await host.get(Storages).open()).write({name: value})

        async with in_folder(project) as host:
            after = await all_read(host)

        for each, told in after.items():
            if each == store:
                if isinstance(told, LlmspellError):
                    assert "\n" not in str(told), (place, told)
                    assert "Traceback" not in str(told), (place, told)
                elif store not in PLAIN or (damage == "of nobody" and not place.startswith("key:state:")):
                    assert told == before[store], place
            else:
                assert not isinstance(told, LlmspellError), (place, each, told)
                assert told == before[each], (place, each)
        shutil.rmtree(project)
        shutil.copytree(project.with_name("whole"), project)
