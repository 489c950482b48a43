"""The process_executor tool: runs a program that the settings allow, without a shell, and tells how it ended.

Invariant: a program is looked up by its bare name in the folders of the settings; what is denied never runs, whatever
is allowed. Those that read files by their arguments are given resolved paths that the rules allow, and no option that
reads others; those that could set the clock or the name of the machine only tell it. Nothing of the host's environment
is inherited. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final

import trio
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from llmspell_hookspecs import (
    FileAccess,
    InvalidInputError,
    SecurityLevel,
    Tool,
    ToolContext,
    ToolError,
    ToolExample,
    ToolResult,
)
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.tool import Access, PathAccess, ToolLimits

from .running import Ended, Limits, run_program

__all__ = ["ProcessExecutor", "ProcessExecutorParameters", "ProcessExecutorSettings"]

_ALLOWED: Final = (
    "arch",
    "basename",
    "cat",
    "date",
    "dirname",
    "echo",
    "expr",
    "false",
    "head",
    "hostname",
    "id",
    "ls",
    "nproc",
    "printf",
    "pwd",
    "seq",
    "tail",
    "true",
    "uname",
    "uptime",
    "wc",
    "whoami",
)
_DENIED: Final = [
    "ash",
    "bash",
    "busybox",
    "chmod",
    "chown",
    "chroot",
    "csh",
    "curl",
    "dash",
    "dd",
    "doas",
    "env",
    "fdisk",
    "fish",
    "kill",
    "killall",
    "ksh",
    "mkfs*",
    "mount",
    "nc",
    "ncat",
    "nohup",
    "parted",
    "passwd",
    "perl",
    "pkexec",
    "pkill",
    "poweroff",
    "python*",
    "reboot",
    "rm",
    "ruby",
    "scp",
    "setpriv",
    "sftp",
    "sh",
    "shutdown",
    "ssh",
    "su",
    "sudo",
    "systemctl",
    "tcsh",
    "telnet",
    "timeout",
    "umount",
    "unshare",
    "wget",
    "xargs",
    "zsh",
]
_READERS: Final = {
    "cat": "AbeEnstTuv",
    "head": "cnqvz",
    "ls": "1aABbCFGghIilmnopqQrSsTtUuvwXxZ",
    "tail": "cnqvz",
    "wc": "clLmw",
}
"""Those whose arguments are files, and the letters of the options that read no others."""
_TELLERS: Final = {
    "date": (
        re.compile(r"\+.*|-[uR]+|-I\w*|-u?d.*|--(utc|universal|rfc-email|(iso-8601|rfc-3339|date)(=.*)?)", re.DOTALL),
        frozenset({"-d", "-ud", "--date", "--rfc-3339"}),
        "+FORMAT, -d TIME, -u, -R or -I",
    ),
    "hostname": (re.compile(r"-[AadfIisy]+"), frozenset[str](), "-AadfIisy"),
}
"""Those that can do more than tell: the arguments that are let through, those that another follows, and their names."""
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}[bkKmMGT]?B?")
_REFUSED_VARIABLES: Final = [
    "*PATH",
    "LD_*",
    "DYLD_*",
    "*PRELOAD*",
    "*OPTIONS",
    "*OPTS",
    "*_ENV",
    "ENV",
    "IFS",
    "BASH*",
    "PERL*",
    "PYTHON*",
    "RUBY*",
    "NODE*",
    "JAVA*",
    "GIT_*",
    "SSH_*",
    "SHELL*",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "LESS*",
    "MAN*",
    "GCONV*",
    "MALLOC_*",
    "GLIBC_*",
    "TMPDIR",
    "HOME",
]
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,100}", re.ASCII)
_MOST_ARGUMENTS_BYTES: Final = 131_072


class ProcessExecutorParameters(BaseModel):
    """What the process_executor takes."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    executable: str = Field(
        min_length=1,
        max_length=200,
        validation_alias=AliasChoices("executable", "command"),
        description="The program's bare name; also called command. No shell reads it.",
    )
    arguments: list[str] = Field(
        default=[],
        max_length=1000,
        validation_alias=AliasChoices("arguments", "args"),
        description="Its arguments, each as it is; also called args.",
    )
    working_directory: str | None = Field(default=None, description="Where it runs; the first folder that may be read.")
    environment: dict[str, str] = Field(default={}, max_length=100, description="Its variables beside PATH and LANG.")
    input: str = Field(default="", max_length=1_000_000, description="What it reads from its standard input.")
    timeout_seconds: float = Field(default=30.0, gt=0, le=3600, description="When it is ended.")

    @field_validator("arguments", mode="after")
    @classmethod
    def _can_be_given(cls, given: list[str]) -> list[str]:
        if sum(map(len, given)) > _MOST_ARGUMENTS_BYTES or any("\0" in each for each in given):
            raise ValueError(f"they hold a NUL, or more than {_MOST_ARGUMENTS_BYTES} characters")
        return given


class ProcessExecutorSettings(BaseModel):
    """``[tools.process_executor]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allowed: tuple[str, ...] = Field(
        default=_ALLOWED,
        description="Globs of programs that may run. One that is added here reads and writes what the system lets it: "
        "the rules for paths and hosts hold for its working directory only.",
    )
    denied: tuple[str, ...] = Field(default=tuple(_DENIED), description="Globs of programs that never run.")
    search_path: tuple[str, ...] = Field(
        default=("/usr/local/bin", "/usr/bin", "/bin"), description="The folders that programs are looked up in."
    )
    timeout_s: float = Field(default=30.0, gt=0, description="How long a program may run.")
    max_output_bytes: int = Field(default=1024 * 1024, ge=0, description="How much of each output is kept.")
    max_memory_bytes: int = Field(default=512 * 1024 * 1024, ge=1, description="The address space of each process.")
    max_file_size_bytes: int = Field(default=50 * 1024 * 1024, ge=0, description="The largest file that it may write.")


class ProcessExecutor(Tool[ProcessExecutorParameters]):
    """Run a program that the settings allow, without a shell, and tell its exit code and output."""

    name = "process_executor"
    aliases = ("process-executor",)
    category = "system"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=60)
    examples = (
        ToolExample(
            "a line",
            {"executable": "echo", "arguments": ["hello"]},
            {"exit_code": 0, "success": True, "stdout": "hello\n"},
            needs="a folder that may be read",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = ProcessExecutorSettings
    settings: ProcessExecutorSettings

    def access(self, parameters: ProcessExecutorParameters) -> Sequence[Access]:
        """Return the working directory."""
        return (PathAccess("working_directory"),) if parameters.working_directory is not None else ()

    async def run(self, parameters: ProcessExecutorParameters, context: ToolContext) -> ToolResult:
        """Return ``{executable, arguments, exit_code, success, stdout, stderr, execution_time_ms, timed_out}``.

        Raises:
            SecurityError: The program, an argument of it or a variable is not allowed.
            ToolError: There is no such program, or it cannot be started.
        """
        settings = self.settings
        program = await context.run_thread(self._program, parameters.executable)
        files = context.services.get(FileAccess)
        folder = parameters.working_directory or next(iter(files.roots("read")), "/")
        if not await context.run_thread(os.path.isdir, folder):
            message = f"process_executor: working_directory: {folder!r:.200} is no folder; name one"
            raise InvalidInputError(message, field="working_directory")
        arguments = parameters.arguments
        if parameters.executable in _READERS:
            arguments = await context.run_thread(_judged, parameters, folder, files)
        elif parameters.executable in _TELLERS:
            _check_telling(parameters)
        limits = Limits(
            min(settings.timeout_s, parameters.timeout_seconds),
            settings.max_memory_bytes,
            settings.max_output_bytes,
            settings.max_file_size_bytes,
        )
        context.charge(2 * settings.max_output_bytes)
        path = ":".join(settings.search_path)
        environment = {"PATH": path, "LANG": "C.UTF-8", **_checked(parameters.environment)}
        started = trio.current_time()
        ended = await run_program([program, *arguments], environment, folder, limits, parameters.input.encode())
        elapsed_ms = round((trio.current_time() - started) * 1000)
        return _answer(parameters, ended, elapsed_ms)

    def _program(self, name: str) -> str:
        settings = self.settings
        if "/" in name or name.startswith((".", "-")):
            message = f"process_executor: executable: {name!r:.100} is no bare name; programs are looked up by name"
            raise SecurityError(message, rule="process")
        real = shutil.which(name, path=":".join(settings.search_path))
        names = {name} if real is None else {name, os.path.basename(os.path.realpath(real))}
        denied = any(fnmatchcase(each, pattern) for each in names for pattern in settings.denied)
        if denied or not any(fnmatchcase(name, pattern) for pattern in settings.allowed):
            advice = "see the settings tools.process_executor.allowed and denied"
            if len(name.split()) > 1:  # as a shell would take it; there is none
                advice = "give the program's name alone, and the rest as arguments"
            message = f"process_executor: executable: {name!r:.100} is not allowed; {advice}"
            raise SecurityError(message, rule="process")
        if real is None:
            message = f"process_executor: executable: there is no program {name!r:.100}; check its name"
            raise ToolError(message, code="not_found")
        return real


def _judged(parameters: ProcessExecutorParameters, folder: str, files: FileAccess) -> list[str]:
    """The arguments of a program that reads files, each file resolved; read by the rules, or refused."""
    letters = _READERS[parameters.executable]
    judged: list[str] = []
    named = False
    for argument in parameters.arguments:
        if argument.startswith("-") and argument != "-":
            if not re.fullmatch(rf"-[{letters}]+\d*|-\d+", argument):
                message = (
                    f"process_executor: arguments: {argument!r:.100} is no option that is let through to "
                    f"{parameters.executable}; take -{letters}"
                )
                raise SecurityError(message, rule="process")
            judged.append(argument)
        elif argument == "-" or (_NUMBER.fullmatch(argument) and judged and judged[-1] in ("-n", "-c")):
            judged.append(argument)
        else:
            judged.append(files.resolve(os.path.join(folder, argument), "read"))
            named = True
    if parameters.executable == "ls" and not named:
        judged.append(files.resolve(folder, "read"))
    return judged


def _check_telling(parameters: ProcessExecutorParameters) -> None:
    """Refuse an argument by which a program would read a file, or change what it tells of."""
    pattern, followed, names = _TELLERS[parameters.executable]
    before = ""
    for argument in parameters.arguments:
        if before not in followed and not pattern.fullmatch(argument):
            message = (
                f"process_executor: arguments: {argument!r:.100} is no argument that is let through to "
                f"{parameters.executable}; take {names}"
            )
            raise SecurityError(message, rule="process")
        before = "" if before in followed else argument


def _checked(environment: dict[str, str]) -> dict[str, str]:
    for name, value in environment.items():
        refused = any(fnmatchcase(name.upper(), pattern) for pattern in _REFUSED_VARIABLES)
        if refused or not _VARIABLE.fullmatch(name) or "\0" in value:
            message = f"process_executor: environment: {name!r:.100} may not be set; leave it out"
            raise SecurityError(message, rule="environment")
    return environment


def _answer(parameters: ProcessExecutorParameters, ended: Ended, elapsed_ms: int) -> ToolResult:
    success = ended.code == 0 and not ended.timed_out and not ended.truncated
    result: dict[str, Any] = {
        "executable": parameters.executable,
        "arguments": list(parameters.arguments),
        "exit_code": ended.code,
        "success": success,
        "stdout": ended.stdout.decode("utf-8", "replace"),
        "stderr": ended.stderr.decode("utf-8", "replace"),
        "execution_time_ms": elapsed_ms,
        "timed_out": ended.timed_out,
        "truncated": ended.truncated,
    }
    how = "took too long" if ended.timed_out else "printed too much" if ended.truncated else f"ended with {ended.code}"
    error = None if success else {"message": f"{parameters.executable} {how}", "code": "process"}
    message = f"{parameters.executable} {how}"
    return ToolResult(operation="run", success=success, result=result, message=message, error=error)
