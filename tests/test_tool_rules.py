"""The rules on paths, hosts and sizes, over every tool that an entry point of ours names.

What a tool touches it tells by `Tool.access` for each of its examples; each such parameter is then given what the rules
refuse. A tool that touches what it does not tell is found by `tests.malformed`. Levels, deadlines and cancellation are
asked of every tool by `ToolConformance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from listening import Listener
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError, LlmspellError, Tool, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.tool import AddressAccess, HostAccess, PathAccess

OURS = sorted(
    point.name
    for point in entry_points(group="llmspell.tools")
    if point.dist is not None and point.dist.name == "llmspell"
)
Touched = tuple[str, Mapping[str, Any]]


def tool_of(name: str) -> Tool[Any]:
    [point] = [each for each in entry_points(group="llmspell.tools") if each.name == name]
    kind = point.load()
    made: Tool[Any] = getattr(kind, "llmspell_tool", kind)()
    return made


def touched(tool: Tool[Any], *kinds: type) -> Iterator[Touched]:
    """The parameters that name a path or a host, each with an example that gives it."""
    seen = set()
    for example in tool.examples:
        model = tool.parameters.model_validate(dict(example.parameters))
        for access in tool.access(model):
            given = _spelling(example.parameters, getattr(model, access.field))
            if isinstance(access, kinds) and given and (access, given) not in seen:
                seen.add((access, given))
                yield given, example.parameters


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


def opened(folder: Path, output_bytes: int = 10_000_000, **hosts: Any) -> AbstractAsyncContextManager[Host]:
    """A host whose project is the folder, which it may touch and nothing else."""
    paths = {"read": [str(folder)], "write": [str(folder)]}
    settings = {
        "security": {"paths": paths, "hosts": hosts or {"allowed": ["nowhere.invalid"]}},
        "storage": {"backend": "memory"},
        "tools": {"output_bytes": output_bytes},
    }
    return Host.open(load_settings(settings, environment={}, cwd=folder), discover=False)


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


@pytest.mark.parametrize("name", OURS)
async def test_a_result_above_the_limit_is_refused(tmp_path: Path, name: str) -> None:
    tool = tool_of(name)
    runs = [dict(example.parameters) for example in tool.examples if not example.needs]
    async with opened(tmp_path, output_bytes=1) as host:
        for parameters in runs:
            with pytest.raises(ResourceLimitError, match=r"output|larger|bytes"):
                await host.call(f"tool:{name}", parameters)


@pytest.mark.parametrize("name", OURS)
async def test_a_very_long_text_ends_in_an_answer_or_one_error(tmp_path: Path, name: str) -> None:
    tool = tool_of(name)
    long = "(a,{[" * 600_000
    async with opened(tmp_path) as host:
        for example in tool.examples[:2]:
            for field in [key for key, value in example.parameters.items() if isinstance(value, str)]:
                try:
                    await host.call(f"tool:{name}", {**example.parameters, field: long}, deadline_s=20)
                except LlmspellError as error:
                    assert error.code != "internal", error
                    assert 0 < len(str(error)) <= 500
