"""What a slice asks the host without ending: what an object offers, its fields, its text, its pure methods.

Invariant: holds nothing of Lua's, so that Lua may hold it; an error is answered as bytes, it never crosses itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmspell_hookspecs.language import ScriptInterface

from .convert import Crossing
from .failures import line_of
from .system import System

__all__ = ["Desk"]


class Desk:
    """Answers the questions of one script.

    Attributes:
        last_error: The last error that the script was told, and how.
    """

    def __init__(self, crossing: Crossing, interface: ScriptInterface, system: System) -> None:
        self._crossing = crossing
        self._interface = interface
        self._system = system
        self.last_error: tuple[str, Exception] | None = None
        self._questions: dict[bytes, Callable[[int, str, bytes], bytes]] = {
            b"class": self._describe,
            b"fields": self._fields,
            b"lookup": self._look_up,
            b"pure": self._call_pure,
            b"system": self._ask_system,
            b"text": self._text,
        }

    def ask(self, question: bytes, number: int, name: bytes, payload: bytes) -> bytes:
        """Return a question of the script; called by Lua, within a slice."""
        try:
            return b"V" + self._questions[question](number, name.decode("utf-8", "replace"), payload)
        except Exception as error:  # whatever it is becomes an error of the script
            return self.refusal(error)

    def refusal(self, error: Exception) -> bytes:
        """Return what tells the script of an error."""
        text = line_of(error)
        self.last_error = (text, error)
        return b"E" + text.encode("utf-8", "replace")

    def pack_answer(self, answer: Any) -> bytes:
        """Return what tells the script of an answer."""
        try:
            return b"V" + self._crossing.pack_answer(answer)
        except Exception as error:  # whatever it is becomes an error of the script
            return self.refusal(error)

    def _describe(self, number: int, _name: str, _payload: bytes) -> bytes:
        return self._crossing.pack_answer(self._crossing.objects.describe(number))

    def _fields(self, number: int, _name: str, _payload: bytes) -> bytes:
        return self._crossing.pack_answer(dict(self._crossing.objects.find(number).script_fields()))

    def _look_up(self, number: int, name: str, _payload: bytes) -> bytes:
        return self._crossing.pack_values([self._crossing.objects.find(number).script_lookup(name)])

    def _text(self, number: int, _name: str, _payload: bytes) -> bytes:
        return self._crossing.pack_values([self._crossing.objects.find(number).script_text()])

    def _call_pure(self, number: int, name: str, payload: bytes) -> bytes:
        target = self._crossing.objects.find(number)
        answer = self._interface.call_pure(target, name, self._crossing.unpack(payload))
        return self._crossing.pack_answer(answer)

    def _ask_system(self, _number: int, name: str, payload: bytes) -> bytes:
        return self._crossing.pack_answer(self._system.answer_now(name, self._crossing.unpack(payload)))
