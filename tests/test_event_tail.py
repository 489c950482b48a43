"""``llmspell event tail``: real processes that publish, stop and die, and the lines that a person or a program sees."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from rich.cells import cell_len

from llmspell import Host
from llmspell_hookspecs import Event
from llmspell_hookspecs.any_json import to_json
from llmspell_hookspecs.errors import SecurityError
from llmspell_plugins.commands.event.line import EventLines, colour_of
from llmspell_plugins.services.event_tail import LINE_BYTES, Meeting, Request, encode_event, is_ours
from waiting import PATIENCE_S, until

PUBLISH = """
for number = 1, 3 do Event.publish("user.created", {id = number}) end
Event.publish("job.failed", {why = "no\\27[31m"})
Event.publish("job.completed")
"""
TICK = """
print("up")
local never = Event.subscribe("never")
while true do Event.publish("tick.tock") Event.receive(never, 20) end
"""
FLOOD = 'for number = 1, 12000 do Event.publish("flood.drop", number) end print("done")'


class Desk:
    """A user's machine: a folder with scripts, and the processes that were started in it."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True)
        self.meeting = root / "data" / "run"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "LLMSPELL_CONFIG_HOME": str(root / "config"),
            "LLMSPELL_DATA_HOME": str(root / "data"),
        }
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "env": self.environment, **options}
        command = [sys.executable, "-m", "llmspell", *arguments]
        process = subprocess.Popen(command, cwd=self.project, text=True, stderr=subprocess.PIPE, **options)
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def script(self, source: str, name: str = "a.lua") -> str:
        (self.project / name).write_text(source)
        return name

    def requests(self) -> list[Path]:
        return sorted(self.meeting.glob("tail-*.json"))

    def tail(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a tail and wait until hosts can see it."""
        known = set(self.requests())
        process = self.start("event", "tail", *arguments, **options)
        wait_until(lambda: set(self.requests()) - known or process.poll() is not None)
        return process

    def close(self) -> None:
        for process in self.started:
            with process:  # which closes its pipes
                process.kill()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def wait_until(ready: Callable[[], object]) -> None:
    until(ready)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of its output; it must come."""
    assert process.stdout is not None
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    line = process.stdout.readline()
    watchdog.cancel()
    assert line, "no line came"
    return line


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    process.send_signal(signal.SIGINT)
    return ended(process)


# What is seen.


@pytest.mark.long
def test_a_waiting_tail_sees_a_later_process_from_its_first_event_to_its_last(desk: Desk) -> None:
    tail = desk.tail("--limit", "7")
    started = desk.run("run", desk.script(PUBLISH))

    code, out, err = ended(tail)

    assert started == (0, "", "")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    own = ["user.created"] * 3 + ["job.failed", "job.completed"]
    assert [line.split()[1] for line in lines] == ["script.started", *own, "script.completed"]
    assert re.fullmatch(
        r'\d\d:\d\d:\d\d\.\d{3}  user\.created    script:a\.lua run\[\d+\]  \S{8}  \{"id":1\}', lines[1]
    )
    assert desk.requests() == list(desk.meeting.iterdir()) == []


@pytest.mark.long
def test_several_patterns_choose_and_json_is_one_object_a_line(desk: Desk) -> None:
    tail = desk.tail("--pattern", "user.*", "--pattern", "job.completed", "--output", "json", "--limit", "4")
    desk.run("run", desk.script(PUBLISH))

    code, out, err = ended(tail)

    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [event["type"] for event in events] == ["user.created"] * 3 + ["job.completed"]
    assert [event["data"] for event in events] == [{"id": 1}, {"id": 2}, {"id": 3}, None]
    assert {(event["process"], event["source"]) for event in events} == {("run", "script:a.lua")}
    assert len({event["pid"] for event in events}) == 1


@pytest.mark.long
def test_what_becomes_of_operations_is_seen(desk: Desk) -> None:
    tail = desk.tail("--pattern", "tool.*", "--output", "json", "--limit", "4")
    desk.run("tool", "invoke", "calculator", "operation=evaluate", "input=2 + 2")
    desk.run("tool", "invoke", "calculator", "operation=evaluate", "input=2 +")

    events = [json.loads(line) for line in ended(tail)[1].splitlines()]

    assert [event["type"] for event in events[:3]] == ["tool.started", "tool.completed", "tool.started"]
    assert events[3]["type"] in ("tool.failed", "tool.completed")
    assert {(event["process"], event["source"]) for event in events} == {("tool invoke", "tool:calculator")}


@pytest.mark.long
def test_processes_that_run_already_are_seen_too_and_an_interrupt_ends_both_cleanly(desk: Desk) -> None:
    host = desk.start("run", desk.script(TICK))
    assert read_line(host) == "up\n"
    tail = desk.tail("--pattern", "tick.*")

    first = read_line(tail)
    stopped = interrupt(host)
    code, _, err = interrupt(tail)

    assert " tick.tock  script:a.lua run[" in first
    assert stopped == (130, "", "llmspell: interrupted\n")
    assert (code, err) == (130, "llmspell: interrupted\n")  # and no word of missing events
    assert desk.requests() == []


@pytest.mark.long
def test_the_last_event_of_a_process_that_is_interrupted_is_seen(desk: Desk) -> None:
    tail = desk.tail("--pattern", "script.*", "--limit", "2")
    host = desk.start("run", desk.script(TICK))
    read_line(host)

    interrupt(host)
    code, out, err = ended(tail)

    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()] == ["script.started", "script.cancelled"]


@pytest.mark.long
def test_a_script_is_run_and_watched_in_one_process_and_its_exit_code_kept(desk: Desk) -> None:
    name = desk.script('print(ARGS[1]) Event.publish("a.b", {x = 1}) Event.publish("c.d") error("enough")')

    plain = desk.run("event", "tail", "--pattern", "?.?", name, "--", "hello")
    as_json = desk.run("event", "tail", "--output", "json", "--pattern", "a.*", name, "--", "hello")

    assert plain[0] == as_json[0] == 1
    assert "hello" in plain[1].splitlines()
    assert [line.split()[1] for line in plain[1].splitlines() if ":" in line] == ["a.b", "c.d"]
    assert plain[2].startswith("llmspell: a.lua:1: ")
    assert plain[2].count("\n") == 1
    assert json.loads(as_json[1])["data"] == {"x": 1}
    assert as_json[2].splitlines()[0] == "hello"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pattern", "{a"], "llmspell: event pattern '{a': a '{' does not close; write {a,b}\n"),
        (["--limit", "0"], "llmspell: Invalid value for '--limit': 0 is not in the range x>=1;"),
        (["gone.lua"], "llmspell: Invalid value for '[SCRIPT]': File 'gone.lua' does not exist;"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(desk: Desk, arguments: list[str], message: str) -> None:
    code, out, err = desk.run("event", "tail", *arguments)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(message)


# Colours and width.


def on_terminal(desk: Desk, columns: int, *arguments: str, **variables: str) -> str:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = desk.start(*arguments, stdout=follower, env={**desk.environment, "TERM": "xterm", **variables})
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # how a terminal says that nobody writes any more
            break
        shown += piece
    os.close(leader)
    assert ended(process)[0] == 0
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.long
def test_a_terminal_gets_colours_by_the_last_segment_and_lines_that_fit(desk: Desk) -> None:
    name = desk.script(PUBLISH + 'Event.publish("user.denied", {text = string.rep("long ", 50)})')

    shown = on_terminal(desk, 80, "event", "tail", name)
    uncoloured = on_terminal(desk, 80, "event", "tail", name, NO_COLOR="1")

    plain = re.sub(r"\x1b\[\d*m", "", shown)
    for colour, topic in ((36, "user.created"), (31, "job.failed"), (32, "job.completed"), (33, "user.denied")):
        assert f"\x1b[{colour}m{topic}" in shown
    assert "\x1b" not in uncoloured
    assert "\\u001b[31m" in plain
    assert max(len(line) for line in plain.splitlines()) == 80
    assert plain.splitlines()[-1].endswith("…")


@pytest.mark.long
def test_what_is_no_terminal_gets_colours_only_if_asked_for_and_whole_lines(desk: Desk) -> None:
    name = desk.script('Event.publish("a.failed", {text = string.rep("long ", 50)})')

    plain = desk.run("event", "tail", name)[1]
    coloured = desk.run("event", "tail", "--color", "--pattern", "a.*", name)[1]

    assert "\x1b" not in plain
    assert "\x1b[31ma.failed\x1b[0m" in coloured
    assert "long " * 50 in plain


@pytest.mark.parametrize(
    ("topic", "colour"),
    [
        ("a.error", "red"),
        ("a:failed", "red"),
        ("x.cancelled", "yellow"),
        ("completed", "green"),
        ("a.failed.b", "cyan"),
    ],
)
def test_the_colour_is_that_of_the_last_segment(topic: str, colour: str) -> None:
    assert colour_of(topic) == colour


@given(
    st.builds(
        Event,
        st.text(min_size=1),
        st.recursive(
            st.text() | st.floats() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
        ),
        source=st.text(),
        correlation_id=st.text(),
        timestamp=st.floats(),
    ),
    st.integers(0, 120),
)
def test_a_line_is_one_line_whatever_the_event_holds(event: Event, width: int) -> None:
    plain = EventLines(to_json, width=width).line(event, "run", 1)
    as_json = EventLines(to_json, as_json=True).line(event, "run", 1)

    for line in (plain, as_json):
        assert line.endswith("\n")
        assert line[:-1].isprintable()
    assert width == 0 or cell_len(plain[:-1]) <= width
    assert isinstance(json.loads(as_json), str | dict)


# What goes wrong.


@pytest.mark.long
@pytest.mark.timing
def test_a_tail_that_does_not_read_delays_nobody_and_says_that_it_missed_something(desk: Desk) -> None:
    shown = desk.project / "shown.json"
    with shown.open("w") as file:
        tail = desk.tail("--output", "json", "--pattern", "flood.*", stdout=file)
    tail.send_signal(signal.SIGSTOP)

    began = time.monotonic()
    host = desk.run("run", desk.script(FLOOD))
    took_s = time.monotonic() - began
    tail.send_signal(signal.SIGCONT)
    assert tail.stderr is not None
    told = tail.stderr.readline()
    interrupt(tail)

    numbers = [json.loads(line)["data"] for line in shown.read_text().splitlines()]
    assert host == (0, "done\n", "")
    assert took_s < 30
    assert numbers == sorted(numbers)
    assert 0 < len(numbers) < 12_000
    assert told.endswith("]: it ended without a word; its last events may be missing\n")


@pytest.mark.long
def test_what_a_slow_tail_is_not_sent_is_counted(desk: Desk) -> None:
    tail = desk.tail("--output", "json", "--pattern", "flood.*")
    host = desk.start("run", desk.script(FLOOD.replace("print(", TICK.replace('"up"', '"flooded"') + "print(")))
    tail.send_signal(signal.SIGSTOP)
    assert read_line(host) == "flooded\n"

    tail.send_signal(signal.SIGCONT)
    seen = 1
    while json.loads(read_line(tail))["data"] != 12_000:
        seen += 1
    interrupt(host)
    _, _, err = interrupt(tail)

    lost = sum(int(number) for number in re.findall(r"run\[\d+\]: (\d+) events were dropped", err))
    assert lost > 0
    assert seen + lost == 12_000


@pytest.mark.long
def test_a_killed_tail_harms_no_host_and_is_tidied_up(desk: Desk) -> None:
    tail = desk.tail()
    host = desk.start("run", desk.script(FLOOD.replace("12000", "4000")))
    read_line(tail)

    tail.kill()
    code, out, err = ended(host)
    left = len(desk.requests())
    desk.run("exec", "return 1")

    assert (code, out, err) == (0, "done\n", "")
    assert left <= 1
    assert list(desk.meeting.iterdir()) == []


@pytest.mark.long
def test_a_killed_host_is_told_of_and_the_tail_goes_on(desk: Desk) -> None:
    tail = desk.tail("--limit", "100000")
    host = desk.start("run", desk.script(TICK))
    read_line(tail)

    host.kill()
    desk.run("exec", 'Event.publish("still.here")')
    while " still.here " not in read_line(tail):
        pass
    _, _, err = interrupt(tail)

    assert f"llmspell: warning: run[{host.pid}]: it ended without a word; its last events may be missing\n" in err
    assert "exec[" not in err


def test_a_folder_that_is_open_to_others_is_refused_by_both_sides(desk: Desk) -> None:
    desk.meeting.mkdir(parents=True)
    desk.meeting.chmod(0o755)

    code, out, err = desk.run("event", "tail")
    host = desk.run("-vv", "exec", "return 1")

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.endswith("is open to others (owner 0, mode 0755); chmod 700 it\n".replace("0,", f"{os.geteuid()},"))
    assert host[:2] == (0, "1\n")
    assert "is open to others" in host[2]


def test_a_link_in_the_folders_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(OSError):
        Meeting(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a process as somebody else")
def test_a_process_of_another_user_is_told_from_ours() -> None:
    name = f"\0llmspell-test-{os.getpid()}"
    code = "import os, socket; os.setresuid({0}, {0}, {0}); socket.socket(socket.AF_UNIX).connect({1!r}); input()"
    answers = []

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        for user in (65534, os.geteuid()):
            with subprocess.Popen([sys.executable, "-c", code.format(user, name)], stdin=subprocess.PIPE) as process:
                connection, _ = listener.accept()
                answers.append(is_ours(connection))
                connection.close()
                process.communicate(b"\n")

    assert answers == [False, True]


# Switched off, and in code.


@pytest.mark.long
def test_a_host_whose_settings_switch_the_tap_off_is_not_seen(desk: Desk) -> None:
    tail = desk.tail("--pattern", "{user,job,seen}.*", "--limit", "1", "--output", "json")
    desk.run("run", desk.script(PUBLISH), "--set", "events.tap=false")
    desk.run("exec", 'Event.publish("seen.now")')

    seen = json.loads(ended(tail)[1])
    warned = desk.tail("--set", "events.tap=false")

    assert seen["type"] == "seen.now"
    assert "llmspell: warning: events.tap is off" in interrupt(warned)[2]


def named(name: str) -> dict[str, Any]:
    return {"plugins": {"event_tail": {"name": name}}}


def owners(host: Host) -> list[str]:
    return [info.owner for info in host.events.subscriptions()]


@pytest.mark.parametrize("name", ["", "mine"])
async def test_a_host_in_code_is_seen_only_under_a_name_and_only_while_settings_allow_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMSPELL_DATA_HOME", str(tmp_path))
    meeting = Meeting(tmp_path / "run", create=True)
    waiting, listener = meeting.listen(Request(("user.*",)))
    seen = []

    async with Host.open(named(name), discover=False) as host:
        seen.append(owners(host))
        host.events.publish_nowait("user.created", 1)
        await trio.sleep(0.05)
        await host.settings.change("events.tap", False)
        with trio.move_on_after(PATIENCE_S):
            while owners(host):
                await trio.sleep(0.01)
        seen.append(owners(host))
    meeting.withdraw(waiting)
    meeting.close()

    assert seen == ([["tail"], []] if name else [[], []])
    listener.setblocking(False)
    if name:
        connection, _ = listener.accept()
        sent = connection.recv(10_000).splitlines()
        connection.close()
        assert json.loads(sent[0]) == {"process": {"name": "mine", "pid": os.getpid()}}
        assert json.loads(sent[1])["event"]["data"] == 1
    else:
        with pytest.raises(BlockingIOError):
            listener.accept()
    listener.close()


async def test_requests_that_make_no_sense_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSPELL_DATA_HOME", str(tmp_path))
    meeting = Meeting(tmp_path / "run", create=True)
    wrong = [meeting.listen(Request(patterns, capacity)) for patterns, capacity in ((("{",), 10), (("*",), 0))]
    (tmp_path / "run" / "tail-0-a.json").write_text("no JSON")
    (tmp_path / "run" / "tail-0-b.json").write_text('{"patterns": ["**"], "version": 99}')
    (tmp_path / "run" / "tail-0-c.json").write_text('{"patterns": ["**"]}')  # nobody listens
    good = meeting.listen(Request(("**",)))

    async with Host.open(named("mine"), discover=False) as host:
        seen = owners(host)
    left = meeting.names()
    for name, listener in (*wrong, good):
        meeting.withdraw(name)
        listener.close()
    meeting.close()

    assert seen == ["tail"]
    assert "tail-0-c" not in left


class Grumpy:
    """Does not want to be written."""

    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("data", "written"),
    [
        ({"at": {1, 2}}, {"at": [1, 2]}),
        ({"key": SecretStr("hidden")}, {"key": "**********"}),
        (Grumpy(), "<left out: ValueError>"),
        ("\ud800", "<left out: UnicodeEncodeError>"),
        ("x" * LINE_BYTES, f"<left out: {LINE_BYTES + 231} bytes>"),
    ],
)
def test_data_of_any_kind_are_sent_or_named(data: Any, written: Any) -> None:
    event = Event("a.b", data, id="1", timestamp=5.0, sequence=7)

    sent = json.loads(encode_event(event))["event"]

    assert sent["data"] == written
    assert (sent["type"], sent["timestamp"], sent["sequence"]) == ("a.b", 5.0, 7)


def test_a_killed_tails_socket_without_a_request_goes_when_it_is_old(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path / "run", create=True)
    for age_s, name in ((0, "young"), (100, "old")):
        file = tmp_path / "run" / f"tail-1-{name}.sock"
        file.touch()
        os.utime(file, (file.stat().st_mtime - age_s,) * 2)

    name, listener = meeting.listen(Request(("**",)))
    left = {file.name for file in (tmp_path / "run").iterdir()}
    listener.close()
    meeting.close()

    assert left == {"tail-1-young.sock", f"{name}.json", f"{name}.sock"}


def test_an_opened_folder_must_be_closed_to_the_group_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)

    with pytest.raises(SecurityError, match=r"mode 0750.*; chmod 700 it"):
        Meeting(tmp_path)
