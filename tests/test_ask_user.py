"""ask-user: a person at a real terminal, one behind a plugin, and nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

from kernel import opened
from llmspell_hookspecs import InvalidInputError, Services, ToolError
from llmspell_plugins.tools.utility.ask_user import AskUser
from llmspell_plugins.tools.utility.asking import Answerer, Question
from terminal import CONTROL_D, Terminal


class Person:
    """Implements `Answerer`: says what it is told to, one after another."""

    name: ClassVar[str] = "answerer"
    provides: ClassVar[type[Any]] = Answerer
    says: ClassVar[list[str | None]] = []
    asked: ClassVar[list[Question]] = []

    def __init__(self, settings: Any, services: Services) -> None:
        del settings, services

    async def answer(self, question: Question, /) -> str | None:
        """Return the next."""
        self.asked.append(question)
        if not self.says:
            await trio.sleep_forever()
        return self.says.pop(0)


async def told(*says: str | None, **parameters: Any) -> Any:
    Person.says[:], Person.asked[:] = says, []
    async with opened(AskUser, Person) as host:
        return (await host.call("tool:ask-user", parameters)).result


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Any]:
    made: list[Terminal] = []

    def start(**parameters: Any) -> Terminal:
        environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "NO_COLOR": "1"}
        given = json.dumps(parameters)
        made.append(Terminal("tool", "invoke", "ask-user", given, folder=tmp_path, environment=environment))
        return made[-1]

    yield start
    for terminal in made:
        terminal.close()


def test_a_person_at_a_terminal_is_asked_and_answers(terminals: Any) -> None:
    terminal = terminals(question="Which branch?")

    terminal.expect("A tool asks: Which branch?")
    terminal.expect("Your answer: ")
    terminal.enter("main line")
    code = terminal.wait()

    assert code == 0
    assert "main line" in terminal.shown.partition("Your answer: ")[2].replace("main line", "", 1)


def test_a_choice_is_asked_again_until_it_is_one(terminals: Any) -> None:
    terminal = terminals(operation="choose", question="Delete?", choices=["yes", "no"], default="no")

    terminal.expect("1. yes")
    terminal.expect("Your answer [no]: ")
    terminal.enter("perhaps")
    terminal.expect("Your answer [no]: ")
    terminal.enter("1")
    code = terminal.wait()

    assert code == 0
    assert "yes" in terminal.shown.rpartition("Your answer [no]: ")[2]


def test_a_person_who_closes_the_terminal_gives_no_answer(terminals: Any) -> None:
    terminal = terminals(question="Well?")

    terminal.expect("Your answer: ")
    terminal.type(CONTROL_D)
    code = terminal.wait()

    assert code != 0
    assert "the person gave no answer" in terminal.shown


def test_a_question_cannot_steer_the_terminal(terminals: Any) -> None:
    terminal = terminals(question="\x1b[2J\x1b]0;owned\x07ok\u202e?")

    terminal.expect("Your answer: ")

    assert b"\x1b[2J" not in terminal.raw
    assert b"\x07" not in terminal.raw
    assert "\u202e" not in terminal.shown


async def test_a_plugin_may_ask_the_person(tmp_path: Path) -> None:
    result = await told("main", question="Which branch?")

    assert result == {"answer": "main"}
    assert Person.asked == [Question("Which branch?")]


@pytest.mark.parametrize(("said", "chosen"), [("No", "no"), ("2", "no"), ("yes", "yes"), ("", "yes")])
async def test_a_choice_is_understood_by_its_number_or_its_words(said: str, chosen: str) -> None:
    result = await told(said, operation="choose", question="Go?", choices=["yes", "no"], default="yes")

    assert result == {"answer": chosen, "index": ["yes", "no"].index(chosen) + 1}


@pytest.mark.parametrize("says", [[None], ["x", "y", "z", "0", "3", "4"]])
async def test_what_is_no_answer_is_never_taken_for_one(says: list[str | None]) -> None:
    with pytest.raises(ToolError) as caught:
        await told(*says, operation="choose", question="Go?", choices=["yes", "no"])

    assert caught.value.code == "no_answer"


async def test_nobody_is_waited_for_longer_than_asked() -> None:
    with pytest.raises(ToolError, match="within") as caught:
        await told(question="Well?", timeout_seconds=0.01)

    assert caught.value.code == "timeout"


async def test_where_there_is_nobody_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        async with opened(AskUser) as host:
            with pytest.raises(ToolError, match="there is nobody to ask") as caught:
                await host.call("tool:ask-user", {"question": "Well?", "default": "yes"})

    assert caught.value.code == "nobody"


async def test_choices_that_are_none_are_refused() -> None:
    for wrong in ({"operation": "choose"}, {"choices": ["a", "a"]}, {"choices": ["a"], "default": "b"}):
        with pytest.raises(InvalidInputError):
            await told(question="Well?", **wrong)
