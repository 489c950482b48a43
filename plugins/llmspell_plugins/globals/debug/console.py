"""The global Debug: what a script sees of its messages, timers, memory and stack.

Messages go to Python's logging under ``llmspell.script`` and into a bounded buffer that the script can read. All
methods are quick and touch nothing of the host, so they run inside the script's slice.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from llmspell_hookspecs import InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.language import ScriptScope
from llmspell_hookspecs.services import Clock
from llmspell_plugins.globals.dump import COMPACT, VERBOSE, dump, read_options
from llmspell_plugins.globals.wording import text_of
from llmspell_plugins.json_text import is_small, plain

from .capture import Captured
from .filters import ModuleFilters
from .level import LOGGING_LEVELS, Level, level_of
from .memory import memory_snapshot, memory_stats
from .report import flame_graph, json_report, performance_report
from .stack import stack_json, stack_text
from .timer import Timer, Timers

__all__ = ["Debug"]

_LOGGER: Final = logging.getLogger("llmspell.script")


class Debug(ScriptGlobal):
    """Messages, timers, dumps, memory and stack of a script."""

    name: ClassVar[str] = "Debug"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._clock = services.get(Clock)
        self._timers = Timers(time.perf_counter)  # the host's monotonic clock is for the loop, a slice is in a thread
        self._filters = ModuleFilters()
        self._captured = Captured()
        self._level = Level.INFO
        self._enabled = True

    @script_method(pure=True)
    def log(self, level: str, message: Any, module: str | None = None) -> None:
        """Say something at a level; it is kept if level and module filters let it through.

        Raises:
            InvalidInputError: The level is none.
        """
        self._say(level_of(level), message, module)

    @script_method(pure=True)
    def trace(self, message: Any, module: str | None = None) -> None:
        """Say the finest detail."""
        self._say(Level.TRACE, message, module)

    @script_method(pure=True)
    def debug(self, message: Any, module: str | None = None) -> None:
        """Say what helps to find a fault."""
        self._say(Level.DEBUG, message, module)

    @script_method(pure=True)
    def info(self, message: Any, module: str | None = None) -> None:
        """Say what happened."""
        self._say(Level.INFO, message, module)

    @script_method("warning", pure=True)
    def warn(self, message: Any, module: str | None = None) -> None:
        """Say what may be wrong."""
        self._say(Level.WARN, message, module)

    @script_method(pure=True)
    def error(self, message: Any, module: str | None = None) -> None:
        """Say what is wrong."""
        self._say(Level.ERROR, message, module)

    @script_method(pure=True)
    def log_with_data(self, level: str, message: Any, data: Any, module: str | None = None) -> None:
        """Say something with data beside it, kept as ``metadata``.

        Raises:
            InvalidInputError: The level is none.
        """
        self._say(level_of(level), message, module, data)

    @script_method(pure=True)
    def set_level(self, level: str) -> bool:
        """Set the level up to which messages are kept; returns false if there is no such level."""
        try:
            self._level = level_of(level)
        except InvalidInputError:
            return False
        return True

    @script_method(pure=True)
    def get_level(self) -> str:
        """Return the level up to which messages are kept."""
        return self._level.word

    @script_method(pure=True)
    def set_enabled(self, enabled: bool) -> None:
        """Keep messages, or keep none."""
        self._enabled = enabled

    @script_method(pure=True)
    def is_enabled(self) -> bool:
        """Return whether messages are kept."""
        return self._enabled

    @script_method(pure=True)
    def add_module_filter(self, pattern: str, enabled: bool = True) -> None:
        """Keep or drop the messages of modules that match: a name, or a pattern with ``*`` and ``?``."""
        self._filters.add(pattern, enabled)

    @script_method(pure=True)
    def add_advanced_filter(self, pattern: str, type: str, enabled: bool = True) -> bool:
        """Keep or drop the messages of modules that match.

        Args:
            pattern: What modules it is about.
            type: ``exact``, ``wildcard``, ``regex`` or ``hierarchical``.
            enabled: Whether these are kept.

        Raises:
            InvalidInputError: The type is unknown, or the pattern is no regular expression.
        """
        self._filters.add(pattern, enabled, type or "none")
        return True

    @script_method(pure=True)
    def remove_module_filter(self, pattern: str) -> bool:
        """Take out the filters with this pattern; returns whether there was one."""
        return self._filters.remove(pattern)

    @script_method(pure=True)
    def clear_module_filters(self) -> None:
        """Take out all filters."""
        self._filters.clear()

    @script_method(pure=True)
    def set_default_filter_enabled(self, enabled: bool) -> None:
        """Say whether the messages of a module that no filter matches are kept."""
        self._filters.default_enabled = enabled

    @script_method(pure=True)
    def get_filter_summary(self) -> dict[str, Any]:
        """Return ``{default_enabled, total_rules, rules}``."""
        return self._filters.summary()

    @script_method(pure=True)
    def get_captured_entries(self, limit: int | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the last messages that were kept: timestamp, level, message, module, metadata."""
        entries = self._captured.latest(limit)
        return [{**entry, "metadata": _read_back(entry["metadata"])} for entry in entries]

    @script_method(pure=True)
    def clear_captured(self) -> None:
        """Drop the messages that were kept."""
        self._captured.clear()

    @script_method(pure=True)
    def timer(self, name: str = "timer") -> Timer:
        """Start a timer; it has ``id``, ``stop``, ``lap`` and ``elapsed``, in milliseconds."""
        return self._timers.start(name)

    @script_method(pure=True)
    def record_event(self, timer_id: Any, name: str, metadata: Any = None) -> bool:
        """Mark an event in a timer; returns false if there is no such timer.

        Args:
            timer_id: The timer, or its id.
            name: What happened.
            metadata: More about it.
        """
        timer = timer_id if isinstance(timer_id, Timer) else self._timers.get(str(timer_id))
        if timer is None:
            return False
        timer.mark("event", name, "" if metadata is None else dump(metadata, options=COMPACT))
        return True

    @script_method(pure=True)
    def performance_report(self) -> str:
        """Return the timers as a table for people."""
        return performance_report(self._timers)

    @script_method(pure=True)
    def json_report(self) -> str:
        """Return the timers as JSON."""
        return json_report(self._timers)

    @script_method(pure=True)
    def flame_graph(self) -> str:
        """Return the timers as folded stacks, in microseconds, for flame graph programs."""
        return flame_graph(self._timers)

    @script_method(pure=True)
    def memory_stats(self) -> dict[str, int]:
        """Return what the process holds: used_bytes, allocated_bytes, resident_bytes, collections."""
        return memory_stats()

    @script_method(pure=True)
    def memory_snapshot(self) -> dict[str, Any]:
        """Return how the process has grown since each running timer started."""
        return memory_snapshot(self._timers, self._clock.now_s())

    @script_method(pure=True, lenient=True)
    def dump(self, value: Any, label: str = "") -> str:
        """Return a value as text over many lines."""
        return dump(value, label)

    @script_method(pure=True, lenient=True)
    def dump_compact(self, value: Any, label: str = "") -> str:
        """Return a value as text on one line."""
        return dump(value, label, COMPACT)

    @script_method(pure=True, lenient=True)
    def dump_verbose(self, value: Any, label: str = "") -> str:
        """Return a value as text with more of everything, containers numbered."""
        return dump(value, label, VERBOSE)

    @script_method(pure=True, lenient=True)
    def dump_with_options(self, value: Any, options: Mapping[str, Any], label: str = "") -> str:
        """Return a value as text.

        Args:
            value: What is shown.
            options: max_depth, max_string_length, max_array_elements, max_table_pairs, indent_size, show_types,
                show_addresses, compact_mode.
            label: What stands before it.

        Raises:
            InvalidInputError: An option is unknown or wrong.
        """
        return dump(value, label, read_options(options))

    @script_method(pure=True)
    def stack_trace(self, options: Mapping[str, Any] | None = None) -> str:
        """Return the script's call stack as text.

        Args:
            options: max_depth, capture_locals, capture_upvalues, include_source.
        """
        return stack_text(self.scope, options or {})

    @script_method(pure=True)
    def stack_trace_json(self, options: Mapping[str, Any] | None = None) -> str:
        """Return the script's call stack as JSON, with the options of `stack_trace`."""
        return stack_json(self.scope, options or {})

    def _say(self, level: Level, message: Any, module: str | None, data: Any = None) -> None:
        where = module or self.scope.script.name
        if not self._enabled or level is Level.OFF or level > self._level or not self._filters.keeps(where):
            return
        text = text_of(message, self.scope.language)
        kept = None if data is None else _kept(data)
        self._captured.add(self._clock.now_s(), level.word, text, where, kept)
        number = LOGGING_LEVELS[level]
        if _LOGGER.isEnabledFor(number):
            _LOGGER.log(number, "%s: %s%s", where, text, "" if kept is None else f" {kept}")


def _kept(data: Any) -> str:
    """Return data as JSON text, or as a dump where it is large or no JSON."""
    if not is_small(data):
        return json.dumps(dump(data, options=COMPACT))
    try:
        return json.dumps(plain(data), ensure_ascii=False)
    except InvalidInputError:
        return json.dumps(dump(data, options=COMPACT))


def _read_back(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:  # it was cut to fit the buffer
        return text
