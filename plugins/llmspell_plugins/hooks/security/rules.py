"""The rules: which of them a call meets, and what becomes of it.

Invariant: any deny wins over all; else the first allow or ask counts. To deny or ask, one path or host that matches is
enough; to allow, there must be some and all of them must match.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from re import Pattern, compile
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

from .settings import Condition, Rule

__all__ = ["Asked", "Rules", "Verdict", "hosts_of", "paths_of", "value_at"]

Kind: TypeAlias = Literal["tool", "model", "agent"]
_ABSENT: Final = object()


class Asked(Struct, frozen=True):
    """A call as rules see it.

    Attributes:
        kind: What is called.
        name: Which.
        arguments: With what.
        level: A tool's level.
        session: In which session.
        language: Where it was asked for.
        hosts: Hosts that it names beside those in its arguments.
    """

    kind: Kind
    name: str
    arguments: Mapping[str, Any] = {}
    level: str = ""
    session: str = ""
    language: str = ""
    hosts: tuple[str, ...] = ()


class Verdict(Struct, frozen=True):
    """What becomes of a call.

    Attributes:
        action: What.
        rule: By which rule; empty for none.
    """

    action: Literal["allow", "deny", "ask"]
    rule: str = ""


class Rules:
    """Rules, compiled.

    Args:
        rules: In order.
        default: What becomes of a tool's call that none of them matches.
    """

    def __init__(self, rules: Sequence[Rule], default: Literal["allow", "ask", "deny"] = "allow") -> None:
        self._rules = rules
        self._default = default
        self._named = lru_cache(1024)(self._find_named)

    def judge(self, asked: Asked) -> Verdict:
        """Return what becomes of a call."""
        first: Verdict | None = None
        for rule in self._named(asked.kind, asked.name):
            if first is not None and rule.action != "deny":
                continue
            if _holds(rule, asked):
                verdict = Verdict(rule.action, rule.name)
                if rule.action == "deny":
                    return verdict
                first = verdict
        if first is not None:
            return first
        return Verdict(self._default if asked.kind == "tool" else "allow")

    def _find_named(self, kind: Kind, name: str) -> tuple[Rule, ...]:
        """Return the rules that may hold for a component."""
        return tuple(rule for rule in self._rules if _names(rule, kind, name))


def _names(rule: Rule, kind: Kind, name: str) -> bool:
    if not (rule.tools or rule.models or rule.agents):
        return True
    patterns = {"tool": rule.tools, "model": rule.models, "agent": rule.agents}[kind]
    return _any(patterns, name)


def _holds(rule: Rule, asked: Asked) -> bool:
    when = rule.when
    if when.level and asked.level not in when.level:
        return False
    if when.session and not _any(when.session, asked.session):
        return False
    if when.language and asked.language not in when.language:
        return False
    if rule.paths and not _fits(rule.paths, list(paths_of(asked.arguments)), every=rule.action == "allow"):
        return False
    if rule.hosts and not _fits(rule.hosts, [*hosts_of(asked.arguments), *asked.hosts], every=rule.action == "allow"):
        return False
    return all(_meets(value_at(asked.arguments, pointer), wanted) for pointer, wanted in rule.arguments.items())


def _fits(patterns: Sequence[str], found: Sequence[str], *, every: bool) -> bool:
    if not found:
        return False
    return all(_any(patterns, each) for each in found) if every else any(_any(patterns, each) for each in found)


def _meets(value: Any, wanted: str | Condition) -> bool:
    if value is _ABSENT:
        return False
    if isinstance(wanted, str):
        return _any((wanted,), _text(value))
    if wanted.matches is not None and not _any((wanted.matches,), _text(value)):
        return False
    if wanted.equals is not None and (
        value != wanted.equals or isinstance(value, bool) != isinstance(wanted.equals, bool)
    ):
        return False
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted.above is not None and not (is_number and value > wanted.above):
        return False
    return wanted.below is None or (is_number and value < wanted.below)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else "" if value is None else str(value)


def value_at(value: Any, pointer: str) -> Any:
    """Return what a JSON pointer leads to (RFC 6901); an object that equals nothing if there is nothing."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(part, _ABSENT)
        elif isinstance(value, list | tuple) and part.isdecimal() and len(part) < 10 and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item)


def paths_of(arguments: Any) -> Iterator[str]:
    """Yield the texts that are absolute paths; those of tools are resolved by the time that guards see them."""
    return (text for text in texts_of(arguments) if text.startswith("/"))


def hosts_of(arguments: Any) -> Iterator[str]:
    """Yield the hosts of the URLs in a value, in lower case."""
    for text in texts_of(arguments):
        if "://" in text:
            try:
                host = urlsplit(text.strip()).hostname
            except ValueError:
                host = None
            yield (host or text).lower().rstrip(".")


def _any(patterns: Sequence[str], text: str) -> bool:
    return any(_compiled(pattern).match(text) is not None for pattern in patterns)


@lru_cache(4096)
def _compiled(pattern: str) -> Pattern[str]:
    return compile(translate(pattern))
