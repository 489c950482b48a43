"""A real terminal for a test: a process on a pty, what it shows, and keys."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from waiting import PATIENCE_S

CONTROL_C, CONTROL_D, CONTROL_Z, UP, TAB = "\x03", "\x04", "\x1a", "\x1b[A", "\t"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0-9A-B]|\x1b[=>78]|\x1b\][^\x07]*\x07")


class Terminal:
    """A process with a terminal of its own.

    Attributes:
        shown: All that it has shown, without escape sequences.
        raw: The same with them.
    """

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str],
        program: Sequence[str] = (sys.executable, "-m", "llmspell"),
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        self.slave = slave
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            env={**environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.raw = b""
        self._seen = 0

    @property
    def shown(self) -> str:
        return _ESCAPES.sub("", self.raw.decode("utf-8", "replace"))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def enter(self, text: str) -> None:
        self.type(text + "\r")

    def expect(self, text: str, timeout_s: float = PATIENCE_S) -> str:
        """Wait until this is shown, behind what was expected before; answer what stood between."""
        end = time.monotonic() + timeout_s
        while text not in self.shown[self._seen :]:
            ready, _, _ = select.select([self._master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} was not shown, but {self.shown[self._seen :]!r}"
            try:
                piece = os.read(self._master, 65536)
            except OSError:
                piece = b""
            assert piece, f"the process ended before it showed {text!r}: {self.shown[self._seen :]!r}"
            self.raw += piece
        at = self.shown.index(text, self._seen)
        between = self.shown[self._seen : at]
        self._seen = at + len(text)
        return between

    def prompt(self) -> str:
        """Wait for the next prompt."""
        return self.expect("lua>")

    def answer(self, text: str, wanted: str) -> None:
        """Type a line, and wait for a line of its output and for the next prompt."""
        self.enter(text)
        self.expect(f"\n{wanted}\r\n")
        self.prompt()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait until the process has ended; answer its exit code."""
        end = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self._master], [], [], 0.05)[0]:
                self.raw += os.read(self._master, 65536)
        return self.process.wait(timeout=PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self._master)
