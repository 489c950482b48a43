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
    for way in ('f"{e}"', "str(e)", "repr(e)", '"%s" % e', '"%s %s" % (1, e)', '"{}".format(e)'):
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
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            return node.args
    return []
