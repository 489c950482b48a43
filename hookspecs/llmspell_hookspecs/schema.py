"""What a model of settings knows of its keys: their types and rules, which keys are near, what is wrong with a value.

Invariant: every key that the model accepts has a rule; keys of a plugin's or a tool's own are `Policy.LOCKED`. What is
said of a value never shows a secret's.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .keys import VALUE_CHARACTERS, join, shown_key, shown_value
from .masking import MASK, conceal, mask
from .policy import Policy, rule_of, words_of
from .secret import is_secret_name
from .spelling import meant

__all__ = ["Schema"]


class Schema:
    """The keys of a model whose fields are sections.

    Args:
        model: The model.
        tables: By section, the model of a table in it whose keys are known beside those of a plugin's own.
    """

    def __init__(self, model: type[BaseModel], tables: Mapping[str, type[BaseModel]]) -> None:
        self._model = model
        self._tables = tables

    @cached_property
    def sections(self) -> tuple[str, ...]:
        """The sections in which plugins have tables of their own."""
        kinds: dict[str, Any] = {name: field.annotation for name, field in self._model.model_fields.items()}
        return tuple(name for name, kind in kinds.items() if getattr(kind, "model_config", {}).get("extra") == "allow")

    def keys_of(self, section: str) -> Collection[str]:
        """Return the host's own keys in a section."""
        kind: Any = self._model.model_fields[section].annotation
        keys: Collection[str] = kind.model_fields
        return keys

    @cached_property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """The paths of all keys whose names are fixed."""
        return tuple(_keys(self._model, ()))

    def field(self, path: Sequence[str]) -> FieldInfo | None:
        """Return the model's field for a key; None for a section, and for what is a plugin's or a tool's own."""
        model: Any = self._model
        field: FieldInfo | None = None
        for place, name in enumerate(path):
            if not (isinstance(model, type) and issubclass(model, BaseModel)):
                return field
            field = model.model_fields.get(name)
            table = self._tables.get(path[0]) if place == 1 else None
            if field is None and table is None:
                return None
            model = table if field is None else field.annotation
        return None if isinstance(model, type) and issubclass(model, BaseModel) else field

    def is_known(self, path: Sequence[str]) -> bool:
        """Return whether there is such a key or section; what only a plugin, tool, provider or storage knows may be."""
        if any(key[: len(path)] == tuple(path) for key in self.keys) or self.field(path) is not None:
            return True
        keys = [key[1] for key in self.keys if key[0] == path[0]]  # a table's name may rather be one of these, mistyped
        return path[0] in self.sections and len(path) > 1 and not difflib.get_close_matches(path[1], keys, 1, 0.8)

    def policy(self, path: Sequence[str]) -> Policy:
        """Return the rule of a key."""
        return rule_of(self.field(path)) or Policy.LOCKED

    def nearest(self, path: Sequence[str]) -> str:
        """Return the key that was probably meant, or nothing."""
        table = self._tables.get(path[0]) if len(path) == 3 else None
        known = self.keys if table is None else [(*path[:2], name) for name in table.model_fields]
        names = {join(item): item for item in known}
        sections = {join(item[:length]) for item in known for length in range(1, len(item))}
        near = difflib.get_close_matches(join(path), [*names, *sorted(sections)], 1, 0.6)
        same_end = (name for name, item in names.items() if difflib.get_close_matches(path[-1], [item[-1]], 1, 0.8))
        return near[0] if near else next(same_end, "")

    def problem(self, path: Sequence[str], first: Mapping[str, Any]) -> str:
        """Return what is wrong with a key or its value, and what to do.

        Args:
            path: The key.
            first: What pydantic says of it.
        """
        key, value, near = shown_key(path), first["input"], self.nearest(path)
        mistyped = path[0] in self.sections and len(path) == 2 and self.field(path) is None and near.count(".") == 1
        if first["type"] == "extra_forbidden" or mistyped:
            return f"there is no setting {key}; {f'did you mean {near}?' if near else 'see llmspell config show'}"
        shown = MASK if any(map(is_secret_name, path)) else shown_value(mask(conceal(value)))
        return f"{key} is {shown}; {self._remedy(path, first, value)}"

    def _remedy(self, path: Sequence[str], first: Mapping[str, Any], value: Any) -> str:
        field = self.field(path)
        words = () if field is None else words_of(field.annotation)
        if words:
            return meant(str(value)[:VALUE_CHARACTERS], words, f"use one of {', '.join(words)}")
        if first["type"] in ("model_type", "dict_type"):
            return f"it is a table: write [{shown_key(path)}]"
        if first["type"] == "tuple_type":
            return 'it is a list: write ["..."]'
        if first["type"] == "too_long" and isinstance(value, list | tuple):
            return f"it holds {len(value)} entries, and at most {first['ctx']['max_length']} are taken"
        message: str = first["msg"]
        for start in ("Input ", "Value error, ", "Value "):
            message = message.removeprefix(start)
        return "it " + message.split(", unable")[0]


def _keys(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys(inner, (*above, name))
        else:
            yield (*above, name)
