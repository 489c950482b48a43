"""What the model knows of a key: its type, its rule, the keys near it.

Invariant: every key that `Settings` accepts has a rule; keys of a plugin's or a tool's own are `Policy.LOCKED`.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llmspell_hookspecs.keys import join
from llmspell_hookspecs.policy import Policy, rule_of, words_of

from .model import PluginSettings, PluginTable, Settings

__all__ = ["annotation_of", "field_of", "is_known", "known_keys", "nearest", "order_of", "policy_of"]


def field_of(path: Sequence[str]) -> FieldInfo | None:
    """Return the model's field for a key; None for a section, and for what is a plugin's or a tool's own."""
    model: Any = Settings
    field: FieldInfo | None = None
    for name in path:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return field
        field = model.model_fields.get(name)
        if field is None and model is not PluginSettings:
            return None
        model = PluginTable if field is None else field.annotation
    return None if isinstance(model, type) and issubclass(model, BaseModel) else field


def is_known(path: Sequence[str]) -> bool:
    """Return whether there is such a key or section; what only a plugin, tool, provider or storage knows may be."""
    known = known_keys()
    if any(key[: len(path)] == tuple(path) for key in known):
        return True
    own = path[0] in Settings.sections()
    return field_of(path) is not None or (own and len(path) > 1 and not _is_near(path[1], path[0]))


def _is_near(name: str, section: str) -> bool:
    """Whether the name of a table is rather a key of the section, mistyped."""
    keys = [key[1] for key in known_keys() if key[0] == section]
    return bool(difflib.get_close_matches(name, keys, 1, 0.8))


def annotation_of(path: Sequence[str]) -> Any:
    """Return the type of a key's value; None for what is a plugin's or a tool's own."""
    field = field_of(path)
    return None if field is None else field.annotation


def policy_of(path: Sequence[str]) -> Policy:
    """Return the rule of a key."""
    return rule_of(field_of(path)) or Policy.LOCKED


def order_of(path: Sequence[str]) -> tuple[str, ...]:
    """Return the words that a key may hold, from the strictest to the loosest; none if it holds no words."""
    return words_of(annotation_of(path))


@functools.cache
def known_keys() -> tuple[tuple[str, ...], ...]:
    """Return the paths of all keys whose names are fixed."""
    return tuple(_keys(Settings, ()))


def _keys(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys(inner, (*above, name))
        else:
            yield (*above, name)


def nearest(path: Sequence[str]) -> str:
    """Return the key that was probably meant, or nothing."""
    plugin = len(path) == 3 and path[0] == "plugins"
    known = [(*path[:2], name) for name in PluginTable.model_fields] if plugin else known_keys()
    names = {join(item): item for item in known}
    sections = {join(item[:length]) for item in known for length in range(1, len(item))}
    near = difflib.get_close_matches(join(path), [*names, *sorted(sections)], 1, 0.6)
    if near:
        return near[0]
    same_end = [name for name, item in names.items() if difflib.get_close_matches(path[-1], [item[-1]], 1, 0.8)]
    return same_end[0] if same_end else ""
