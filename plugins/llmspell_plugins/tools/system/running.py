"""Running another program: held to limits by prlimit, in a group of its own that ends with the call.

Invariant: when the call is over, however, nobody of the program's group lives; of what it prints no more than the limit
is kept. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

import trio
from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

__all__ = ["Ended", "Limits", "run_program"]

_PIECE = 65_536


class Limits(Struct, frozen=True):
    """What a program may use.

    Attributes:
        time_s: How long it may run.
        memory_bytes: Its address space, and that of each program it starts.
        output_bytes: How much of each of its outputs is kept; it ends when it prints more.
        file_bytes: How large a file it may write.
    """

    time_s: float
    memory_bytes: int
    output_bytes: int
    file_bytes: int


class Ended(Struct):
    """How a program ended.

    Attributes:
        code: Its exit code; negative for the signal that ended it.
        stdout: What it printed.
        stderr: What it printed there.
        timed_out: Whether its time was over.
        truncated: Whether it printed more than is kept.
    """

    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool


async def run_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    limits: Limits,
    given: bytes = b"",
    *,
    who: str = "process_executor",
) -> Ended:
    """Run a program to its end.

    Args:
        command: Its file, and its arguments.
        environment: All of its environment.
        folder: Where it runs.
        limits: What it may use.
        given: Its input.
        who: For whom it runs, for messages.

    Raises:
        ToolError: It cannot be started.
    """
    holder = shutil.which("prlimit")
    if holder is None:
        raise ToolError(f"{who}: there is no prlimit to hold it; install util-linux", code="missing_program")
    held = [
        holder,
        f"--as={limits.memory_bytes}",
        f"--cpu={max(1, int(limits.time_s) + 1)}",
        f"--fsize={limits.file_bytes}",
        "--core=0",
        "--",
        *command,
    ]
    try:
        with trio.CancelScope(shield=True):  # what is started here must not get lost; takes some milliseconds
            process = await trio.lowlevel.open_process(
                held,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
    except UnicodeEncodeError as error:
        message = (
            f"process_executor: {command[0]!r:.100} cannot be given {error.object!r:.100}, which holds half of a letter"
        )
        raise ToolError(f"{message}; leave it out", code="invalid_input") from None
    except (OSError, ValueError) as error:
        message = f"{who}: {command[0]!r:.100} cannot be started ({line_of_error(error)}); check its arguments"
        raise ToolError(message, code="process") from error
    try:
        return await _to_its_end(process, limits, given)
    finally:
        _kill(process.pid)
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    await pipe.aclose()


async def _to_its_end(process: trio.Process, limits: Limits, given: bytes) -> Ended:
    kept: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    full = False

    async def keep(name: str) -> None:
        nonlocal full
        stream = process.stdout if name == "stdout" else process.stderr
        assert stream is not None
        while piece := await stream.receive_some(_PIECE):
            room = limits.output_bytes - len(kept[name])
            kept[name] += piece[:room]
            if len(piece) > room:
                full = True
                _kill(process.pid)
                return

    async def feed() -> None:
        assert process.stdin is not None
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await process.stdin.send_all(given)
        await process.stdin.aclose()

    async def watch() -> None:
        """End what the program left behind when it is gone itself, since that still holds the pipes."""
        await process.wait()
        _kill(process.pid)

    with trio.move_on_after(limits.time_s) as timer:
        async with trio.open_nursery() as writers:
            writers.start_soon(feed)
            async with trio.open_nursery() as readers:
                readers.start_soon(keep, "stdout")
                readers.start_soon(keep, "stderr")
                readers.start_soon(watch)
            writers.cancel_scope.cancel()
    if timer.cancelled_caught:
        _kill(process.pid)
    with trio.CancelScope(shield=True):
        code = await process.wait()
    return Ended(code, bytes(kept["stdout"]), bytes(kept["stderr"]), timer.cancelled_caught, full)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
