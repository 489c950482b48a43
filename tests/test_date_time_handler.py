"""date_time_handler: held against GNU date."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_hookspecs import InvalidInputError
from llmspell_plugins.tools.utility.date_time_handler import DateTimeHandler
from tool_caller import call
from tool_host import ask, oracle


def date(*arguments: str, zone: str = "UTC") -> str:
    return oracle("env", f"TZ={zone}", "LC_ALL=C", "date", *arguments).decode().strip()


def told(**parameters: Any) -> Any:
    return call(DateTimeHandler, **parameters).result


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2026-03-14T15:09:26Z", "RFC 3339"),
        ("2026-03-14 15:09:26+05:30", "RFC 3339"),
        ("2026-03-14T15:09:26", "ISO 8601"),
        ("2026-03-14 15:09", "ISO 8601"),
        ("2026-03-14", "%Y-%m-%d"),
        ("2026/03/14", "%Y/%m/%d"),
        ("Sat, 14 Mar 2026 15:09:26 -0700", "RFC 2822"),
        ("@1773500966", "seconds since the epoch"),
        ("14 March 2026", "%d %B %Y"),
        ("0001-01-01T00:00:00Z", "RFC 3339"),
    ],
)
def test_a_time_is_read_as_date_reads_it(text: str, form: str) -> None:
    result = told(operation="parse", input=text)

    assert result["parsed"]["timestamp"] == int(date("-u", "-d", text, "+%s"))
    assert result["format_used"] == form


def test_the_parts_are_those_of_the_time_as_it_was_written() -> None:
    parsed = told(operation="parse", input="2026-03-14T23:09:26.5-05:00")["parsed"]

    assert parsed == {
        "utc": "2026-03-15T04:09:26.500Z",
        "timestamp": 1773547766.5,
        "offset_seconds": -18000,
        "year": 2026,
        "month": 3,
        "day": 14,
        "hour": 23,
        "minute": 9,
        "second": 26,
        "weekday": "Saturday",
    }


def test_a_time_without_a_zone_is_in_the_one_that_is_named() -> None:
    parsed = told(operation="parse", input="2026-07-01 12:00", timezone="America/New_York")["parsed"]

    assert parsed["timestamp"] == int(date("-d", "2026-07-01 12:00", "+%s", zone="America/New_York"))


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("text", ["2026-01-15T12:00:00Z", "2026-07-15T12:00:00Z", "1972-06-30T23:59:59Z"])
def test_a_time_is_converted_as_date_does(zone: str, text: str) -> None:
    result = told(operation="convert_timezone", input=text, target_timezone=zone)

    assert result["converted"] == date("-d", text, "+%Y-%m-%dT%H:%M:%S%:z", zone=zone)
    assert result["original"] == text


@pytest.mark.parametrize(
    ("amount", "unit"), [(90, "seconds"), (61, "minutes"), (25, "hours"), (400, "days"), (3, "weeks"), (13, "months")]
)
def test_what_is_added_and_taken_away_is_what_date_says(amount: int, unit: str) -> None:
    text = "2024-02-29T10:00:00Z"

    later = told(operation="add", input=text, amount=amount, unit=unit)["result"]
    earlier = told(operation="subtract", input=text, amount=amount, unit=unit)["result"]

    shape = "+%Y-%m-%dT%H:%M:%SZ"
    assert later == date("-u", "-d", f"2024-02-29 10:00:00 UTC + {amount} {unit}", shape)
    assert earlier == date("-u", "-d", f"2024-02-29 10:00:00 UTC - {amount} {unit}", shape)


def test_a_day_later_is_the_same_hour_and_24_hours_later_is_not_where_the_clocks_change() -> None:
    before = {"input": "2026-03-28 12:00", "timezone": "Europe/Paris", "format": "%H:%M %z"}

    assert told(operation="add", amount=1, unit="day", **before)["result"] == "12:00 +0200"
    assert told(operation="add", amount=24, unit="hours", **before)["result"] == "13:00 +0200"


def test_the_last_of_a_month_stays_in_the_next() -> None:
    result = told(operation="add", input="2023-01-31", amount=1, unit="months", format="%F")["result"]

    assert result == "2023-02-28"


def test_a_difference_is_told_in_parts() -> None:
    start, end = "2026-03-28T12:00:00+01:00", "2026-03-30T13:01:02+02:00"

    result = told(operation="difference", start=start, end=end)["difference"]
    back = told(operation="difference", start=end, end=start)["difference"]

    seconds = int(date("-d", end, "+%s")) - int(date("-d", start, "+%s"))
    assert result["total_seconds"] == seconds
    assert (result["days"], result["hours"], result["minutes"], result["seconds"]) == (2, 0, 1, 2)
    assert result["human_readable"] == "2 days, 1 minute, 2 seconds"
    assert (back["total_seconds"], back["negative"]) == (-seconds, True)


@pytest.mark.parametrize("text", ["2024-12-30", "2026-01-01", "2000-02-29", "1900-03-01", "2027-01-03"])
def test_what_is_told_of_a_day_is_what_date_tells(text: str) -> None:
    info = told(operation="info", input=text)["info"]

    weekday, day, week, year, number = date("-u", "-d", text, "+%A %-j %-V %G %u").split()
    assert (info["weekday"], info["day_of_year"], info["week_of_year"]) == (weekday, int(day), int(week))
    assert (info["week_year"], info["weekday_number"]) == (int(year), int(number))
    assert info["start_of_day"] == f"{text}T00:00:00+00:00"
    assert info["days_in_month"] == int(date("-u", "-d", f"{text[:8]}01 + 1 month - 1 day", "+%d"))


async def test_now_is_between_before_and_after(tmp_path: Path) -> None:
    before = int(date("+%s"))
    result = (await ask(DateTimeHandler, tmp_path, operation="now", timezone="Asia/Tokyo")).result
    after = int(date("+%s")) + 1

    assert before <= datetime.fromisoformat(result["datetime"]).timestamp() <= after
    assert result["datetime"].endswith("+09:00")


def test_every_format_that_is_listed_is_read() -> None:
    listed = told(operation="formats")["example_formats"]

    used = {told(operation="parse", input=example)["format_used"] for example in listed.values()}
    assert used == set(listed) - {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"}  # which ISO 8601 has, too


@pytest.mark.parametrize("form", ["%A %d %B %Y %I:%M %p", "%j %U %W %V %G %u %w", "%D %T %R %e %y %%", "%c|%x|%X"])
def test_a_time_is_written_as_date_writes_it(form: str) -> None:
    result = told(operation="add", input="2026-03-04T05:06:07Z", amount=0, unit="days", format=form)["result"]

    assert result == date("-u", "-d", "2026-03-04T05:06:07Z", f"+{form}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "10/11/12",
        "tomorrow",
        "9" * 190,
        "2026-02-30",
        "2026-13-01",
        "2026-03-14T25:00:00Z",
        "٢٠٢٦-03-14",
        "24",
    ],
)
def test_what_could_mean_anything_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="input"):
        told(operation="parse", input=text)


def test_an_hour_that_the_clocks_skipped_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="skipped"):
        told(operation="parse", input="2026-03-29 02:30", timezone="Europe/Paris")


@pytest.mark.parametrize("form", ["%1000000000d", "%", "%E", "%Q", "%-d", "%s"])
def test_a_directive_that_is_not_known_is_refused(form: str) -> None:
    with pytest.raises(InvalidInputError, match="no directive"):
        told(operation="add", input="2026-01-01", amount=1, unit="days", format=form)


@pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc/passwd", "Nowhere/City", "a\0b", "", "x" * 99])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInputError, match="no time zone"):
        told(operation="convert_timezone", input="2026-01-01", target_timezone=zone)


@pytest.mark.parametrize(("amount", "unit"), [(1e11, "hours"), (1e6, "years"), (1e10, "days"), (-3000, "years")])
def test_what_leads_out_of_the_calendar_is_refused(amount: float, unit: str) -> None:
    with pytest.raises(InvalidInputError, match="years 1 to 9999"):
        told(operation="add", input="2026-01-01", amount=amount, unit=unit)
    with pytest.raises(InvalidInputError):
        told(operation="add", input="2026-01-01", amount=float("inf"), unit=unit)


@given(st.datetimes(), st.sampled_from(["Europe/Paris", "UTC", "Pacific/Apia"]))
def test_any_time_is_read_or_refused(time: datetime, zone: str) -> None:
    try:
        parsed = told(operation="parse", input=time.isoformat(), timezone=zone)["parsed"]
    except InvalidInputError:
        return
    assert (parsed["year"], parsed["day"], parsed["minute"]) == (time.year, time.day, time.minute)
