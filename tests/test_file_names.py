"""Names of files are bytes: whatever they hold, the name that is shown is taken back, and judged as what it is."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import opened
from llmspell import Host
from llmspell.cli.main import main
from llmspell_hookspecs import Cancel, HookContext, LlmspellError, ModelRequest, ModelResponse, ToolCall, hookimpl
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.path_rules import PathJudge, PathRules
from llmspell_hookspecs.spelling import spell_out, spelled_path, true_path
from scripted_model import ScriptedModel, asks, says

PIECES = [b"\\", b"x", b"X", b"e9", b"5c", b"41", b"2f", b"00", b"\xe9", b"\xc3", b"\xa9", "é".encode(), b"\n", b"\x1b"]
PIECES += [sign.encode() for sign in ("\u200d", "\u202e", "\u3164", "ن", "%E9", " ", "'", "\u0301")]
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(lambda pieces: b"n" + b"".join(pieces))
BYTES = st.binary(min_size=1, max_size=60).filter(lambda name: not {0, 47} & set(name))


@settings(max_examples=1000)
@given(NAMES | BYTES)
def test_a_name_that_is_spelled_comes_back_byte_for_byte_and_can_be_seen(name: bytes) -> None:
    spelled = spelled_path(os.fsdecode(name))

    assert os.fsencode(true_path(spelled)) == name
    assert spelled_path(true_path(spelled)) == spelled
    assert spell_out(spelled) == spelled
    assert "\n" not in spelled
    assert spelled.encode()


def test_a_usual_name_is_spelled_as_it_is() -> None:
    for path in ("/a/café %E9.txt", "C:\\xylophone", "a\\b", "क्‍ष.txt"):
        assert spelled_path(path) == true_path(path) == path


def fill(folder: Path, names: Sequence[bytes]) -> None:
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"of " + name)


def left(folder: Path) -> set[bytes]:
    return set(os.listdir(os.fsencode(folder)))


def layers(folder: Path, **more: Any) -> dict[str, Any]:
    paths = {"read": [str(folder)], "write": [str(folder)], **more}
    return {"security": {"paths": paths}, "plugins": {}, "storage": {"backend": "memory"}}


async def listed(host: Host, folder: Path) -> list[dict[str, Any]]:
    answer = await host.call("tool:file_operations", {"operation": "list_dir", "path": str(folder)})
    entries = answer.result["entries"]
    assert ("note" in answer.result) == any("\\x" in entry["name"] for entry in entries)
    return [dict(entry) for entry in entries]


@settings(max_examples=12)
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_whatever_is_listed_is_read_moved_and_deleted_by_the_name_that_is_shown(names: list[bytes]) -> None:
    async def use() -> None:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(os.path.realpath(made))
            fill(folder, names)
            async with opened(settings=layers(folder)) as host:
                entries = await listed(host, folder)
                assert {os.fsencode(true_path(entry["name"])) for entry in entries} == set(names)
                for entry in entries:
                    name, path = os.fsencode(true_path(entry["name"])), entry["path"]
                    assert path == f"{folder}/{entry['name']}"
                    call = {"operation": "read", "encoding": "base64", "path": path}
                    read = (await host.call("tool:file_operations", call)).result
                    assert (read["path"], read["size"]) == (path, len(b"of " + name))
                    moved = {"operation": "move", "source_path": path, "target_path": path + "-moved"}
                    await host.call("tool:file_operations", moved)
                    assert name + b"-moved" in left(folder)
                    gone = {"operation": "delete", "path": path + "-moved"}
                    assert (await host.call("tool:file_operations", gone)).result["path"] == path + "-moved"
            assert left(folder) == set()

    trio.run(use)


LUA = """
for _, entry in ipairs(Tool.invoke("file_operations", {operation = "list_dir", path = "$"}).result.entries) do
    local path = "$/" .. entry.name
    print(assert(io.open(path)):read("a"))
    assert(io.open(path, "a")):write("!"):close()
    assert(os.rename(path, path .. "-moved"))
    assert(Tool.invoke("file_operations", {operation = "exists", path = path .. "-moved"}).result.exists)
    assert(os.remove(path .. "-moved"))
end
local raw = "$/raw\\xe9"
assert(io.open(raw, "w")):close()
assert(Tool.invoke("file_operations", {operation = "exists", path = raw}).result.exists)
return os.remove("$/raw\\\\xe9")
"""


@settings(max_examples=8)
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_a_lua_script_uses_the_name_that_is_shown_or_the_bytes_themselves(names: list[bytes]) -> None:
    async def use() -> None:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(os.path.realpath(made))
            fill(folder, names)
            async with Host.open(layers(folder)) as host:
                assert await host.run_source(LUA.replace("$", str(folder))) is True
            assert left(folder) == set()

    trio.run(use)


@settings(max_examples=8)
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_an_agent_uses_the_name_that_it_was_told(names: list[bytes]) -> None:
    def delete_all(request: ModelRequest) -> ModelResponse:
        told = json.loads(request.messages[-1].content)
        return asks(*(("file_operations", {"operation": "delete", "path": entry["path"]}) for entry in told["entries"]))

    async def use() -> None:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(os.path.realpath(made))
            fill(folder, names)
            listing = asks(("file_operations", {"operation": "list_dir", "path": str(folder)}))
            model = ScriptedModel(listing, delete_all, says("done"))
            async with opened(model, settings=layers(folder)) as host:
                agent = await host.agents.create(name="tidy", model="scripted/play", tools=["file_operations"])
                await agent.run("delete all")
            assert left(folder) == set()

    trio.run(use)


def invoke(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> Any:
    paths = ["--set", f'security.paths.write=["{folder}"]', "--set", f'security.paths.read=["{folder}"]']
    with pytest.raises(SystemExit) as ended:
        main([*paths, "--output", "json", "tool", "invoke", "file_operations", *arguments])
    out, error = capsys.readouterr()
    assert (ended.value.code or 0, error) == (0, "")
    return json.loads(out)


def test_the_command_line_takes_the_name_that_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [b"caf\xe9.txt", b"caf\\xe9.txt", b"two\nlines", "caf\u00e9.txt".encode(), b"\x1b[31mred"]
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(folder, names)

    entries = invoke(capsys, folder, "operation=list_dir", f"path={folder}")["result"]["entries"]
    for entry in entries:
        invoke(capsys, folder, "operation=delete", f"path={folder}/{entry['name']}")

    assert len(entries) == len(names)
    assert left(folder) == set()


SPELLINGS = ["é.txt", "\\xc3\\xa9.txt", "\\xC3\\xA9.txt", "\udcc3\udca9.txt", "\\xc3\udca9.txt", "e\u0301.txt"]


@pytest.mark.parametrize("spelled", SPELLINGS, ids=ascii)
async def test_a_glob_that_refuses_a_file_refuses_it_in_every_spelling(spelled: str, tmp_path: Path) -> None:
    (tmp_path / "é.txt").write_text("kept")

    async with opened(settings=layers(tmp_path, denied=["é*"])) as host:
        with pytest.raises(SecurityError, match="a glob of"):
            await host.call("tool:file_operations", {"operation": "read", "path": f"{tmp_path}/{spelled}"})


@pytest.mark.parametrize("spelled", ["\\x2e\\x2e/out.txt", "\\x2ehidden", ".\\x2e/out.txt", "\\x2e./out.txt"])
async def test_what_is_spelled_is_judged_as_what_it_is(spelled: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (tmp_path / "out.txt", folder / ".hidden"):
        path.write_text("kept")

    async with opened(settings=layers(folder)) as host:
        with pytest.raises(SecurityError):
            await host.call("tool:file_operations", {"operation": "read", "path": f"{folder}/{spelled}"})


def test_halves_of_a_letter_are_judged_as_the_letter_that_they_open(tmp_path: Path) -> None:
    judge = PathJudge(PathRules(read=(".",), denied=("é*",)), str(tmp_path))

    with pytest.raises(SecurityError):
        judge.resolve("\udcc3\udca9", "read")
    with pytest.raises(SecurityError, match="cannot be the name of a file"):
        judge.resolve("\ud800", "read")


class Strict:
    """A guard that knows one file by its name, and asks for every call a second time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen: list[str] = []

    @hookimpl(kind="guard")
    def before_tool_execution(self, context: HookContext[ToolCall]) -> Cancel | None:
        self.seen.append(context.subject.parameters["path"])
        return Cancel("not this one") if self.seen[-1] == self.path else None


@pytest.mark.parametrize("spelled", ["caf\\xe9", "caf\\xE9", "c\\x61f\udce9", "x/../caf\\xe9"])
async def test_a_guard_sees_one_spelling_of_a_file_whatever_was_given(spelled: str, tmp_path: Path) -> None:
    fill(tmp_path, [b"caf\xe9"])
    guard = Strict(f"{tmp_path}/caf\\xe9")

    async with opened(guard, settings=layers(tmp_path)) as host:
        with pytest.raises(LlmspellError, match="not this one"):
            await host.call("tool:file_operations", {"operation": "read", "path": f"{tmp_path}/{spelled}"})

    assert set(guard.seen) == {guard.path}


async def test_a_name_that_looks_like_a_spelling_stays_itself_when_a_hook_hands_it_on(tmp_path: Path) -> None:
    @hookimpl
    def before_tool_execution(context: HookContext[ToolCall]) -> Any:
        return context.modify(parameters=dict(context.subject.parameters))

    fill(tmp_path, [b"a\\xe9", b"a\xe9"])

    async with opened(
        type("Copies", (), {"before_tool_execution": staticmethod(before_tool_execution)})(), settings=layers(tmp_path)
    ) as host:
        await host.call("tool:file_operations", {"operation": "delete", "path": f"{tmp_path}/a\\x5cxe9"})

    assert left(tmp_path) == {b"a\xe9"}
