"""What the host does for Lua's io and os: files inside the policy, waiting, the script's output and input.

Whatever is done to a file is an operation of the tool file_operations, and there is no other way: it is read, removed
and renamed by it, and what a script writes goes through it with its content, at each flush.

Invariant: no file is ever held open, so policy is asked as it is when something is read or written; nothing here blocks
the loop. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import base64
import errno
import fnmatch
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import trio
from msgspec import Struct

from llmspell_hookspecs import Calls, FileAccess, LlmspellError, ToolError
from llmspell_hookspecs.entropy import Entropy
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.language import ScriptInterface
from llmspell_hookspecs.secret import is_secret_name
from llmspell_hookspecs.services import SettingsAccess

__all__ = ["System"]

_MOST_FILES: Final = 200
_MOST_BYTES: Final = 1024 * 1024
_GAP_BYTES: Final = 64 * 1024 * 1024
"""How far behind its end a file may be written to: what lies between is filled with zeros."""


class _File(Struct):
    """A file that a script has open: where it stands in it, and what it has seen of it.

    Attributes:
        path: As the script named it.
        reads: Whether it may be read.
        writes: Whether it may be written.
        appends: Whether what is written goes to the end.
        size: Of the file, as of the last operation.
        content: What is in it, as of the last operation; None if that was not read.
        at: Where the next read or write is.
    """

    path: str
    reads: bool
    writes: bool
    appends: bool
    size: int = 0
    content: bytes | None = None
    at: int = 0


class System:
    """The files of one script, and what else it asks of the system."""

    def __init__(self, interface: ScriptInterface) -> None:
        self._interface = interface
        self._entropy = interface.services.get(Entropy)
        self._files: dict[int, _File] = {}
        self._last = 0
        self._operations: dict[str, Callable[..., Awaitable[Any]]] = {
            "close": self._close,
            "open": self._open,
            "read": self._read,
            "remove": self._remove,
            "rename": self._rename,
            "seek": self._seek,
            "tmpname": self._make_temporary,
            "write": self._write,
        }

    @property
    def has_files(self) -> bool:
        """Whether a file is open."""
        return bool(self._files)

    async def answer(self, question: str, arguments: list[Any]) -> Any:
        """Return a question that takes time; what cannot be done is answered as Lua does: nil, a text, a number."""
        if question == "sleep":
            return await trio.sleep(arguments[0])
        if question == "read_line":
            read = partial(self._entropy.draw, "read_line", self._interface.scope.read_line)
            line = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
            return None if line is None else f"{line}\n"
        try:
            return await self._operations[question](*arguments)
        except OSError as error:
            named = _text(arguments[0]) + ": " if arguments and not isinstance(arguments[0], int) else ""
            return None, f"{named}{error.strerror or error}", error.errno
        except LlmspellError as error:
            return None, " ".join(str(error).split()), 13
        except ValueError as error:
            return None, line_of_error(error), 22

    def answer_now(self, question: str, arguments: list[Any]) -> Any:
        """Return a question that takes no time, on whatever thread."""
        if question == "print":
            return self._interface.scope.write(_text(arguments[0]))
        if question == "drawn":
            return self._drawn(*arguments)
        name = _text(arguments[0])
        if is_secret_name(name):  # no record holds its value
            return self._variable(name)
        return self._entropy.draw(f"getenv {name}", partial(self._variable, name))

    def _drawn(self, name: str, value: Any = None) -> Any:
        """Return what a script draws, by what it is in this run."""
        return self._entropy.draw(name, partial(secrets.randbits, 63) if name == "seed" else lambda: value)

    def close(self) -> None:
        """Let go of all files."""
        self._files.clear()

    def _variable(self, name: str) -> str | None:
        try:
            allowed = self._interface.services.get(SettingsAccess).plain("security.environment")
        except LlmspellError:
            return None
        if not isinstance(allowed, list | tuple):
            return None
        spelled_out = is_secret_name(name)
        known = name in allowed if spelled_out else any(fnmatch.fnmatchcase(name, each) for each in allowed)
        return os.environ.get(name) if known else None

    async def _open(self, path: str | bytes, mode: str) -> int:
        if len(self._files) >= _MOST_FILES:
            raise ValueError(f"{_text(path)}: {_MOST_FILES} files are open; close some")
        kind, both = mode[0], "+" in mode
        file = _File(os.fsdecode(path), kind == "r" or both, kind != "r" or both, kind == "a")
        if kind == "r" or (kind == "a" and both and await self._exists(file.path)):
            await self._look(file)
        if file.writes:  # what may not be written is refused now, not when the first block is full
            answer = await self._operate("write" if kind == "w" else "append", path=file.path, input="")
            file.size = answer.result["size"]
        self._last += 1
        self._files[self._last] = file
        return self._last

    async def _look(self, file: _File) -> bytes:
        """Return what is in the file."""
        if file.content is None:
            file.content = await self._read_whole(file.path)
            file.size = len(file.content)
        return file.content

    async def _read_whole(self, path: str) -> bytes:
        answer = await self._operate("read", path=path, encoding="base64")
        return await trio.to_thread.run_sync(base64.b64decode, answer.result["input"])

    async def _exists(self, path: str) -> bool:
        answer = await self._operate("exists", path=path)
        return bool(answer.result["exists"])

    async def _operate(self, operation: str, **parameters: str) -> Any:
        """Run an operation of the file tool, with the same hooks as for everybody else."""
        try:
            calls = self._interface.services.get(Calls)
            return await calls.call("tool:file_operations", {"operation": operation, **parameters}, apart=True)
        except ToolError as error:
            raise error.__cause__ if isinstance(error.__cause__, OSError) else error from None

    async def _read(self, number: int, size: int) -> bytes | None:
        file = self._files[number]
        if not file.reads:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        content = await self._look(file)
        some = content[file.at : file.at + min(size, _MOST_BYTES)]
        file.at += len(some)
        return some or None

    async def _write(self, number: int, text: str | bytes) -> bool:
        file, some = self._files[number], text.encode() if isinstance(text, str) else text
        if not file.writes:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if file.appends or file.at == file.size:
            await self._put(file, "append", some)
            file.at = file.size
            return True
        if file.at > file.size + _GAP_BYTES:
            raise OSError(errno.EFBIG, f"{file.path}: {file.at} is too far behind its end; write nearer to it")
        content = await self._look(file)
        whole = content[: file.at].ljust(file.at, b"\0") + some + content[file.at + len(some) :]
        await self._put(file, "write", whole)
        file.at += len(some)
        return True

    async def _put(self, file: _File, operation: str, content: bytes) -> None:
        """Write through the tool, as text if it is one, so that guards read what is written."""
        given = await trio.to_thread.run_sync(_spelled, content) if len(content) > _MOST_BYTES else _spelled(content)
        answer = await self._operate(operation, path=file.path, **given)
        file.size, file.content = answer.result["size"], None

    async def _seek(self, number: int, whence: str, offset: int) -> int:
        file = self._files[number]
        if whence == "end":
            await self._look(file)
        start = {"set": 0, "cur": file.at, "end": file.size}.get(whence)
        if start is None:
            raise ValueError(f"seek: {whence!r} is none of set, cur, end")
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        file.at = start + offset
        return file.at

    async def _close(self, number: int) -> bool:
        self._files.pop(number, None)
        return True

    async def _remove(self, path: str | bytes) -> bool:
        await self._operate("delete", path=os.fsdecode(path))
        return True

    async def _rename(self, source: str | bytes, target: str | bytes) -> bool:
        await self._operate("move", source_path=os.fsdecode(source), target_path=os.fsdecode(target))
        return True

    async def _make_temporary(self) -> str:
        roots = self._interface.services.get(FileAccess).roots("write")
        if not roots:
            raise ValueError("os.tmpname: no folder may be written; allow one in security.paths")
        usual = str(await trio.Path(tempfile.gettempdir()).resolve())
        inside = any(os.path.commonpath((usual, root)) == root for root in roots)
        path = os.path.join(
            usual if inside else roots[0], f"lua_{self._entropy.draw('tmpname', partial(secrets.token_hex, 8))}"
        )
        await self._operate("write", path=path, input="")
        return path


def _spelled(content: bytes) -> dict[str, str]:
    """Return content as the tool takes it: text, or base64 where it is none."""
    try:
        return {"input": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"input": base64.b64encode(content).decode("ascii"), "encoding": "base64"}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
