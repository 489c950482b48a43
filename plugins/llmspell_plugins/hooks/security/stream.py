"""Redacting a text that comes in pieces: what may be the beginning of a secret is held back until it is known.

Invariant: whatever the cuts, the pieces that leave add up to what redacting the whole text gives, for secrets without
blanks of at most 8192 characters and for private keys of at most 16,000. So the text is cut behind a blank only, and
never within a secret, from the name that tells of it on, nor within what only its end would show to be one.
"""

from __future__ import annotations

import re
from typing import Final

from .secrets import Found, Redactor

__all__ = ["StreamRedactor"]

_WINDOW: Final = 256
_LONGEST: Final = 8192
_LONGEST_KEY: Final = 16_384
_LONGEST_NAMED: Final = 640
_TELLING: Final = 200
"""What is named by what lies further back has no blank in its last so many characters."""
_BLANKS: Final = "\t\n\f\r "
"""As RE2 knows them, so that a cut lies in no secret that it finds."""
_KEY: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[0-9A-Za-z+/=\t\n\f\r :,\\.-]*\Z")
"""A private key without its end."""
_NAMED: Final = re.compile(
    r"(?i:key|secret|token|passw(?:or)?d|passphrase|pwd|credential)[\w-]{0,30}[\"']?[\t\n\f\r ]{0,4}(?:=>?|:)"
    r"[\t\n\f\r ]{0,4}[\"']?[^\t\n\f\r \"',;<>{}()\[\]]{0,512}\Z"
)
"""What stands behind a telling name, without its end: whether it is a secret depends on all of it."""


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
        if len(held) <= _WINDOW and not final:
            self._held = held
            return ""
        found = self._redactor.find(held)
        cut = len(held) if final else _cut(held, found)
        done = [each for each in found if each.end <= cut]
        self.found += [each.type for each in done]
        self._held = held[cut:]
        return self._redactor.redact(held[:cut], done)


def _cut(held: str, found: list[Found]) -> int:
    """Return up to where the text may leave: not within what is, or may become, a secret."""
    size = len(held)
    cut = size - _WINDOW
    ended = max((each.end for each in found if each.type == "private_key"), default=0)
    begun = [_KEY.search(held, max(ended, size - _LONGEST_KEY))]
    if _last_blank(held, size) < size - _TELLING:
        begun.append(_NAMED.search(held, max(0, size - _LONGEST_NAMED)))
    cut = min([cut, *(each.start() for each in begun if each), *(each.begin for each in found if each.end == size)])
    while True:
        cut = min([cut, *(each.begin for each in found if each.begin < cut < each.end)])
        blank = _last_blank(held, cut)
        if blank < 0:  # one word as far as it goes
            return 0 if cut <= _LONGEST else cut
        if not any(each.begin <= blank < each.end for each in found):
            return blank + 1
        cut = blank


def _last_blank(held: str, before: int) -> int:
    """Return the place of the last blank among the characters before a place; -1 if they are one word."""
    first = max(0, before - _LONGEST)
    return max([held.rfind(blank, first, before) for blank in _BLANKS])
