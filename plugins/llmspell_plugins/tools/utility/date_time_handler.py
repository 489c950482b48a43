"""The date_time_handler tool: reads, converts, shifts and compares times.

Invariant: a time always has a zone; seconds, minutes and hours are added on the time line, days and what is longer on
the calendar of the zone, so that a day later is the same hour. A time that was written without a zone is in
``timezone``, or UTC. Years 1 to 9999.
"""

from __future__ import annotations

import calendar
import math
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmspell_hookspecs import InvalidInputError, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.services import Clock

from .time_formats import DEFAULT_FORMAT, FORMATS, check_format, read_time, write_time

__all__ = ["DateTimeHandler", "DateTimeHandlerParameters"]

_NEEDS = {
    "parse": ("input",),
    "convert_timezone": ("input", "target_timezone"),
    "add": ("input", "amount", "unit"),
    "subtract": ("input", "amount", "unit"),
    "difference": ("start", "end"),
    "info": ("input",),
}
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
_DAYS = {"days": 1, "weeks": 7}
_MONTHS = {"months": 1, "years": 12}
_FARTHEST = 10_000 * 366 * 86_400


class DateTimeHandlerParameters(BaseModel):
    """What the date_time_handler takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["parse", "now", "convert_timezone", "add", "subtract", "difference", "info", "formats"] = Field(
        default="parse", description="What to do."
    )
    input: str | None = Field(
        default=None, max_length=200, description="The time, such as 2026-03-14T15:09:26Z; formats lists what is read."
    )
    input_format: str | None = Field(
        default=None, max_length=200, description="The only format to read it by, with directives such as %d.%m.%y."
    )
    timezone: str | None = Field(
        default=None, max_length=100, description="Of a time that names none, and of now: Europe/Paris, UTC."
    )
    target_timezone: str | None = Field(default=None, max_length=100, description="convert_timezone: to which zone.")
    amount: float | None = Field(default=None, ge=-_FARTHEST, le=_FARTHEST, description="add and subtract: how much.")
    unit: Literal["seconds", "minutes", "hours", "days", "weeks", "months", "years"] | None = Field(
        default=None, description="add and subtract: of what; days and more are of the calendar."
    )
    start: str | None = Field(default=None, max_length=200, description="difference: from.")
    end: str | None = Field(default=None, max_length=200, description="difference: to.")
    format: str = Field(
        default=DEFAULT_FORMAT, max_length=200, description="How times are written; %.f is a fraction if there is one."
    )

    @field_validator("unit", mode="before")
    @classmethod
    def _plural(cls, given: Any) -> Any:
        units = (*_SECONDS, *_DAYS, *_MONTHS)
        return f"{given}s" if isinstance(given, str) and f"{given}s" in units else given

    @field_validator("format", "input_format")
    @classmethod
    def _known(cls, given: str | None) -> str | None:
        return None if given is None else check_format(given)

    @model_validator(mode="after")
    def _complete(self) -> DateTimeHandlerParameters:
        missing = [name for name in _NEEDS.get(self.operation, ()) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{self.operation} needs {' and '.join(missing)}")
        if self.unit in _MONTHS and self.amount is not None and not self.amount.is_integer():
            raise ValueError(f"amount: {self.amount:g} {self.unit} is no whole number; add days for parts")
        return self


class DateTimeHandler(Tool[DateTimeHandlerParameters]):
    """Read a time, tell the time now, convert, shift and compare times, and tell about a day."""

    name = "date_time_handler"
    aliases = ("date-time-handler", "datetime-handler", "datetime_handler")
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample(
            "a day later",
            {"operation": "add", "input": "2024-02-28", "amount": 1, "unit": "days"},
            {"result": "2024-02-29T00:00:00Z"},
        ),
        ToolExample(
            "another zone",
            {"operation": "convert_timezone", "input": "2026-07-01T12:00:00Z", "target_timezone": "Asia/Tokyo"},
            {"converted": "2026-07-01T21:00:00+09:00"},
        ),
        ToolExample(
            "how long",
            {"operation": "difference", "start": "2026-01-01", "end": "2026-01-02 01:00"},
            {"difference": {"total_seconds": 90000, "days": 1, "hours": 1}},
        ),
        ToolExample("the time now", {"operation": "now", "timezone": "Europe/Paris"}, {"timezone": "Europe/Paris"}),
    )

    async def run(self, parameters: DateTimeHandlerParameters, context: ToolContext) -> ToolResult:
        """Return what the operation tells; see the reference page.

        Raises:
            InvalidInputError: A time, zone or amount is none.
        """
        try:
            result = _Work(parameters, context).do()
        except OverflowError as error:
            message = f"date_time_handler {parameters.operation}: it is outside the years 1 to 9999; take less"
            raise InvalidInputError(message, field="input") from error
        return ToolResult(operation=parameters.operation, result=result)


class _Work:
    """One call's work."""

    def __init__(self, parameters: DateTimeHandlerParameters, context: ToolContext) -> None:
        self._given = parameters
        self._context = context
        self._zone = _zone(parameters.timezone, "timezone") if parameters.timezone else UTC

    def do(self) -> dict[str, Any]:
        operation = self._given.operation
        answer: dict[str, Any] = getattr(self, operation if operation != "subtract" else "add")()
        return answer

    def parse(self) -> dict[str, Any]:
        time, form = self._read(self._given.input)
        return {"input": self._given.input, "parsed": _parts(time), "format_used": form}

    def now(self) -> dict[str, Any]:
        time = datetime.fromtimestamp(self._context.services.get(Clock).now_s(), UTC).astimezone(self._zone)
        form = self._given.format
        written = time.isoformat() if form == DEFAULT_FORMAT else write_time(time, form)
        return {"timezone": self._given.timezone or "UTC", "datetime": written, "format": form}

    def convert_timezone(self) -> dict[str, Any]:
        time, _ = self._read(self._given.input)
        target = self._given.target_timezone or ""
        converted = time.astimezone(_zone(target, "target_timezone"))
        form = self._given.format
        written = converted.isoformat() if form == DEFAULT_FORMAT else write_time(converted, form)
        return {"original": self._given.input, "converted": written, "target_timezone": target, "format": form}

    def add(self) -> dict[str, Any]:
        given = self._given
        time, _ = self._read(given.input)
        amount, unit = given.amount or 0.0, given.unit or "seconds"
        shifted = _shifted(time, -amount if given.operation == "subtract" else amount, unit)
        written = write_time(shifted, given.format)
        return {"original": given.input, "result": written, "amount": given.amount, "unit": unit}

    def difference(self) -> dict[str, Any]:
        start, _ = self._read(self._given.start)
        end, _ = self._read(self._given.end)
        between = (end - start).total_seconds()
        seconds = int(between) if between.is_integer() else between
        rest = int(abs(between))
        parts = {"days": rest // 86_400, "hours": rest // 3600 % 24, "minutes": rest // 60 % 60, "seconds": rest % 60}
        difference = {"total_seconds": seconds, **parts, "negative": between < 0, "human_readable": _spoken(parts)}
        return {"start": self._given.start, "end": self._given.end, "difference": difference}

    def info(self) -> dict[str, Any]:
        time, _ = self._read(self._given.input)
        first, last = datetime.min.time(), datetime.max.time()
        week = time.isocalendar()
        info = {
            "weekday": time.strftime("%A"),
            "weekday_number": time.isoweekday(),
            "day_of_year": time.timetuple().tm_yday,
            "week_of_year": week.week,
            "week_year": week.year,
            "quarter": (time.month + 2) // 3,
            "is_leap_year": calendar.isleap(time.year),
            "is_weekend": time.isoweekday() > 5,
            "days_in_month": calendar.monthrange(time.year, time.month)[1],
            "start_of_day": datetime.combine(time, first, time.tzinfo).isoformat(),
            "end_of_day": datetime.combine(time, last, time.tzinfo).isoformat(),
        }
        return {"input": self._given.input, "info": info}

    def formats(self) -> dict[str, Any]:
        fixed = {
            "RFC 3339": "2026-03-14T15:09:26Z",
            "ISO 8601": "2026-03-14T15:09:26.535",
            "RFC 2822": "Sat, 14 Mar 2026 15:09:26 +0000",
            "seconds since the epoch": "@1773500966",
        }
        every = {**fixed, **FORMATS}
        return {"available_formats": list(every), "example_formats": every}

    def _read(self, text: str | None) -> tuple[datetime, str]:
        return read_time(text or "", self._zone, self._given.input_format or "")


def _zone(name: str, field: str) -> tzinfo:
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        message = f"date_time_handler: {field}: {name!r:.80} is no time zone; take one such as Europe/Paris or UTC"
        raise InvalidInputError(message, field=field) from error


def _parts(time: datetime) -> dict[str, Any]:
    fraction = time.timestamp()
    return {
        "utc": write_time(time, DEFAULT_FORMAT),
        "timestamp": int(fraction) if fraction.is_integer() else fraction,
        "offset_seconds": int((time.utcoffset() or timedelta()).total_seconds()),
        "year": time.year,
        "month": time.month,
        "day": time.day,
        "hour": time.hour,
        "minute": time.minute,
        "second": time.second,
        "weekday": time.strftime("%A"),
    }


def _shifted(time: datetime, amount: float, unit: str) -> datetime:
    if unit in _SECONDS:
        shift = timedelta(seconds=amount * _SECONDS[unit])
        return (time.astimezone(UTC) + shift).astimezone(time.tzinfo)
    if unit in _DAYS:
        part, whole = math.modf(amount * _DAYS[unit])
        moved = time + timedelta(days=whole)  # on the calendar: the hour stays
        return _shifted(moved, part * 86_400, "seconds") if part else moved
    months = time.year * 12 + time.month - 1 + int(amount) * _MONTHS[unit]
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError(year)
    day = min(time.day, calendar.monthrange(year, month + 1)[1])
    return time.replace(year=year, month=month + 1, day=day)


def _spoken(parts: dict[str, int]) -> str:
    said = [f"{count} {name[:-1] if count == 1 else name}" for name, count in parts.items() if count]
    return ", ".join(said) or "0 seconds"
