"""The group of workflow patterns: what one must be."""

from __future__ import annotations

import inspect
from typing import Any, Final

from llmspell_hookspecs.kind import ComponentGroup
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.workflows import Pattern

__all__ = ["PATTERNS"]


def _is_pattern(item: Any) -> bool:
    kind = item if inspect.isclass(item) else type(item)
    return all(hasattr(kind, name) for name in ("problem", "run", "ordered", "Options", "name"))


def _problem(item: Any, name: str) -> str:
    if not isinstance(item, Pattern):
        return "is no Pattern; give it name, description, Options, ordered, problem(definition, options) and run(run)"
    if item.name != name:
        return f"calls itself {told(item.name)}; give it name = {name!r}, as its entry point is called"
    return ""


PATTERNS: Final = ComponentGroup("llmspell.workflows", "workflow pattern", _is_pattern, "plugins", _problem)
