"""``llmspell chat``: in a terminal as people use it, and through a pipe, with the offline provider."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from room import Room
from terminal import CONTROL_C, CONTROL_D, Terminal
from tmux import Tmux
from waiting import PATIENCE_S

CAREFUL = """
from llmspell_hookspecs import Cancel, hookimpl

@hookimpl(kind="guard", match="calculator")
def before_tool_execution(context):
    return Cancel("somebody has to look at this sum", "approval_required")
"""
DOZE = '''
import trio
from pydantic import BaseModel
from llmspell_hookspecs import Tool, ToolContext

class Nothing(BaseModel):
    """."""

class Doze(Tool[Nothing]):
    """Sleep until somebody stops it."""
    name = "doze"
    async def run(self, parameters: Nothing, context: ToolContext) -> None:
        print("asleep", flush=True)
        await trio.sleep_forever()
'''
Open = Callable[..., Terminal]


class ChatRoom(Room):
    """With a conversation; ``doze`` is a tool there."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.environment["PROMPT_TOOLKIT_NO_CPR"] = "1"
        self.install("dozing", DOZE, "[llmspell.tools]\ndoze = dozing:Doze\n")

    def guard(self) -> None:
        """Have a person asked about each sum."""
        self.install("careful", CAREFUL, "[llmspell.plugins]\ncareful = careful\n")

    def pipe(self, text: str, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, output and errors of a conversation that is given this."""
        command = [sys.executable, "-m", "llmspell", *(arguments or ("chat",)), "--offline", "--log-level", "off"]
        done = subprocess.run(
            command, cwd=self.project, env=self.environment, input=text, capture_output=True, text=True,
            timeout=PATIENCE_S,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def room(tmp_path: Path) -> ChatRoom:
    return ChatRoom(tmp_path)


@pytest.fixture
def chat(room: ChatRoom) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        quiet = ("--offline", "--log-level", "off")
        terminal = Terminal("chat", *quiet, *arguments, folder=room.project, environment=room.environment)
        opened.append(terminal)
        terminal.expect("you>")
        return terminal

    yield start
    for terminal in opened:
        terminal.close()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
def test_a_conversation_on_a_screen_from_its_first_question_to_its_resumption(room: ChatRoom) -> None:
    room.guard()
    command = [sys.executable, "-m", "llmspell", "chat", "--offline", "--log-level", "off"]
    tmux = Tmux([*command, "--tools", "calculator,doze"], folder=room.project, environment=room.environment)
    try:
        tmux.expect("you>")
        tmux.enter("hello there")
        tmux.expect('You said: "hello there"')
        tmux.expect("you>", 2)

        tmux.enter("what is 6 * 7?")
        tmux.expect("somebody has to look at this sum")
        tmux.expect("allow?")
        tmux.enter("y")
        tmux.expect("6 * 7 = 42.")
        tmux.expect("you>", 3)

        tmux.enter("use doze {}")
        tmux.expect("asleep")
        tmux.press("C-c")
        tmux.expect("[stopped")
        tmux.expect("you>", 4)

        tmux.press("Up")
        tmux.expect("you> use doze {}", 2)
        tmux.press("C-c")
        tmux.enter(".history")
        tmux.expect("assistant: 6 * 7 = 42.\nyou>")
        tmux.press("C-d")
        tmux.expect("ended with 0")
        screen = tmux.screen
    finally:
        tmux.close()
    assert "you: use doze" not in screen
    assert screen.count("[calculator completed in") == 1
    assert "2 answers: " in screen
    assert "0.000000 USD" in screen

    code, out, _ = room.pipe(".history\n.cost\n", "chat", "--last")
    assert code == 0
    assert out.startswith("you: hello there\n")
    assert "assistant: 6 * 7 = 42.\n2 turns, " in out


def test_what_a_guard_asks_is_denied_with_a_text_or_allowed_for_the_conversation(room: ChatRoom, chat: Open) -> None:
    room.guard()
    terminal = chat("--tools", "calculator")

    terminal.enter("what is 1 + 1?")
    terminal.expect("say why not>")
    terminal.enter("not on a Sunday")
    terminal.expect("somebody has to look at this sum: denied by")
    terminal.expect("not on a Sunday")
    terminal.expect("you>")

    terminal.enter("what is 2 + 2?")
    terminal.expect("say why not>")
    terminal.enter("a")
    terminal.expect("2 + 2 = 4.")
    terminal.enter("what is 3 + 3?")
    terminal.expect("allowed, as you said for this conversation")
    terminal.expect("3 + 3 = 6.")
    terminal.expect("you>")

    terminal.type(CONTROL_D)
    assert terminal.wait() == 0


@pytest.mark.parametrize("reply", ["", "no", "maybe", CONTROL_C, CONTROL_D])
def test_whatever_is_no_yes_denies(room: ChatRoom, chat: Open, reply: str) -> None:
    room.guard()
    terminal = chat("--tools", "calculator")

    terminal.enter("what is 1 + 1?")
    terminal.expect("say why not>")
    if reply in (CONTROL_C, CONTROL_D):
        terminal.type(reply)
    else:
        terminal.enter(reply)

    terminal.expect("somebody has to look at this sum: denied by")
    terminal.expect("you>")


def test_a_killed_conversation_goes_on_with_what_was_under_way(room: ChatRoom, chat: Open) -> None:
    terminal = chat("--tools", "calculator,doze")
    terminal.enter("what is 6 * 7?")
    terminal.expect("6 * 7 = 42.")
    terminal.expect("you>")
    terminal.enter("use doze {}")
    terminal.expect("asleep")
    os.kill(terminal.process.pid, signal.SIGKILL)
    terminal.process.wait()

    resumed = Terminal("chat", "--offline", "--last", "--take-over", folder=room.project, environment=room.environment)
    try:
        resumed.expect("1 turns so far")
        resumed.expect("goes on with what was cut off: use doze {}")
        resumed.expect("d(one)?>")
        resumed.enter("s")
        resumed.expect("doze")
        resumed.expect("you>")
        resumed.enter(".cost")
        resumed.expect("2 turns")
    finally:
        resumed.close()


def test_lines_of_a_pipe_are_answered_one_after_the_other(room: ChatRoom) -> None:
    code, out, err = room.pipe("what is 6 * 7?\nhello\\\nthere\n", "chat", "--tools", "calculator", "--name", "sums")

    assert code == 0
    assert out.startswith('6 * 7 = 42.\nI am no model, only rules. You said: "hello there".')
    assert "[calculator completed in" in err
    assert "2 answers: " in err
    assert "sums" in room.pipe("", "session", "list")[1]


def test_a_pipe_is_asked_nothing_and_json_is_one_answer_a_line(room: ChatRoom) -> None:
    room.guard()

    code, out, err = room.pipe("what is 1 + 1?\n.nope\nhello\n", "chat", "--tools", "calculator", "--output", "json")

    answers = [json.loads(line) for line in out.splitlines()]
    assert (code, [answer["steps"] for answer in answers]) == (1, [2, 1])
    assert answers[0]["tool_calls"][0]["status"] == "denied"
    assert "there is no command .nope" in err


def test_wrong_names_are_told_in_one_line(room: ChatRoom) -> None:
    for arguments, told in (
        (("--last",), "chat: there is none to go on with"),
        (("--resume", "x"), "session"),
        (("--tools", "nope"), "there is no tool 'nope'"),
    ):
        code, out, err = room.pipe("hello\n", "chat", *arguments)
        assert (code != 0, out, err.count("\n")) == (True, "", 1), arguments
        assert told in err


def test_forgetting_deletes_what_was_said(room: ChatRoom) -> None:
    code, out, _ = room.pipe("the word is plum\n.forget\n.history\n")

    assert (code, out.count("plum")) == (0, 1)
    assert room.pipe(".history\n", "chat", "--last")[1] == ""


def test_a_kind_of_agent_is_shown(room: ChatRoom) -> None:
    assert "options.quorum" in room.pipe("", "agent", "show", "swarm")[1]
    assert "there is none; there are basic" in room.pipe("", "agent", "show", "nope")[2]
