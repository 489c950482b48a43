from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.scripting import Interface, Scope
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.language import ScriptLimits
from llmspell_hookspecs.script import ScriptRun
from llmspell_plugins.globals.debug import Debug
from llmspell_plugins.globals.debug.timer import Timers
from llmspell_plugins.globals.dump import COMPACT, VERBOSE, DumpOptions, dump, read_options
from waiting import processor_s


class WallClock:
    """The clock, and the services that answer it."""

    def get(self, protocol: type) -> Any:
        return self

    def now_s(self) -> float:
        return 1000.0


class Console:
    """Debug as a script calls it."""

    def __init__(self) -> None:
        self.scope = Scope("s", ScriptRun("", "lua", "a.lua"), None)  # type: ignore[arg-type]
        self.debug = Debug(WallClock(), self.scope)  # type: ignore[arg-type]
        self.interface = Interface(self.scope, None, ScriptLimits(), {})  # type: ignore[arg-type]

    def __call__(self, method: str, *arguments: Any) -> Any:
        return self.interface.call_pure(self.debug, method, arguments)

    def messages(self) -> list[str]:
        return [entry["message"] for entry in self("getCapturedEntries")]


def test_messages_up_to_the_level_are_kept_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    console = Console()

    with caplog.at_level(logging.DEBUG, "llmspell.script"):
        for level in ("trace", "debug", "info", "warn", "error"):
            console(level, level)
        console("setLevel", "debug")
        console("log", "DEBUG", "again", "app.db")

    assert console.messages() == ["info", "warn", "error", "again"]
    assert caplog.messages == ["a.lua: info", "a.lua: warn", "a.lua: error", "app.db: again"]
    assert console("getLevel") == "debug"


def test_a_level_that_is_none_is_refused() -> None:
    console = Console()

    assert console("set_level", "loud") is False
    with pytest.raises(InvalidInputError, match="'loud' is no level; use one of off, error, warn, info, debug, trace"):
        console("log", "loud", "x")


def test_off_and_disabled_keep_nothing() -> None:
    console = Console()

    console("setLevel", "off")
    console("error", "unheard")
    console("setLevel", "trace")
    console("setEnabled", False)
    console("error", "unheard")

    assert console.messages() == []
    assert console("isEnabled") is False


def test_data_is_kept_beside_the_message() -> None:
    console = Console()

    console("logWithData", "info", "loaded", {"rows": 3}, "csv")

    assert console("get_captured_entries") == [
        {"timestamp": 1000.0, "level": "info", "message": "loaded", "module": "csv", "metadata": {"rows": 3}}
    ]
    console("clearCaptured")
    assert console.messages() == []


def test_the_last_entries_are_answered_oldest_first() -> None:
    console = Console()
    for number in range(5):
        console("info", str(number))

    assert [entry["message"] for entry in console("getCapturedEntries", 2)] == ["3", "4"]
    assert console("getCapturedEntries", 0) == []


def test_captured_messages_are_bounded() -> None:
    console = Console()

    for _ in range(400):
        console("info", "x" * 20_000)

    entries = console("getCapturedEntries")
    assert sum(len(entry["message"]) for entry in entries) <= 4_000_000
    assert len(entries[0]["message"]) == 16_384


@pytest.mark.parametrize(
    ("pattern", "kind", "kept", "dropped"),
    [
        ("app", "exact", ["app"], ["app.db", "apple"]),
        ("app*", "wildcard", ["app", "apple", "app.db"], ["my.app"]),
        ("app", "hierarchical", ["app", "app.db", "app:db", "app/db"], ["apple"]),
        ("^app\\.(db|net)$", "regex", ["app.db", "app.net"], ["app.dbx", "app"]),
    ],
)
def test_each_type_of_filter_keeps_what_matches(pattern: str, kind: str, kept: list[str], dropped: list[str]) -> None:
    console = Console()
    console("setDefaultFilterEnabled", False)
    assert console("addAdvancedFilter", pattern, kind, True) is True

    for module in kept + dropped:
        console("info", module, module)

    assert console.messages() == kept


def test_the_last_filter_that_matches_decides() -> None:
    console = Console()
    console("addModuleFilter", "app.*", False)
    console("addModuleFilter", "app.db", True)

    for module in ("app.db", "app.net", "other"):
        console("info", module, module)

    assert console.messages() == ["app.db", "other"]
    assert console("getFilterSummary") == {
        "default_enabled": True,
        "total_rules": 2,
        "rules": [
            {"pattern": "app.*", "pattern_type": "wildcard", "enabled": False, "description": "drop wildcard app.*"},
            {"pattern": "app.db", "pattern_type": "exact", "enabled": True, "description": "keep exact app.db"},
        ],
    }
    assert console("removeModuleFilter", "app.*") is True
    assert console("removeModuleFilter", "app.*") is False
    console("clearModuleFilters")
    assert console("getFilterSummary")["total_rules"] == 0


def test_a_filter_that_is_wrong_is_refused() -> None:
    console = Console()

    with pytest.raises(InvalidInputError, match="is no regular expression"):
        console("addAdvancedFilter", "(", "regex")
    with pytest.raises(InvalidInputError, match="'glob' is no type of pattern"):
        console("addAdvancedFilter", "a", "glob")
    with pytest.raises(ResourceLimitError):
        console("addModuleFilter", "x" * 201)


def test_a_regular_expression_cannot_hold_the_host_up() -> None:
    console = Console()
    console("addAdvancedFilter", "^(a+)+$", "regex", True)

    assert processor_s(lambda: console("info", "x", "a" * 199 + "!")) < 0.5


def test_timers_lap_stop_and_report() -> None:
    now = [0.0]
    timers = Timers(lambda: now[0])
    outer = timers.start("outer")
    now[0] = 1.0
    inner = timers.start("inner")
    now[0] = 1.5

    assert (inner.lap("half"), inner.stop(), outer.elapsed()) == (500.0, 500.0, 1500.0)
    now[0] = 2.0
    assert (outer.stop(), outer.stop(), inner.elapsed()) == (2000.0, 2000.0, 500.0)
    assert inner.parent is outer


def test_reports_show_what_the_timers_took() -> None:
    console = Console()
    outer = console("timer", "outer")
    inner = console("timer", "inner")
    call = console.interface.call_pure

    assert console("recordEvent", inner.id, "row", {"n": 1}) is True
    assert console("recordEvent", inner, "row") is True
    assert console("recordEvent", "timer-99", "row") is False
    call(inner, "lap", ["one"])
    call(inner, "stop", [])
    call(outer, "stop", [])

    report = console("performanceReport")
    assert "outer" in report
    assert "event row: " in report
    assert '{"n": 1}' in report
    timers = json.loads(console("jsonReport"))["timers"]
    assert [timer["name"] for timer in timers] == ["outer", "inner"]
    assert [mark["kind"] for mark in timers[1]["marks"]] == ["event", "event", "lap"]
    assert timers[0]["duration_ms"] >= timers[1]["duration_ms"] > 0
    stacks = dict(line.rsplit(" ", 1) for line in console("flameGraph").splitlines())
    assert sorted(stacks) == ["outer", "outer;inner"]
    assert inner.script_fields() == {"id": inner.id, "name": "inner"}


def test_without_timers_the_report_says_so() -> None:
    assert Console()("performanceReport") == "Performance report: no timers"
    assert Console()("flameGraph") == ""


def test_a_thousand_running_timers_are_the_most() -> None:
    console = Console()
    first = console("timer", "first")
    for _ in range(999):
        console("timer", "more")

    with pytest.raises(ResourceLimitError, match="1000 timers are running"):
        console("timer", "one too many")
    first.stop()
    console("timer", "fits again")


def test_memory_figures_are_the_process_own() -> None:
    console = Console()
    before = console("memoryStats")
    console("timer", "growing")
    held = bytearray(64 * 1024 * 1024)
    held[::4096] = b"x" * len(held[::4096])
    after = console("memorySnapshot")

    assert after["resident_bytes"] - before["resident_bytes"] > 48 * 1024 * 1024
    assert after["tracker_memory_usage"]["growing"] > 48 * 1024 * 1024
    assert after["active_trackers"] == 1
    assert after["timestamp_secs"] == 1000.0
    assert before["used_bytes"] <= before["resident_bytes"]
    assert before["collections"] >= 0


def test_a_dump_shows_types_and_nesting() -> None:
    text = Console()("dump", {"name": "x", "list": [1, None]}, "it")

    assert text == 'it: table(2) {\n  "name": string "x",\n  "list": list(2) [\n    number 1,\n    nil\n  ]\n}'


def test_a_compact_dump_is_one_line() -> None:
    assert Console()("dumpCompact", {"a": [1, True], "b": {}}) == '{"a": [1, true], "b": {}}'


def test_depth_items_pairs_and_text_are_capped() -> None:
    assert dump([[[[1]]]], options=COMPACT) == "[[[[...]]]]"
    assert dump(list(range(12)), options=COMPACT).endswith("9, ... 2 more]")
    assert dump({str(i): i for i in range(11)}, options=COMPACT).endswith('"9": 9, ... 1 more}')
    assert dump("x" * 51, options=COMPACT) == f'"{"x" * 50}..." (51 characters)'


def test_circles_are_marked_and_shared_values_are_not() -> None:
    circle: dict[str, Any] = {}
    circle["me"] = circle
    shared = [1]

    assert dump(circle, options=COMPACT) == '{"me": <circular>}'
    assert dump([shared, shared], options=COMPACT) == "[[1], [1]]"
    assert "<circular #1>" in dump(circle, options=VERBOSE)


def test_dump_options_are_taken_in_both_spellings_and_checked() -> None:
    console = Console()

    text = console("dumpWithOptions", [1, 2, 3], {"maxArrayElements": 1, "compact_mode": True, "show_types": False})

    assert text == "[1, ... 2 more]"
    with pytest.raises(InvalidInputError, match="max_depht"):
        console("dumpWithOptions", 1, {"max_depht": 1})
    with pytest.raises(InvalidInputError, match="max_depth must lie between 0 and 100"):
        console("dumpWithOptions", 1, {"max_depth": 1000})
    assert read_options({}) == DumpOptions(10, 200, 50, 50, 2)


@given(
    st.recursive(st.none() | st.text() | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_any_value_can_be_dumped(value: Any) -> None:
    for options in (DumpOptions(), COMPACT, VERBOSE):
        assert len(dump(value, options=options)) <= 100_100
    assert "\n" not in dump(value, options=COMPACT)


def test_a_bomb_of_shared_values_ends() -> None:
    bomb: Any = []
    for _ in range(18):
        bomb = [bomb] * 100

    text = dump(bomb, options=VERBOSE)

    assert text.endswith("... (cut at 100000 characters)")


def test_without_a_language_that_tells_it_the_stack_is_said_to_be_missing() -> None:
    console = Console()

    assert console("stackTrace") == "stack trace: the language lua does not tell its stack"
    assert json.loads(console("stackTraceJson"))["available"] is False


def test_a_language_tells_its_stack() -> None:
    console = Console()
    frames = [{"function": f"f{number}", "file": "a.lua", "line": number, "locals": {"x": 1}} for number in range(3)]
    console.scope.stack = lambda: frames

    text = console("stack_trace", {"max_depth": 2})

    assert text == "stack trace:\n  0: f0 (a.lua:0)\n  1: f1 (a.lua:1)"
    with_locals = json.loads(console("stack_trace_json", {"capture_locals": True}))
    assert with_locals["frames"][2] == frames[2]
    with pytest.raises(InvalidInputError, match="there is no option 'depth'"):
        console("stack_trace", {"depth": 2})
