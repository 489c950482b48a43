"""Differences of texts, and patches applied to them; what the diff_calculator runs in a child process.

Invariant: a unified or context difference is what the programs diff and patch write and read, a missing line break at
the end included; a patch applies exactly where it says, or not at all.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from llmspell_hookspecs import InvalidInputError

__all__ = ["apply_patch", "difference", "lines_of"]

_UNENDED = "\\ No newline at end of file\n"
_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")


def lines_of(text: str) -> list[str]:
    """Return the lines with their line breaks; only a line feed breaks one, as programs have it."""
    lines = text.split("\n")
    last = lines.pop()
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def difference(old: str, new: str, form: str, context_lines: int = 3) -> tuple[str, dict[str, int]]:
    """Return what differs, and how many lines there are, were added and removed.

    Args:
        old: The text before.
        new: The text after.
        form: ``unified``, ``context``, ``inline`` or ``simple``.
        context_lines: For the first two, how many equal lines stand around a change.
    """
    before, after = lines_of(old), lines_of(new)
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    stats = {
        "old_lines": len(before),
        "new_lines": len(after),
        "added": sum(to - at for tag, _, _, at, to in blocks if tag != "equal"),
        "removed": sum(to - at for tag, at, to, _, _ in blocks if tag != "equal"),
    }
    if form == "unified":
        text = "".join(_ended(difflib.unified_diff(before, after, "old", "new", n=context_lines)))
    elif form == "context":
        text = "".join(_ended(difflib.context_diff(before, after, "old", "new", n=context_lines)))
    else:
        text = "".join(_plain(before, after, blocks, every=form == "inline"))
    return text, stats


def _ended(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n{_UNENDED}"


def _plain(
    before: Sequence[str], after: Sequence[str], blocks: Sequence[tuple[str, int, int, int, int]], *, every: bool
) -> Iterator[str]:
    """The lines with their marks: all of them, or only what changed."""
    for tag, at, to, new_at, new_to in blocks:
        if tag == "equal":
            if every:
                yield from (f"  {line.rstrip(chr(10))}\n" for line in before[at:to])
            continue
        yield from (f"- {line.rstrip(chr(10))}\n" for line in before[at:to])
        yield from (f"+ {line.rstrip(chr(10))}\n" for line in after[new_at:new_to])


def apply_patch(old: str, patch: str) -> tuple[str, int]:
    """Return the text that a unified difference makes, and how many hunks it had.

    Raises:
        InvalidInputError: It is no unified difference of one file, or one of its hunks does not fit.
    """
    before = lines_of(old)
    after: list[str] = []
    done = hunks = 0
    rest = _Lines(lines_of(patch))
    while (line := rest.next()) is not None:
        found = _HUNK.match(line)
        if found is None:
            if hunks and line.startswith(("--- ", "diff ", "Index: ")):
                raise _wrong(f"line {rest.at}: another file begins; give the patch of one file")
            if hunks and line.strip():
                raise _wrong(f"line {rest.at}: {line.rstrip()!r:.60} is in no hunk; check the counts of the hunk above")
            continue
        hunks += 1
        begin, count = int(found[1]), int(found[2] or 1)
        start = begin if count == 0 else begin - 1
        removed, added = _hunk(rest, count, int(found[4] or 1), hunks)
        if start < done or before[start : start + count] != removed:
            raise _wrong(f"hunk {hunks} does not fit at line {begin}; make the patch from this text")
        after += before[done:start] + added
        done = start + count
    if not hunks:
        raise _wrong("there is no hunk in it (a line @@ -1,3 +1,3 @@); give a unified difference")
    after += before[done:]
    if any(not line.endswith("\n") for line in after[:-1]):
        raise _wrong("it adds lines after one without a line break; make the patch from this text")
    return "".join(after), hunks


class _Lines:
    """Lines taken one by one."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self.at = 0

    def next(self) -> str | None:
        """Return the next line, None at the end."""
        self.at += 1
        return self._lines[self.at - 1] if self.at <= len(self._lines) else None

    def peek(self) -> str:
        """Return the line after, empty at the end."""
        return self._lines[self.at] if self.at < len(self._lines) else ""


def _hunk(rest: _Lines, old_count: int, new_count: int, number: int) -> tuple[list[str], list[str]]:
    """The lines that a hunk takes out, those around them included, and those that it puts there."""
    removed: list[str] = []
    added: list[str] = []
    while len(removed) < old_count or len(added) < new_count:
        line = rest.next()
        mark = (line or "")[:1]
        if line is None or mark not in (" ", "-", "+", "\n"):
            raise _wrong(f"hunk {number} ends at line {rest.at}, before its counts are reached; check it")
        text = "\n" if mark == "\n" else line[1:]
        if not text.endswith("\n"):
            text += "\n"  # the patch itself ends here
        if rest.peek().startswith("\\"):
            rest.next()
            text = text[:-1]
        if mark != "+":
            removed.append(text)
        if mark != "-":
            added.append(text)
    if len(removed) != old_count or len(added) != new_count:
        raise _wrong(f"hunk {number} has more lines than its counts; check it")
    return removed, added


def _wrong(what: str) -> InvalidInputError:
    return InvalidInputError(f"diff_calculator: patch: {what}", field="patch")
