"""The prompt: through a pipe, and on a real terminal with keys, history, completion and Ctrl-C."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from room import Room
from terminal import CONTROL_C, CONTROL_D, TAB, UP, Terminal
from waiting import PATIENCE_S

GUARD = """
from llmspell_hookspecs import Cancel, hookimpl

@hookimpl(kind="guard")
def before_script_run(context):
    with open("seen.txt", "a") as file:
        file.write(context.subject.source + "|")
    return Cancel("that stays") if "forbidden" in context.subject.source else None
"""
STUBBORN = '''
import trio
from pydantic import BaseModel
from llmspell_hookspecs import Tool, ToolContext

class Nothing(BaseModel):
    """."""

class Stubborn(Tool[Nothing]):
    """Sleep whatever comes."""
    name = "stubborn"
    async def run(self, parameters: Nothing, context: ToolContext) -> None:
        print("asleep", flush=True)
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
'''
Open = Callable[..., Terminal]


class ReplRoom(Room):
    """With a prompt."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.history = root / "data" / "repl_history"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "llmspell", "repl", *arguments],
            cwd=self.project,
            env=self.environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def pipe(self, text: str, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, output and errors of a prompt that is given this."""
        with self.start(*arguments) as process:
            out, err = process.communicate(text, timeout=PATIENCE_S)
        assert "Traceback" not in err
        return process.returncode, out, err


@pytest.fixture
def room(tmp_path: Path) -> ReplRoom:
    return ReplRoom(tmp_path)


@pytest.fixture
def open_terminal(room: ReplRoom) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        terminal = Terminal("repl", *arguments, folder=room.project, environment=room.environment)
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        terminal.close()


# Through a pipe


def test_chunks_of_a_pipe_are_evaluated_one_after_the_other_and_their_values_printed(room: ReplRoom) -> None:
    code, out, err = room.pipe("1 + 1\nx = 20\nlocal y = 1\nx * 2\n'text', y\n{a = 1}\nprint('said')\n")

    assert (code, err) == (0, "")
    assert out == '2\n40\n[\n  "text",\n  null\n]\n{\n  "a": 1\n}\nsaid\n'


def test_a_chunk_may_span_lines_and_the_last_line_needs_no_end(room: ReplRoom) -> None:
    code, out, _ = room.pipe("for i = 1, 2 do\n  print(i)\nend\n\nf = function(n)\n  return n\nend\nf(\n7\n)")

    assert (code, out) == (0, "1\n2\n7\n")


def test_a_failure_is_one_line_the_rest_goes_on_and_the_end_says_so(room: ReplRoom) -> None:
    code, out, err = room.pipe("error('no luck')\nx = )\nnothing.here\n'still here'\nfor i = 1, 2 do\n")

    assert (code, out) == (1, "still here\n")
    assert [line.partition(" ")[0] for line in err.splitlines()] == ["llmspell:"] * 4
    assert err.splitlines()[0] == "llmspell: repl:1: no luck"
    assert err.splitlines()[3].startswith("llmspell: repl:1: 'end' expected")


def test_json_is_printed_if_it_is_asked_for(room: ReplRoom) -> None:
    _, out, _ = room.pipe("'a'\n.globals\n", "--output", "json")
    decoder = json.JSONDecoder()
    value, end = decoder.raw_decode(out)
    names, _ = decoder.raw_decode(out[end:].lstrip())

    assert value == "a"
    assert {"name": "Tool", "type": "object"} in names


def test_functions_and_host_objects_are_shown_by_their_names(room: ReplRoom) -> None:
    _, out, _ = room.pipe("{Tool, print}\n")

    assert json.loads(out) == ["ToolGlobal", "function"]


def test_a_script_that_reads_gets_the_lines_that_follow(room: ReplRoom) -> None:
    (room.project / "ask.lua").write_text("return 'hi ' .. io.read()")

    code, out, _ = room.pipe("name = io.read()\nAda\n'hello ' .. name\n.run ask.lua\nBob\n")

    assert (code, out) == (0, "hello Ada\nhi Bob\n")


def test_a_guard_sees_each_line_and_its_denial_is_one_line(room: ReplRoom) -> None:
    room.install("chaperon", GUARD, "[llmspell.plugins]\nchaperon = chaperon\n")

    code, out, err = room.pipe("x = 1\nx = 2 -- forbidden\nx\n")

    assert (code, out) == (1, "1\n")
    assert err.count("\n") == 1
    assert "that stays" in err
    assert (room.project / "seen.txt").read_text() == "x = 1|x = 2 -- forbidden|x|"


def test_limits_hold_for_each_chunk_and_the_session_outlives_them(room: ReplRoom) -> None:
    text = "while true do end\nt = {} for i = 1, 1e9 do t[i] = i end\nt = nil\n'alive'\n"

    code, out, err = room.pipe(text, "--set", "scripts.time_s=0.5", "--set", "scripts.memory_bytes=20000000")

    assert (code, out) == (1, "alive\n")
    assert "0.5 s of processor time" in err.splitlines()[0]
    assert "20000000 bytes of memory" in err.splitlines()[1]


def test_files_are_loaded_into_the_session_or_run_apart_from_it(room: ReplRoom) -> None:
    (room.project / "my tools.lua").write_text("loaded = (loaded or 0) + 1\nreturn ARGS.name")
    text = ".load 'my tools.lua'\n.run 'my tools.lua' --name=Ada\nloaded\n.load\n.load a b\n.run none.lua\n.run 'a\n"

    code, out, err = room.pipe(text)

    assert (code, out) == (1, "Ada\n1\n")
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        ".load: the file is missing; name one",
        ".load: 'b' is too much; it takes one file, .run takes arguments",
        "none.lua: it cannot be read: No such file or directory; name a file that can",
        ".run: no closing quotation; close the quotation",
    ]


def test_the_names_and_what_was_typed_are_listed(room: ReplRoom) -> None:
    code, out, _ = room.pipe("mine = {}\n.globals\n.history\n")

    assert code == 0
    assert "mine            table" in out
    assert "Tool            object" in out
    assert out.splitlines()[-3:] == ["    1  mine = {}", "    2  .globals", "    3  .history"]


def test_a_reset_forgets_globals_and_hooks(room: ReplRoom) -> None:
    hook = "Hook.register('BeforeToolExecution', function() return 'denied' end)"
    call = "Tool.invoke('calculator', {operation = 'evaluate', input = '1 + 1'}).result.result"

    code, out, err = room.pipe(f"x = 1\nhook = {hook}\n{call}\n.reset\nx\n{call}\n")

    assert (code, out) == (1, "2.0\n")
    assert err.count("\n") == 1
    assert "denied" in err


def test_help_lists_every_command_and_a_wrong_one_is_told_the_nearest(room: ReplRoom) -> None:
    code, out, err = room.pipe(".help\n.clear\n.globalz\n.zzz\n.5 + 1\n")

    assert code == 1
    assert all(f"\n{name} " in out for name in (".help", ".load", ".run", ".globals", ".history", ".clear", ".exit"))
    assert out.endswith("\n1.5\n")
    assert err.splitlines() == [
        "llmspell: there is no command .globalz; did you mean .globals?",
        "llmspell: there is no command .zzz; see .help",
    ]


@pytest.mark.parametrize("command", [".exit", ".quit"])
def test_the_prompt_ends_when_it_is_told(room: ReplRoom, command: str) -> None:
    assert room.pipe(f"1\n{command}\n2\n")[:2] == (0, "1\n")


def test_an_unknown_language_is_wrong_usage(room: ReplRoom) -> None:
    code, _, err = room.pipe("1\n", "--language", "cobol")

    assert code == 2
    assert err == "llmspell: language 'cobol': there is none; there are lua\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_prompt_without_a_terminal(room: ReplRoom, number: signal.Signals, code: int) -> None:
    for text in ("print('here') while true do end\n", "print('here')\n"):
        with room.start() as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(text)
            process.stdin.flush()
            assert process.stdout.readline() == "here\n"
            process.send_signal(number)

            ended = process.wait(timeout=PATIENCE_S)

        assert ended == code


def test_a_prompt_whose_output_nobody_reads_ends(room: ReplRoom) -> None:
    with room.start() as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.write("1\n2\n" * 50)
        process.stdin.close()

        assert process.wait(timeout=PATIENCE_S) == 141


# On a terminal


def test_a_terminal_shows_values_keeps_globals_and_ends_with_control_d(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()
    terminal.answer("1 + 1", "2")
    terminal.answer("x = 7 return x", "7")
    terminal.answer("x * 2", "14")
    terminal.answer("error('no')", "llmspell: repl:1: no")
    terminal.answer("x", "7")

    terminal.type(CONTROL_D)

    assert terminal.wait() == 0


def test_a_chunk_goes_on_in_the_next_line_until_it_is_complete(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()

    terminal.enter("for i = 1, 2 do")
    terminal.expect(" ...")
    terminal.enter("print(i * 111)")
    terminal.enter("end")

    terminal.expect("\n111\r\n222\r\n")


@pytest.mark.timing
def test_control_c_ends_an_endless_chunk_and_the_session_answers_the_next_line(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()
    terminal.enter("n = 1 print('begun') while true do end")
    terminal.expect("begun\r\n")

    pressed_s = time.monotonic()
    terminal.type(CONTROL_C)
    terminal.expect("llmspell: interrupted")

    assert time.monotonic() - pressed_s < 2
    terminal.prompt()
    terminal.answer("n", "1")


def test_control_c_ends_a_chunk_that_waits_for_the_host_or_for_a_line(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()
    for waiting in ("Event.receive(Event.subscribe('x'), 60000)", "io.read()"):
        terminal.enter(f"print('begun') {waiting}")
        terminal.expect("begun\r\n")
        time.sleep(0.2)
        terminal.type(CONTROL_C)
        terminal.expect("llmspell: interrupted")
        terminal.prompt()
        terminal.answer("'next'", "next")

    terminal.enter("'got ' .. io.read()")
    time.sleep(0.3)
    terminal.type("a line\n")
    terminal.expect("got a line")


def test_control_c_clears_what_is_typed(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()

    terminal.type("print('wrong')")
    terminal.expect("wrong")
    terminal.type(CONTROL_C)
    terminal.prompt()
    terminal.answer("'right'", "right")

    assert "\nwrong\r\n" not in terminal.shown


def test_an_interrupt_from_elsewhere_clears_what_is_typed_too(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()
    terminal.type("half a line")
    terminal.expect("line")

    terminal.process.send_signal(signal.SIGINT)
    terminal.prompt()

    terminal.answer("'alive'", "alive")


def test_names_are_completed(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()
    terminal.answer("own = {deeply = {buried = 'treasure'}} return 'ok'", "ok")

    terminal.type("own.de" + TAB)
    terminal.expect("own.deeply")
    terminal.type(".b" + TAB + "\r")
    terminal.expect("\ntreasure\r\n")

    terminal.prompt()
    terminal.type("Tool.inv" + TAB + TAB)
    terminal.expect("Tool.invoke_async")
    terminal.expect("lua> Tool.invoke")  # the line as it was, behind the list: then it listens again
    terminal.type(CONTROL_C)
    terminal.prompt()
    terminal.type(".glo" + TAB + "\r")
    terminal.expect("collectgarbage  function")


def test_history_is_kept_from_one_prompt_to_the_next_for_its_owner_only(room: ReplRoom, open_terminal: Open) -> None:
    first = open_terminal()
    first.prompt()
    first.answer("'from' .. ' before'", "from before")
    first.answer(" 'a ' .. 'secret'", "a secret")
    first.type(CONTROL_D)
    assert first.wait() == 0

    second = open_terminal()
    second.prompt()
    second.type(UP + "\r")
    second.expect("\nfrom before\r\n")
    second.prompt()
    second.enter(".history")
    second.expect("    1  'from' .. ' before'\r\n")

    assert stat.S_IMODE(room.history.stat().st_mode) == 0o600
    assert "secret" not in room.history.read_text()


def test_history_may_lie_elsewhere_and_a_place_that_cannot_be_written_is_told(
    room: ReplRoom, open_terminal: Open
) -> None:
    kept = room.project / "typed"
    kept.write_text("")
    kept.chmod(0o644)
    (room.project / "file").write_text("")

    elsewhere = open_terminal("--history", str(kept))
    elsewhere.prompt()
    elsewhere.answer("'a'", "a")
    nowhere = open_terminal("--history", "file/typed")
    told = nowhere.prompt()
    nowhere.answer("'b'", "b")

    assert "+'a'" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "file/typed: the history cannot be kept there: " in told


def test_handlers_of_the_session_are_served_while_the_prompt_waits(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()
    slow = "function() Event.receive(Event.subscribe('never'), 500) print('served above') end"
    terminal.enter(f"Event.on('later', {slow}) Event.publish('later', {{}}) return 'published'")
    terminal.expect("\npublished\r\n")
    terminal.prompt()
    terminal.type("'half ")

    terminal.expect("served above\r\n")
    terminal.enter("typed'")

    terminal.expect("\nhalf typed\r\n")


def test_the_screen_is_cleared(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()

    terminal.enter(".clear")
    terminal.prompt()
    terminal.answer("'after'", "after")

    assert terminal.raw.count(b"\x1b[2J") == 1


def test_a_termination_gives_the_terminal_back_as_it_was(open_terminal: Open) -> None:
    terminal = open_terminal()
    before = termios.tcgetattr(terminal.slave)
    terminal.prompt()
    terminal.answer("1", "1")
    during: Any = termios.tcgetattr(terminal.slave)

    terminal.process.send_signal(signal.SIGTERM)

    assert terminal.wait() == 143
    assert during != before
    assert termios.tcgetattr(terminal.slave) == before


def test_a_chunk_that_will_not_end_is_left_with_the_prompt_at_the_third_control_c(
    room: ReplRoom, open_terminal: Open
) -> None:
    room.install("stubborn", STUBBORN, "[llmspell.tools]\nstubborn = stubborn:Stubborn\n")
    terminal = open_terminal()
    terminal.prompt()
    terminal.enter("Tool.invoke('stubborn', {})")
    terminal.expect("asleep\r\n")

    for _ in range(3):
        terminal.type(CONTROL_C)
        time.sleep(0.2)

    assert terminal.wait() == 130


@pytest.mark.long
def test_a_session_that_is_lost_in_a_write_that_nobody_reads_is_followed_by_another(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.prompt()
    terminal.answer("x = 1 return x", "1")
    terminal.enter("print(('-'):rep(3e5))")
    time.sleep(0.5)
    terminal.type(CONTROL_C)
    time.sleep(3)
    terminal.expect("llmspell: interrupted")
    terminal.prompt()

    terminal.enter("x")

    terminal.expect("llmspell: the session is lost; a new one begins")
    terminal.prompt()
    terminal.answer("tostring(x)", "nil")
