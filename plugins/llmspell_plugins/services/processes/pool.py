"""Functions in child processes: held to a memory limit, and killed with all they started when nobody waits any more.

Invariant: no child outlives its pool, nor the host, however either ends; a cancelled call's child is dead before the
cancellation goes on; a child sees none of the host's environment but the few names in `_INHERITED`. The functions are
trusted code, what they work on need not be. A warm child answers in well under a millisecond; the first call of a child
takes the start of an interpreter and the import of the function's module. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import trio

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error
from llmspell_hookspecs.plugin import Closing
from llmspell_hookspecs.services import Processes

__all__ = ["ProcessPool", "ProcessService"]

_WORKER = str(Path(__file__).with_name("worker.py"))
_INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
_MAX_JOBS = 500
_LARGE_BYTES = 262_144
_ENVELOPE_BYTES = 65_536
_START_S = 60.0
_LATE = "the child process did not begin within {:g} s; see whether this machine has too much to do, and ask again"
_LONG = "the work took longer than {:g} s and was stopped; give less, or something simpler"


class ProcessPool(Closing):
    """Warm child processes; an async context manager that leaves none behind."""

    def __init__(self, max_processes: int | None = None) -> None:
        """Make an empty pool; children start when they are needed.

        Args:
            max_processes: How many run at once; the number of processors if None.
        """
        self._limiter = trio.CapacityLimiter(max_processes or os.cpu_count() or 1)
        self._children: set[_Child] = set()
        self._idle: list[_Child] = []
        self._closed = False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Kill every child and wait until they are gone; calls that run end with a `ToolError`."""
        self._closed = True
        self._idle.clear()
        with trio.CancelScope(shield=True):
            for child in tuple(self._children):
                await self._end(child)

    async def run(
        self,
        function: Callable[..., Any],
        /,
        *arguments: Any,
        memory_bytes: int = 256 * 1024 * 1024,
        output_bytes: int = 64 * 1024 * 1024,
        work_s: float | None = None,
    ) -> Any:
        """Run a module-level function and return what it returns; see the contract's `Processes`."""
        name = getattr(function, "__qualname__", repr(function))
        limits = (memory_bytes, output_bytes, work_s is not None)
        job = await trio.to_thread.run_sync(_pack, name, function, arguments, limits)
        async with self._limiter:
            data = await self._exchange(name, job, output_bytes, work_s)
        if len(data) > _LARGE_BYTES:
            answer = await trio.to_thread.run_sync(pickle.loads, data)
        else:
            answer = pickle.loads(data)  # noqa: S301 - from a child that runs trusted functions
        return _unwrap(name, answer, memory_bytes, output_bytes)

    async def _exchange(self, name: str, job: bytes, output_bytes: int, work_s: float | None) -> bytes:
        """Send a job to a child, and get its answer; whatever goes wrong on the way kills the child.

        The clock of the work begins with the frame that says that it begins: how long an interpreter takes to start,
        and a module to be imported, is the machine's affair.
        """
        child = await self._child(name)
        healthy = False
        try:
            with _bounded(name, _START_S if work_s is not None else None, _LATE):
                await child.send(job)
                data = await child.receive(output_bytes + _ENVELOPE_BYTES)
            if not data:
                with _bounded(name, work_s, _LONG):
                    data = await child.receive(output_bytes + _ENVELOPE_BYTES)
            child.jobs += 1
            healthy = child.jobs < _MAX_JOBS and not _is_memory_failure(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError) as error:
            code = await self._end(child)
            why = "the pool is closed" if self._closed else _ending(code)
            raise ToolError(f"{name}: the child process gave no answer, {why}; ask for less", code="process") from error
        finally:
            if healthy and not self._closed:
                self._idle.append(child)
            else:
                await self._end(child)
        return data

    async def _child(self, name: str) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if child.process.poll() is None:
                return child
            await self._end(child)
        if not self._closed:
            child = await _Child.start()
            if not self._closed:
                self._children.add(child)
                return child
            await child.end()
        raise ToolError(f"{name}: the pool of child processes is closed; open the host again", code="process")

    async def _end(self, child: _Child) -> int:
        self._children.discard(child)
        return await child.end()


class ProcessService(ProcessPool):
    """The host's pool, as many children as there are processors; implements the contract's `Processes`."""

    name: ClassVar[str] = "processes"
    provides: ClassVar[type[Any]] = Processes

    def __init__(self) -> None:
        super().__init__()


class _Child:
    """One child process and the pipes to it."""

    def __init__(self, process: trio.Process, lifeline: int) -> None:
        self.process = process
        self.jobs = 0
        self._lifeline = lifeline
        self._greeting = _frame(pickle.dumps([str(entry) for entry in sys.path]))

    @classmethod
    async def start(cls) -> Self:
        """Start an interpreter; it is warm once its first job is done."""
        far, near = os.pipe()
        try:
            with trio.CancelScope(shield=True):  # what is started here must not get lost; takes some milliseconds
                process = await trio.lowlevel.open_process(
                    [sys.executable, "-E", "-s", "-P", _WORKER, str(far)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={key: os.environ[key] for key in _INHERITED if key in os.environ},
                    pass_fds=(far,),
                    start_new_session=True,
                )
        except OSError:
            os.close(near)
            raise
        finally:
            os.close(far)
        return cls(process, near)

    async def send(self, data: bytes) -> None:
        """Send a frame."""
        assert self.process.stdin is not None
        frames = self._greeting + _frame(data)
        self._greeting = b""
        await self.process.stdin.send_all(frames)

    async def receive(self, max_bytes: int) -> bytes:
        """Return the next frame.

        Raises:
            EOFError: There is none, or it is larger than any answer can be.
        """
        size_bytes = int.from_bytes(await self._receive_exactly(8), "big")
        if size_bytes > max_bytes:
            raise EOFError(size_bytes)
        return await self._receive_exactly(size_bytes)

    async def _receive_exactly(self, size_bytes: int) -> bytes:
        assert self.process.stdout is not None
        data = bytearray()
        while len(data) < size_bytes:
            part = await self.process.stdout.receive_some(min(size_bytes - len(data), 1 << 20))
            if not part:
                raise EOFError(len(data))
            data += part
        return bytes(data)

    async def end(self) -> int:
        """Kill it with all it started, wait until it is gone, and return its exit code; may be called twice."""
        with trio.CancelScope(shield=True):
            if self.process.returncode is None:
                _kill_tree(self.process.pid)
            code = await self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    await pipe.aclose()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        return code


@contextlib.contextmanager
def _bounded(name: str, limit_s: float | None, words: str) -> Iterator[None]:
    """Raise an error of these words if what is inside takes longer."""
    with trio.move_on_after(math.inf if limit_s is None else limit_s) as scope:
        yield
    if scope.cancelled_caught:
        raise ToolError(f"{name}: {words.format(limit_s)}", code="timeout")


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data


def _kill_tree(pid: int) -> None:
    """Kill a process that is not yet waited for, its group, and its descendants in other groups."""
    descendants = _descendants(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for each in (*descendants, pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for listing in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(word) for word in listing.read_text().split()]
                found += children
                waiting += children
    return found


def _pack(name: str, function: Callable[..., Any], arguments: Sequence[Any], limits: tuple[int, int, bool]) -> bytes:
    """A job; function and arguments apart, so that the child can limit its memory after the function's import."""
    try:
        parts = (pickle.dumps(function), pickle.dumps(tuple(arguments), pickle.HIGHEST_PROTOCOL))
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError) as error:
        why = line_of_error(error)
        message = f"{name}: it cannot be sent to a child process ({why}); give a module-level function and plain values"
        raise InvalidInputError(message, field="function") from error
    return pickle.dumps((*parts, *limits), pickle.HIGHEST_PROTOCOL)


def _is_memory_failure(data: bytes) -> bool:
    """Whether the child ran out of memory: it may be in any state then, and is not used again."""
    return len(data) < 200 and pickle.loads(data)[:2] == ("failure", "memory")  # noqa: S301 - as in `run`


def _unwrap(name: str, answer: tuple[Any, ...], memory_bytes: int, output_bytes: int) -> Any:
    match answer:
        case ("value", value):
            return value
        case ("error", error):
            raise error
        case ("failure", "memory", _):
            message = f"{name}: it needs more than {memory_bytes} bytes of memory; ask for less, or raise the limit"
            raise ResourceLimitError(message, resource="memory_bytes", limit=memory_bytes)
        case ("failure", "output", size):
            message = f"{name}: the answer has {size} bytes, above the limit of {output_bytes}; ask for less"
            raise ResourceLimitError(message, resource="output_bytes", limit=output_bytes)
    raise ToolError(f"{name}: {answer[1]}: {answer[2]}", code="process", details={"type": answer[1]})


def _ending(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"it was ended by {name}" + (", perhaps out of memory" if name in ("SIGABRT", "SIGKILL", "SIGSEGV") else "")
