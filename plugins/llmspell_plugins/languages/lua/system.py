"""What the host does for Lua's io and os: files inside the policy, waiting, the script's output and input.

Invariant: a path is judged before it is touched and opened without following links; nothing here blocks the loop; all
files are closed when the script ends. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO, Final, Literal

import trio

from llmspell_hookspecs import FileAccess, LlmspellError, ScriptInterface, SettingsAccess
from llmspell_plugins.tools.filesystem.anchor import anchored

__all__ = ["System"]

_MOST_FILES: Final = 200
_MOST_BYTES: Final = 1024 * 1024
_SECRET: Final = re.compile("key|token|pass(w|ph)|pwd|secret|credential|private|auth(?!ors?(?![a-z]))|cookie|dsn", re.IGNORECASE)
_WHENCE: Final = {"set": os.SEEK_SET, "cur": os.SEEK_CUR, "end": os.SEEK_END}


class System:
    """The files of one script, and what else it asks of the system."""

    def __init__(self, interface: ScriptInterface) -> None:
        self._interface = interface
        self._files: dict[int, BinaryIO] = {}
        self._last = 0
        self._waiting: dict[str, Callable[..., Any]] = {
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
        """Answer a question that takes time; what cannot be done is answered as Lua does: nil, a text, a number."""
        if question == "sleep":
            return await trio.sleep(arguments[0])
        if question == "read_line":
            line = await trio.to_thread.run_sync(self._interface.scope.read_line, abandon_on_cancel=True)
            return None if line is None else f"{line}\n"
        try:
            return await trio.to_thread.run_sync(self._waiting[question], *arguments)
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
        spelled_out = _SECRET.search(name) is not None
        known = name in allowed if spelled_out else any(fnmatch.fnmatchcase(name, each) for each in allowed)
        return os.environ.get(name) if known else None

    def _resolve(self, path: str | bytes, mode: Literal["read", "write"]) -> str:
        return self._interface.services.get(FileAccess).resolve(os.fsdecode(path), mode)

    def _open(self, path: str | bytes, mode: str) -> int:
        if len(self._files) >= _MOST_FILES:
            raise ValueError(f"{_text(path)}: {_MOST_FILES} files are open; close some")
        reads, writes = "r" in mode or "+" in mode, mode[0] in "wa" or "+" in mode
        resolved = self._resolve(path, "write" if writes else "read")
        if reads and writes:
            resolved = self._resolve(resolved, "read")
        file = open(resolved, mode.replace("b", "") + "b", opener=_open_itself)  # noqa: SIM115  closed by close()
        self._last += 1
        self._files[self._last] = file  # type: ignore[assignment]
        return self._last

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

    def _remove(self, path: str | bytes) -> bool:
        with anchored(self._resolve(path, "write")) as anchor:
            is_folder = stat.S_ISDIR(anchor.status().st_mode)
            (os.rmdir if is_folder else os.remove)(anchor.name, dir_fd=anchor.folder)
        return True

    def _rename(self, source: str | bytes, target: str | bytes) -> bool:
        with anchored(self._resolve(source, "write")) as old, anchored(self._resolve(target, "write")) as new:
            if stat.S_ISDIR(old.status().st_mode):
                raise OSError(errno.EISDIR, "is a folder, and scripts rename files only")
            os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)
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
