"""Whatever is thrown at the command line ends with a line for people and a code, never with a Python traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from waiting import PATIENCE_S

COMMAND = Path(sys.executable).parent / "llmspell"


def llmspell(folder: Path, *arguments: str, redirect: str = "") -> subprocess.CompletedProcess[str]:
    places = {"LLMSPELL_CONFIG_HOME": str(folder / "user"), "LLMSPELL_DATA_HOME": str(folder / "data")}
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" "$@" {redirect}', str(COMMAND), *arguments],
        cwd=folder,
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("nested", b"x = " + b"[" * 3000, "nested too deeply"),
        ("a long number", b"[limits]\ndepth = " + b"9" * 6000, "too long"),
        ("no UTF-8", b"\xff", "not UTF-8"),
        ("a NUL in a path", b'[security.paths]\nread = ["\\u0000"]', "NUL"),
        ("a wrong type", b"limits = 3", "it is a table"),
    ],
)
def test_a_settings_file_that_is_broken_is_named(name: str, text: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "llmspell.toml").write_bytes(text)

    ended = llmspell(tmp_path, "exec", "return 1")

    assert ended.returncode == 2
    assert "llmspell.toml" in ended.stderr
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (os.urandom(16) + b"\xff", "not UTF-8"),
        (b"\x1bLua\x54", "unexpected symbol"),
        (b"return " + b"(" * 5000, "overflow"),
        (b"return " + b"{" * 5000, "overflow"),
    ],
    ids=["random", "bytecode", "calls", "tables"],
)
def test_a_file_that_is_no_script_is_one_line(text: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.lua").write_bytes(text)

    ended = llmspell(tmp_path, "run", "x.lua")

    assert ended.returncode == 1
    assert told in ended.stderr
    assert "traceback" not in ended.stderr.lower()
    assert "[host]" not in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the shell's own")
@pytest.mark.parametrize(("redirect", "code"), [(">&-", 0), (">&- 2>&-", 0), ("<&-", 0), (">/dev/full", 1)])
def test_streams_that_are_closed_or_full_are_no_traceback(redirect: str, code: int, tmp_path: Path) -> None:
    if "full" in redirect and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")

    script = llmspell(tmp_path, "exec", "print(io.read() or 'nothing')", redirect=redirect)
    listing = llmspell(tmp_path, "tool", "list", redirect=redirect)

    for ended in (script, listing):
        assert ended.returncode == code
        assert "Traceback" not in ended.stderr
        assert "Error:" not in ended.stderr or "No space left" in ended.stderr
