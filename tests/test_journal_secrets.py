"""What no journal holds, wherever a secret comes from and turns up: every file of the project is searched."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import HookContext, LlmspellError, Modified, State, Tool, ToolContext, ToolError, ToolResult
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.state import StateWrite
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.vault import Vault
from llmspell_plugins.services.journal.chunk import read_chunk
from llmspell_plugins.services.vault.master import FILE, new_key, write_key
from llmspell_testing.isolation import isolate

KIND = OperationKind("visit", composes=True)
CONTENTS = ("full", "redacted", "shape")
SOURCES = ("settings", "environment", "vault", "argument", "state", "state hook")
PLACES = ("text", "key", "json", "url", "bytes", "error", "deep")
LETTERS = st.text(st.sampled_from('abkXY019-_/"\\+é§ '), min_size=4, max_size=12)


class LoginParameters(BaseModel):
    """What the tool takes."""

    word: SecretStr = SecretStr("")
    how: str = "text"
    plain: str = ""


class Login(Tool[LoginParameters]):
    """Tell what it was given, each time in another place."""

    name = "login"

    async def run(self, parameters: LoginParameters, context: ToolContext) -> Any:
        """Return it."""
        told = parameters.word.get_secret_value() or parameters.plain
        if parameters.how == "error":
            raise ToolError(f"{told} is wrong")
        return ToolResult(placed(told, parameters.how))


def placed(secret: str, place: str) -> Any:
    """Return a value with a secret in it."""
    return {
        "text": f"before {secret} behind",
        "key": {secret: 1},
        "json": json.dumps({"inner": f"({secret})"}),
        "url": f"see example.org/{quote(secret, safe='')}",
        "bytes": base64.b64encode(b"no").decode() + secret,
        "error": secret,
        "deep": [{"a": [{"b": f"x{secret}" + "y" * 2000}]}],
    }[place]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the person's own folders and variables out, and make a master key."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        write_key(folder / "master.key", new_key())
        patch.setenv(FILE, str(folder / "master.key"))
        yield folder


@pytest.mark.parametrize("content", CONTENTS)
@settings(max_examples=40, deadline=None)
@given(source=st.sampled_from(SOURCES), place=st.sampled_from(PLACES), letters=LETTERS)
def test_no_file_holds_a_secret(alone: Path, content: str, source: str, place: str, letters: str) -> None:
    secret = f"q7{letters}z"
    with tempfile.TemporaryDirectory(dir=alone) as name, pytest.MonkeyPatch.context() as patch:
        if source == "environment":
            patch.setenv("ACME_API_KEY", secret)
        found = _trio_run(_record, Path(name), content, source, place, secret)
        written = b"".join(path.read_bytes() for path in Path(name).rglob("*") if path.is_file())

    assert found, "nothing is on record"
    for spelled in spellings(secret):
        assert spelled.encode() not in written
        assert all(spelled.encode() not in entry for entry in found), (source, place)


def spellings(secret: str) -> set[str]:
    """Return how a secret may be written."""
    plain = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="")}
    return {secret, *plain}


def _trio_run(function: Any, *arguments: Any) -> Any:
    import trio

    return trio.run(function, *arguments)


async def _record(folder: Path, content: str, source: str, place: str, secret: str) -> list[bytes]:
    """Run what handles a secret, and return all that the journal says."""
    tables: dict[str, Any] = {
        "journal": {"record": "all", "content": content, "storage": "sqlite"},
        "storage": {"backend": "encrypted", "encrypted": {"inner": "memory"}},
        "plugins": {"state": {"sensitive": ["user:*"]}, "vault": {"file": str(folder / "keys.enc")}},
    }
    if source == "settings":
        tables["plugins"]["acme"] = {"api_key": secret}
    async with Host.open(load_settings(tables, environment={}, cwd=folder), plugins=[Login], discover=False) as host:
        if source == "vault":
            await (await host.enter(Vault)).set("ACME", SecretStr(secret))
        await host.get(Operations).execute(
            Operation(KIND, ComponentRef("visit", "it"), None, lambda _: _visit(host, source, place, secret))
        )
        await host.get(Journal).flush()
        storage = await host.get(Storages).open("sqlite")
        return [unpressed(key, entry.value) async for key, entry in storage.scan("journal/")]


async def _visit(host: Host, source: str, place: str, secret: str) -> Any:
    if source == "argument":
        with suppress(LlmspellError):
            await host.call("tool:login", {"word": secret, "how": place})
    elif source == "state hook":
        host.hooks.register("before_state_write", _put_in(placed(secret, place)), name="put")
        await host.get(State).set("k", "nothing", scope="user:anna")
    elif source == "state":
        await host.get(State).set("k", placed(secret, place), scope="user:anna")
        return await host.get(State).get("k", scope="user:anna")
    else:
        with suppress(LlmspellError):
            await host.call("tool:login", {"plain": secret, "how": place})
    if source.startswith("state"):
        return "told"
    return placed(secret, place)


def _put_in(value: Any) -> Any:
    def put(context: HookContext[StateWrite]) -> Modified:
        return Modified(msgspec.structs.replace(context.subject, value=value))

    return put


def unpressed(key: str, data: bytes) -> bytes:
    """Return what an entry says."""
    return b"".join(map(msgspec.msgpack.encode, read_chunk(data, data[:32])[0])) if "/chunks/" in key else data
