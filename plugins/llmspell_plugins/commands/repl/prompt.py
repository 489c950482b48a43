"""What every prompt has: an interrupt that ends what runs and nothing else, and a word for a command there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click
import trio

__all__ = ["Prompt", "no_command"]


class Prompt:
    """One prompt, from the first thing it is told to its end."""

    def __init__(self) -> None:
        self._running: trio.CancelScope | None = None
        self._over = False

    def interrupt(self) -> bool:
        """End what runs, if something does; returns False if it was told before, or all is over."""
        if self._running is None:
            return not self._over
        if self._running.cancel_called:
            return False
        self._running.cancel()
        return True

    @contextmanager
    def _interruptible(self) -> Iterator[trio.CancelScope]:
        """Let an interrupt end what is inside."""
        with trio.CancelScope() as scope:
            self._running = scope
            try:
                yield scope
            finally:
                self._running = None


def no_command(name: str, commands: Iterable[str]) -> click.UsageError:
    """Return the error of a command that a prompt has not."""
    near = difflib.get_close_matches(name, list(commands), 1)
    hint = f"did you mean .{near[0]}?" if near else "see .help"
    return click.UsageError(f"there is no command .{name}; {hint}")
