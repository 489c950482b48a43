"""One Lua runtime with its kernel: what the slices call. All of it is sync, and used by one thread at a time.

Invariant: only bytes and numbers cross to Lua, besides three Python functions that scripts cannot see; and nothing
crosses unless there is room for it. Where memory runs out while lupa hands something over, Lua jumps across lupa's
frames: into Lua the process panics, back from Python the interpreter's lock stays held for good. So the limit is
stretched before each crossing, and settled on the other side. Whoever calls `close` must be the only one who uses it.
Sizes in bytes.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import secrets
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from llmspell_hookspecs.errors import text_of_error

__all__ = ["LOOP_STRIDE", "THREAD_STRIDE", "Engine", "Outcome"]

Outcome = tuple[Any, ...]
"""How a slice ended: ``done`` and bytes; ``request``, number, method and bytes; or ``error``, ``limit``, ``syntax``."""

THREAD_STRIDE: Final = 250
LOOP_STRIDE: Final = 100
"""Instructions between two counts. On the loop they are closer, since one instruction may copy megabytes."""

_PARTS: Final = ("kernel", "pack", "objects", "patterns", "stdlib", "files", "prompt")
_DRAWN: Final = "drawn"
"""The part for a script that is recorded or replayed."""
_FUNCTIONS: Final = (
    "autopsy",
    "call",
    "collects_slowly",
    "drop",
    "evaluate",
    "flush",
    "forget_functions",
    "frames",
    "incomplete",
    "names",
    "proceed",
    "run",
    "set_global",
    "set_instruction_limit",
    "set_value_limits",
    "take_released",
    "wipe",
    "withhold",
)
_MOST: Final = 2**60
"""Of what Lua counts: what is more is as good as no limit."""
_KERNEL_BYTES: Final = 4 * 1024 * 1024
_SPARE_BYTES: Final = 1024 * 1024
_CROSSING_BYTES: Final = 64 * 1024


@functools.cache
def _compiled(*parts: str) -> tuple[bytes, ...]:
    """Return parts of the kernel as bytecode, made once for each process: compiling takes a millisecond each time."""
    from lupa import lua54

    compiler = lua54.LuaRuntime(encoding=None).execute(
        b"return function(text) return string.dump(load(text, '=[host]', 't')) end"
    )
    folder = importlib.resources.files(__package__)
    return tuple(compiler(folder.joinpath(f"{part}.lua").read_bytes()) for part in parts)


def _refuse(_target: object, name: object, _writing: bool) -> NoReturn:
    raise AttributeError(f"{name!r}: Python's attributes are not for scripts")


class Engine:
    """One Lua runtime.

    Args:
        memory_bytes: What it may hold.
        instructions: How many it may run, 0 for any number.
        check: Returns why the slice must end, or None.
        ask: Returns a question of the script at once, as bytes.
        draws: Whether what is different in each run is drawn from the host, as ``drawn``.
    """

    def __init__(
        self,
        memory_bytes: int,
        instructions: int,
        check: Callable[[], bytes | None],
        ask: Callable[[bytes, int, bytes, bytes], bytes],
        *,
        draws: bool = False,
    ) -> None:
        from lupa import lua54

        self._limit_bytes = _KERNEL_BYTES
        self._stretched = False
        self._memory_error: type[Exception] = lua54.LuaMemoryError
        self._error: type[Exception] = lua54.LuaError
        self._lua: Any = lua54.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_refuse,
            max_memory=_KERNEL_BYTES,
        )
        self._kernel: dict[str, Any] = self._load(check, ask, (*_PARTS, _DRAWN) if draws else _PARTS)
        self._kernel["set_instruction_limit"](min(instructions, _MOST))
        self._memory_bytes = memory_bytes
        self._own_bytes: int = self._lua.get_memory_used()
        self.allow(None)

    def _load(
        self, check: Callable[[], bytes | None], ask: Callable[..., bytes], parts: Sequence[str]
    ) -> dict[str, Any]:
        def check_with_room() -> bytes | None:
            why = check()
            if why is not None:
                self._make_room(len(why))
            return why

        def ask_with_room(question: bytes, number: int, name: bytes, payload: bytes) -> bytes:
            answer: bytes = ask(question, number, name, payload)
            self._make_room(len(answer))
            return answer

        kernel = self._lua.execute(b"return {}")
        kernel[b"host_check"], kernel[b"host_ask"], kernel[b"host_settle"] = check_with_room, ask_with_room, self.settle
        kernel[b"host_seed"] = secrets.randbits(62)
        load = self._lua.execute(b"local K = ... return function(part) load(part, '=[host]', 'b')(K) end", kernel)
        for part in _compiled(*parts):
            load(part)
        return {name: kernel[name.encode()] for name in _FUNCTIONS}

    @property
    def collects_slowly(self) -> bool:
        """Whether collecting the script's garbage may take long; to be asked between slices."""
        return bool(self._enter("collects_slowly"))

    @property
    def used_bytes(self) -> int:
        """What the script holds; may be asked at any time, on any thread."""
        return int(self._lua.get_memory_used()) - self._own_bytes

    def allow(self, memory_bytes: int | None) -> None:
        """Let the script hold so much, or all that it may; between slices."""
        most = self._memory_bytes if memory_bytes is None else min(memory_bytes, self._memory_bytes)
        self._limit_bytes = max(most + self._own_bytes, 1)
        self._stretched = False
        self._lua.set_max_memory(self._limit_bytes)

    def _make_room(self, size_bytes: int) -> None:
        """Stretch the limit so that so much can cross; `settle` takes it back."""
        needed = int(self._lua.get_memory_used()) + size_bytes + _CROSSING_BYTES
        if needed > self._limit_bytes:
            self._stretched = True
            self._lua.set_max_memory(needed)

    def settle(self) -> None:
        """Take the limit back to what the script may hold; what is above it fails at its next allocation."""
        if self._stretched:
            self._stretched = False
            self._lua.set_max_memory(self._limit_bytes)

    def _enter(self, function: str, *arguments: Any) -> Any:
        """Call a function of the kernel, with room for what it is given."""
        self._make_room(sum(len(argument) for argument in arguments if isinstance(argument, bytes)))
        try:
            return self._kernel[function](*arguments)
        finally:
            self.settle()

    def limit_values(self, items: int, size_bytes: int) -> None:
        """Let the script hand over so many values, and bytes of text, at once."""
        self._enter("set_value_limits", min(items, _MOST), min(size_bytes, _MOST))

    def set_global(self, name: str, payload: bytes) -> None:
        """Give the script a global.

        Raises:
            MemoryError: The script may not hold so much.
        """
        try:
            self._enter("set_global", name.encode(), payload)
        except self._memory_error as error:
            raise MemoryError from error

    def withhold(self, name: str) -> None:
        """Take what acts beyond the script from it, before it runs."""
        self._enter("withhold", name.encode())

    def slice(self, function: str, *arguments: Any) -> Outcome:
        """Call a function of the kernel that begins or continues a coroutine; answer how the slice ended."""
        try:
            outcome: Outcome = self._enter(function, *arguments)
        except self._memory_error:
            return self._autopsy(arguments[0])
        except self._error as error:
            return (b"error", text_of_error(error).encode(), b"", b"")
        return outcome

    def _autopsy(self, number: int) -> Outcome:
        """Return where a coroutine was when memory ran out; telling it takes memory, too."""
        self._limit_bytes = self.used_bytes + self._own_bytes + _SPARE_BYTES
        self._lua.set_max_memory(self._limit_bytes)
        try:
            outcome: Outcome = self._enter("autopsy", number)
        except (self._memory_error, self._error):
            return (b"limit", b"memory", b"", b"")
        return outcome

    def tidy(self, dropped: Sequence[int], functions: Sequence[int]) -> list[tuple[int, int]]:
        """Let go of coroutines and functions that nobody waits for; returns objects that Lua let go of, and counts."""
        for number in dropped:
            self._enter("drop", number)
        try:
            if functions:
                self._enter("forget_functions", struct.pack(f">{len(functions)}q", *functions))
            released = self._enter("take_released")
        except self._memory_error:
            return []
        return list(struct.iter_unpack(">II", released))

    def frames(self) -> list[tuple[str, str, int]]:
        """Return the stack of the coroutine that asks the host just now: function, file and line of each frame."""
        flat = [text.decode("utf-8", "replace") for text in self._enter("frames").values()]
        return [(flat[i], flat[i + 1], int(flat[i + 2])) for i in range(0, len(flat), 3)]

    def wipe(self) -> None:
        """Let go of all that the script made; takes long if that is much."""
        self.allow(None)
        with contextlib.suppress(self._memory_error, self._error):
            self._enter("wipe")

    def close(self) -> None:
        """Let go of the runtime, which closes it."""
        self._kernel.clear()
        self._lua = None
