"""The log of the command line, as real processes: what the host tells, in which form, and what becomes of a bad one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from packages import install
from waiting import PATIENCE_S

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error) (llmspell[\w.]*|\w[\w.]*): \S.*")
HOOK = "from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl\n"
CALL = 'Tool.invoke("calculator", {operation = "evaluate", input = "1"})'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "site").mkdir()
    return tmp_path


def run(folder: Path, *arguments: str, stderr: Any = subprocess.PIPE, **more: str) -> subprocess.CompletedProcess[str]:
    places = {"LLMSPELL_CONFIG_HOME": str(folder / "user"), "LLMSPELL_DATA_HOME": str(folder / "data")}
    known = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder / "site"), **places, **more}
    return subprocess.run(
        [sys.executable, "-m", "llmspell", *arguments],
        cwd=folder,
        env=known,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_what_is_loaded_is_told_with_time_level_name_and_how_long_it_took(folder: Path) -> None:
    install(folder / "site", "quick", name="quick", code=HOOK + "@hookimpl\ndef after_tool_execution(context): ...\n")

    lines = run(folder, "exec", CALL, "--log-level", "info").stderr.splitlines()

    assert all(LINE.fullmatch(line) for line in lines), lines
    for word in ("plugin quick", "language lua", "tool calculator"):
        assert any(re.search(rf" info llmspell\.plugins: {word}: loaded in [\d.]+ ms \(", line) for line in lines), word


def test_an_import_that_works_long_is_a_warning_that_names_it(folder: Path) -> None:
    code = "import time\nend_s = time.thread_time() + 1.1\nwhile time.thread_time() < end_s: pass\n" + HOOK
    install(folder / "site", "slow", name="slow", code=f"{code}@hookimpl\ndef after_tool_execution(context): ...\n")

    (line,) = run(folder, "exec", "return 1").stderr.splitlines()

    text = r"plugin slow: its import took 1\.\d s of processor time; import what is heavy .*"
    assert re.fullmatch(rf"\S+Z warning llmspell\.plugins: {text}", line)


def test_an_import_that_only_waits_as_on_a_busy_machine_is_no_warning(folder: Path) -> None:
    code = "import time\ntime.sleep(1.1)\n" + HOOK + "@hookimpl\ndef after_tool_execution(context): ...\n"
    install(folder / "site", "slow", name="slow", code=code)

    assert run(folder, "exec", "return 1").stderr == ""


def test_a_breaker_tells_cause_time_and_remedy(folder: Path) -> None:
    code = HOOK + "@hookimpl\ndef before_tool_execution(context): raise ValueError('no luck')\n"
    install(folder / "site", "broken", name="broken", code=code)

    lines = run(folder, "exec", f"for i = 1, 4 do {CALL} end").stderr.splitlines()

    (told,) = [line for line in lines if "breaker" in line]
    assert told.endswith(
        "warning llmspell.hooks: hook broken.before_tool_execution at before_tool_execution: its breaker is open for "
        "15 s, and it is left out: 3 failures within 30 s, the last: no luck; fix it, or see hooks.breaker"
    )


@pytest.mark.parametrize(
    ("code", "settings", "told"),
    [
        (CALL, ("plugins.required=missing",), "required plugin missing is not loaded"),
        ("io.open('/etc/shadow')", (), "/etc/shadow"),
        (CALL, (), "tool:calculator: denied by hook denier.before_tool_execution at before_tool_execution: not today"),
    ],
)
def test_an_operation_that_is_refused_is_told(code: str, settings: tuple[str, ...], told: str, folder: Path) -> None:
    if "denied" in told:
        guard = "@hookimpl(kind='guard')\ndef before_tool_execution(context): return Cancel('not today')\n"
        install(folder / "site", "denier", name="denier", code=HOOK + guard)
    options = [part for setting in settings for part in ("--set", setting)]

    ended = run(folder, "exec", f"pcall(function() {code} end)", "--log-level", "info", *options)

    refused = [line for line in ended.stderr.splitlines() if " info llmspell.operations: " in line]
    assert any(told in line for line in refused), ended.stderr


def test_a_line_for_programs_is_one_object_in_the_file_that_was_named(folder: Path) -> None:
    noisy = "import logging\nlogging.getLogger('their.own').warning('odd\\x1b[2J\\nthing')\n" + HOOK
    code = noisy + "@hookimpl\ndef before_tool_execution(context): raise ValueError('x')\n"
    install(folder / "site", "noisy", name="noisy", code=code)

    ended = run(folder, "exec", CALL, "--log-format", "json", "--log-file", "it.log")

    rows = [json.loads(line) for line in (folder / "it.log").read_text().splitlines()]
    assert ended.stderr == ""
    assert all({"time", "level", "logger", "message"} <= set(row) for row in rows)
    assert {"their.own", "llmspell.hooks"} <= {row["logger"] for row in rows}
    assert "odd\\x1b[2J thing" in {row["message"] for row in rows}
    assert (folder / "it.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_and_nothing_that_steers_a_terminal_is_in_the_log(form: str, folder: Path) -> None:
    said = "sekret-of-the-settings sekret-of-the-environment password=hunter22"
    said += " https://u:pass-of-a-url@h/?token=in-a-query-1 Bearer abcdefgh"
    code = HOOK + f"@hookimpl\ndef before_tool_execution(context): raise ValueError('\\x1b]0;x\\x07 {said}')\n"
    install(folder / "site", "leaky", name="leaky", code=code)
    (folder / "user").mkdir()
    (folder / "user" / "llmspell.toml").write_text(
        '[providers.p]\ntype = "offline"\napi_key = "sekret-of-the-settings"\n'
    )

    ended = run(folder, "exec", CALL, "--log-format", form, MY_API_KEY="sekret-of-the-environment")

    assert "leaky" in ended.stderr
    for part in ("sekret", "pass-of", "in-a-query", "abcdefgh", "hunter22", "\x1b", "\x07"):
        assert part not in ended.stderr, ended.stderr


@pytest.mark.parametrize("place", ["/dev/full", "missing/folder/it.log", ".", "fifo", "x\0y", "closed stderr"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_that_cannot_be_written_harms_nobody_and_is_told_once(place: str, form: str, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    options = ["--log-level", "debug", "--log-format", form]
    if place == "closed stderr":
        with open("/dev/full", "w") as full:
            ended = run(folder, "exec", "return 1", *options, stderr=full)
        assert (ended.returncode, ended.stdout) == (0, "1\n")
        return
    if "\0" in place:  # no process can be given that
        (folder / "user").mkdir()
        (folder / "user" / "llmspell.toml").write_text('[logging]\nfile = "x\\u0000y"\n')
    else:
        options += ["--log-file", place]

    ended = run(folder, "exec", "return 1", *options)

    lines = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (0, "1\n")
    assert sum("it cannot be written" in line for line in lines) == 1
    assert any("language lua: loaded" in line for line in lines)
    assert all(json.loads(line) if form == "json" else LINE.fullmatch(line) for line in lines)


def test_a_project_names_no_file_for_the_log_and_the_user_does(folder: Path) -> None:
    (folder / "llmspell.toml").write_text('[logging]\nfile = "taken.log"\n')
    refused = run(folder, "exec", "return 1")
    (folder / "llmspell.toml").unlink()
    (folder / "user").mkdir()
    (folder / "user" / "llmspell.toml").write_text('[logging]\nfile = "~/own.log"\nlevel = "info"\n')
    taken = run(folder, "exec", "return 1")

    assert (refused.returncode, (folder / "taken.log").exists()) == (2, False)
    assert "logging.file" in refused.stderr
    assert (taken.returncode, taken.stderr) == (0, "")
    assert "loaded in" in (folder / "own.log").read_text()
