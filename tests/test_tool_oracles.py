"""Every operation of every tool is tested against something that is none of ours, as `tool_oracles` says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from llmspell_hookspecs import Tool
from tool_calls import OURS
from tool_oracles import ORACLES, pairs

TESTS = Path(__file__).parent
PAIRS = list(pairs())


def operations_of(name: str) -> set[str]:
    """What a tool does, as its parameters say."""
    [point] = [each for each in entry_points(group="llmspell.tools") if each.name == name]
    kind = point.load()
    tool: Tool[Any] = getattr(kind, "llmspell_tool", kind)()
    known = tool.schema()["properties"]
    return set(
        next((known[each]["enum"] for each in ("operation", "check_type") if "enum" in known.get(each, {})), ["run"])
    )


@cache
def pieces(file: str) -> dict[str, str]:
    """The source of each name that a module of tests makes, and of its imports."""
    text = (TESTS / file).read_text()
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        lines = [getattr(each, "lineno", node.lineno) for each in (node, *getattr(node, "decorator_list", ()))]
        source = "\n".join(text.splitlines()[min(lines) - 1 : node.end_lineno])
        for name in _names(node):
            found[name] = found.get(name, "") + "\n" + source
    return found


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (each.asname or each.name for each in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))


def told_by(file: str, test: str) -> str:
    """The source of a test and of all in its module that it uses, also by what it uses."""
    known = pieces(file)
    assert test in known, f"tests/{file} has no {test}; correct tests/tool_oracles.py"
    wanted, seen = [test], dict[str, str]()
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen[name] = known[name]
            wanted += [word for word in re.findall(r"\w+", known[name]) if word in known]
    return "\n".join(seen.values())


@pytest.mark.parametrize("name", OURS)
def test_every_operation_of_a_tool_is_in_the_table(name: str) -> None:
    assert set(ORACLES.get(name, {})) == operations_of(name), "say in tests/tool_oracles.py what it is held against"


def test_the_table_names_no_tool_that_there_is_not() -> None:
    assert set(ORACLES) == set(OURS)


@pytest.mark.parametrize(("tool", "operation"), [each[:2] for each in PAIRS])
def test_the_test_of_an_operation_names_it_and_what_it_is_held_against(tool: str, operation: str) -> None:
    held = ORACLES[tool][operation]
    source = told_by(*held.test.split("::"))

    assert re.search(rf"(?<![\w-]){re.escape(held.oracle)}(?!\w)", source), f"{held.test} does not ask {held.oracle}"
    assert operation == "run" or _is_asked(tool, operation, source), f"{held.test} does not ask for {operation}"


def _is_asked(tool: str, operation: str, source: str) -> bool:
    """Whether a test asks for the operation: by its name, or as what is done if none is named."""
    [point] = [each for each in entry_points(group="llmspell.tools") if each.name == tool]
    field = point.load().schema()["properties"].get("operation", {})
    return bool(re.search(rf"""["'{{ ]{operation}["' ,}}:=]""", source)) or field.get("default") == operation
