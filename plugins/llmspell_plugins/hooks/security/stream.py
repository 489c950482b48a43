"""Redacting a text that comes in pieces: what may be the beginning of a secret is held back until it is known.

Invariant: whatever the cuts, the pieces that leave add up to what redacting the whole text gives, for secrets without
blanks of at most 8192 characters and for private keys of at most 16,000.
"""

from __future__ import annotations

import re
from typing import Final

from .secrets import Found, Redactor

__all__ = ["StreamRedactor"]

_WINDOW: Final = 256
_LONGEST: Final = 8192
_LONGEST_KEY: Final = 16_384
_BEGIN: Final = "-----BEGIN "
_END: Final = re.compile(r"-----END [A-Z0-9 ]{1,60}-----")


class StreamRedactor:
    """One text that comes in pieces.

    Attributes:
        found: The secrets so far, by type.
    """

    __slots__ = ("_held", "_redactor", "found")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""
        self.found: list[str] = []

    def feed(self, text: str, *, final: bool) -> str:
        """Take the next piece and return what may leave."""
        held = self._held + text
        found = self._redactor.find(held)
        cut = len(held) if final else self._cut(held, found)
        done = [each for each in found if each.end <= cut]
        self.found += [each.type for each in done]
        self._held = held[cut:]
        return self._redactor.redact(held[:cut], done)

    def _cut(self, held: str, found: list[Found]) -> int:
        """Return up to where the text may leave: not within what is, or may become, a secret."""
        cut = max(0, len(held) - _WINDOW)
        begun = held.rfind(_BEGIN)
        if begun >= 0 and len(held) - begun < _LONGEST_KEY and not _END.search(held, begun):
            cut = min(cut, begun)
        for each in found:
            if each.end == len(held) or each.begin < cut < each.end:
                cut = min(cut, each.begin)
        blank = next((place for place in range(cut - 1, max(-1, cut - 1 - _LONGEST), -1) if held[place].isspace()), -1)
        if blank < 0:  # one word as far as it goes
            return 0 if cut <= _LONGEST else cut
        return blank + 1
