"""The child process's side of `process`: run by path, so it imports nothing of ours before its first job.

Invariant: a job's answer is one frame, and nothing that the job prints gets into it; the kernel ends this process, and
all that it started, when the host's end of the lifeline closes, even while a C function holds the interpreter. A frame
is a length (8 bytes, big-endian) and a pickle; one without a pickle comes before the answer of a job that asks for it,
when its work begins. Sizes in bytes.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import resource
import signal
import sys
import traceback
from typing import Any, BinaryIO

__all__ = ["main"]


def main() -> None:
    """Return jobs until there are no more."""
    _hang_on(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(0), "rb") as jobs, os.fdopen(os.dup(1), "wb") as answers:
        _silence()
        sys.path[:] = pickle.loads(_read(jobs) or b"")  # noqa: S301 - from the host
        while (job := _read(jobs)) is not None:
            _send(answers, _answer(job, answers))


def _hang_on(lifeline: int) -> None:
    """Let the kernel send SIGIO, whose default is to end us, to the whole group when the other end closes."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _silence() -> None:
    with open(os.devnull, "r+b") as nowhere:
        os.dup2(nowhere.fileno(), 0)
        os.dup2(nowhere.fileno(), 1)


def _read(jobs: BinaryIO) -> bytes | None:
    head = jobs.read(8)
    return jobs.read(int.from_bytes(head, "big")) if len(head) == 8 else None


def _send(answers: BinaryIO, data: bytes) -> None:
    answers.write(len(data).to_bytes(8, "big") + data)
    answers.flush()


def _answer(job: bytes, answers: BinaryIO) -> bytes:
    """The pickled answer: ``("value", value)``, ``("error", exception)`` or ``("failure", kind, text)``."""
    try:
        function_data, arguments_data, memory_bytes, output_bytes, timed = pickle.loads(job)  # noqa: S301 - the host's
        function = pickle.loads(function_data)  # noqa: S301 - as above; imports its module before memory is limited
        arguments = pickle.loads(arguments_data)  # noqa: S301
        if timed:
            _send(answers, b"")
        _limit(memory_bytes)
        try:
            data = pickle.dumps(("value", function(*arguments)), pickle.HIGHEST_PROTOCOL)
        finally:
            _limit(None)
        return data if len(data) <= output_bytes else _pack("failure", "output", str(len(data)))
    except MemoryError:
        return _pack("failure", "memory", "")
    except Exception as error:
        return _pack_error(error)


def _limit(memory_bytes: int | None) -> None:
    """Let the address space grow by this much from what it is, or without a limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = hard
    if memory_bytes is not None:
        with open("/proc/self/statm", "rb") as statm:
            now_bytes = int(statm.read().split()[0]) * resource.getpagesize()
        soft = now_bytes + memory_bytes if hard == resource.RLIM_INFINITY else min(now_bytes + memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _pack(*answer: Any) -> bytes:
    return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)


def _pack_error(error: Exception) -> bytes:
    """The error with its traceback as a note, if it survives pickling; else its name and text."""
    error.add_note("in the child process:\n" + "".join(traceback.format_exception(error)).rstrip())
    try:
        data = _pack("error", error)
        pickle.loads(data)  # noqa: S301 - what was just made
    except Exception:
        return _pack("failure", type(error).__qualname__, str(error))
    return data


if __name__ == "__main__":
    main()
