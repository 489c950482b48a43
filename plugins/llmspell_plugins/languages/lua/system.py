"""What the host does for Lua's io and os: files inside the policy, waiting, the script's output and input.

Opening, removing and renaming a file are operations of the tool file_operations, so that whatever guards that tool
guards them; a file that is only read is read by it. What is written to a file that is open goes straight to the file.

Invariant: a path is judged before it is touched and opened without following links; nothing here blocks the loop; all
files are closed when the script ends. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import base64
import errno
import fnmatch
import io
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO, Final, Literal

import trio

from llmspell_hookspecs import (
    Calls,
    FileAccess,
    LlmspellError,
    ScriptInterface,
    SettingsAccess,
    ToolError,
    is_secret_name,
)
from llmspell_plugins.tools.filesystem.anchor import anchored

__all__ = ["System"]

_MOST_FILES: Final = 200
_MOST_BYTES: Final = 1024 * 1024
_WHENCE: Final = {"set": os.SEEK_SET, "cur": os.SEEK_CUR, "end": os.SEEK_END}


class System:
    """The files of one script, and what else it asks of the system."""

    def __init__(self, interface: ScriptInterface) -> None:
        self._interface = interface
        self._files: dict[int, BinaryIO] = {}
        self._last = 0
        self._operations: dict[str, Callable[..., Awaitable[Any]]] = {
            "open": self._open,
            "remove": self._remove,
            "rename": self._rename,
        }
        self._blocking: dict[str, Callable[..., Any]] = {
            "close": self._close,
            "read": self._read,
            "seek": self._seek,
            "tmpname": self._make_temporary,
            "write": self._write,
        }

    @property
    def has_files(self) -> bool:
        """Whether a file is open."""
        return bool(self._files)

    async def answer(self, question: str, arguments: list[Any]) -> Any:
        """Answer a question that takes time; what cannot be done is answered as Lua does: nil, a text, a number."""
        if question == "sleep":
            return await trio.sleep(arguments[0])
        if question == "read_line":
            line = await trio.to_thread.run_sync(self._interface.scope.read_line, abandon_on_cancel=True)
            return None if line is None else f"{line}\n"
        try:
            if question in self._operations:
                return await self._operations[question](*arguments)
            return await trio.to_thread.run_sync(self._blocking[question], *arguments)
        except OSError as error:
            named = _text(arguments[0]) + ": " if arguments and not isinstance(arguments[0], int) else ""
            return None, f"{named}{error.strerror or error}", error.errno
        except LlmspellError as error:
            return None, " ".join(str(error).split()), 13
        except ValueError as error:
            return None, str(error), 22

    def answer_now(self, question: str, arguments: list[Any]) -> Any:
        """Answer a question that takes no time, on whatever thread."""
        if question == "print":
            return self._interface.scope.write(_text(arguments[0]))
        return self._variable(_text(arguments[0]))

    def close(self) -> None:
        """Close all files; blocks."""
        while self._files:
            self._files.popitem()[1].close()

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

    def _resolve(self, path: str | bytes, mode: Literal["read", "write"]) -> str:
        return self._interface.services.get(FileAccess).resolve(os.fsdecode(path), mode)

    async def _open(self, path: str | bytes, mode: str) -> int:
        if len(self._files) >= _MOST_FILES:
            raise ValueError(f"{_text(path)}: {_MOST_FILES} files are open; close some")
        file = await self._open_through_tool(os.fsdecode(path), mode.replace("b", ""))
        self._last += 1
        self._files[self._last] = file
        return self._last

    async def _open_through_tool(self, path: str, mode: str) -> BinaryIO:
        if mode == "r":
            return io.BufferedReader(io.BytesIO(await self._read_whole(path)))
        if mode != "w" and "+" in mode and (mode == "r+" or await self._exists(path)):
            await self._read_whole(path)
        await self._operate("write" if mode[0] == "w" else "append", path=path, input="")
        resolved = self._resolve(path, "write")
        return await trio.to_thread.run_sync(_open_file, resolved, "a+b" if mode[0] == "a" else "r+b")

    async def _read_whole(self, path: str) -> bytes:
        answer = await self._operate("read", path=path, encoding="base64")
        return base64.b64decode(answer.result["input"])

    async def _exists(self, path: str) -> bool:
        answer = await self._operate("exists", path=path)
        return bool(answer.result["exists"])

    async def _operate(self, operation: str, **parameters: str) -> Any:
        """Run an operation of the file tool, with the same hooks as for everybody else."""
        try:
            calls = self._interface.services.get(Calls)
            return await calls.call("tool:file_operations", {"operation": operation, **parameters})
        except ToolError as error:
            raise error.__cause__ if isinstance(error.__cause__, OSError) else error from None

    def _read(self, number: int, size: int) -> bytes | None:
        return self._files[number].read(min(size, _MOST_BYTES)) or None

    def _write(self, number: int, text: str | bytes) -> bool:
        file = self._files[number]
        file.write(text.encode() if isinstance(text, str) else text)
        file.flush()
        return True

    def _seek(self, number: int, whence: str, offset: int) -> int:
        if whence not in _WHENCE:
            raise ValueError(f"seek: {whence!r} is none of set, cur, end")
        return self._files[number].seek(offset, _WHENCE[whence])

    def _close(self, number: int) -> bool:
        file = self._files.pop(number, None)
        if file is not None:
            file.close()
        return True

    async def _remove(self, path: str | bytes) -> bool:
        await self._operate("delete", path=os.fsdecode(path))
        return True

    async def _rename(self, source: str | bytes, target: str | bytes) -> bool:
        await self._operate("move", source_path=os.fsdecode(source), target_path=os.fsdecode(target))
        return True

    def _make_temporary(self) -> str:
        roots = self._interface.services.get(FileAccess).roots("write")
        if not roots:
            raise ValueError("os.tmpname: no folder may be written; allow one in security.paths")
        usual = os.path.realpath(tempfile.gettempdir())
        inside = any(os.path.commonpath((usual, root)) == root for root in roots)
        descriptor, path = tempfile.mkstemp(prefix="lua_", dir=usual if inside else roots[0])
        os.close(descriptor)
        return path


def _open_file(resolved: str, mode: str) -> BinaryIO:
    return open(resolved, mode, opener=_open_itself)  # type: ignore[return-value]


def _open_itself(path: str, flags: int) -> int:
    """Open a resolved path, which holds no link any more; one that does by now, and what is no file, is refused."""
    with anchored(path) as anchor:
        descriptor = anchor.open(flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is no regular file")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
