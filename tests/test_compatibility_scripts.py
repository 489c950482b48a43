"""Whole scripts in the style of rs-llmspell's users, run as they run them and held to what they print."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmspell import Host
from llmspell_testing import HostRunner, ScriptOutput, TemporarySettings
from waiting import PATIENCE_S

SCRIPTS = Path(__file__).parent / "compatibility" / "scripts"

pytestmark = pytest.mark.long


def run(name: str, *arguments: str) -> list[str]:
    """Run a script by the command line; answer the lines that it printed."""
    command = [sys.executable, "-m", "llmspell", "run", str(SCRIPTS / name), *(("--", *arguments) if arguments else ())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent; ``/missing`` with 404, ``/sometimes`` with 503 the first time."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = 404 if self.path == "/missing" else 200
        if self.path == "/sometimes":
            type(self).asked += 1
            status = 503 if self.asked == 1 else 200
        text = json.dumps({"method": self.command, "headers": headers, "body": body}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *arguments: Any) -> None:
        """Keep the tests' output clean."""


@contextmanager
def echo() -> Iterator[str]:
    Echo.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def expected(name: str) -> list[str]:
    return (SCRIPTS / name).with_suffix(".txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", ["helpers.lua", "hooks.lua", "debugging.lua"])
def test_an_old_script_prints_what_it_used_to(name: str, llmspell_settings: TemporarySettings) -> None:
    llmspell_settings.write_project('[logging]\nlevel = "error"\n')

    printed = run(name)

    assert printed == expected(name)


def test_files_are_handled_in_lua_and_by_tools_alike(
    llmspell_settings: TemporarySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = llmspell_settings.project / "work"
    folder.mkdir()
    monkeypatch.setenv("SCRIPT_TEST_FOLDER", str(folder))
    llmspell_settings.write_user('[security]\nenvironment = ["SCRIPT_TEST_FOLDER"]\n')

    printed = run("files.lua")

    assert printed == ["7 passed, 0 failed at a good time"]
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("llmspell_settings")
def test_arguments_are_read_as_they_were() -> None:
    printed = run("arguments.lua", "in.csv", "--name", "Ada", "--count", "2", "out.csv", "--verbose")

    assert printed == [
        "script: arguments.lua",
        "1. Hello, Ada!",
        "2. Hello, Ada!",
        "verbose: true\tmissing: default",
        "positional: 2 in.csv|out.csv",
        "also in ARGS: in.csv out.csv",
        "named: count=2 name=Ada verbose=true",
    ]


@pytest.mark.usefixtures("llmspell_settings")
def test_a_flag_takes_the_word_behind_it() -> None:
    printed = run("arguments.lua", "--name", "value", "--flag", "pos1", "--on", "--count=1")

    assert printed[1:] == [
        "1. Hello, value!",
        "verbose: false\tmissing: default",
        "positional: 0 ",
        "also in ARGS: nil nil",
        "named: count=1 flag=pos1 name=value on=true",
    ]


@pytest.mark.usefixtures("llmspell_settings")
def test_a_script_without_arguments_has_its_defaults() -> None:
    printed = run("arguments.lua")

    assert printed[1:] == [
        "1. Hello, World!",
        "verbose: false\tmissing: default",
        "positional: 0 ",
        "also in ARGS: nil nil",
        "named: ",
    ]


def test_http_requests_are_made_as_they_were(llmspell_host: HostRunner, llmspell_output: ScriptOutput) -> None:
    async def main(host: Host) -> None:
        with echo() as url:
            await host.run_script(SCRIPTS / "http.lua", arguments=[url])

    llmspell_host(main, settings={"security": {"hosts": {"private": ["127.0.0.1"]}}})

    assert llmspell_output.lines == expected("http.lua")


def test_every_script_is_run_here() -> None:
    names = {path.name for path in SCRIPTS.glob("*.lua")}

    assert names == {"arguments.lua", "debugging.lua", "files.lua", "helpers.lua", "hooks.lua", "http.lua"}
