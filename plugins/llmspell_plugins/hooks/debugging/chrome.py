"""Spans in the trace format of Chrome, which Perfetto (ui.perfetto.dev) and ``chrome://tracing`` show.

A task is a thread of the trace. Invariant: the events of each thread are in order, each ``B`` has its ``E``, and what
lies between them lies within; so what would cross on one task (an operation that outlives the one around it) stands on
a thread of its own. Where an operation's parent runs on another thread a flow leads from there to it.
Times in microseconds since the first span began.
Source: Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from .span import Span

__all__ = ["chrome_trace"]


def chrome_trace(spans: Sequence[Span], **facts: Any) -> dict[str, Any]:
    """Return a trace of spans, in the order in which they began.

    Args:
        spans: As `widened` returns them.
        facts: What else is to be told of the trace.
    """
    process = os.getpid()
    start_ns = spans[0].begin_ns if spans else 0
    threads = _threads(spans)
    places = {span.operation: (span, thread) for thread, row in threads.items() for span in row}
    events: list[dict[str, Any]] = [_name("process_name", process, 0, "llmspell")]
    events += [_name("thread_name", process, thread, f"task {row[0].task}") for thread, row in threads.items()]
    for thread, row in threads.items():
        for ts_ns, event in _events(row):
            events.append({**event, "ts": (ts_ns - start_ns) / 1000, "pid": process, "tid": thread})
    for number, (span, thread) in enumerate(places.values()):
        parent, its_thread = places.get(span.parent, (span, thread))
        if its_thread != thread:
            flow = {"name": "runs", "cat": "causation", "id": number, "pid": process}
            left_ns = min(span.begin_ns, parent.end_ns)
            events.append({**flow, "ph": "s", "ts": (left_ns - start_ns) / 1000, "tid": its_thread})
            events.append({**flow, "ph": "f", "bp": "e", "ts": (span.begin_ns - start_ns) / 1000, "tid": thread})
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": facts}


def _threads(spans: Sequence[Span]) -> dict[int, list[Span]]:
    """Return the spans by thread; those of one task that cross on threads of their own."""
    threads: dict[int, list[Span]] = {}
    more = count(max((span.task for span in spans), default=0) + 1)
    lanes: dict[int, dict[int, list[int]]] = {}  # of each task its threads, with the ends of what is open there
    for span in spans:
        own = lanes.setdefault(span.task, {})
        thread = next((thread for thread, ends in own.items() if _has_room(ends, span)), None)
        if thread is None:
            thread = next(more) if own else span.task
            own[thread] = []
        own[thread].append(span.end_ns)
        threads.setdefault(thread, []).append(span)
    return threads


def _has_room(ends: list[int], span: Span) -> bool:
    """Whether a span lies within the last of those that are open on a thread; ends what is over."""
    while ends and ends[-1] <= span.begin_ns:
        ends.pop()
    return not ends or span.end_ns <= ends[-1]


def _events(spans: Sequence[Span]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the events of one thread in order, each with its time."""
    opened: list[Span] = []
    for span in spans:
        while opened and opened[-1].end_ns <= span.begin_ns:
            yield _end(opened.pop())
        opened.append(span)
        told = {key: item for key, item in span.plain().items() if key not in _IN_THE_EVENT}
        yield span.begin_ns, {"name": span.component, "cat": span.kind, "ph": "B", "args": told}
    while opened:
        yield _end(opened.pop())


_IN_THE_EVENT = frozenset({"kind", "component", "task", "begin_ns", "end_ns"})


def _end(span: Span) -> tuple[int, dict[str, Any]]:
    return span.end_ns, {"name": span.component, "cat": span.kind, "ph": "E"}


def _name(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
