"""What a script's hook returned, as one of the nine results, in every style that the original's documents show.

Invariant: what stands for no result is an error that says what does; it never counts as Continue. Durations in seconds
where the name ends in ``_s``, in milliseconds where it ends in ``_ms``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from llmspell_hookspecs import (
    Cache,
    Cancel,
    Continue,
    Failure,
    Fork,
    HookContext,
    HookResult,
    InvalidInputError,
    Modified,
    Redirect,
    Replace,
    Retry,
    Skipped,
)
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.values import thaw

from .contexts import ALIASES, SCRIPT, data_of

__all__ = ["result_of"]

_OF_A_FAILURE: Final = ("message", "code", "details")
"""What a hook may change of a failure."""
_STYLES: Final = "nil, true, 'continue', 'skip', a reason to cancel, or {type = 'modified' | 'cancel' | ...}"


def result_of(value: Any, context: HookContext[Any]) -> HookResult | None:
    """Return the result that a hook's return value stands for.

    Raises:
        InvalidInputError: It stands for none.
    """
    if value is None:
        return None
    if value is True:
        return Continue()
    if isinstance(value, tuple):  # several values: the first counts, as everywhere in Lua
        return result_of(value[0] if value else None, context)
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, Mapping):
        return _from_table(value, context)
    if isinstance(value, list) and not value:
        return Continue()
    raise _refusal(context, _shown(value))


def _from_text(text: str) -> HookResult:
    word = text.strip().lower()
    if word == "continue":
        return Continue()
    if word in ("skip", "skipped"):
        return Skipped()
    return Cancel(text)


def _from_table(table: Mapping[str, Any], context: HookContext[Any]) -> HookResult | None:
    kind = table.get("type", table.get("action"))
    if isinstance(kind, str):
        make = _KINDS.get(kind.strip().lower())
        if make is None:
            raise _refusal(context, f"a table of type {kind!r}; there are {', '.join(_KINDS)}")
        return make(table, context)
    if isinstance(table.get("continue_execution"), bool):
        return _from_continue_style(table, context)
    if not table:
        return Continue()
    raise _refusal(context, f"a table with {', '.join(sorted(map(str, table)))}, without type")


def _from_continue_style(table: Mapping[str, Any], context: HookContext[Any]) -> HookResult:
    """Read ``{continue_execution = ..., state_updates = ..., modified_data = ...}``."""
    updates = table.get("state_updates")
    if isinstance(updates, Mapping):
        context.metadata[SCRIPT].update(thaw(updates))
    if not table["continue_execution"]:
        return _cancel(table, context)
    if any(name in table for name in ("modified_data", "data")):
        return _modified(table, context)
    return Continue()


def _continue(_table: Mapping[str, Any], _context: HookContext[Any]) -> HookResult:
    return Continue()


def _modified(table: Mapping[str, Any], context: HookContext[Any]) -> HookResult:
    value = _first(table, context, "data", "modified_data", "value")
    return Modified(_changed(value, context))


def _replace(table: Mapping[str, Any], context: HookContext[Any]) -> HookResult:
    value = _first(table, context, "data", "value", "result", "replacement", "modified_data")
    subject = context.subject
    late = context.request is not None and not isinstance(subject, Failure)
    if late and isinstance(value, Mapping) and set(value) <= {*data_of(context), *ALIASES}:
        return Replace(_changed(value, context))
    return Replace(value)


def _cancel(table: Mapping[str, Any], _context: HookContext[Any]) -> HookResult:
    reason = table.get("reason", table.get("message"))
    code = table.get("code")
    text = str(reason) if reason is not None else "cancelled by a script's hook"
    return Cancel(text, code) if isinstance(code, str) and code else Cancel(text)


def _redirect(table: Mapping[str, Any], context: HookContext[Any]) -> HookResult:
    target = table.get("target")
    if not isinstance(target, str) or not target:
        raise _refusal(context, "a redirect without target; name one: {type = 'redirect', target = 'tool:name'}")
    return Redirect(target)


def _retry(table: Mapping[str, Any], context: HookContext[Any]) -> HookResult:
    delay_s = 1.0
    if "delay_s" in table:
        delay_s = _number(table, "delay_s", context)
    for name in ("delay_ms", "backoff_ms"):
        if name in table:
            delay_s = _number(table, name, context) / 1000
    if table.get("jitter"):
        delay_s *= random.uniform(0.5, 1.0)  # noqa: S311  it spreads load, it guards nothing
    attempts = _number(table, "max_attempts", context) if "max_attempts" in table else 3
    if attempts < 1:
        raise _refusal(context, f"a retry with max_attempts = {attempts:g}; give at least 1")
    value = table.get("value")
    if value is not None and context.request is None and not isinstance(context.subject, Failure):
        value = _changed(value, context)
    return Retry(delay_s, int(attempts), value)


def _fork(table: Mapping[str, Any], context: HookContext[Any]) -> HookResult:
    calls = table.get("operations", table.get("branches", table.get("calls", table.get("parallel_operations"))))
    if not isinstance(calls, Sequence) or isinstance(calls, str) or not calls:
        raise _refusal(context, "a fork without operations; name them: {type = 'fork', operations = {{...}}}")
    return Fork(tuple(_call(each, context) for each in calls), bool(table.get("join")))


def _call(each: Any, context: HookContext[Any]) -> Call:
    """Read one operation: an address, ``{tool = ...}``, or the original's operation type and parameters."""
    if isinstance(each, str):
        return Call(_address("tool", each))
    if not isinstance(each, Mapping):
        raise _refusal(context, f"a fork of {_shown(each)}; an operation is an address or a table with one")
    given: Any = next((each[name] for name in ("input", "parameters", "params") if name in each), {})
    if not isinstance(given, Mapping):
        raise _refusal(context, f"a fork with input {_shown(given)}; give a table")
    for kind in ("tool", "agent", "workflow"):
        if isinstance(each.get(kind), str):
            return Call(_address(kind, each[kind]), dict(given))
    name = next((each[key] for key in ("address", "target", "name", "component", "id") if key in each), None)
    kind = each.get("operation_type", each.get("kind", "tool"))
    if isinstance(kind, str) and ":" in kind:
        name = kind
    if not isinstance(name, str) or not isinstance(kind, str):
        raise _refusal(context, "a fork whose operation names nothing; give it an address such as 'tool:name'")
    return Call(_address(kind, name), dict(given))


def _address(kind: str, name: str) -> str:
    return name if ":" in name else f"{kind}:{name}"


def _cache(table: Mapping[str, Any], context: HookContext[Any]) -> HookResult:
    if "result" in table and context.request is None:
        return Replace(table["result"])
    key = table.get("key", "")
    ttl_s = 300.0
    for name in ("ttl", "ttl_s", "ttl_seconds"):
        if name in table:
            ttl_s = _number(table, name, context)
    if "ttl_ms" in table:
        ttl_s = _number(table, "ttl_ms", context) / 1000
    scope = table.get("scope", "session")
    if scope not in ("session", "host"):
        raise _refusal(context, f"a cache with scope {scope!r}; use 'session' or 'host'")
    return Cache(str(key), ttl_s, scope)


def _skipped(table: Mapping[str, Any], _context: HookContext[Any]) -> HookResult:
    return Skipped(str(table.get("reason", "")))


_KINDS: Final[dict[str, Callable[[Mapping[str, Any], HookContext[Any]], HookResult]]] = {
    "continue": _continue,
    "modified": _modified,
    "modify": _modified,
    "cancel": _cancel,
    "redirect": _redirect,
    "replace": _replace,
    "retry": _retry,
    "fork": _fork,
    "cache": _cache,
    "skipped": _skipped,
    "skip": _skipped,
}


def _changed_failure(value: Mapping[str, Any], context: HookContext[Any]) -> dict[str, Any]:
    """Return what a table changes of a failure: what it shows as it was shown changes nothing, the rest is kept."""
    shown = data_of(context)
    changes = {name: item for name, item in value.items() if name not in shown or not _same(item, shown[name])}
    for name in ("error", "error_message"):
        if name in changes:
            changes["message"] = changes.pop(name)
    own = {str(name): changes.pop(name) for name in [*changes] if name not in _OF_A_FAILURE}
    _keep(own, context)
    return changes


def _changed(value: Any, context: HookContext[Any]) -> Any:
    """Return the subject with the fields of a table changed; at error points and for bare values, the value itself.

    What is no field of the subject is kept beside it, for later hooks of scripts: the original takes any JSON here.

    Raises:
        InvalidInputError: A field does not fit.
    """
    subject = context.subject
    if isinstance(subject, Failure) and isinstance(value, Mapping):
        return _changed_failure(value, context)
    if not isinstance(subject, msgspec.Struct) or isinstance(subject, Failure):
        return value
    if not isinstance(value, Mapping):
        raise _refusal(context, f"data = {_shown(value)}; give a table of {type(subject).__name__}'s fields")
    shown = data_of(context)
    changes: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, item in value.items():
        current = shown.get(name)
        if name in subject.__struct_fields__:
            if not _same(item, current) or name not in changes:
                changes[name] = _fitted(item, getattr(subject, name))
        elif not _same(item, current):
            field = ALIASES.get(name, "")
            if field in subject.__struct_fields__:
                changes[field] = _fitted(item, getattr(subject, field))
            else:
                own[str(name)] = item
    changed = context.modify(**changes).value
    _keep(own, context)
    return changed


def _keep(own: Mapping[str, Any], context: HookContext[Any]) -> None:
    """Keep what a script added to the subject, for its later hooks."""
    if own:
        context.metadata[SCRIPT].update(thaw(own))


def _fitted(value: Any, current: Any) -> Any:
    """Return an empty table as an empty list where the subject has a list: Lua has one empty table for both."""
    return () if value == {} and isinstance(current, list | tuple) else value


def _same(value: Any, current: Any) -> bool:
    """Return whether a script gave back what it was given."""
    return bool(value == current) or (not value and not current and isinstance(value, Mapping | list))


def _first(table: Mapping[str, Any], context: HookContext[Any], *names: str) -> Any:
    for name in names:
        if name in table:
            return table[name]
    raise _refusal(context, f"a table without {names[0]}; add it")


def _number(table: Mapping[str, Any], name: str, context: HookContext[Any]) -> float:
    value = table[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise _refusal(context, f"{name} = {_shown(value)}; give a number from 0")
    return float(value)


def _shown(value: Any) -> str:
    if callable(value):
        return "a function"
    return repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"


def _refusal(context: HookContext[Any], what: str) -> InvalidInputError:
    advice = "" if ";" in what else f"; a hook returns {_STYLES}"
    return InvalidInputError(f"hook at {context.point}: it returned {what}{advice}", field="answer")
