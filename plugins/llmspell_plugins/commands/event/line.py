"""An event as one line: for people in columns and in colour, for programs as JSON.

Invariant: a line is one line and moves no cursor, whatever a script put into the event: what is not printable is
escaped. Cut to the terminal's width, and only there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

import click
import msgspec
from rich.cells import cell_len, set_cell_size

from llmspell_hookspecs import Event
from llmspell_hookspecs.spelling import escaped

__all__ = ["EventLines"]

_COLOURS: Final = {
    "failed": "red",
    "error": "red",
    "cancelled": "yellow",
    "denied": "yellow",
    "completed": "green",
}
_TOPIC_CELLS: Final = 32
_ORIGIN_CELLS: Final = 28


class EventLines:
    """Writes events as lines; its columns grow with what they hold, up to a bound.

    Args:
        to_json: Returns any value as JSON of one line.
        as_json: Whether for programs.
        colour: Whether in colour.
        width: In cells; 0 for any.
    """

    def __init__(
        self, to_json: Callable[[Any], str], *, as_json: bool = False, colour: bool = False, width: int = 0
    ) -> None:
        self.width = width
        self._to_json = to_json
        self._as_json = as_json
        self._colour = colour
        self._topic_cells = 0
        self._origin_cells = 0

    def line(self, event: Event, process: str = "", pid: int = 0) -> str:
        """Return an event's line.

        Args:
            event: The event.
            process: What the process does that it comes from.
            pid: That process; 0 if it is this one.
        """
        if self._as_json:
            fields = msgspec.structs.asdict(event)
            return self._to_json({**fields, "process": process, "pid": pid}) + "\n"
        topic = escaped(event.type)
        origin = escaped(" ".join(filter(None, (event.source, f"{process}[{pid}]" if pid else ""))) or "-")
        self._topic_cells = max(self._topic_cells, min(cell_len(topic), _TOPIC_CELLS))
        self._origin_cells = max(self._origin_cells, min(cell_len(origin), _ORIGIN_CELLS))
        columns = (
            (_time_of(event.timestamp), "bright_black"),
            (_padded(topic, self._topic_cells), colour_of(event.type)),
            (_padded(origin, self._origin_cells), "blue"),
            (_padded(escaped(event.correlation_id[-8:]), 8), "bright_black"),
            ("" if event.data is None else self._to_json(event.data), None),
        )
        return "".join(self._styled(columns)) + "\n"

    def _styled(self, columns: tuple[tuple[str, str | None], ...]) -> Iterator[str]:
        """Yield the columns, as far as there is room."""
        room = self.width or None
        for place, (text, colour) in enumerate(columns):
            gap = "  " if place and text else ""
            whole = text.rstrip() if place == len(columns) - 1 else text
            if room is not None:
                whole = _cut(whole, room - len(gap))
                room -= len(gap) + cell_len(whole)
            if whole:
                yield gap + (click.style(whole, fg=colour) if self._colour and colour else whole)


def colour_of(topic: str) -> str:
    """Return the colour of a topic, by its last segment."""
    return _COLOURS.get(topic.replace(":", ".").rpartition(".")[2], "cyan")


def _padded(text: str, cells: int) -> str:
    return text + " " * (cells - cell_len(text))


def _cut(text: str, cells: int) -> str:
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip() + "…" if cells > 0 else ""


def _time_of(timestamp: float) -> str:
    try:
        return datetime.fromtimestamp(timestamp).strftime("%H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return "--:--:--.---"
