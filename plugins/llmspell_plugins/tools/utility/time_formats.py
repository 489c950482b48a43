"""How times are read and written: a fixed list of strict formats to read, and an allow-list of directives to write.

Invariant: nothing is guessed; a text fits exactly one meaning or is refused. A width in a directive, which would let
the system's library take any amount of memory, is no directive here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from typing import Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import line_of_error

__all__ = ["DEFAULT_FORMAT", "FORMATS", "check_format", "read_time", "write_time"]

DEFAULT_FORMAT: Final = "%Y-%m-%dT%H:%M:%S%.fZ"
"""The original's: as RFC 3339, in UTC."""

FORMATS: Final = {
    "%Y-%m-%d %H:%M:%S": "2026-03-14 15:09:26",
    "%Y-%m-%d %H:%M": "2026-03-14 15:09",
    "%Y-%m-%d": "2026-03-14",
    "%Y/%m/%d %H:%M:%S": "2026/03/14 15:09:26",
    "%Y/%m/%d": "2026/03/14",
    "%d.%m.%Y %H:%M:%S": "14.03.2026 15:09:26",
    "%d.%m.%Y": "14.03.2026",
    "%m/%d/%Y %H:%M:%S": "03/14/2026 15:09:26",
    "%m/%d/%Y": "03/14/2026",
    "%B %d, %Y": "March 14, 2026",
    "%b %d, %Y": "Mar 14, 2026",
    "%d %B %Y": "14 March 2026",
    "%d %b %Y": "14 Mar 2026",
}
"""What is read beside RFC 3339, ISO 8601, RFC 2822 and seconds since the epoch, each with an example."""

_DIGITS: Final = {
    "%Y": r"\d{4}",
    "%m": r"\d{2}",
    "%d": r"\d{1,2}",
    "%H": r"\d{2}",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%B": "(?:[A-Za-z]{4,}|May)",
    "%b": "[A-Za-z]{3}",
}
_ISO: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?\s?([Zz]|[+-]\d{2}(:?\d{2})?)?", re.ASCII
)
_EPOCH: Final = re.compile(r"@?-?\d{1,11}(\.\d{1,6})?", re.ASCII)
_MAIL: Final = re.compile(r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}(:\d{2})? \S{1,5}", re.ASCII)
_DIRECTIVE: Final = re.compile(r"%(\.?[369]?f|.|$)", re.DOTALL)
_SINGLE: Final = frozenset("aAbBcdDeFGHIjmMnpRStTuUVwWxXyYzZ%")
_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(text: str, zone: tzinfo, form: str = "") -> tuple[datetime, str]:
    """Return the time and the format that it was read by; a text without a zone is in ``zone``.

    Args:
        text: The time.
        zone: For a text that names none.
        form: The only format to read it by; empty for those of this module.

    Raises:
        InvalidInputError: It fits no format, or is no time of the calendar.
    """
    given = text.strip()
    try:
        if form:
            return _zoned(datetime.strptime(given, form), zone), form
        found = _read(given, zone)
    except (ValueError, OverflowError, re.error) as error:
        why = line_of_error(error)
        message = f"date_time_handler: input: {given!r:.80} is no time ({why}); write it as 2026-03-14T15:09:26Z"
        raise InvalidInputError(message, field="input") from error
    if found is None:
        message = (
            f"date_time_handler: input: {given!r:.80} fits no known format; "
            "write it as 2026-03-14T15:09:26Z, or ask for the operation formats"
        )
        raise InvalidInputError(message, field="input")
    return found


def _read(given: str, zone: tzinfo) -> tuple[datetime, str] | None:
    if _ISO.fullmatch(given):
        packed = re.sub(r"([.,]\d{6})\d+", r"\1", given).replace(",", ".").replace(" ", "T", 1).replace(" ", "")
        packed = packed.upper()
        named = packed.endswith("Z") or re.search(r"[+-]\d{2}(:?\d{2})?$", packed[16:]) is not None
        return _zoned(datetime.fromisoformat(packed), zone), "RFC 3339" if named else "ISO 8601"
    if _EPOCH.fullmatch(given) and (given.startswith("@") or len(given.partition(".")[0].lstrip("-")) >= 9):
        whole, _, part = given.removeprefix("@").partition(".")
        micros = int(part.ljust(6, "0")) if part else 0
        seconds = timedelta(seconds=int(whole), microseconds=-micros if whole.startswith("-") else micros)
        return _EPOCH_START + seconds, "seconds since the epoch"
    if _MAIL.fullmatch(given):
        return _zoned(parsedate_to_datetime(given), zone), "RFC 2822"
    for form in FORMATS:
        if _shape(form).fullmatch(given):
            return _zoned(datetime.strptime(given, form), zone), form
    return None


def _shape(form: str) -> re.Pattern[str]:
    pattern = re.escape(form)
    for directive, digits in _DIGITS.items():
        pattern = pattern.replace(directive, digits)
    return re.compile(pattern, re.ASCII)


def _zoned(read: datetime, zone: tzinfo) -> datetime:
    """With its zone; one that the clocks skipped is refused, of one that came twice the first is meant."""
    if read.tzinfo is not None:
        return read
    local = read.replace(tzinfo=zone)
    if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != read:
        raise ValueError(f"the clocks of {zone} skipped it")
    return local


def check_format(form: str) -> str:
    """Return the format if every directive in it is known.

    Raises:
        ValueError: One is not.
    """
    for found in _DIRECTIVE.finditer(form):
        word = found[1]
        if word not in _SINGLE and not re.fullmatch(r"\.?[369]?f", word):
            raise ValueError(f"%{word} is no directive; there are %f, %.f, %.3f and % with one of {_known()}")
    return form


def _known() -> str:
    return "".join(sorted(_SINGLE))


def write_time(time: datetime, form: str) -> str:
    """Return the time as the format says; the default one is in UTC, as its Z tells."""
    if form == DEFAULT_FORMAT:
        time = time.astimezone(UTC)

    def written(found: re.Match[str]) -> str:
        word = found[1]
        if word == "%":
            return "%"
        if word.endswith("f"):
            return _fraction(time, word)
        if word in ("Y", "G"):
            return f"{time.year if word == 'Y' else time.isocalendar().year:04}"
        return time.strftime(f"%{word}")

    return _DIRECTIVE.sub(written, form)


def _fraction(time: datetime, word: str) -> str:
    dot = "." if word.startswith(".") else ""
    digits = word.strip(".f")
    micros = f"{time.microsecond:06}"
    if digits:
        return dot + micros.ljust(9, "0")[: int(digits)]
    if dot:  # as in the original: as many digits as needed, none for whole seconds
        return "" if not time.microsecond else "." + (micros[:3] if micros.endswith("000") else micros)
    return micros
