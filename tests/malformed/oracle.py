"""What may come of a malformed input, and who says so.

Invariant: only errors of the contract leave, each a line of at most 500 characters that a terminal may be shown; a
process ends with a code of the documentation and has said why in few lines. Nothing takes longer than `PATIENCE_S`.
"""

from __future__ import annotations

import faulthandler
import os
import re
import threading
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llmspell_hookspecs import LlmspellError, ToolError

__all__ = ["PATIENCE_S", "Case", "Watch", "faults_of_message", "faults_of_process", "shown"]

PATIENCE_S = 120.0
_CODES = frozenset({0, 1, 2, 129, 130, 131, 141, 143})
_STEERS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
_LINES = 6
_BEFORE = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+Z \w+ (llmspell\S*:? )?|llmspell: (warning: )?|\t)")


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        number: Its place in the row.
        value: What it is, by its kind.
    """

    number: int
    value: object


@dataclass
class Watch:
    """Sees what becomes of each input; ends the process if one of them takes too long.

    Attributes:
        kind, seed: Of the inputs.
        findings: What was wrong, a line each.
        tried: How many there were.
        outcomes: How they ended: the codes of errors, or exit codes.
    """

    kind: str
    seed: int
    findings: list[str] = field(default_factory=list)
    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    _since: tuple[float, int] | None = None

    def __post_init__(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def trying(self, case: Case) -> Iterator[None]:
        """Judge what leaves the block."""
        self.tried += 1
        self._since = (time.monotonic(), case.number)
        try:
            yield
        except LlmspellError as error:
            self.outcomes[error.code] += 1
            if error.code == "internal":
                self.complain(case, f"told as internal: {error}")
            if isinstance(error, ToolError) and error.code == "process" and error.details is not None:
                self.complain(case, f"raw from a child process: {error}")
            for fault in faults_of_message(str(error)):
                self.complain(case, f"{type(error).__name__}: {fault}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and type(error) is KeyboardInterrupt and not error.args:
                raise
            where = traceback.extract_tb(error.__traceback__)[-4:]
            frames = " < ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in reversed(where))
            self.complain(case, f"{type(error).__name__} left: {str(error)[:200]!r} at {frames}")
        finally:
            self._since = None

    def complain(self, case: Case, fault: str) -> None:
        """Note what was wrong with an input, and how to try it again."""
        again = f"--kind {self.kind} --seed {self.seed} --start {case.number} --count 1"
        line = f"{again}: {fault} | {shown(case.value)[:400]}"
        self.findings.append(line)
        print(line, flush=True)

    def _watch(self) -> None:
        while True:
            time.sleep(1)
            since = self._since
            if since is not None and time.monotonic() - since[0] > PATIENCE_S:
                print(f"HANG --kind {self.kind} --seed {self.seed} --start {since[1]} --count 1", flush=True)
                faulthandler.dump_traceback(2)
                os._exit(3)


def shown(value: object, depth: int = 6) -> str:
    """Return a value in ASCII, also one that is too deep or too long to print."""
    if depth and isinstance(value, dict):
        return "{" + ", ".join(f"{shown(key)}: {shown(item, depth - 1)}" for key, item in value.items()) + "}"
    if depth and isinstance(value, list | tuple):
        return "[" + ", ".join(shown(item, depth - 1) for item in value[:100]) + "]"
    try:
        return ascii(value)
    except (RecursionError, ValueError) as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def faults_of_message(message: str) -> Iterator[str]:
    """Yield what is wrong with an error's message."""
    if not message.strip():
        yield "the message is empty"
    if len(message) > 500:
        yield f"the message has {len(message)} characters: {message[:100]!r}"
    odd = sorted({letter for letter in message if unicodedata.category(letter) in _STEERS or _TURNS.match(letter)})
    if odd:
        yield f"the message holds {odd!r}: {message[:200]!r}"


def faults_of_process(code: int, errors: bytes, *, verbose: bool = False) -> Iterator[str]:
    """Yield what is wrong with how a command ended, by its exit code and its standard error."""
    text = errors.decode("utf-8", "replace")
    lines = text.splitlines()
    if code not in _CODES:
        yield f"exit code {code}: {text[-300:]!r}"
    if "Traceback" in text or "internal error" in text:
        yield f"raw: {text[-500:]!r}"
    if len(lines) > _LINES and not verbose:
        yield f"{len(lines)} lines of errors: {text[:300]!r}"
    if code in (1, 2) and not lines:
        yield f"exit code {code} without a word"
    for line in lines:
        yield from faults_of_message(_BEFORE.sub("", line) or "-")
