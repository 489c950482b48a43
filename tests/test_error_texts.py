"""The text of an exception that others raised, as a part of a message to people."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmspell_hookspecs import errors
from llmspell_hookspecs.errors import line_of_error

_ROOT = Path(__file__).parents[1]
_OWN = {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.LlmspellError)
}
_EXEMPT = {
    ("plugins/llmspell_plugins/providers/wire_json.py", "error"),  # reads the place out of msgspec's text
    ("plugins/llmspell_plugins/tools/data/csv_table.py", "error"),  # tells csv's own errors apart
}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TimeoutError(), "TimeoutError"),
        (ValueError("a\nb"), "a b"),
        (ValueError("\x1b[31mred\x07"), "\\x1b[31mred\\x07"),
        (ValueError("plain"), "plain"),
    ],
)
def test_an_error_is_told_in_one_printable_line(error: Exception, line: str) -> None:
    assert line_of_error(error) == line


@pytest.mark.parametrize("text", ["x" * 10_000, "\x00" * 10_000])
def test_a_long_error_leaves_room_in_the_message(text: str) -> None:
    line = line_of_error(ValueError(text))

    assert len(line) == 300
    assert line.endswith("...")


def test_no_foreign_exception_is_formatted_raw() -> None:
    raw = {
        (str(file.relative_to(_ROOT)), name)
        for top in ("host", "plugins")
        for file in (_ROOT / top).rglob("*.py")
        for name in _raw_formats(ast.parse(file.read_text(encoding="utf-8")))
    }

    assert raw == _EXEMPT


def test_the_search_finds_each_way_to_format() -> None:
    for way in (
        'f"{e}"',
        "str(e)",
        "repr(e)",
        '"%s" % e',
        '"%s %s" % (1, e)',
        '"{}".format(e)',
        '_log.warning("%s", e)',
    ):
        assert list(_raw_formats(ast.parse(f"try: ...\nexcept OSError as e: x = {way}"))) == ["e"], way
        assert not list(_raw_formats(ast.parse(f"try: ...\nexcept ToolError as e: x = {way}"))), way


def _raw_formats(tree: ast.AST) -> Iterator[str]:
    """Yield the name of each caught foreign exception that is formatted."""
    for handler in ast.walk(tree):
        if isinstance(handler, ast.ExceptHandler) and handler.name and not _caught(handler.type) <= _OWN:
            for node in ast.walk(handler):
                if any(isinstance(each, ast.Name) and each.id == handler.name for each in _formatted(node)):
                    yield handler.name


def _caught(kind: ast.expr | None) -> set[str]:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind] if kind else []
    return {ast.unparse(each).rpartition(".")[2] for each in kinds} or {"BaseException"}


def _formatted(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.FormattedValue):
        return [node.value]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ("str", "repr"):
            return node.args
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "debug", "info", "warning", "error"):
            return node.args
    return []


_OPENED = {
    "hookspecs/llmspell_hookspecs/log_lines.py": "the log, told where it fails",
    "host/llmspell/cli/verbs.py": "the head of a package's module, for its summary",
    "host/llmspell/plugins/discovery.py": "the metadata of packages, by importlib",
    "host/llmspell/settings/place.py": "a file of the host's own",
    "plugins/llmspell_plugins/services/processes/pool.py": "the system's own, below /proc",
    "hookspecs/llmspell_hookspecs/regular.py": "the one place",
    "plugins/llmspell_plugins/commands/repl/terminal.py": "the history, told where it fails",
    "plugins/llmspell_plugins/commands/tool_answer.py": "a new file, for bytes that no terminal shows",
    "plugins/llmspell_plugins/hooks/logging/file.py": "the log, told where it fails",
    "plugins/llmspell_plugins/services/sessions/archive.py": "a file of the host's own, synced",
    "plugins/llmspell_plugins/services/artifacts/content.py": "contents, told where it fails",
    "plugins/llmspell_plugins/services/hash_chain/entry.py": "the log's key and its head, told where it fails",
    "plugins/llmspell_plugins/languages/lua/engine.py": "the package's own",
    "plugins/llmspell_plugins/providers/prices.py": "a package's own",
    "plugins/llmspell_plugins/services/event_tail/meeting.py": "files of the host's own",
    "plugins/llmspell_plugins/services/backup/contents.py": "contents, told where it fails",
    "plugins/llmspell_plugins/services/backup/file.py": "a backup, told where it fails",
    "plugins/llmspell_plugins/services/vault/master.py": "the master key, told where it fails",
    "plugins/llmspell_plugins/services/vault/service.py": "the vault, told where it fails",
    "plugins/llmspell_plugins/storage/sqlite/connections.py": "a database, told where it fails",
    "plugins/llmspell_plugins/tools/media/audio.py": "bytes in memory, in a child process",
    "plugins/llmspell_plugins/tools/filesystem/anchor.py": "the walk from one judged folder to the next",
    "plugins/llmspell_plugins/tools/filesystem/content.py": "beside a file that was judged",
    "plugins/llmspell_plugins/tools/utility/asking.py": "the terminal",
}
"""Who opens files otherwise than by `read_regular` and `replace_regular`, and which."""
_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "mkstemp", "open_file"}


def test_files_of_people_are_read_and_written_in_one_place() -> None:
    found = {
        str(file.relative_to(_ROOT))
        for top in ("host", "hookspecs", "plugins")
        for file in (_ROOT / top).rglob("*.py")
        if any(_opened(ast.parse(file.read_text(encoding="utf-8"))))
    }

    assert found == set(_OPENED)


def test_the_search_finds_each_way_to_open() -> None:
    for way in (
        "open(f)",
        "io.open(f)",
        "os.open(f, 0)",
        "path.read_text()",
        "Path(f).write_bytes(b)",
        "trio.Path(f).open()",
    ):
        assert list(_opened(ast.parse(way))), way
    for way in (
        "open(os.devnull)",
        "open('/proc/self/statm')",
        "Host.open(plugins=[])",
        "self.open()",
        "storages.open()",
    ):
        assert not list(_opened(ast.parse(way))), way


def _opened(tree: ast.AST) -> Iterator[str]:
    """Yield each call that opens a file by its name, but what is the system's own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            owner, _, method = called.rpartition(".")
            is_path = owner in ("", "io", "os") or "Path(" in owner
            opens = is_path if method == "open" else owner and method in _METHODS
            given = ast.unparse(node.args[0]) if node.args else ""
            if opens and not given.startswith(("os.devnull", "'/proc/", "'/'")):
                yield called
