"""Whether a function can be called as a hook: with the context alone, of its point, and as its kind.

Invariant: it is told when the hook is registered, never at its first call.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from .errors import HookRegistrationError
from .finding import Found
from .marker import HookKind, HookOptions
from .points import HookPoint, Phase
from .spelling import one_line, told

__all__ = ["check_declared", "check_names", "check_place", "check_signature", "is_async", "name_of"]

_ANNOTATION = re.compile(r"HookContext\[(?:.*\.)?(\w+)\]$")


def check_names(*, point: str, plugin: str, language: str, scope: str) -> None:
    """Check by which names something is registered at run time.

    Raises:
        HookRegistrationError: One of them is no text, or the plugin's is none that can be printed.
    """
    texts = {"point": point, "plugin": plugin, "language": language, "scope": scope}
    wrong = next((what for what, text in texts.items() if not isinstance(text, str)), "")
    if wrong or not plugin.strip() or not (scope or plugin.isprintable()):  # a script's file may be called anything
        what = f"the {wrong or 'plugin'} {told(texts[wrong or 'plugin'], 80)}"
        raise HookRegistrationError(f"hook at {str(point)[:80]!r}: {what} is no name; give a text to be printed")


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


def check_place(function: Callable[..., Any], options: HookOptions, point: HookPoint, where: str, name: str) -> None:
    """Check that a hook of this kind may stand at a point, and that the function is what that wants.

    Args:
        function: The hook.
        options: How it is called.
        point: Where it is to stand.
        where: How messages about it begin.
        name: What it is called.

    Raises:
        HookRegistrationError: It cannot stand there.
    """
    for problem, remedy in _misplaced(function, options, point):
        raise HookRegistrationError(f"{where}: {problem}; {remedy}", hook=name, point=point.name)


def _misplaced(function: Callable[..., Any], options: HookOptions, point: HookPoint) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, each with what to do."""
    kind, around, waits = options.kind, point.phase is Phase.AROUND, is_async(function)
    if around != (kind is HookKind.WRAP):
        fix = f"kind='wrap' and {point.name} belong together; use the before, after or error point"
        yield f"a {kind.value} cannot stand here", fix if not around else "say kind='wrap'"
    if kind is HookKind.GUARD and point.phase is Phase.NOTICE:
        yield "a notice asks nobody, so a guard cannot stand here", "say kind='observe'"
    if around and not inspect.isasyncgenfunction(function):
        yield "a wrap must be an async generator with one yield", "write 'async def' with one 'yield'"
    if around and (options.thread or options.timeout_s is not None):
        yield "a wrap has neither a thread nor a timeout", "leave it to the operation's deadline"
    if options.quick is not None and (around or not (options.thread or waits)):
        yield "only what has to be awaited can be spared that by quick", "leave quick out"
    if options.timeout_s is not None and not (options.thread or waits):
        yield "a sync function cannot be given a timeout", "make it async, or say thread=True"
    if point.sync_only and (options.thread or waits):
        yield "the point is asked without waiting", "write a sync function, without thread=True"
    if options.thread and waits:
        yield "an async function needs no thread", "leave thread=True out"


def name_of(function: Callable[..., Any]) -> str:
    """Return what a hook is called that was given no name."""
    name = getattr(function, "__name__", None)
    return one_line(name if isinstance(name, str) else type(function).__name__, 100)


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether what it returns must be awaited."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
