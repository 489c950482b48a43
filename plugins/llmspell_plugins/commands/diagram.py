"""Diagrams of workflows: what one is made of, or what became of the stages of a run, as text or as Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmspell_hookspecs.runs import RunDetails
from llmspell_hookspecs.spelling import one_line

__all__ = ["diagram_of", "stages_in"]


def stages_in(plain: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each stage of a definition with the branch that it stands in."""
    for stage in plain.get("stages", ()):
        yield "", stage
    for branch in plain.get("branches", ()):
        for stage in branch.get("stages", ()):
            yield branch["name"], stage


def _target(stage: Mapping[str, Any]) -> str:
    return str(stage.get("address") or stage.get("function") or "")


def diagram_of(found: RunDetails | Mapping[str, Any], how: str) -> str:
    """Draw a run's stages with what became of them, or a definition's."""
    rows: list[tuple[str, str, str]]  # branch, stage, what is told of it
    if isinstance(found, RunDetails):
        name, pattern = found.info.name, found.pattern
        rows = [(*_split(stage.path), f"{stage.kind}:{stage.target}, {stage.status}") for stage in found.stages]
    else:
        name, pattern = str(found["name"]), str(found["pattern"])
        rows = [(branch, str(stage["name"]), _target(stage)) for branch, stage in stages_in(found)]
    groups: dict[str, list[tuple[str, str]]] = {}
    for branch, stage, told in rows:
        groups.setdefault(branch, []).append((stage, told))
    return _text(name, pattern, groups) if how == "text" else _mermaid(name, groups, beside=pattern == "parallel")


def _split(path: str) -> tuple[str, str]:
    branch, _, stage = path.rpartition("/")
    return branch.removeprefix("branch."), stage


def _text(name: str, pattern: str, groups: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    lines = [f"{name} ({pattern})"]
    for branch, stages in groups.items():
        if branch:
            lines.append(f"  {branch}")
        lines += [f"  {'  ' if branch else ''}- {stage}: {told}".rstrip(": ") for stage, told in stages]
    return "\n".join(lines)


def _mermaid(name: str, groups: Mapping[str, Sequence[tuple[str, str]]], *, beside: bool) -> str:
    lines, number, last = ["flowchart TD", f"  start([{_label(name)}])"], 0, "start"
    for branch, stages in groups.items():
        before = "start" if branch or beside else last
        for place, (stage, told) in enumerate(stages):
            lines.append(f"  n{number}[{_label(f'{stage}: {told}'.rstrip(': '))}]")
            edge = f"-->|{_label(branch)}|" if branch and place == 0 else "-->"
            lines.append(f"  {'start' if beside and not branch else before} {edge} n{number}")
            before, number = f"n{number}", number + 1
        last = before
    return "\n".join(lines)


def _label(text: str) -> str:
    quoted = one_line(text).replace("#", "#35;").replace('"', "#quot;")
    return f'"{quoted}"'
