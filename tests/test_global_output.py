from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.scripting import Interface, Scope
from llmspell_hookspecs.language import ScriptLimits
from llmspell_hookspecs.script import ScriptRun
from llmspell_plugins.globals.arguments import Arguments, PositionalArguments, parse_arguments
from llmspell_plugins.globals.logger import Logger
from llmspell_plugins.globals.output import Print


def scope_for(language: str, written: list[str], *arguments: str) -> Scope:
    run = ScriptRun("", language, "tour.lua", arguments=arguments)
    return Scope("s", run, None, write=written.append)  # type: ignore[arg-type]


def printed(language: str, *values: Any) -> str:
    written: list[str] = []
    scope = scope_for(language, written)
    interface = Interface(scope, None, ScriptLimits(), {})  # type: ignore[arg-type]
    interface.call_pure(Print(None, scope), "__call", values)  # type: ignore[arg-type]
    return "".join(written)


def test_print_joins_by_tabs_and_ends_the_line() -> None:
    assert printed("lua", "a", 1, "b") == "a\t1\tb\n"
    assert printed("lua") == "\n"


@pytest.mark.parametrize(
    ("language", "value", "text"),
    [
        ("lua", None, "nil"),
        ("lua", True, "true"),
        ("lua", 2.0, "2.0"),
        ("lua", 0.1, "0.1"),
        ("lua", 1e100, "1e+100"),
        ("javascript", None, "null"),
        ("javascript", 2.0, "2"),
        ("python", None, "None"),
        ("python", False, "False"),
        ("lua", {"a": [1, "x"]}, '{"a": [1, "x"]}'),
        ("lua", print, "function"),
    ],
)
def test_print_speaks_the_scripts_language(language: str, value: Any, text: str) -> None:
    assert printed(language, value) == f"{text}\n"


def test_print_of_a_circle_ends() -> None:
    circle: dict[str, Any] = {}
    circle["me"] = circle

    assert printed("lua", circle) == '{"me": <circular>}\n'


def test_the_logger_names_the_script(caplog: pytest.LogCaptureFixture) -> None:
    logger = Logger(None, scope_for("lua", []))  # type: ignore[arg-type]

    with caplog.at_level(logging.DEBUG, "llmspell.script"):
        logger.trace("unseen")
        logger.debug("one")
        logger.info("two", {"a": 1})
        logger.warn(None)
        logger.error(4)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "tour.lua: one"),
        ("INFO", 'tour.lua: two {"a": 1}'),
        ("WARNING", "tour.lua: nil"),
        ("ERROR", "tour.lua: 4"),
    ]


def test_arguments_are_named_positional_and_counted_from_the_scripts_name() -> None:
    given = ("in.csv", "--key", "value", "--flag", "--n", "-5", "--eq=a=b", "out.csv", "--last", "--", "--raw")

    scope = scope_for("lua", [], *given)
    found = {
        **Arguments(None, scope).script_globals(),  # type: ignore[arg-type]
        **PositionalArguments(None, scope).script_globals(),  # type: ignore[arg-type]
    }

    named: dict[int | str, str] = {"key": "value", "flag": "true", "n": "-5", "eq": "a=b", "last": "true"}
    positional: dict[int | str, str] = {0: "tour.lua", 1: "in.csv", 2: "out.csv", 3: "--raw"}
    assert found == {"ARGS": {**positional, **named}, "arg": positional}


@given(st.lists(st.text(max_size=8) | st.just("--x") | st.just("--")))
def test_no_argument_is_lost_that_is_positional(arguments: list[str]) -> None:
    named, positional = parse_arguments(arguments)

    assert all(isinstance(value, str) for value in named.values())
    if not any(argument.startswith("--") for argument in arguments):
        assert positional == arguments
