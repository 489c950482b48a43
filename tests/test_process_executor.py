"""process_executor: real programs, held against what a subprocess of the test's says."""

from __future__ import annotations

import os
import string
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import opened
from llmspell_hookspecs import InvalidInputError, LlmspellError, ToolError
from llmspell_hookspecs.errors import OperationTimeoutError, SecurityError
from llmspell_plugins.tools.system.process_executor import ProcessExecutor, ProcessExecutorSettings
from tool_host import ask, oracle, settings_of
from waiting import PATIENCE_S

SHELL = {"allowed": ["sh", "sleep", "head"], "denied": []}


async def told(folder: Path, executable: str, *arguments: str, own: Any = None, **more: Any) -> Any:
    given = {"executable": executable, "arguments": list(arguments), **more}
    return (await ask(ProcessExecutor, folder, own, **given)).result


def alive(mark: str) -> list[str]:
    """The processes whose command line holds the mark."""
    found = subprocess.run(["pgrep", "-f", mark], capture_output=True, text=True, check=False)
    return found.stdout.split()


async def test_a_program_runs_as_it_does_elsewhere(tmp_path: Path) -> None:
    result = await told(tmp_path, "uname", "-srm")

    assert result["stdout"] == oracle("uname", "-srm").decode()
    assert (result["exit_code"], result["success"], result["timed_out"], result["stderr"]) == (0, True, False, "")
    assert (result["executable"], result["arguments"]) == ("uname", ["-srm"])


async def test_arguments_are_given_as_they_are(tmp_path: Path) -> None:
    odd = ["$HOME", "`id`", "a b", "*", ";", "ä\n", ""]

    result = await told(tmp_path, "printf", "<%s>", *odd)

    assert result["stdout"] == "".join(f"<{each}>" for each in odd)


async def test_input_working_directory_and_variables_reach_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()

    script = 'cat; pwd; echo "$COLOUR"; env | sort'
    more = {"input": "in\n", "working_directory": f"{tmp_path}/sub", "environment": {"COLOUR": "blue"}}
    result = await told(tmp_path, "sh", "-c", script, own=SHELL, **more)

    given, place, colour, *variables = result["stdout"].splitlines()
    assert (given, place, colour) == ("in", f"{tmp_path}/sub", "blue")
    assert {line.split("=")[0] for line in variables} == {"COLOUR", "LANG", "PATH", "PWD"}


async def test_an_exit_code_and_an_error_are_told(tmp_path: Path) -> None:
    answer = await ask(ProcessExecutor, tmp_path, SHELL, executable="sh", arguments=["-c", "echo oh >&2; exit 7"])

    assert (answer.success, answer.result["exit_code"], answer.result["stderr"]) == (False, 7, "oh\n")
    assert answer.error is not None
    assert answer.error["code"] == "process"


async def test_files_that_may_be_read_are_shown_as_cat_and_wc_show_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")

    assert (await told(tmp_path, "cat", f"{tmp_path}/a.txt"))["stdout"] == "one\ntwo\nthree\n"
    assert (await told(tmp_path, "head", "-n", "1", "a.txt"))["stdout"] == "one\n"
    counted = (await told(tmp_path, "wc", "-l", "a.txt"))["stdout"]
    assert counted == oracle("wc", "-l", f"{tmp_path}/a.txt").decode()
    assert (await told(tmp_path, "ls"))["stdout"] == "a.txt\n"


async def test_a_line_for_a_shell_is_told_how_to_be_given(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="'echo hi' is not allowed; give the program's name alone"):
        await told(tmp_path, "echo hi")


@pytest.mark.parametrize(
    ("executable", "arguments"),
    [
        ("cat", ["/etc/passwd"]),
        ("cat", ["link"]),
        ("cat", [".hidden"]),
        ("cat", ["--", "/etc/passwd"]),
        ("wc", ["--files0-from=/etc/passwd"]),
        ("head", ["-n1", "../../../../etc/passwd"]),
        ("ls", ["-R"]),
        ("ls", ["/"]),
        ("tail", ["-f", "a.txt"]),
        ("rm", ["-rf", "a.txt"]),
        ("sh", ["-c", "id"]),
        ("/bin/cat", ["a.txt"]),
        ("../bin/cat", []),
        ("grep", ["x"]),
        ("-h", []),
    ],
)
async def test_what_is_not_allowed_is_refused(tmp_path: Path, executable: str, arguments: list[str]) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")

    with pytest.raises(SecurityError):
        await told(tmp_path, executable, *arguments)
    assert (tmp_path / "a.txt").exists()


async def test_half_a_letter_is_no_argument(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="holds half of a letter; leave it out") as caught:
        await told(tmp_path, executable="echo", arguments=["\ud800"])

    assert caught.value.code == "invalid_input"


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "PYTHONPATH", "BASH_ENV", "a=b", "", "ld_preload"])
async def test_variables_that_change_what_runs_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecurityError, match="may not be set"):
        await told(tmp_path, "echo", environment={name: "x"})


async def test_a_denied_program_does_not_run_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "list").symlink_to("/bin/sh")

    with pytest.raises(SecurityError):
        own = {"allowed": ["*"], "denied": ["dash", "bash", "sh"], "search_path": [str(tmp_path)]}
        await told(tmp_path, "list", "-c", "id", own=own)
    with pytest.raises(ToolError, match="there is no program"):
        await told(tmp_path, "no-such-program", own={"allowed": ["*"]})


async def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    result = await told(tmp_path, "sh", "-c", "sleep 987.1 & echo begun; sleep 987.1", own=SHELL, timeout_seconds=0.3)

    assert (result["timed_out"], result["success"], result["stdout"]) == (True, False, "begun\n")
    assert alive("sleep 987.1") == []


async def test_what_a_program_leaves_behind_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    result = await told(tmp_path, "sh", "-c", "sleep 987.2 & echo done", own=SHELL)

    assert (result["stdout"], result["exit_code"], result["timed_out"]) == ("done\n", 0, False)
    assert alive("sleep 987.2") == []


async def test_a_cancelled_call_leaves_no_process(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, tools={"process_executor": SHELL})
    async with opened(ProcessExecutor, settings=settings) as host:
        with pytest.raises(OperationTimeoutError):
            given = {"executable": "sh", "arguments": ["-c", "sleep 987.3; true"]}
            await host.call("tool:process_executor", given, deadline_s=0.3)

    assert alive("sleep 987.3") == []


async def test_one_that_prints_without_end_is_cut_and_ended(tmp_path: Path) -> None:
    own = {**SHELL, "max_output_bytes": 100_000}

    with trio.fail_after(PATIENCE_S):
        result = await told(tmp_path, "sh", "-c", "while :; do echo 0123456789; done", own=own)
    exact = await told(tmp_path, "head", "-c", "100000", input="x" * 200_000, own=own)

    assert (len(result["stdout"]), result["truncated"], result["success"]) == (100_000, True, False)
    assert (len(exact["stdout"]), exact["truncated"], exact["success"]) == (100_000, False, True)


async def test_memory_and_files_are_held_to_their_limits(tmp_path: Path) -> None:
    own = {**SHELL, "max_memory_bytes": 100_000_000, "max_file_size_bytes": 1000}
    large = f"head -c 5000 /dev/zero > {tmp_path}/out"

    memory = await told(tmp_path, "sh", "-c", "head -c 900000000 /dev/zero | tail -n 1 | head -c 1", own=own)
    file = await told(tmp_path, "sh", "-c", large, own=own)

    assert "memory exhausted" in memory["stderr"]
    assert not file["success"]
    assert os.path.getsize(tmp_path / "out") <= 1000


async def test_what_is_too_much_to_give_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        await told(tmp_path, "echo", "x" * 200_000)
    with pytest.raises(InvalidInputError, match="is no folder"):
        (tmp_path / "file").write_text("x")
        await told(tmp_path, "echo", working_directory=f"{tmp_path}/file")


@pytest.mark.long
@pytest.mark.parametrize("program", ProcessExecutorSettings().allowed)
async def test_no_letter_of_an_option_reads_a_file_that_the_rules_refuse(tmp_path: Path, program: str) -> None:
    folder, secret = tmp_path / "open", tmp_path / "secret.txt"
    folder.mkdir()
    secret.write_text("tomorrow-7319\n")
    before = (os.uname().nodename, secret.read_text())

    async with opened(ProcessExecutor, settings=settings_of(folder)) as host:
        for letter in string.ascii_letters + string.digits:
            for arguments in ([f"-{letter}", str(secret)], [f"-{letter}{secret}"], [f"-u{letter}", str(secret)]):
                try:
                    given = {"executable": program, "arguments": arguments}
                    answer = await host.call("tool:process_executor", given)
                except LlmspellError:
                    continue
                assert "7319" not in str(answer.result["stdout"]) + str(answer.result["stderr"]), arguments

    assert (os.uname().nodename, secret.read_text()) == before


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("date", ["--file=secret.txt"]),
        ("date", ["--fil", "secret.txt"]),
        ("date", ["-s", "tomorrow"]),
        ("date", ["010100002000"]),
        ("date", ["-d", "now", "-f", "secret.txt"]),
        ("hostname", ["elsewhere"]),
        ("hostname", ["--file=secret.txt"]),
        ("hostname", ["-b"]),
    ],
)
async def test_what_tells_the_time_or_a_name_sets_neither(tmp_path: Path, program: str, arguments: list[str]) -> None:
    with pytest.raises(SecurityError, match=f"process_executor: arguments: .* let through to {program}; take "):
        await told(tmp_path, program, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-u", "-d", "@0"],
        ["-ud", "@0", "+%F"],
        ["-u", "--date=2024-02-29", "--iso-8601=date"],
        ["-u", "-d2024-02-29", "-R"],
    ],
)
async def test_a_moment_is_told_as_date_tells_it(tmp_path: Path, arguments: list[str]) -> None:
    result = await told(tmp_path, "date", *arguments)

    assert result["stdout"] == oracle("date", *arguments).decode()
