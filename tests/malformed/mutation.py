"""Makes something malformed of something sound: bytes, texts and plain values.

Invariant: all that is drawn is drawn from the random numbers that are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

__all__ = ["ODD_TEXTS", "Mutation"]

ODD_TEXTS: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ufeff",
    "\ud800",
    "x\udcffy",
    "\u202eabc\u202c",
    "\u2066\u200b\u200d",
    "\x1b[31mred\x1b]0;t\x07",
    "\x9b2J",
    "a\nb\r\nc\rd",
    "\u2028\u2029\x85",
    "e\u0301" * 50,
    "\U0001f468\u200d\U0001f469",
    "\N{ARABIC LIGATURE BISMILLAH AR-RAHMAN AR-RAHEEM}",
    "x" * 5000,
    "%s%n{0}{x!r:>{y}}${HOME}",
    "[bold]x[/]",
    "../../outside/secret.txt",
    "/",
    "~",
    "~nobody/x",
    "a/" * 300,
    "__class__",
    "__proto__",
    "nan",
    "1e999",
    "-0",
    "9" * 5000,
    "\u0663\u0664",
    "0x1p-1074",
    "1_000",
    "true",
    "null",
    "[" * 3000,
    '{"a":' * 1500,
    '"\\ud800"',
    "(" * 500,
    "*" * 400,
    "(a+)+$",
    "a.b.c.d",
    ".",
    "..",
    "=",
    ":",
    "--",
    "-",
    "@",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "file:///etc/passwd",
)
_NUMBERS: Final = (
    0,
    -0.0,
    -1,
    1,
    2**31,
    2**53 + 1,
    -(2**63),
    2**64,
    10**400,
    -(10**5000),
    1e308,
    5e-324,
    0.1,
    math.nan,
    math.inf,
    -math.inf,
)
_DEEPEST: Final = 20
_BYTES: Final = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\x80",
    b"\r",
    b"\x1b[2J",
    b"\xc0\xaf",
    b'"',
    b"}",
)


class Mutation:
    """Draws mutations.

    Args:
        random: Where the numbers come from.
    """

    def __init__(self, random: Random) -> None:
        self.random = random

    def some(self, *chances: tuple[float, Callable[[], Any]]) -> Any:
        """Return what one of these makes, each as often as its weight says."""
        [chosen] = self.random.choices([make for _, make in chances], [weight for weight, _ in chances])
        return chosen()

    def bytes(self, data: bytes, most: int = 4) -> bytes:
        """Return them with bits flipped, pieces cut, doubled, moved, put in, or in another encoding."""
        for _ in range(self.random.randint(1, most)):
            data = self._mutated(data, _BYTES)
        if self.random.random() < 0.05:
            data = data.decode("utf-8", "replace").encode(
                self.random.choice(["utf-16", "utf-32", "latin-1"]), "replace"
            )
        return data

    def text(self, text: str, most: int = 4) -> str:
        """Return it with letters changed, pieces cut, doubled, moved, or put in."""
        for _ in range(self.random.randint(1, most)):
            text = self._mutated(text, ODD_TEXTS)
        return text

    def odd_text(self) -> str:
        """Return one of the texts that things stumble over."""
        return self.random.choice(ODD_TEXTS)

    def odd(self) -> Any:
        """Return a plain value that things stumble over."""
        return self.some(
            (4, self.odd_text),
            (3, lambda: self.random.choice(_NUMBERS)),
            (1, lambda: self.random.choice([None, True, False, [], {}, b"\xff", [[]], {"": None}])),
            (1, self._deep),
            (0.5, lambda: [self.odd_text()] * self.random.choice([1, 2, 1000])),
            (0.5, lambda: {self.odd_text(): self.random.choice(_NUMBERS) for _ in range(3)}),
        )

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return a plain value with something in it replaced, left out, doubled, added or swapped."""
        if self.random.random() < 0.15 or depth > _DEEPEST:
            return self.odd()
        if isinstance(value, dict) and value:
            return self._mapping(dict(value), depth)
        if isinstance(value, list) and value:
            at = self.random.randrange(len(value))
            return [*value[:at], self.value(value[at], depth + 1), *value[at + self.random.choice([0, 1, 1]) :]]
        if isinstance(value, str) and self.random.random() < 0.5:
            return self.text(value)
        return self.odd()

    def leaf(self, value: Any, kept: Sequence[str] = (), depth: int = 0) -> Any:
        """Return a plain value with one of its leaves replaced by one of the same type, those under `kept` aside."""
        if depth > _DEEPEST:
            return self.odd()
        if isinstance(value, dict) and (keys := [key for key in value if key not in kept]):
            key = self.random.choice(keys)
            return {**value, key: self.leaf(value[key], kept, depth + 1)}
        if isinstance(value, list) and value:
            at = self.random.randrange(len(value))
            return [*value[:at], self.leaf(value[at], kept, depth + 1), *value[at + 1 :]]
        if isinstance(value, str):
            return self.text(value, most=2) if self.random.random() < 0.6 else self.odd_text()
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float):
            return self.random.choice([number for number in _NUMBERS if type(number) is type(value)])
        return self.odd()

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        key, other = self.random.choice(list(value)), self.random.choice(list(value))
        match self.random.randrange(8):
            case 0:
                del value[key]
            case 1:
                value[self.odd_text()] = self.odd()
            case 2:
                value[key], value[other] = value[other], value[key]
            case 3:
                value[self.text(str(key))] = value.pop(key)
            case _:
                value[key] = self.value(value[key], depth + 1)
        return value

    def _deep(self) -> Any:
        value: Any = self.random.choice([1, "x", None])
        kind = self.random.randrange(3)
        for turn in range(self.random.choice([20, 150, 1200, 20_000])):
            value = {"a": value} if kind == 0 or (kind == 1 and turn % 2) else [value]
        return value

    def _mutated(self, data: Any, odd: Sequence[Any]) -> Any:
        start = self.random.randint(0, len(data))
        end = min(len(data), start + self.random.choice([1, 1, 2, 5, 20, 200]))
        match self.random.randrange(7):
            case 0:
                return data[:start]
            case 1:
                return data[:start] + data[end:]
            case 2:
                return data[:end] + data[start:end] * self.random.choice([1, 2, 50]) + data[end:]
            case 3:
                return data[:start] + self.random.choice(odd) + data[start:]
            case 4:
                place = self.random.randint(0, len(data))
                return data[:place] + data[start:end] + data[place:]
            case 5:
                return data[:start] + self._flipped(data[start : start + 1]) + data[start + 1 :]
            case _:
                return data[:start] + data[start:end][::-1] + data[end:]

    def _flipped(self, one: Any) -> Any:
        if isinstance(one, bytes):
            return bytes(byte ^ (1 << self.random.randrange(8)) for byte in one)
        return "".join(chr(ord(letter) ^ (1 << self.random.randrange(16))) for letter in one)
