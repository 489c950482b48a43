"""What an agent's run looks like on a terminal: the answer on standard output, what tools do on standard error.

Invariant: a note, an error and the prompt of the shell begin on a line of their own. What a run that goes on hands over
anew is not shown twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from llmspell_hookspecs.spelling import one_line

if TYPE_CHECKING:
    from llmspell_hookspecs.agent import AgentChunk, ToolRecord
    from llmspell_hookspecs.commands import Invocation
    from llmspell_hookspecs.model import ToolUse

__all__ = ["Screen", "note_of"]

_LONGEST = 200


class Screen:
    """Writes a run's chunks as they come.

    Args:
        invocation: The call of the command line.
        begins: Whether a tool is told of as it begins, too.
    """

    def __init__(self, invocation: Invocation, *, begins: bool = False) -> None:
        self._invocation = invocation
        self._begins = begins
        self._within_line = False
        self._step = 0
        self._passed = 0
        self._told: set[tuple[str, int, str]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_line()

    async def show(self, chunk: AgentChunk) -> None:
        """Write one."""
        self._step = max(self._step, chunk.step)
        if chunk.kind == "text":
            self._text(chunk)
        elif chunk.kind == "restart":
            if chunk.step > self._passed:
                self._note("[begins anew]")
        elif chunk.tool_result is not None:
            if self._is_new("ended", chunk.step, chunk.tool_result.id):
                self._note(note_of(chunk.tool_result))
        elif chunk.tool_use is not None and self._begins and self._is_new("began", chunk.step, chunk.tool_use.id):
            self._note(one_line(f"[{chunk.tool_use.name} {self._asked(chunk.tool_use)}]"))

    def again(self) -> None:
        """Take what comes next for a run that goes on, from the answer of the model that was the last one."""
        self._passed = self._step
        self.end_line()

    def end_line(self) -> None:
        """Begin a line."""
        if self._within_line:
            self._within_line = False
            self._invocation.write("\n")

    def _text(self, chunk: AgentChunk) -> None:
        if chunk.text and chunk.step > self._passed:
            self._invocation.write(chunk.text)
            self._within_line = not chunk.text.endswith("\n")

    def _is_new(self, what: str, step: int, id: str) -> bool:
        key = what, step, id
        known = key in self._told
        self._told.add(key)
        return not known

    def _asked(self, use: ToolUse) -> str:
        text = self._invocation.to_json(use.parameters)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

    def _note(self, text: str) -> None:
        self.end_line()
        self._invocation.note(text)


def note_of(record: ToolRecord) -> str:
    """Return what became of a tool, on one line: ``[nap completed in 3 ms]``."""
    if record.status != "denied":
        return f"[{record.name} {record.status} in {record.elapsed_ms:.0f} ms]"
    return one_line(f"[{record.name} denied by hook {record.hook} at {record.point}: {record.text[8:].strip()}]")
