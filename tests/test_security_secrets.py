"""Where a secret must not turn up: settings that are shown, errors with their traces, what a script's hook is told."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
import trio
from pydantic import BaseModel, SecretBytes, SecretStr

from kernel import opened
from llmspell import Host
from llmspell.settings import load_settings, plain
from llmspell_hookspecs import Cache, HookContext, LlmspellError, Modified, Tool, ToolCall, ToolContext, ToolError
from waiting import PATIENCE_S

SECRET = "hunter2SECRET"


async def with_host(source: str, project: Path, **options: Any) -> Any:
    loaded = load_settings({"security": {"hosts": {"allow_private": True}}}, cwd=project, environment={})
    with trio.fail_after(PATIENCE_S):
        async with Host.open(loaded, discover=False, **options) as host:
            return await host.run_source(source)


@pytest.mark.parametrize(
    "key", ["token", "api_key", "password", "passphrase", "authorization", "auth", "cookie", "client_secret", "dsn"]
)
def test_a_plugins_secret_is_masked_wherever_settings_are_shown(key: str, tmp_path: Path) -> None:
    table = {key: SECRET, "nested": {key: [SECRET]}, "url": f"postgres://user:{SECRET}@host/db", "author": "me"}

    loaded = load_settings({"plugins": {"audit": table}}, cwd=tmp_path, environment={})

    assert SECRET not in str(plain(loaded))
    assert SECRET not in repr(loaded)
    assert plain(loaded, "plugins.audit.author") == "me"
    assert loaded.settings.table("plugins", "audit") == table


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "bearer", "tokn": SECRET},
        {"type": "bearer", "token": SECRET, "more": 1},
        {"type": "unknown", "key": SECRET},
        SECRET,
    ],
)
async def test_parameters_that_are_refused_are_in_no_trace(auth: Any, tmp_path: Path) -> None:
    async with Host.open(load_settings({}, cwd=tmp_path, environment={}), discover=False) as host:
        with pytest.raises(LlmspellError) as refused:
            await host.call("tool:http_request", {"input": "http://example.org/", "auth": auth})
        result = "".join(traceback.format_exception(refused.value))

    assert SECRET not in result


async def test_the_trace_masks_what_a_transform_put_in(tmp_path: Path) -> None:
    def sign(context: HookContext[ToolCall]) -> Modified:
        parameters = {**context.subject.parameters, "auth": {"type": "bearer", "token": SECRET}}
        return Modified({"parameters": parameters})

    loaded = load_settings({"security": {"hosts": {"allow_private": True}}}, cwd=tmp_path, environment={})
    async with Host.open(loaded, discover=False, trace=True) as host:
        host.hooks.register("BeforeToolExecution", sign, name="sign")
        host.hooks.register("BeforeToolExecution", lambda _: Cache("key", 5), name="cache", priority="low")
        with pytest.raises(LlmspellError) as refused:
            await host.call("tool:http_request", {"input": "http://127.0.0.1:1/"})
        told = repr(host.trace) + "".join(traceback.format_exception(refused.value))

    assert "masked" in told
    assert SECRET not in told


async def test_a_scripts_guard_judges_a_call_with_a_secret_and_is_not_told_it(tmp_path: Path) -> None:
    source = f"""
        local got = {{}}
        Hook.register('BeforeToolExecution', function(c) got[#got + 1] = JSON.stringify(c) end, {{kind = 'guard'}})
        Hook.register('ToolError', function(c) got[#got + 1] = JSON.stringify(c) end, {{kind = 'observe'}})
        local auth = {{type = 'bearer', token = '{SECRET}'}}
        pcall(Tool.invoke, 'http_request', {{input = 'http://127.0.0.1:1/', auth = auth}})
        return got
    """

    told = await with_host(source, tmp_path)

    assert len(told) == 2
    assert "***" in told[0]
    assert SECRET not in str(told)


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("before", ["", "." * 270], ids=["short", "cut"])
async def test_a_declared_secret_is_masked_in_what_a_tool_raises(before: str, hooked: bool) -> None:
    class Sealed(BaseModel):
        """With a secret of its own type."""

        token: SecretStr = SecretStr("")
        seal: SecretBytes = SecretBytes(b"")

    class Torn(Tool[Sealed]):
        """Fail, and say with what."""

        name = "torn"

        async def run(self, parameters: Sealed, context: ToolContext) -> Any:
            raise ValueError(before + parameters.token.get_secret_value() + parameters.seal.get_secret_value().decode())

    async with opened(Torn) as host:
        if hooked:
            host.hooks.register("before_tool_execution", lambda context: None)
        with pytest.raises(ToolError, match=r"\*\*") as caught:
            await host.call("tool:torn", {"token": "hunter-two-three-four", "seal": b"swordfish"})

    assert "hunter" not in str(caught.value)
    assert "sword" not in str(caught.value)


async def test_a_secret_of_bytes_is_masked_from_the_first_hook_on_and_reaches_the_tool() -> None:
    class Sealed(BaseModel):
        """With a secret of its own type, and one by its name."""

        seal: SecretBytes = SecretBytes(b"")
        password: bytes | list[bytes] = b""

    class Open(Tool[Sealed]):
        """Return what it was given."""

        name = "open"

        async def run(self, parameters: Sealed, context: ToolContext) -> Any:
            return [parameters.seal.get_secret_value(), parameters.password]

    seen: list[str] = []
    async with opened(Open) as host:
        for point in ("before_tool_execution", "tool_parameter_validation"):
            for kind in ("transform", "guard")[: 1 + (point == "before_tool_execution")]:
                host.hooks.register(point, lambda context: seen.append(repr(context.subject)), kind=kind)
        given = {"seal": b"swordfish", "password": [b"swordfish"]}
        assert (await host.call("tool:open", given)).result == [b"swordfish", [b"swordfish"]]

    assert len(seen) == 3
    assert "swordfish" not in "".join(seen)
