"""A terminal that a test sees as a person does: a process in a window of tmux, its keys, and what stands on the screen.

Invariant: the server is this test's own, on a socket of its own, and ends with it.
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from waiting import PATIENCE_S

__all__ = ["Tmux"]


class Tmux:
    """A process in a window of tmux.

    Args:
        command: What runs there.
        folder: Where, and where the socket lies.
        environment: What it is told.
    """

    def __init__(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self._socket = folder / "tmux.socket"
        self._pipe = folder / "tmux.pipe"
        os.mkfifo(self._pipe)
        self._output = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)
        told = [f"{name}={value}" for name, value in environment.items()]
        line = shlex.join(["env", "-i", *told, "TERM=screen", *command])
        # The shell waits, so that nothing is written before it is piped; a Ctrl-C is not for it.
        waits = f"trap : INT; stty -echo; read begin; stty echo; {line}; echo ended with $?; sleep infinity"
        size = ("-x", "120", "-y", "50")
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), f"sh -c {shlex.quote(waits)}")
        self._tmux("pipe-pane", f"exec cat >> {shlex.quote(str(self._pipe))}")
        self._tmux("send-keys", "Enter")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self._socket), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout

    @property
    def screen(self) -> str:
        """All that stands on the screen, and above it."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-")

    def type(self, text: str) -> None:
        """Type letters."""
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: ``Enter``, ``C-c``, ``Up``."""
        self._tmux("send-keys", *keys)

    def enter(self, text: str) -> None:
        """Type a line."""
        self.type(text)
        self.press("Enter")

    def expect(self, text: str, times: int = 1) -> None:
        """Wait until a text stands there so often."""
        end = time.monotonic() + PATIENCE_S
        while self.screen.count(text) < times:
            ready, _, _ = select.select([self._output], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} was not shown {times} times, but {self.screen!r}"
            os.read(self._output, 65536)

    def close(self) -> None:
        """End the process, and the server."""
        self._tmux("kill-server")
        os.close(self._output)
