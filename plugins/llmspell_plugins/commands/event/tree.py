"""A timeline for people: a tree of causes, one line for each operation and for each event of anybody's own.

An operation's start and end are one line, with how long it took; behind each line stands how long after its root it
came. Invariant: a line is one line and moves no cursor; trees that are deeper than 40 levels are drawn as if they were
not, so that the text grows with the number of events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from llmspell_hookspecs import Event
from llmspell_hookspecs.spelling import escaped
from llmspell_hookspecs.timeline import TimelineEntry, TimelineStats
from llmspell_plugins.services.timeline import Selection

__all__ = ["chain_lines", "summary", "tree_lines"]

_DEEPEST: Final = 40
_DATA_CHARACTERS: Final = 100


def tree_lines(selection: Selection, to_json: Callable[[Any], str]) -> Iterator[str]:
    """Yield the trees of what is asked for; each stands below the nearest of its causes that is asked for, too."""
    nearest = selection.nearest
    ends = {end for start, end in selection.causes.ends.items() if {start, end} <= nearest.keys()}
    drawn = set(selection.places) - ends  # the limit leaves some out, and an end shares the line of its start
    above: dict[int, int | None] = {}
    for place, cause in nearest.items():  # causes come first
        above[place] = cause if cause is None or cause in drawn else above[cause]
    below: dict[int | None, list[int]] = {}
    for place in sorted(drawn):
        below.setdefault(above[place], []).append(place)
    waiting = [(place, "", "", 0) for place in reversed(below.get(None, ()))]
    while waiting:
        place, mark, indent, depth = waiting.pop()
        yield mark + _line(selection, place, to_json, root=not depth)
        children = below.get(place, ())
        for number, child in enumerate(reversed(children)):
            own = ("└─ ", "   ") if number == 0 else ("├─ ", "│  ")
            deep = depth >= _DEEPEST
            waiting.append((child, indent + own[0], indent if deep else indent + own[1], depth + 1))


def chain_lines(chain: Sequence[TimelineEntry], to_json: Callable[[Any], str]) -> Iterator[str]:
    """Yield a chain of causes, one below the other."""
    for number, entry in enumerate(chain, 1):
        yield f"{number:>3}. {_when(entry.event, entry.elapsed_ms, root=number == 1)}  {_named(entry.event, to_json)}"


def summary(stats: TimelineStats) -> str:
    """Return one line about what is shown."""
    of_all = f" of {stats.recorded}" if stats.events != stats.recorded else ""
    parts = [
        _counted(stats.events, "event") + of_all,
        _counted(stats.roots, "root"),
        f"longest chain {stats.longest_chain}",
        f"{_time(stats.duration_ms)} in all",
    ]
    if stats.unrecorded:
        parts.append(f"{stats.unrecorded} of a cause that is not here")
    if stats.cycles:
        ring = " -> ".join(map(escaped, (*stats.cycles[0], stats.cycles[0][0])))
        parts.append(f"{_counted(len(stats.cycles), 'ring')} of causes cut ({ring[:200]})")
    return ", ".join(parts)


def _line(selection: Selection, place: int, to_json: Callable[[Any], str], *, root: bool) -> str:
    causes, entry = selection.causes, selection.entry(place)
    event = entry.event
    parts = [_when(event, entry.elapsed_ms, root=root)]
    if causes.starts.get(entry.operation) == place:
        parts += [escaped(event.source or event.type), *_outcome(event, causes, place)]
    else:
        parts.append(_named(event, to_json))
    if entry.unrecorded:
        parts.append("(its cause is not here)")
    return "  ".join(filter(None, parts))


def _outcome(event: Event, causes: Any, place: int) -> Iterator[str]:
    """Yield how long an operation took and how it ended."""
    end = causes.ends.get(place)
    last = event if end is None else causes.events[end]
    moment = last.type.rpartition(".")[2]
    if moment == "started":
        yield "(no end)"
        return
    if end is None:
        yield "(its start is not here)"
    data: Mapping[str, Any] = last.data if isinstance(last.data, Mapping) else {}
    took = data.get("duration_ms")
    if isinstance(took, int | float):
        yield _time(took)
    elif end is not None:
        yield _time((last.timestamp - event.timestamp) * 1000)
    if moment != "completed":
        error = data.get("error")
        message = str(error.get("message", "")) if isinstance(error, Mapping) else ""
        yield escaped(_cut(f"{moment}: {message}".rstrip(": ")))


def _named(event: Event, to_json: Callable[[Any], str]) -> str:
    data = "" if event.data is None else to_json(event.data)
    return "  ".join(filter(None, (escaped(event.type), escaped(event.source), _cut(data))))


def _cut(text: str) -> str:
    return text if len(text) <= _DATA_CHARACTERS else text[: _DATA_CHARACTERS - 1] + "…"


def _when(event: Event, elapsed_ms: float, *, root: bool) -> str:
    if not root:
        return f"+{_time(elapsed_ms)}"
    try:
        return datetime.fromtimestamp(event.timestamp).strftime("%H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return "--:--:--.---"


def _time(elapsed_ms: float) -> str:
    if abs(elapsed_ms) < 10_000:
        return f"{elapsed_ms:.1f} ms"
    return f"{elapsed_ms / 1000:.1f} s"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
