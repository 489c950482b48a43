"""file_operations: each operation on real files, and what a hostile tree cannot do."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from pydantic import ValidationError

from kernel import opened
from llmspell_hookspecs import FileAccess, InvalidInputError, LlmspellError, Tool, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.path_rules import PathJudge, PathRules
from llmspell_plugins.kinds.tool.account import MemoryAccount
from llmspell_plugins.tools.filesystem import content as content_module
from llmspell_plugins.tools.filesystem.archive_handler import ArchiveHandler
from llmspell_plugins.tools.filesystem.file_converter import FileConverter
from llmspell_plugins.tools.filesystem.file_editor import FileEditor
from llmspell_plugins.tools.filesystem.file_operations import (
    FileOperations,
    FileOperationsParameters,
    FileOperationsSettings,
)
from llmspell_plugins.tools.media.image_processor import ImageProcessor
from llmspell_plugins.tools.utility.base64_encoder import Base64Encoder
from tool_host import ask, settings_of

_DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""An image of one grey dot."""


async def _call(
    base: Path,
    *,
    denied: tuple[str, ...] = (),
    settings: dict[str, Any] | None = None,
    memory_bytes: int = 1 << 28,
    between: Callable[[], None] = lambda: None,
    write: tuple[str, ...] = (".",),
    **parameters: Any,
) -> ToolResult:
    """Call the tool as the host does: validate, resolve, then run; ``between`` comes after the judgement."""
    judge = PathJudge(PathRules(read=(".",), write=write, denied=denied), str(base))
    tool = FileOperations(FileOperationsSettings(**(settings or {})))
    model = FileOperationsParameters(**parameters)
    resolved = {each.field: judge.resolve(getattr(model, each.field), each.mode) for each in tool.access(model)}  # type: ignore[union-attr]

    async def run_thread(function: Callable[..., Any], *arguments: Any) -> Any:
        return await trio.to_thread.run_sync(function, *arguments)

    services = SimpleNamespace(get={FileAccess: judge}.__getitem__)
    charge = MemoryAccount(memory_bytes, "tool:file_operations").charge
    context: Any = SimpleNamespace(services=services, charge=charge, run_thread=run_thread)

    between()
    return await tool.run(model.model_copy(update=resolved), context)


def tree(base: Path) -> dict[str, str]:
    return {str(path.relative_to(base)): "/" if path.is_dir() else path.read_text() for path in sorted(base.rglob("*"))}


# Reading and writing


async def test_a_file_is_written_and_read_back(tmp_path: Path) -> None:
    written = await _call(tmp_path, operation="write", path="a.txt", input="grüße\r\n\n")
    read = await _call(tmp_path, operation="read", path="a.txt")
    assert (tmp_path / "a.txt").read_bytes() == "grüße\r\n\n".encode()
    assert written.result == {"path": str(tmp_path / "a.txt"), "size": 10, "created": True}
    assert read.text == "grüße\r\n\n"
    assert read.result == {"path": str(tmp_path / "a.txt"), "input": read.text, "size": 10, "encoding": "utf-8"}
    assert read.metadata == {"file_path": str(tmp_path / "a.txt"), "file_size": 10}


async def test_bytes_that_are_no_text_come_as_base64_and_are_marked(tmp_path: Path) -> None:
    data = bytes(range(256))
    await _call(tmp_path, operation="write", path="a.bin", input=base64.b64encode(data).decode(), encoding="base64")
    read = await _call(tmp_path, operation="read", path="a.bin")
    assert (tmp_path / "a.bin").read_bytes() == data
    assert (read.result["encoding"], read.metadata["encoding"]) == ("base64", "base64")
    assert base64.b64decode(read.result["input"]) == data


async def test_an_empty_file_is_written_and_read(tmp_path: Path) -> None:
    await _call(tmp_path, operation="write", path="a.txt", input="")
    assert (await _call(tmp_path, operation="read", path="a.txt")).text == ""


@pytest.mark.parametrize(("text", "encoding"), [("not base64!", "base64"), ("\ud800", "utf-8")])
async def test_input_that_is_not_of_its_encoding_is_refused(tmp_path: Path, text: str, encoding: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await _call(tmp_path, operation="write", path="a.txt", input=text, encoding=encoding)
    assert caught.value.field == "input"
    assert tree(tmp_path) == {}


async def test_a_write_keeps_the_permissions(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("old")
    (tmp_path / "a.sh").chmod(0o750)
    await _call(tmp_path, operation="write", path="a.sh", input="new")
    assert stat.S_IMODE((tmp_path / "a.sh").stat().st_mode) == 0o750


async def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        await _call(tmp_path, operation="write", path="a.txt", input="new")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


async def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("old")

    def full(descriptor: int, content: bytes) -> int:
        os.write(descriptor, content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(content_module, "_write_all", full)
    with pytest.raises(ToolError, match="no space") as caught:
        await _call(tmp_path, operation="write", path="a.txt", input="new")
    assert caught.value.code == "no_space"
    assert caught.value.details == {"error_type": "execution_error", "errno": 28}
    assert tree(tmp_path) == {"a.txt": "old"}


async def test_a_cancelled_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("old")
    reached, cancelled = threading.Event(), threading.Event()
    write_all = content_module._write_all

    def slow(descriptor: int, content: bytes) -> int:
        reached.set()
        cancelled.wait(5)
        return write_all(descriptor, content)

    monkeypatch.setattr(content_module, "_write_all", slow)

    async with trio.open_nursery() as nursery:

        async def write() -> None:
            path, size = str(tmp_path / "a.txt"), 1 << 20
            await trio.to_thread.run_sync(content_module.write_file, path, b"new", size)

        nursery.start_soon(write)
        await trio.to_thread.run_sync(reached.wait)
        nursery.cancel_scope.cancel()
        cancelled.set()
    assert tree(tmp_path) == {"a.txt": "old"}


async def test_append_adds_and_makes(tmp_path: Path) -> None:
    await _call(tmp_path, operation="append", path="a.log", input="one\n")
    result = await _call(tmp_path, operation="append", path="a.log", input="two\n")
    assert (tmp_path / "a.log").read_text() == "one\ntwo\n"
    assert (result.result["appended_size"], result.result["size"]) == (4, 8)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"operation": "read", "path": "none"}, "not_found"),
        ({"operation": "read", "path": "folder"}, "is_directory"),
        ({"operation": "read", "path": "file/x"}, "not_a_directory"),
        ({"operation": "write", "path": "folder", "input": "x"}, "is_directory"),
        ({"operation": "append", "path": "folder", "input": "x"}, "is_directory"),
        ({"operation": "delete", "path": "none"}, "not_found"),
        ({"operation": "delete", "path": "folder"}, "not_empty"),
        ({"operation": "create_dir", "path": "file"}, "exists"),
        ({"operation": "create_dir", "path": "none/x"}, "not_found"),
        ({"operation": "list_dir", "path": "file"}, "not_a_directory"),
        ({"operation": "list_dir", "path": "none"}, "not_found"),
        ({"operation": "metadata", "path": "none"}, "not_found"),
        ({"operation": "copy", "source_path": "none", "target_path": "x"}, "not_found"),
        ({"operation": "copy", "source_path": "folder", "target_path": "x"}, "not_empty"),
        ({"operation": "copy", "source_path": "file", "target_path": "folder"}, "is_directory"),
        ({"operation": "copy", "source_path": "file", "target_path": "file"}, "exists"),
        ({"operation": "copy", "source_path": "folder", "target_path": "folder/x", "recursive": True}, "invalid_input"),
        ({"operation": "move", "source_path": "none", "target_path": "x"}, "not_found"),
        ({"operation": "move", "source_path": "folder", "target_path": "folder/x"}, "invalid_input"),
        ({"operation": "move", "source_path": "file", "target_path": "folder"}, "is_directory"),
        ({"operation": "read", "path": "pipe"}, "not_a_file"),
        ({"operation": "write", "path": "pipe", "input": "x"}, "not_a_file"),
    ],
)
async def test_what_cannot_be_done_says_why_and_changes_nothing(
    tmp_path: Path, parameters: dict[str, Any], code: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_text("inner")
    (tmp_path / "file").write_text("file")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ToolError) as caught:
        await _call(tmp_path, **parameters)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
    (tmp_path / "pipe").unlink()
    assert tree(tmp_path) == {"folder": "/", "folder/inner": "inner", "file": "file"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"operation": "read"},
        {"operation": "write", "path": "a"},
        {"operation": "copy", "path": "a", "target_path": "b"},
        {"operation": "move", "source_path": "a"},
        {"operation": "format", "path": "a"},
        {"operation": "read", "path": "a", "recusive": True},
    ],
)
def test_incomplete_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FileOperationsParameters(**parameters)


def test_every_operation_says_which_paths_it_touches() -> None:
    tool = FileOperations()
    modes = {}
    for operation in ("read", "write", "append", "delete", "create_dir", "list_dir", "metadata", "exists"):
        model = FileOperationsParameters(operation=operation, path="a", input="")
        modes[operation] = [(each.field, each.mode) for each in tool.access(model)]  # type: ignore[union-attr]
    assert {name for name, found in modes.items() if found == [("path", "write")]} == {
        "write", "append", "delete", "create_dir",
    }  # fmt: skip
    copy = tool.access(FileOperationsParameters(operation="copy", source_path="a", target_path="b"))
    move = tool.access(FileOperationsParameters(operation="move", source_path="a", target_path="b"))
    assert [each.mode for each in copy] == ["read", "write"]  # type: ignore[union-attr]
    assert [each.mode for each in move] == ["write", "write"]  # type: ignore[union-attr]


# Arranging


async def test_a_file_an_empty_folder_and_a_whole_folder_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    assert (await _call(tmp_path, operation="delete", path="file")).result["deleted"] == 1
    assert (await _call(tmp_path, operation="delete", path="empty")).result["deleted"] == 1
    assert (await _call(tmp_path, operation="delete", path="a", recursive=True)).result["deleted"] == 3
    assert tree(tmp_path) == {}


async def test_folders_are_created_with_their_parents_if_asked(tmp_path: Path) -> None:
    assert (await _call(tmp_path, operation="create_dir", path="a")).result["created"] is True
    assert (await _call(tmp_path, operation="create_dir", path="a")).result["created"] is False
    assert (await _call(tmp_path, operation="create_dir", path="x/y/z", recursive=True)).result["created"] is True
    assert tree(tmp_path) == {"a": "/", "x": "/", "x/y": "/", "x/y/z": "/"}


@pytest.mark.parametrize(
    ("operation", "found"),
    [
        ({"operation": "write", "path": "a/b/new", "input": "x"}, "x"),
        ({"operation": "append", "path": "a/b/new", "input": "x"}, "x"),
        ({"operation": "copy", "source_path": "file", "target_path": "a/b/new"}, "file"),
        ({"operation": "move", "source_path": "file", "target_path": "a/b/new"}, "file"),
        ({"operation": "cp", "source_path": "folder", "target_path": "a/b/new", "recursive": True}, "/"),
        ({"operation": "rename", "source_path": "folder", "target_path": "a/b/new"}, "/"),
    ],
)
async def test_missing_folders_above_a_new_file_or_folder_are_made(
    tmp_path: Path, operation: dict[str, Any], found: str
) -> None:
    (tmp_path / "file").write_text("file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_text("inner")

    await _call(tmp_path, **operation)

    assert tree(tmp_path)["a/b/new"] == found


@pytest.mark.parametrize(
    "operation",
    [
        {"operation": "write", "path": "a/new.exe", "input": "x"},
        {"operation": "write", "path": "a/new", "input": "x" * 11},
        {"operation": "append", "path": "a/new", "input": "x" * 11},
        {"operation": "copy", "source_path": "none", "target_path": "a/new"},
        {"operation": "move", "source_path": "none", "target_path": "a/new"},
        {"operation": "move", "source_path": "folder", "target_path": "folder/a/new"},
    ],
)
async def test_no_folder_is_made_for_what_is_refused(tmp_path: Path, operation: dict[str, Any]) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(LlmspellError):
        await _call(tmp_path, settings={"max_file_size_bytes": 10}, **operation)

    assert tree(tmp_path) == {"folder": "/"}


@pytest.mark.parametrize(
    ("spelling", "operation"),
    [
        ("mkdir", "create_dir"),
        ("ls", "list_dir"),
        ("dir", "list_dir"),
        ("cp", "copy"),
        ("mv", "move"),
        ("rename", "move"),
        ("stat", "metadata"),
        ("info", "metadata"),
    ],
)
def test_the_other_names_of_operations_are_the_operation_for_guards_too(spelling: str, operation: str) -> None:
    given = FileOperationsParameters(operation=spelling, path="a", source_path="a", target_path="b")  # type: ignore[arg-type]
    assert given.operation == operation


async def test_no_folder_is_created_above_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(SecurityError):
        await _call(tmp_path, write=("not/yet",), operation="create_dir", path="not/yet/a", recursive=True)
    assert tree(tmp_path) == {}


async def test_a_listing_tells_name_path_type_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "inner").write_text("i")
    (tmp_path / "a.txt").write_text("abc")
    os.utime(tmp_path / "a.txt", (5, 1000))
    flat = (await _call(tmp_path, operation="list_dir", path=".")).result
    deep = (await _call(tmp_path, operation="list_dir", path=".", recursive=True)).result
    assert flat["count"] == 2
    assert flat["entries"][0] == {
        "name": "a.txt", "path": str(tmp_path / "a.txt"), "type": "file", "size": 3, "modified": 1000,
    }  # fmt: skip
    assert [entry["path"] for entry in deep["entries"]] == [str(tmp_path / name) for name in ("a.txt", "b", "b/inner")]


async def test_a_listing_leaves_out_what_may_not_be_read(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "closed").mkdir(parents=True)
    (tmp_path / "outside").write_text("x")
    (base / ".hidden").write_text("x")
    (base / "key.pem").write_text("x")
    (base / "closed" / "inner").write_text("x")
    (base / "link").symlink_to(tmp_path / "outside")
    (base / "seen").write_text("x")
    listing = await _call(base, denied=("*.pem", "closed"), operation="list_dir", path=".", recursive=True)
    assert [entry["name"] for entry in listing.result["entries"]] == ["seen"]


async def test_files_and_folders_are_copied(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c")
    (tmp_path / "a" / "b" / "c").chmod(0o600)
    (tmp_path / "a" / "link").symlink_to("b/c")
    (tmp_path / "file").write_text("x")
    one = await _call(tmp_path, operation="copy", source_path="file", target_path="file2")
    many = await _call(tmp_path, operation="copy", source_path="a", target_path="a2", recursive=True)
    assert one.result == {"source": str(tmp_path / "file"), "target": str(tmp_path / "file2"), "count": 1}
    assert many.result["count"] == 4
    assert (tmp_path / "a2" / "b" / "c").read_text() == "c"
    assert stat.S_IMODE((tmp_path / "a2" / "b" / "c").stat().st_mode) == 0o600
    assert os.readlink(tmp_path / "a2" / "link") == "b/c"
    assert (tmp_path / "a" / "b" / "c").exists()


async def test_files_and_folders_are_moved(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c")
    (tmp_path / "file").write_text("x")
    (tmp_path / "old").write_text("old")
    await _call(tmp_path, operation="move", source_path="file", target_path="old")
    result = await _call(tmp_path, operation="move", source_path="a", target_path="z")
    assert tree(tmp_path) == {"old": "x", "z": "/", "z/b": "/", "z/b/c": "c"}
    assert result.result == {"source": str(tmp_path / "a"), "target": str(tmp_path / "z"), "count": 3}


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
async def test_a_move_to_another_file_system_copies_and_deletes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("b")
    (tmp_path / "file").write_text("x")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    from llmspell_plugins.tools.filesystem import file_operations

    monkeypatch.setattr(file_operations, "move", refuse)
    await _call(tmp_path, operation="move", source_path="file", target_path="file2")
    await _call(tmp_path, operation="move", source_path="a", target_path="a2")
    assert tree(tmp_path) == {"a2": "/", "a2/b": "b", "file2": "x"}


async def test_metadata_tells_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    (tmp_path / "a").chmod(0o444)
    os.utime(tmp_path / "a", (5, 1000))
    result = (await _call(tmp_path, operation="metadata", path="a")).result
    assert {name: result[name] for name in ("path", "type", "size", "readonly", "mode", "modified", "accessed")} == {
        "path": str(tmp_path / "a"), "type": "file", "size": 3, "readonly": True, "mode": "0444",
        "modified": 1000, "accessed": 5,
    }  # fmt: skip
    assert (await _call(tmp_path, operation="metadata", path=".")).result["type"] == "directory"


async def test_exists_tells_whether(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    found = {
        path: (await _call(tmp_path, operation="exists", path=path)).result["exists"]
        for path in ("a", "b", "a/b", "c/d")
    }
    assert found == {"a": True, "b": False, "a/b": False, "c/d": False}


# Bounds


@pytest.mark.parametrize("operation", ["read", "write", "append", "copy"])
async def test_a_file_above_the_limit_is_refused(tmp_path: Path, operation: str) -> None:
    (tmp_path / "a").write_text("x" * 101)
    parameters: dict[str, Any] = {"path": "a", "input": "y" * 101}
    if operation == "copy":
        parameters = {"source_path": "a", "target_path": "b"}
    with pytest.raises(ResourceLimitError, match="max_file_size_bytes") as caught:
        await _call(tmp_path, settings={"max_file_size_bytes": 100}, operation=operation, **parameters)
    assert (caught.value.resource, caught.value.limit) == ("file_bytes", 100)
    assert tree(tmp_path) == {"a": "x" * 101}


async def test_reading_is_charged_before_it_happens(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x" * 2000)
    with pytest.raises(ResourceLimitError) as caught:
        await _call(tmp_path, memory_bytes=1000, operation="read", path="a")
    assert caught.value.resource == "memory_bytes"


@pytest.mark.parametrize("setting", [{"max_items": 3}, {"max_depth": 2}])
async def test_a_folder_beyond_the_bounds_is_refused_whole(tmp_path: Path, setting: dict[str, int]) -> None:
    (tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)
    (tmp_path / "a" / "e").mkdir()
    before = tree(tmp_path)
    for operation in ("delete", "list_dir"):
        with pytest.raises(ResourceLimitError):
            await _call(tmp_path, settings=setting, recursive=True, operation=operation, path="a")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["a.exe", "A.DLL", "lib.so", "lib.so.1.2", "x.dylib", "a.exe.", "a.exe "])
async def test_blocked_extensions_are_never_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "ok.txt").write_text("x")
    (tmp_path / "a" / name).write_text("x")
    before = tree(tmp_path)
    calls: tuple[dict[str, Any], ...] = (
        {"operation": "write", "path": name, "input": "x"},
        {"operation": "append", "path": name, "input": "x"},
        {"operation": "copy", "source_path": "a/ok.txt", "target_path": name},
        {"operation": "move", "source_path": "a/ok.txt", "target_path": name},
        {"operation": "copy", "source_path": "a", "target_path": "b", "recursive": True},
    )
    for parameters in calls:
        with pytest.raises(SecurityError, match="blocked_extensions"):
            await _call(tmp_path, **parameters)
    assert tree(tmp_path) == before


async def test_no_other_tool_writes_what_is_blocked(tmp_path: Path) -> None:
    notes, picture, target = (str(tmp_path / name) for name in ("notes.txt", "a.png", "a.exe"))
    Path(notes).write_text("x")
    Path(picture).write_bytes(base64.b64decode(_DOT))
    calls: tuple[tuple[type[Tool[Any]], dict[str, Any]], ...] = (
        (Base64Encoder, {"operation": "decode", "input": "eA==", "output_file": target}),
        (FileConverter, {"operation": "indentation", "path": notes, "target_path": target}),
        (FileEditor, {"operation": "create", "path": target, "new_text": "x"}),
        (ArchiveHandler, {"operation": "create", "path": target, "format": "zip", "input": [notes]}),
        (
            ImageProcessor,
            {"operation": "rotate", "file_path": picture, "target_path": target, "target_format": "png"},
        ),
    )

    for tool, parameters in calls:
        with pytest.raises(SecurityError, match="blocked_extensions"):
            await ask(tool, tmp_path, **parameters)

    assert not Path(target).exists()


async def test_blocked_extensions_that_are_none_let_nothing_be_written(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, tools={"file_operations": {"blocked_extensions": 7}})

    async with opened(FileEditor, settings=settings) as host:
        with pytest.raises(SecurityError, match=r"blocked_extensions: .* until it is corrected no file is written"):
            await host.call("tool:file-editor", {"operation": "create", "path": f"{tmp_path}/a.txt", "new_text": "x"})

    assert not (tmp_path / "a.txt").exists()


async def test_an_allowed_folder_itself_is_neither_deleted_nor_moved(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    calls: tuple[dict[str, Any], ...] = (
        {"operation": "delete", "path": "work", "recursive": True},
        {"operation": "move", "source_path": "work", "target_path": "work2"},
    )
    for parameters in calls:
        with pytest.raises(SecurityError):
            await _call(tmp_path, write=(".", "work"), **parameters)
    assert tree(tmp_path) == {"work": "/"}


# Hostile trees


@pytest.mark.parametrize("operation", ["delete", "copy", "move"])
@pytest.mark.parametrize("prey", [".git", "key.pem", "llmspell.toml"])
async def test_one_file_that_may_not_be_touched_refuses_the_whole_folder(
    tmp_path: Path, operation: str, prey: str
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "a.txt").write_text("a")
    (tmp_path / "a" / "b" / prey).write_text("x")
    before = tree(tmp_path)
    parameters: dict[str, Any] = {"path": "a"} if operation == "delete" else {"source_path": "a", "target_path": "z"}
    with pytest.raises(SecurityError):
        await _call(tmp_path, denied=("*.pem",), operation=operation, recursive=True, **parameters)
    assert tree(tmp_path) == before


async def test_deleting_a_folder_removes_links_and_leaves_what_they_lead_to(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "a").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "prey").write_text("x")
    (base / "a" / "link").symlink_to(tmp_path / "outside")
    (base / "a" / "file").symlink_to(tmp_path / "outside" / "prey")
    await _call(base, operation="delete", path="a", recursive=True)
    assert tree(base) == {}
    assert (tmp_path / "outside" / "prey").read_text() == "x"


def _swap_folder(base: Path) -> None:
    """Put a link to the outside in the place of a folder on the way."""
    (base / "folder").rename(base / "gone")
    (base / "folder").symlink_to(base.parent / "outside")


def _swap_file(base: Path) -> None:
    (base / "folder" / "file").unlink(missing_ok=True)
    (base / "folder" / "file").symlink_to(base.parent / "outside" / "file")


@pytest.mark.parametrize("swap", [_swap_folder, _swap_file])
@pytest.mark.parametrize(
    "parameters",
    [
        {"operation": "read", "path": "folder/file"},
        {"operation": "write", "path": "folder/file", "input": "evil"},
        {"operation": "append", "path": "folder/file", "input": "evil"},
        {"operation": "copy", "source_path": "folder/file", "target_path": "stolen"},
        {"operation": "copy", "source_path": "other", "target_path": "folder/file"},
        {"operation": "list_dir", "path": "folder"},
        {"operation": "delete", "path": "folder/file"},
        {"operation": "delete", "path": "folder", "recursive": True},
        {"operation": "move", "source_path": "folder/file", "target_path": "stolen"},
        {"operation": "move", "source_path": "other", "target_path": "folder/file"},
        {"operation": "create_dir", "path": "folder/new"},
        {"operation": "metadata", "path": "folder/file"},
        {"operation": "exists", "path": "folder/file"},
    ],
)
async def test_a_link_put_in_the_way_after_the_judgement_leads_nowhere(
    tmp_path: Path, swap: Callable[[Path], None], parameters: dict[str, Any]
) -> None:
    base = tmp_path / "base"
    for folder in (base / "folder", tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "file").write_text(f"in {folder.name}")
    (base / "other").write_text("other")
    result: Any = ""
    with contextlib.suppress(SecurityError, ToolError):
        result = await _call(base, between=lambda: swap(base), **parameters)
    assert tree(tmp_path / "outside") == {"file": "in outside"}
    assert "in outside" not in str(result)
    assert not (base / "stolen").is_file() or (base / "stolen").is_symlink()


async def test_a_folder_that_is_swapped_while_it_is_deleted_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmspell_plugins.tools.filesystem import tree as tree_module

    base = tmp_path / "base"
    (base / "a" / "b").mkdir(parents=True)
    (base / "a" / "b" / "file").write_text("in")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("out")
    remove = tree_module._remove

    def swap_then_remove(path: str) -> None:
        if (base / "a" / "b").is_dir() and not (base / "a" / "b").is_symlink():
            (base / "a" / "b").rename(base / "moved")
            (base / "a" / "b").symlink_to(tmp_path / "outside")
        remove(path)

    monkeypatch.setattr(tree_module, "_remove", swap_then_remove)
    with pytest.raises(SecurityError, match="link"):
        await _call(base, operation="delete", path="a", recursive=True)
    assert tree(tmp_path / "outside") == {"file": "out"}


async def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("x")
    before = len(os.listdir("/proc/self/fd"))
    calls: tuple[dict[str, Any], ...] = (
        {"operation": "read", "path": "a/file"},
        {"operation": "write", "path": "a/new", "input": "x"},
        {"operation": "copy", "source_path": "a", "target_path": "c", "recursive": True},
        {"operation": "list_dir", "path": ".", "recursive": True},
        {"operation": "delete", "path": "c", "recursive": True},
    )
    for parameters in calls:
        await _call(tmp_path, **parameters)
    with pytest.raises(ToolError):
        await _call(tmp_path, operation="read", path="a/b")
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_name_of_the_original_is_known() -> None:
    assert {"file-operations", "file-operations-tool"} <= set(FileOperations.aliases)


def _put(kind: str, path: Path) -> None:
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))


@pytest.mark.parametrize("kind", ["a pipe", "a socket"])
async def test_what_is_no_file_is_told_as_what_it_is(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    _put(kind, Path("odd"))

    for operation in ("read", "write", "append"):
        with pytest.raises(ToolError, match="not a regular file") as caught:
            await _call(tmp_path, operation=operation, path="odd", input="x")
        assert caught.value.code == "not_a_file"
    told = await _call(tmp_path, operation="metadata", path="odd")

    assert told.result["type"] == "other"
    assert f"is {kind} of 0 bytes" in str(told.message)


async def test_a_text_is_read_without_its_byte_order_mark_and_bytes_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbftext")

    text = (await _call(tmp_path, operation="read", path="a.txt")).result
    whole = (await _call(tmp_path, operation="read", path="a.txt", encoding="base64")).result

    assert (text["input"], text["size"]) == ("text", 7)
    assert base64.b64decode(whole["input"]) == b"\xef\xbb\xbftext"
