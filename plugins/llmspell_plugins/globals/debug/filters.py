"""Module filters: which modules' messages are kept.

Invariant: the rule that was added last and matches decides; if none matches, the default does. No pattern can hold the
host up: wildcards go through `fnmatch`, regular expressions through pydantic's Rust engine, which does not backtrack;
scripts are not trusted, and Python's own engine cannot be stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error

__all__ = ["ModuleFilters"]

_TYPES: Final = ("exact", "wildcard", "regex", "hierarchical")
_MOST: Final = 256
_LONGEST: Final = 200


class _Rule(Struct, frozen=True):
    pattern: str
    pattern_type: str
    enabled: bool
    fits: Callable[[str], bool]


class ModuleFilters:
    """The rules of one run.

    Attributes:
        default_enabled: Whether a module that no rule matches is kept.
    """

    def __init__(self) -> None:
        self.default_enabled = True
        self._rules: list[_Rule] = []

    def add(self, pattern: str, enabled: bool, pattern_type: str = "") -> None:
        """Add a rule; one with the same pattern and type goes.

        Args:
            pattern: What modules it is about.
            enabled: Whether these are kept.
            pattern_type: ``exact``, ``wildcard``, ``regex`` or ``hierarchical`` (the module and all below it, by dots,
                colons or slashes); if empty, wildcard where the pattern has ``*`` or ``?``, else exact.

        Raises:
            InvalidInputError: The type is unknown, or the pattern is no regular expression.
            ResourceLimitError: There are too many rules, or the pattern is too long.
        """
        kind = pattern_type or ("wildcard" if set(pattern) & set("*?") else "exact")
        if kind not in _TYPES:
            known = ", ".join(_TYPES)
            raise InvalidInputError(f"Debug: {kind!r} is no type of pattern; use one of {known}", field="type")
        if len(self._rules) >= _MOST or len(pattern) > _LONGEST:
            message = f"Debug: at most {_MOST} filters of at most {_LONGEST} characters are kept; remove some"
            raise ResourceLimitError(message, resource="filters", limit=_MOST)
        rule = _Rule(pattern, kind, enabled, _matcher(pattern, kind))
        self._rules = [old for old in self._rules if (old.pattern, old.pattern_type) != (pattern, kind)]
        self._rules.append(rule)

    def remove(self, pattern: str) -> bool:
        """Take out every rule with this pattern; returns whether there was one."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule.pattern != pattern]
        return len(self._rules) < before

    def clear(self) -> None:
        """Take out every rule."""
        self._rules = []

    def keeps(self, module: str) -> bool:
        """Return whether a module's messages are kept."""
        name = module[:_LONGEST]
        for rule in reversed(self._rules):
            if rule.fits(name):
                return rule.enabled
        return self.default_enabled

    def summary(self) -> dict[str, Any]:
        """Return ``{default_enabled, total_rules, rules}``."""
        rules = [
            {
                "pattern": rule.pattern,
                "pattern_type": rule.pattern_type,
                "enabled": rule.enabled,
                "description": f"{'keep' if rule.enabled else 'drop'} {rule.pattern_type} {rule.pattern}",
            }
            for rule in self._rules
        ]
        return {"default_enabled": self.default_enabled, "total_rules": len(rules), "rules": rules}


def _matcher(pattern: str, kind: str) -> Callable[[str], bool]:
    match kind:
        case "exact":
            return pattern.__eq__
        case "wildcard":
            return lambda name: fnmatchcase(name, pattern)
        case "hierarchical":
            below = tuple(pattern + mark for mark in (".", ":", "/"))
            return lambda name: name == pattern or name.startswith(below)
    return _regex(pattern)


def _regex(pattern: str) -> Callable[[str], bool]:
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError as error:
        reason = " ".join(line_of_error(error).split())
        message = f"Debug: {pattern!r} is no regular expression without look-around and back-references: {reason}"
        raise InvalidInputError(f"{message}; correct it", field="pattern") from error
    return validator.isinstance_python
