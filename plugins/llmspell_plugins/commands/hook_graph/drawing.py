"""Drawings of a dependency graph: lines for people, DOT for Graphviz, and Mermaid.

Invariant: a name is one line and ends no string of the drawing's, whatever stands in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from llmspell_hookspecs.dependencies import AskedHook, ComponentCall, DependencyGraph
from llmspell_hookspecs.spelling import escaped, one_line

__all__ = ["draw_dot", "draw_mermaid", "draw_text"]


def draw_text(graph: DependencyGraph) -> Iterator[str]:
    """Yield lines for people."""
    calls: dict[str, list[ComponentCall]] = {}
    for call in graph.calls:
        calls.setdefault(call.caller, []).append(call)
    yield "Components, each behind what it calls"
    for node in graph.components:
        yield f"  {escaped(node.address)}" + ("  (not there)" if node.missing else "")
        for call in calls.get(node.address, ()):
            where = f"  ({', '.join(map(escaped, call.places))})" if call.places else ""
            yield f"    calls {escaped(call.callee)}{where}"
    if not graph.components:
        yield "  none calls another, and no hook names one"
    yield ""
    yield "Hooks, in the order in which they are asked"
    for point, hooks in groupby(graph.hooks, lambda hook: hook.point):
        yield f"  {escaped(point)}"
        for hook in hooks:
            yield f"    {_told(hook)}"
    if not graph.hooks:
        yield "  none"
    if graph.cycles:
        yield ""
        yield "Rings of calls"
        for ring in graph.cycles:
            yield "  " + " -> ".join(map(escaped, (*ring, ring[0])))


def _told(hook: AskedHook) -> str:
    about = "" if hook.match is None else f", match {escaped(hook.match)}"
    whose = ", of a script" if hook.scope else ""
    place = f"{hook.place}." if hook.enabled else "disabled:"
    line = f"{place} {hook.kind} {escaped(hook.plugin)}.{escaped(hook.name)}{about}{whose}"
    if not hook.components:
        return line
    return f"{line}: {', '.join(map(escaped, hook.components))}"


def draw_dot(graph: DependencyGraph) -> Iterator[str]:
    """Yield the lines of a graph in the language of Graphviz."""
    ids = {node.address: f"c{number}" for number, node in enumerate(graph.components)}
    ringed = _edges_of(graph.cycles)
    yield "digraph dependencies {"
    yield "  rankdir=LR;"
    yield '  node [fontname="sans-serif"];'
    for node in graph.components:
        style = ", style=dashed" if node.missing else ""
        yield f"  {ids[node.address]} [label={_quoted(node.address)}, shape=box{style}];"
    for call in graph.calls:
        colour = ", color=red" if (call.caller, call.callee) in ringed else ""
        yield f"  {ids[call.caller]} -> {ids[call.callee]} [label={_quoted(', '.join(call.places))}{colour}];"
    for number, hook in enumerate(graph.hooks):
        label = _quoted(f"{hook.plugin}.{hook.name}\n{hook.point} {hook.place or 'disabled'}, {hook.kind}")
        yield f"  h{number} [label={label}, shape=ellipse{'' if hook.enabled else ', style=dotted'}];"
        for address in hook.components:
            yield f"  h{number} -> {ids[address]} [style=dashed];"
    yield "}"


def _quoted(text: str) -> str:
    lines = (one_line(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'


def draw_mermaid(graph: DependencyGraph) -> Iterator[str]:
    """Yield the lines of a Mermaid flowchart."""
    ids = {node.address: f"c{number}" for number, node in enumerate(graph.components)}
    yield "flowchart LR"
    for node in graph.components:
        yield f"  {ids[node.address]}[{_label(node.address + (' (not there)' if node.missing else ''))}]"
    for call in graph.calls:
        places = f"|{_label(', '.join(call.places))}|" if call.places else ""
        yield f"  {ids[call.caller]} -->{places} {ids[call.callee]}"
    for number, hook in enumerate(graph.hooks):
        told = f"{hook.plugin}.{hook.name}: {hook.point} {hook.place or 'disabled'}"
        yield f"  h{number}([{_label(told)}])"
        for address in hook.components:
            yield f"  h{number} -.-> {ids[address]}"


def _label(text: str) -> str:
    quoted = one_line(text).replace("#", "#35;").replace('"', "#quot;")
    return f'"{quoted}"'


def _edges_of(rings: Sequence[Sequence[str]]) -> set[tuple[str, str]]:
    return {edge for ring in rings for edge in zip(ring, (*ring[1:], ring[0]), strict=True)}
