"""Whether a function can be called as a hook: with the context alone, and with the context of its point.

Invariant: it is told when the hook is registered, never at its first call.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from .errors import HookRegistrationError
from .finding import Found
from .points import HookPoint

__all__ = ["check_declared", "check_signature"]

_ANNOTATION = re.compile(r"HookContext\[(?:.*\.)?(\w+)\]$")


def check_signature(function: Callable[..., Any], who: str, point: HookPoint) -> None:
    """Check a function that is registered at run time; its argument may have any name.

    Args:
        function: The hook.
        who: Which hook it is, for the error.
        point: Where it is to stand.

    Raises:
        HookRegistrationError: It does not take one argument, or expects another subject.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C, and tells nothing
        return
    try:
        signature.bind(None)
    except TypeError:
        names = ", ".join(signature.parameters)
        message = f"{who} at {point.name}: it takes ({names}); it is given one argument, the context"
        raise HookRegistrationError(message, hook=who.rpartition(".")[2], point=point.name) from None
    for name in list(signature.parameters)[:1]:
        _check_subject(function, name, who, point)


def check_declared(found: Found, plugin: str, point: HookPoint) -> None:
    """Check a marked function of a plugin, whose one argument is called ``context``.

    Args:
        found: The hook.
        plugin: Its plugin.
        point: Where it is to stand.

    Raises:
        HookRegistrationError: It takes something else, or expects another subject.
    """
    function = found.function
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise _wrong(found, plugin, point, "it does not tell what it takes", "wrap it in a function") from error
    taken = ", ".join(str(parameter) for parameter in parameters)
    if [parameter.name for parameter in parameters] != ["context"] or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise _wrong(found, plugin, point, f"it takes ({taken})", "its one argument is 'context', by position")
    _check_subject(function, "context", f"hook {plugin}.{getattr(function, '__name__', found.attribute)}", point)


def _wrong(found: Found, plugin: str, point: HookPoint, problem: str, remedy: str) -> HookRegistrationError:
    message = f"hook {plugin}.{found.attribute} at {point.name}: {problem}; {remedy}"
    return HookRegistrationError(message, hook=found.attribute, point=point.name)


def _check_subject(function: Callable[..., Any], argument: str, who: str, point: HookPoint) -> None:
    """Check that the argument's annotation, if there is one, names the point's subject."""
    annotation = getattr(function, "__annotations__", {}).get(argument)
    found = _ANNOTATION.search(annotation if isinstance(annotation, str) else str(annotation or ""))
    if found and found[1] not in (point.subject.__name__, "Any", "object"):
        wanted = f"annotate it as HookContext[{point.subject.__name__}]"
        message = f"{who} at {point.name}: it expects HookContext[{found[1]}]; {wanted}"
        raise HookRegistrationError(message, hook=who.rpartition(".")[2], point=point.name)
