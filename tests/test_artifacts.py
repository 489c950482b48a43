"""The service Artifacts, through the host: contents, versions, access, damages, what is taken out."""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from blake3 import blake3

from kernel import make_plugin, make_tool
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, Modified, OperationCancelledError
from llmspell_hookspecs.artifacts import ArtifactChange, ArtifactDraft, ArtifactInfo, ArtifactQuery, Artifacts
from llmspell_hookspecs.errors import ComponentNotFoundError, ResourceLimitError, SecurityError, StorageError
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.sessions import Sessions
from llmspell_hookspecs.storage import Storages

TEXT = json.dumps([{"number": number, "text": "the same again"} for number in range(20_000)]).encode()
NOISE = random.Random(1).randbytes(300_000)


@asynccontextmanager
async def hosted(
    folder: Path, *plugins: Any, backend: str = "sqlite", **artifacts: Any
) -> AsyncIterator[tuple[Host, Artifacts]]:
    """Open a host whose project is a folder, and its artifacts."""
    settings = {"storage": {"backend": backend}, "plugins": {"artifacts": artifacts}}
    loaded = load_settings(settings, environment={}, cwd=folder)
    async with Host.open(loaded, plugins=plugins, discover=False) as host:
        yield host, await host.enter(Artifacts)


async def session_in(host: Host) -> str:
    return (await (await host.enter(Sessions)).create()).id


def files_of(folder: Path) -> list[Path]:
    return [file for file in (folder / ".llmspell" / "content").rglob("*") if file.is_file()]


async def in_pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


@pytest.mark.parametrize("backend", ["sqlite", "memory"])
@pytest.mark.parametrize(
    ("content", "codec"),
    [
        (b"", "raw"),
        (b"\x00\xff" * 10, "raw"),
        (TEXT[:10_240], "lz4"),
        (NOISE[:16_384], "raw"),
        (NOISE[:16_385], "raw"),
        (TEXT[:16_385], "lz4"),
        (TEXT, "lz4"),
        (NOISE, "raw"),
    ],
    ids=["nothing", "few", "small text", "small noise", "noise", "short text", "text", "much noise"],
)
async def test_what_is_stored_is_read_whole_and_in_pieces(
    content: bytes, codec: str, backend: str, tmp_path: Path
) -> None:
    async with hosted(tmp_path, backend=backend) as (_, artifacts):
        whole = await artifacts.put(ArtifactDraft("whole"), content)
        pieces = await artifacts.put(ArtifactDraft("pieces"), in_pieces(content, 1000))

        assert whole.id.content_hash == pieces.id.content_hash == blake3(content).hexdigest()
        assert (whole.size_bytes, whole.codec) == (len(content), codec)
        assert (whole.stored_bytes < len(content)) == (codec == "lz4")
        assert await artifacts.read("host", 1) == content
        assert b"".join([piece async for piece in artifacts.stream("host", 2)]) == content


async def test_a_content_is_kept_once_and_outlives_the_host(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (host, artifacts):
        session = await session_in(host)
        for place in ("host", session, session):
            await artifacts.put(ArtifactDraft("same", session=place), NOISE)

        assert len(files_of(tmp_path)) == 1
        assert [info.version for info in await artifacts.versions(session, "same")] == [1, 2]

    async with hosted(tmp_path) as (_, artifacts):
        assert await artifacts.read(session, 2) == NOISE


async def test_versions_follow_each_other(tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (_, artifacts):
        made = [await artifacts.put(ArtifactDraft("plan"), text) for text in ("one", "two", "three")]

        assert [info.version for info in made] == [1, 2, 3]
        assert [info.previous_hash for info in made] == ["", made[0].id.content_hash, made[1].id.content_hash]
        assert await artifacts.query(ArtifactQuery(latest=True)) == [made[2]]
        assert await artifacts.read("host", 1) == b"one"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:], "was changed"),
        (lambda content: content[:-1], "was changed"),
        (lambda content: content + b"x", "was changed"),
        (lambda content: b"", "was changed"),
        (None, "is missing"),
    ],
    ids=["a bit", "cut", "longer", "empty", "gone"],
)
@pytest.mark.parametrize("content", [TEXT, NOISE], ids=["text", "noise"])
async def test_a_damaged_file_is_one_clear_error(
    damage: Callable[[bytes], bytes] | None, told: str, content: bytes, tmp_path: Path
) -> None:
    async with hosted(tmp_path) as (_, artifacts):
        await artifacts.put(ArtifactDraft("damaged"), content)
        await artifacts.put(ArtifactDraft("whole"), "whole")
        [file] = files_of(tmp_path)
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage(file.read_bytes()))

        with pytest.raises(StorageError, match=f"artifact host/1: its content {told}; restore it, or store it again"):
            await artifacts.read("host", 1)
        report = await artifacts.verify()
        assert not report.is_whole
        assert (report.missing or report.corrupt) == ("host/1",)
        assert await artifacts.read("host", 2) == b"whole"

        await artifacts.put(ArtifactDraft("again"), content)
        assert await artifacts.read("host", 1) == await artifacts.read("host", 3) == content


async def test_swapped_contents_are_found(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (_, artifacts):
        await artifacts.put(ArtifactDraft("one"), NOISE)
        await artifacts.put(ArtifactDraft("two"), NOISE[::-1])
        one, two = files_of(tmp_path)
        kept = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(kept)

        for sequence in (1, 2):
            with pytest.raises(StorageError, match="was changed"):
                await artifacts.read("host", sequence)
        assert (await artifacts.verify()).corrupt == ("host/1", "host/2")


async def test_damaged_entries_of_the_storage_are_named_and_hide_no_other(tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (host, artifacts):
        for number in range(3):
            await artifacts.put(ArtifactDraft("a", tags=("t",)), f"content {number}")
        storage = await host.get(Storages).open()
        await storage.write({"artifact/host/0000000001": b"\xc1"})
        hash = (await artifacts.get("host", 2)).id.content_hash
        await storage.write({f"content/{hash}": b"\xc1"})

        assert [info.id.sequence for info in await artifacts.query(ArtifactQuery(tags=("t",)))] == [2, 3]
        with pytest.raises(StorageError, match="artifact host/1: what is kept of it was changed"):
            await artifacts.get("host", 1)
        with pytest.raises(StorageError, match="what is known of it was changed"):
            await artifacts.read("host", 2)
        with pytest.raises(StorageError, match="so none is taken out"):
            await artifacts.sweep(0)
        assert set((await artifacts.verify()).corrupt) == {"host/1", "host/2"}


async def test_only_what_no_artifact_has_is_taken_out_and_only_in_time(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (_, artifacts):
        for content in (NOISE, NOISE[1:], b"small", b"small too"):
            await artifacts.put(ArtifactDraft("a"), content)
        await artifacts.put(ArtifactDraft("b"), NOISE)
        for sequence in (1, 2, 3):
            await artifacts.delete("host", sequence)
        left = tmp_path / ".llmspell" / "content" / "staging" / "left"
        left.write_bytes(b"x")
        os.utime(left, (0, 0))

        assert (await artifacts.sweep()).removed == 0
        assert len((await artifacts.verify()).orphans) == 2
        swept = await artifacts.sweep(0)

        assert (swept.removed, swept.kept, swept.freed_bytes) == (2, 2, len(NOISE) - 1 + 5)
        assert [file.stat().st_size for file in files_of(tmp_path)] == [len(NOISE)]
        assert await artifacts.read("host", 5) == NOISE
        assert (await artifacts.verify()).is_whole


async def test_a_file_that_nobody_knows_of_goes_by_repair_and_nothing_else_does(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (_, artifacts):
        await artifacts.put(ArtifactDraft("a"), NOISE)
        stray = tmp_path / ".llmspell" / "content" / "ab" / ("ab" * 32)
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"left by a crash")

        found = await artifacts.verify()
        repaired = await artifacts.verify(repair=True)

        assert (found.orphans, found.removed, repaired.removed) == (("ab" * 32,), 0, 1)
        assert not stray.exists()
        assert await artifacts.read("host", 1) == NOISE


async def test_storing_what_is_being_taken_out_loses_nothing(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (_, artifacts):
        for round in range(20):
            made = await artifacts.put(ArtifactDraft("first"), NOISE)
            await artifacts.delete("host", made.id.sequence)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(artifacts.sweep, 0.0)
                nursery.start_soon(artifacts.put, ArtifactDraft(f"kept{round}"), NOISE)
            [kept] = await artifacts.query(ArtifactQuery(name=f"kept{round}"))

            assert await artifacts.read("host", kept.id.sequence) == NOISE
            await artifacts.delete("host", kept.id.sequence)
            await artifacts.sweep(0)


async def test_artifacts_are_found_by_everything(tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (host, artifacts):
        session = await session_in(host)
        clock = cast(Any, host.get(Clock))
        for number, (name, kind, tags) in enumerate(
            [("b.txt", "text/plain", ("x",)), ("a.json", "application/json", ("x", "y")), ("c.bin", "image/odd", ())]
        ):
            clock.now_s = lambda at=number: 1000.0 + at
            draft = ArtifactDraft(name, session, f"type{number}", kind, tags=tags, created_by=f"by{number % 2}")
            await artifacts.put(draft, b"1" * (number + 1))
        await artifacts.put(ArtifactDraft("d.txt"), b"1")

        async def find(**query: Any) -> str:
            return " ".join(info.name[0] for info in await artifacts.query(ArtifactQuery(**query)))

        assert await find() == "b a c d"
        assert await find(session=session) == "b a c"
        assert await find(session="none") == ""
        assert await find(type="type1") == "a"
        assert await find(name="*.txt") == "b d"
        assert await find(tags=("x",)) == "b a"
        assert await find(tags=("y", "x"), session=session) == "a"
        assert await find(mime_type="*/*n") == "b a"
        assert await find(created_by="by0") == "b c"
        assert await find(since_s=1001.0, until_s=1001.5) == "a"
        assert await find(min_bytes=2, max_bytes=2) == "a"
        assert await find(session=session, sort="name") == "a b c"
        assert await find(session=session, sort="size", descending=True, limit=2) == "c a"
        for wrong in (ArtifactQuery(limit=-1), ArtifactQuery("a/b"), ArtifactQuery(sort=cast(Any, "odd"))):
            with pytest.raises(InvalidInputError):
                await artifacts.query(wrong)


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (ArtifactDraft(""), "name"),
        (ArtifactDraft("x" * 256), "name"),
        (ArtifactDraft("a", type=""), "type"),
        (ArtifactDraft("a", tags=("",)), "tags"),
        (ArtifactDraft("a", tags=tuple(map(str, range(65)))), "tags"),
        (ArtifactDraft("a", session="../b"), "session"),
        (ArtifactDraft("a", custom={"x": object()}), "value"),
    ],
)
async def test_a_draft_that_does_not_do_names_its_field(draft: ArtifactDraft, field: str, tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (_, artifacts):
        with pytest.raises(InvalidInputError) as refused:
            await artifacts.put(draft, b"content")

        assert refused.value.field == field
        assert await artifacts.query() == []


async def test_what_there_is_not_is_named(tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (_, artifacts):
        for use in (artifacts.get, artifacts.read, artifacts.modify, artifacts.grants):
            with pytest.raises(ComponentNotFoundError, match="artifact host/7: there is none"):
                await use("host", 7)
        assert await artifacts.delete("host", 7) is False
        with pytest.raises(ComponentNotFoundError, match="session gone: there is none"):
            await artifacts.put(ArtifactDraft("a", session="gone"), b"1")


async def test_limits_are_kept_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    hooks = make_plugin("watch", ("resource_limit_exceeded", lambda context: told.append(context.subject.resource), {}))
    limits = {"max_bytes": 1000, "max_artifacts": 3, "max_session_bytes": 1500}
    async with hosted(tmp_path, hooks, backend="memory", **limits) as (_, artifacts):
        with pytest.raises(ResourceLimitError, match="more than 1000 bytes"):
            await artifacts.put(ArtifactDraft("large"), b"1" * 1001)
        with pytest.raises(ResourceLimitError, match="more than 1000 bytes"):
            await artifacts.put(ArtifactDraft("large"), in_pieces(b"1" * 1001, 10))
        await artifacts.put(ArtifactDraft("a"), b"1" * 1000)
        for _ in range(2):
            with pytest.raises(ResourceLimitError, match="session_artifact_bytes would be 1501"):
                await artifacts.put(ArtifactDraft("b"), b"1" * 501)
        for _ in range(2):
            await artifacts.put(ArtifactDraft("c"), b"1")
        with pytest.raises(ResourceLimitError, match="session_artifacts would be 4"):
            await artifacts.put(ArtifactDraft("d"), b"1")
        await artifacts.delete("host", 1)
        await artifacts.put(ArtifactDraft("d"), b"1")

        assert told == ["session_artifact_bytes", "session_artifact_bytes", "session_artifacts"]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("application/json", b'{"a": 1}', b"{"),
        ("application/geo+json", b"[]", b"]"),
        ("application/x-ndjson", b"1\n2\n", b"1\n{\n"),
        ("text/plain; charset=utf-8", "é".encode(), b"\xff"),
        ("text/plain; charset=latin-1", b"\xff", None),
        ("image/png", b"\x89PNG\r\n\x1a\nrest", b"GIF89a"),
        ("odd/kind", b"\xff", None),
    ],
)
async def test_a_content_is_held_against_its_kind(kind: str, good: bytes, bad: bytes | None, tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (_, artifacts):
        await artifacts.put(ArtifactDraft("a", mime_type=kind), good)
        if bad is not None:
            with pytest.raises(InvalidInputError, match=f"artifact 'a': it is no {kind.replace('+', '.')}"):
                await artifacts.put(ArtifactDraft("a", mime_type=kind), bad)

        assert len(await artifacts.query()) == 1


async def test_a_validator_of_a_plugin_is_asked_until_it_is_taken_out(tmp_path: Path) -> None:
    def fails(content: bytes) -> str:
        raise RuntimeError("broken")

    async with hosted(tmp_path, backend="memory") as (_, artifacts):
        leave = artifacts.validate("odd/*", lambda content: "" if content == b"odd" else "it is even")
        await artifacts.put(ArtifactDraft("a", mime_type="odd/x"), b"odd")
        with pytest.raises(InvalidInputError, match="it is no odd/x: it is even"):
            await artifacts.put(ArtifactDraft("a", mime_type="odd/x"), b"2")
        leave()
        artifacts.validate("odd/*", fails)
        with pytest.raises(InvalidInputError, match="its validator failed: broken"):
            await artifacts.put(ArtifactDraft("a", mime_type="odd/x"), b"odd")


async def test_hooks_change_what_is_known_and_nothing_that_stands_fast(tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (host, artifacts):

        def describe(context: HookContext[ArtifactChange]) -> Modified:
            return context.modify(description="described", tags=("by a hook",))

        handle = host.hooks.register("before_artifact_create", describe)
        made = await artifacts.put(ArtifactDraft("a"), b"1")
        handle.unregister()
        host.hooks.register("before_artifact_create", lambda context: context.modify(content_hash="0" * 64))

        assert (made.description, made.tags) == ("described", ("by a hook",))
        assert await artifacts.query(ArtifactQuery(tags=("by a hook",))) == [made]
        with pytest.raises(InvalidInputError, match="a hook changed its content_hash, which stands fast"):
            await artifacts.put(ArtifactDraft("b"), b"1")


async def test_a_guard_refuses_and_nothing_stays(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (host, artifacts):
        kept = await artifacts.put(ArtifactDraft("kept"), NOISE)
        for point in ("before_artifact_create", "before_artifact_modify", "before_artifact_delete"):
            host.hooks.register(point, lambda context: Cancel("no"), kind="guard")

        with pytest.raises(OperationCancelledError):
            await artifacts.put(ArtifactDraft("a"), NOISE[1:])
        with pytest.raises(OperationCancelledError):
            await artifacts.modify("host", 1, tags=("a",))
        with pytest.raises(OperationCancelledError):
            await artifacts.delete("host", 1)

        assert await artifacts.query() == [kept]
        assert len(files_of(tmp_path)) == 1


# Access.


async def shared(host: Host, artifacts: Artifacts) -> tuple[str, str, ArtifactInfo]:
    """Return two sessions, and an artifact of the first."""
    owner, other = await session_in(host), await session_in(host)
    return owner, other, await artifacts.put(ArtifactDraft("secret", session=owner), b"what only the owner may read")


@pytest.mark.parametrize("way", ["code", "tool", "script", "hook"])
@pytest.mark.parametrize("verb", ["read", "get", "delete", "put"])
async def test_what_is_not_granted_is_refused_by_every_way_in(way: str, verb: str, tmp_path: Path) -> None:
    async def touch(given: Any, context: Any) -> str:
        if verb == "put":
            await artifacts.put(ArtifactDraft("secret", session=owner), b"mine")
        else:
            await getattr(artifacts, verb)(owner, 1)
        return "done"

    refused: list[BaseException] = []

    async def watch(context: HookContext[Any]) -> None:
        if context.operation.session_id:
            try:
                await touch(None, None)
            except SecurityError as error:
                refused.append(error)

    calls = {
        "read": "Artifact.get(owner, {session_id = owner, sequence = 1})",
        "get": "Artifact.metadata(owner, 1)",
        "delete": "Artifact.delete(owner, 1)",
        "put": "Artifact.store(owner, 'user_input', 'secret', 'mine')",
    }
    async with hosted(tmp_path, make_tool("touch", touch), backend="memory") as (host, artifacts):
        owner, other, info = await shared(host, artifacts)
        sessions = await host.enter(Sessions)
        if way == "hook":
            host.hooks.register("before_script_run", watch, kind="observe")
            await sessions.within(other, host.run_source, "return 1", "lua")
        else:
            ways: dict[str, tuple[Any, ...]] = {
                "code": (touch, None, None),
                "tool": (host.call, "tool:touch"),
                "script": (host.run_source, f"local owner = '{owner}' return {calls[verb]}", "lua"),
            }
            with pytest.raises(Exception, match=f"session:{other} may not") as error:
                await sessions.within(other, *ways[way])
            refused.append(error.value)

        assert len(refused) == 1
        assert await artifacts.query(ArtifactQuery(session=owner)) == [info]
        [record] = [each for each in await artifacts.audit(owner) if not each.allowed]
        assert record.principals == (f"session:{other}",)


@pytest.mark.parametrize(
    ("right", "may"),
    [("read", {"read"}), ("write", {"read", "modify"}), ("admin", {"read", "modify", "grant", "delete"})],
)
@pytest.mark.parametrize("principal", ["session:{other}", "user:ann", "agent:writer", "*"])
async def test_a_right_holds_for_what_it_says(right: Any, may: set[str], principal: str, tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (host, artifacts):
        from llmspell_hookspecs.operation import Operations

        owner, other, _ = await shared(host, artifacts)
        await artifacts.grant(owner, 1, principal.format(other=other), right)
        uses: dict[str, Callable[[], Any]] = {
            "read": lambda: artifacts.read(owner, 1),
            "modify": lambda: artifacts.modify(owner, 1, tags=("t",)),
            "grant": lambda: artifacts.grant(owner, 1, "user:bob", "read"),
            "delete": lambda: artifacts.delete(owner, 1),
        }
        host.get(Operations).carry("user", "ann")
        host.get(Operations).carry("agent", "writer")
        did = set()
        for name, use in uses.items():
            try:
                await (await host.enter(Sessions)).within(other, use)
                did.add(name)
            except SecurityError:
                pass

        assert did == may


async def test_a_right_ends_and_is_taken_back(tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (host, artifacts):
        owner, other, _ = await shared(host, artifacts)
        sessions, clock = await host.enter(Sessions), cast(Any, host.get(Clock))
        now_s = clock.now_s()
        await artifacts.grant(owner, 1, f"session:{other}", "read", expires_s=now_s + 5)
        await sessions.within(other, artifacts.read, owner, 1)
        clock.now_s = lambda: now_s + 6
        with pytest.raises(SecurityError):
            await sessions.within(other, artifacts.read, owner, 1)
        await artifacts.grant(owner, 1, f"session:{other}", "read")
        assert [each.expires_s for each in await artifacts.grants(owner, 1)] == [None]
        await sessions.within(other, artifacts.read, owner, 1)

        assert await artifacts.revoke(owner, 1, f"session:{other}") is True
        assert await artifacts.revoke(owner, 1, f"session:{other}") is False
        with pytest.raises(SecurityError):
            await sessions.within(other, artifacts.read, owner, 1)
        for wrong in (("nobody", "read"), ("*", "all"), ("user:", "read")):
            with pytest.raises(InvalidInputError):
                await artifacts.grant(owner, 1, *cast(Any, wrong))


async def test_a_query_shows_what_may_be_read(tmp_path: Path) -> None:
    async with hosted(tmp_path, backend="memory") as (host, artifacts):
        owner, other, info = await shared(host, artifacts)
        await artifacts.put(ArtifactDraft("hidden", session=owner), b"1")
        mine = await artifacts.put(ArtifactDraft("mine", session=other), b"1")
        await artifacts.grant(owner, 1, f"session:{other}", "read")

        found = await (await host.enter(Sessions)).within(other, artifacts.query)

        assert {each.name for each in found} == {info.name, mine.name}


async def test_the_record_of_accesses_outlives_the_host_and_tells_who_changed_it(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (host, artifacts):
        owner, _, _ = await shared(host, artifacts)
        await artifacts.read(owner, 1)

    async with hosted(tmp_path) as (host, artifacts):
        await artifacts.delete(owner, 1)
        records = await artifacts.audit(owner)
        assert [(each.action, each.principals) for each in records] == [
            ("create", ("host",)),
            ("read", ("host",)),
            ("delete", ("host",)),
        ]
        assert (await artifacts.verify()).audit == ""
        storage = await host.get(Storages).open()
        place = "artifact-audit/0000000000000002"
        entry = await storage.get(place)
        assert entry is not None
        await storage.write({place: entry.value.replace(b"read", b"list")})

        assert "entry 2" in (await artifacts.verify()).audit


async def test_a_session_that_is_deleted_takes_its_artifacts_along(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (host, artifacts):
        owner, other, _ = await shared(host, artifacts)
        await artifacts.put(ArtifactDraft("mine", session=other), NOISE)

        await (await host.enter(Sessions)).delete(owner)
        await artifacts.sweep(0)

        assert [info.name for info in await artifacts.query()] == ["mine"]
        storage = await host.get(Storages).open()
        assert [key async for key, _ in storage.scan("") if owner in key and "audit" not in key] == []


async def test_a_file_is_stored_if_it_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(NOISE)
    async with hosted(tmp_path, backend="memory") as (_, artifacts):
        await artifacts.put_file(ArtifactDraft("data"), str(tmp_path / "data.bin"))

        assert await artifacts.read("host", 1) == NOISE
        with pytest.raises(SecurityError):
            await artifacts.put_file(ArtifactDraft("data"), "/etc/hostname")
        with pytest.raises(InvalidInputError, match="cannot be read"):
            await artifacts.put_file(ArtifactDraft("data"), str(tmp_path / "none"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    async with hosted(tmp_path) as (_, artifacts):
        (tmp_path / ".llmspell").chmod(0o500)
        try:
            with pytest.raises(StorageError, match="it cannot be kept"):
                await artifacts.put(ArtifactDraft("a"), NOISE)
        finally:
            (tmp_path / ".llmspell").chmod(0o700)
