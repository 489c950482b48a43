"""Files that a person names: whatever lies there, the answer is one line, and nothing waits for another program."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmspell.settings.document import set_plugin_enabled
from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.regular import MOST_BYTES, read_regular
from llmspell_plugins.commands.repl.terminal import open_history
from waiting import PATIENCE_S


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, MOST_BYTES + 1)


KINDS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a folder": lambda path: path.mkdir(),
    "a device without an end": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a huge file": make_huge,
}
WAYS = {
    "a script": ["run", "odd.lua"],
    "a session": ["exec", "dofile('odd.lua')"],
    "parameters": ["tool", "invoke", "calculator", "@odd.lua"],
    "settings": ["--config", "odd.lua", "config", "show"],
    "the trust store": ["trust"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_an_error_of_the_system_with_words(kind: str, folder: Path) -> None:
    KINDS[kind](folder / "odd")

    with pytest.raises(OSError) as caught:
        read_regular("odd")

    assert caught.value.strerror


def test_a_regular_file_is_read_whole_and_a_nul_is_no_name(folder: Path) -> None:
    (folder / "whole").write_bytes(b"x" * 300_000)

    assert read_regular("whole") == b"x" * 300_000
    with pytest.raises(OSError, match="cannot be the name"):
        read_regular("a\0b")


@pytest.mark.parametrize("way", WAYS)
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(way: str, folder: Path) -> None:
    names = ["odd.lua"]
    if way == "the trust store":
        (folder / "llmspell.toml").touch()
        names = ["data/trusted.json"]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        os.mkfifo(folder / name)

    done = subprocess.run(
        [sys.executable, "-m", "llmspell", *WAYS[way]],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "LLMSPELL_DATA_HOME": str(folder / "data")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert done.returncode in (1, 2), done
    assert "regular file" in done.stderr or "is no file" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("kind", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["a pipe", "a device"])
def test_a_history_that_is_no_regular_file_is_told_and_not_read(kind: Callable[[Path], object], folder: Path) -> None:
    kind(folder / "history")

    history, problem = open_history(folder / "history")

    assert "history: the history cannot be kept there: it is no regular file" in problem
    assert list(history.load_history_strings()) == []


def test_settings_that_are_edited_are_no_pipe(folder: Path) -> None:
    os.mkfifo(folder / "llmspell.toml")

    with pytest.raises(SettingsError, match="no regular file"):
        set_plugin_enabled(folder / "llmspell.toml", "calculator", False)


def test_parameters_are_read_from_a_file_with_a_byte_order_mark(folder: Path) -> None:
    text = json.dumps({"operation": "evaluate", "input": "1+1"})
    (folder / "given.json").write_bytes(b"\xef\xbb\xbf" + text.encode())

    command = [sys.executable, "-m", "llmspell", "tool", "invoke", "calculator", "@given.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["result"] == 2


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_a_pipe_that_the_process_was_given_is_read_to_its_end(name: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmspell", "run", name],
        input="print(6 * 7)",
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=PATIENCE_S,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


def test_a_given_pipe_through_which_nothing_comes_is_not_waited_for_without_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell_hookspecs.regular._WAIT_S", 0.0)
    out, _into = os.pipe()

    with pytest.raises(OSError, match="nothing came through it"):
        read_regular(f"/dev/fd/{out}")

    os.close(out)
    os.close(_into)
