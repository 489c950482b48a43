"""What a signal does to a command: the first one ends it in order, the second ends the process at once.

Invariant: a Ctrl-C is never an exception here, so a KeyboardInterrupt is the fault of whoever raised it. It costs one
line on standard error and no more, whenever it comes. Imports nothing but what Python has imported as it began, neither
typing nor contextlib, so that it counts before anything else is imported.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType
    from typing import Any
else:
    import _signal as signal  # `signal` makes enums of it, which takes longer than all that comes before

__all__ = ["ENDINGS", "Signals", "code_of"]

ENDINGS: dict[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
    signal.SIGQUIT: "quit",
}
"""The signals that end a command, and the word for what they did."""


def code_of(number: int) -> int:
    """Return the exit code of a process that a signal ended."""
    return 128 + number


class Signals:
    """The signals of one process.

    Attributes:
        received: The one that ends the command; 0 if none did.
        last: Called before the process ends at once: gives back a terminal.
    """

    def __init__(self) -> None:
        self.received = 0
        self.last: Callable[[], object] = lambda: None
        self._take: Callable[[int], None] | None = None
        self._untaken = 0
        self._told = False
        self._known: Callable[[int, Any], Any] | None = None
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Return to signals from now on; those that ``nohup`` has ignored stay ignored."""
        try:
            for number in ENDINGS:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        except ValueError:  # of another thread than the main one
            return

    def restore(self) -> None:
        """Leave them to whoever answered before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def arm(self) -> None:
        """Let the second signal end the process also where no Python code runs: in a C extension that keeps the GIL.

        Python notes a signal in C and calls the handler when the main thread runs Python code again. With the
        semantics of System V the kernel forgets the handler when it notes one; ours sets it anew when it is called.
        """
        if not self._before:
            return
        try:
            import ctypes

            note = ctypes.CDLL(None).sysv_signal  # glibc has it
            note.argtypes, note.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        except (ImportError, AttributeError, OSError):
            return
        self._known = note
        self._rearm_all()

    def pass_to(self, take: Callable[[int], None] | None) -> None:
        """Hand the first signal to somebody, who says with `ending` or `dealt` what becomes of it; None for nobody."""
        self._take = take
        if take is not None:
            self._rearm_all()  # a library may have set the handler anew, and with it the semantics of today

    def dealt(self) -> None:
        """Take a signal as dealt with: nothing ends, and the next is the first again."""
        self._untaken = 0

    def ending(self, number: int) -> None:
        """Take a signal as the one that ends the command."""
        self.received = number

    def tell(self) -> None:
        """Write which signal ended the command, once, to whoever can take it now."""
        if self._told:
            return
        self._told = True
        line = f"llmspell: {ENDINGS[self.received or signal.SIGINT]}\n"
        import select

        try:
            if select.select([], [2], [], 0)[1]:
                os.write(2, line.encode())
        except (OSError, ValueError):
            return

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, self._handle)
        self._rearm(number)
        if self._take is not None and not self.received and not self._untaken:
            self._untaken = number
            try:
                self._take(number)
            except RuntimeError:  # the loop has ended meanwhile
                pass
            else:
                return
        self.received = self.received or self._untaken or number
        self.tell()
        self.last()
        os._exit(code_of(self.received))

    def _rearm_all(self) -> None:
        for number in self._before:
            self._rearm(number)

    def _rearm(self, number: int) -> None:
        if self._known is not None:
            handler = self._known(number, 1)  # SIG_IGN, for the moment that it takes to learn the handler
            self._known(number, handler)
