"""What scripts write, kept in memory. Scripts write from worker threads, one text at a time."""

from __future__ import annotations

__all__ = ["ScriptOutput"]


class ScriptOutput:
    """Takes what scripts write."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def write(self, text: str) -> None:
        """Take a text."""
        self._texts.append(text)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._texts)

    @property
    def lines(self) -> list[str]:
        """All of it, line by line, without their ends."""
        return self.text.splitlines()
