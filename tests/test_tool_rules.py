"""The rules on paths, hosts and sizes, over every tool that an entry point of ours names.

What a tool touches it tells by `Tool.access` for each of its examples and of its calls in `tool_calls`; each such
parameter is then given what the rules refuse. A tool that touches what it does not tell is found by `tests.malformed`.
Levels are asked of every tool by `ToolConformance`. A tool that has no call, or of which nothing is tried that it may
touch, fails here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import trio

from listening import Listener
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError, LlmspellError, Tool, ToolError
from llmspell_hookspecs.errors import OperationTimeoutError, ResourceLimitError, SecurityError
from llmspell_hookspecs.tool import AddressAccess, HostAccess, PathAccess
from loopback import serve
from tool_calls import CALLS, EXTRAS, OURS, Person, filled, lay_out, site, tools_settings

APART = {
    "ask-user": "it asks a person",
    "calculator": "it computes",
    "data_validation": "it computes",
    "database-connector": "where it goes stands in settings, judged as their own: test_database_connector",
    "date_time_handler": "it computes",
    "email-sender": "where it goes stands in settings, judged as their own: test_email_sender",
    "environment_reader": "it reads variables, by the setting security.environment: test_tools_of_the_system",
    "graph-builder": "it computes",
    "json_processor": "it computes",
    "markdown-converter": "it computes",
    "regex-matcher": "it computes",
    "script-runner": "what its script may reach is judged there: test_script_runner",
    "system_monitor": "it counts what the system does",
    "template_engine": "it computes",
    "text_manipulator": "it computes",
    "tool-state": "it reads and writes the state",
    "uuid_generator": "it computes",
    "web_search": "where it goes stands in settings, judged as their own: test_web_search",
    "xml-processor": "it computes",
    "yaml-processor": "it computes",
}
"""The tools that take no path and no host, and why not."""
FIELD = re.compile(r'(?:Path|Host|Address)Access\((?:field=)?"(\w+)"')
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
Touched = tuple[str, Mapping[str, Any]]
Run = Callable[..., Coroutine[Any, Any, Any]]


def tool_of(name: str) -> Tool[Any]:
    [point] = [each for each in entry_points(group="llmspell.tools") if each.name == name]
    kind = point.load()
    made: Tool[Any] = getattr(kind, "llmspell_tool", kind)()
    return made


def touched(tool: Tool[Any], *kinds: type) -> Iterator[Touched]:
    """The parameters that name a path or a host, each with an example that gives it."""
    seen = set()
    for parameters in (*CALLS[tool.name], *(example.parameters for example in tool.examples)):
        model = tool.parameters.model_validate(filled(dict(parameters), "http://127.0.0.1:9"))
        for access in tool.access(model):
            given = _spelling(filled(parameters, "http://127.0.0.1:9"), getattr(model, access.field))
            if isinstance(access, kinds) and given and (access, given) not in seen:
                seen.add((access, given))
                yield given, filled(dict(parameters), "http://127.0.0.1:9")


def _spelling(parameters: Mapping[str, Any], value: Any) -> str:
    """By which name the example gives a value: a model may keep it under another."""
    return next((name for name, given in parameters.items() if given == value), "")


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A folder that may be touched, beside a secret, with links to it and hidden files."""
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    (folder / ".hidden").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (folder / ".hidden" / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    (folder / "linked").symlink_to(outside)
    return folder


def seen(folder: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def opened(
    folder: Path, output_bytes: int = 10_000_000, url: str = "", **hosts: Any
) -> AbstractAsyncContextManager[Host]:
    """A host whose project is the folder, which it may touch and nothing else; with a URL, what the calls need."""
    paths = {"read": [str(folder)], "write": [str(folder)]}
    hosts = hosts or {"allowed": ["127.0.0.1" if url else "nowhere.invalid"], "private": ["127.0.0.1"] if url else []}
    tools = tools_settings(folder, url) if url else {}
    settings = {
        "security": {"paths": paths, "hosts": hosts},
        "storage": {"backend": "memory"},
        "tools": {**tools, "output_bytes": output_bytes},
    }
    plugins = [Person] if url else []
    return Host.open(load_settings(settings, environment={}, cwd=folder), plugins=plugins, discover=False)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the server is that the calls ask."""
    with site() as server:
        yield server.url


@asynccontextmanager
async def ready(name: str, folder: Path, url: str, output_bytes: int = 10_000_000) -> AsyncIterator[Sequence[Run]]:
    """For each call of a tool what runs it, each in a folder and a host of its own, which are open for the block."""
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    async with AsyncExitStack() as stack:
        runs = []
        for number, call in enumerate(CALLS[name]):
            own = folder / f"{name}{number}"
            own.mkdir()
            lay_out(own)
            host = await stack.enter_async_context(opened(own, output_bytes, url))
            runs.append(partial(host.call, f"tool:{name}", filled(call, url)))
        yield runs


def test_every_tool_that_is_installed_has_a_call_here() -> None:
    assert set(CALLS) == set(OURS), "write a call of the tool in tests/tool_calls.py"


@pytest.mark.parametrize("name", OURS)
def test_every_path_and_host_that_a_tool_may_touch_is_tried(name: str) -> None:
    tool = tool_of(name)
    told = set(FIELD.findall(inspect.getsource(inspect.getmodule(type(tool)) or type(tool))))
    tried = [given for given, _ in touched(tool, PathAccess, HostAccess, AddressAccess)]
    known = set(tried) | {_field(tool, spelling) for spelling in tried}

    assert told <= known, "write a call in tests/tool_calls.py that gives the parameter"
    assert bool(tried) != (name in APART), "say in APART why it takes no path and no host"


def _field(tool: Tool[Any], spelling: str) -> str:
    """The field of the model that is given under a name."""
    for name, field in tool.parameters.model_fields.items():
        aliases = getattr(field.validation_alias, "choices", ())
        if spelling in (name, *aliases):
            return name
    return spelling


@pytest.mark.parametrize("name", OURS)
async def test_its_calls_succeed(tmp_path: Path, name: str, url: str) -> None:
    async with ready(name, tmp_path, url) as runs:
        for run in runs:
            result = await run()
            assert result.success, result.message


@pytest.mark.parametrize("name", OURS)
async def test_it_ends_when_it_is_cut_off_and_works_again(tmp_path: Path, name: str, url: str) -> None:
    async with ready(name, tmp_path, url) as runs:
        for run in runs:
            with suppress(OperationTimeoutError):
                await run(deadline_s=1e-6)
            for turns in (0, 1, 3, 20):
                await _cut_off(run, turns)
            with suppress(ToolError):  # what was half done may be there, and say so
                assert (await run()).success


async def _cut_off(run: Run, turns: int) -> None:
    """Cancel a call when the loop has turned so often."""

    async def tried() -> None:
        with suppress(ToolError):
            await run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tried)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


def suffixed(path: str, like: Any) -> str:
    """The path with the suffix of what stood there, so that nothing else is wrong with it."""
    return (
        path if path.endswith(("passwd", "environ")) else str(Path(path).with_suffix(Path(str(like)).suffix or ".txt"))
    )


@pytest.mark.parametrize("name", OURS)
async def test_no_parameter_leads_out_of_the_folders(places: Path, name: str) -> None:
    hostile = [
        "../outside/secret.txt",
        "linked/../../outside/secret.txt",
        str(places.parent / "outside" / "secret.txt"),
        "link.txt",
        "linked/secret.txt",
        "linked/new.txt",
        ".hidden/secret.txt",
        ".new",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/stdin",
    ]
    tool, before = tool_of(name), seen(places.parent)
    async with opened(places) as host:
        for field, parameters in touched(tool, PathAccess):
            for path in hostile:
                for given in {path, suffixed(path, parameters[field])} if "link.txt" not in path else {path}:
                    with pytest.raises((SecurityError, InvalidInputError, ToolError)) as caught:
                        await host.call(f"tool:{name}", {**parameters, field: given})
                    assert "secret" not in str(caught.value).replace("secret.", ""), caught.value
                    if given == path or path == "../outside/secret.txt":
                        assert isinstance(caught.value, SecurityError), (field, given, caught.value)

    assert seen(places.parent) == before


@pytest.mark.parametrize("name", OURS)
async def test_a_parameter_that_stays_within_is_let_through(places: Path, name: str) -> None:
    tool = tool_of(name)
    async with opened(places) as host:
        for field, parameters in touched(tool, PathAccess):
            others = {key: "also.txt" for key, _ in touched(tool, PathAccess) if key in parameters}
            try:
                await host.call(f"tool:{name}", {**parameters, **others, field: suffixed("inside", parameters[field])})
            except LlmspellError as error:
                assert not isinstance(error, SecurityError), error


@pytest.mark.parametrize("name", OURS)
async def test_no_parameter_reaches_a_host_that_is_not_allowed(tmp_path: Path, name: str) -> None:
    tool = tool_of(name)
    with Listener() as forbidden:
        port = forbidden.port
        hosts = ["127.0.0.2", "0x7f000002", "2130706434", "0177.0.0.2", "[::ffff:127.0.0.2]", "u:p@127.0.0.2", "127.2"]
        async with opened(tmp_path, private=["127.0.0.1"]) as host:
            for field, parameters in touched(tool, HostAccess):
                given = [f"http://{each}:{port}/" for each in hosts]
                given += [
                    "http://169.254.169.254/latest/meta-data/",
                    "file:///etc/passwd",
                    f"gopher://127.0.0.2:{port}/",
                ]
                await _refused(host, name, field, parameters, given)
            for field, parameters in touched(tool, AddressAccess):
                given = [f"{each}:{port}" for each in hosts if "@" not in each]
                await _refused(host, name, field, parameters, given)

    assert forbidden.count == 0


async def _refused(host: Any, name: str, field: str, parameters: Mapping[str, Any], given: Sequence[str]) -> None:
    for url in given:
        with pytest.raises((SecurityError, InvalidInputError)):
            await host.call(f"tool:{name}", {**parameters, field: url})


@pytest.mark.parametrize("name", OURS)
async def test_no_redirect_leads_to_a_host_that_is_not_allowed(tmp_path: Path, name: str) -> None:
    tool = tool_of(name)
    with Listener() as forbidden:
        answer = f"HTTP/1.1 302 Found\r\nLocation: http://{forbidden.place}/\r\nContent-Length: 0\r\n\r\n".encode()
        with Listener("127.0.0.1", answer) as allowed:
            async with opened(tmp_path, private=["127.0.0.1"]) as host:
                tried = list(touched(tool, HostAccess))
                for field, parameters in tried:
                    try:
                        call = {**parameters, field: f"http://{allowed.place}/"}
                        await host.call(f"tool:{name}", call, deadline_s=5)
                    except LlmspellError as error:
                        assert error.code != "internal", error

    assert forbidden.count == 0
    assert bool(allowed.count) == bool(tried)


@pytest.mark.parametrize("name", [name for name in OURS if any("URL" in str(call) for call in CALLS[name])])
async def test_nothing_that_is_found_leads_to_a_host_that_is_not_allowed(tmp_path: Path, name: str) -> None:
    def answer(handler: Any, count: int) -> None:
        link = f"http://{forbidden.place}/"
        html = (
            f"<meta http-equiv=refresh content='0;url={link}'><base href='{link}'><a href='{link}'><img src='{link}'>"
        )
        index = f"<sitemapindex xmlns='{SITEMAP}'><sitemap><loc>{link}</loc></sitemap></sitemapindex>"
        kind, text = ("application/xml", index) if handler.path.endswith(".xml") else ("text/html", html)
        if handler.path == "/robots.txt":
            kind, text = "text/plain", f"Sitemap: {link}"
        handler.reply(text.encode(), kind=kind, location=link, refresh=f"0;url={link}", link=f"<{link}>; rel=next")

    lay_out(tmp_path)
    with Listener() as forbidden, serve(answer) as server:
        async with opened(tmp_path, private=["127.0.0.1"]) as host:
            for call in (*CALLS[name], {**CALLS[name][0], "input": "URL/"}):
                with suppress(ToolError, InvalidInputError, SecurityError):
                    await host.call(f"tool:{name}", filled(call, server.url), deadline_s=20)

    assert server.seen
    assert forbidden.count == 0


@pytest.mark.parametrize("name", OURS)
async def test_a_result_above_the_limit_is_refused(tmp_path: Path, name: str, url: str) -> None:
    async with ready(name, tmp_path, url, output_bytes=1) as runs:
        for run in runs:
            with pytest.raises((ResourceLimitError, ToolError), match=r"output|larger|bytes"):
                await run()


@pytest.mark.parametrize("name", OURS)
async def test_a_very_long_text_ends_in_an_answer_or_one_error(tmp_path: Path, name: str, url: str) -> None:
    long = "(a,{[" * 600_000
    lay_out(tmp_path)
    async with opened(tmp_path, url=url) as host:
        for call in CALLS[name][:2]:
            for field in [key for key, value in call.items() if isinstance(value, str)]:
                try:
                    await host.call(f"tool:{name}", {**filled(call, url), field: long}, deadline_s=20)
                except LlmspellError as error:
                    assert error.code != "internal", error
                    assert 0 < len(str(error)) <= 500
