"""How a script's arguments become a method's: counted, defaulted and checked against its annotations.

Invariant: a method never sees an argument that its signature does not allow. Nothing (``nil``, ``null``) stands for an
argument left out; an empty list and an empty mapping stand for each other, since Lua has one empty table for both.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .errors import InvalidInputError
from .language import ScriptGlobal, ScriptMethod, ScriptObject, script_methods

__all__ = ["Binding", "binding_of"]

_CALL: Final = "__call"
_MISFIT: Final = object()
_WORDS: Final[dict[Any, str]] = {
    bool: "a boolean",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a string",
    type(None): "nothing",
    Mapping: "a table",
    Sequence: "a list",
    dict: "a table",
}


class Binding:
    """One method of a script object's class, ready to be called with a script's arguments.

    Attributes:
        method: How it is offered.
        function: The plain function, which takes the object first.
    """

    __slots__ = ("_hints", "_most", "_parameters", "_shape", "function", "method")

    def __init__(self, method: ScriptMethod, function: Callable[..., Any]) -> None:
        self.method = method
        self.function = function
        _, *parameters = inspect.signature(function).parameters.values()
        self._parameters = tuple(parameters)
        self._hints = _hints_of(function)
        variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
        self._most = None if variadic else len(parameters)
        self._shape = f"({', '.join(_spelled(parameter) for parameter in parameters)})"

    def bind(self, target: ScriptObject, spelling: str, arguments: Sequence[Any]) -> list[Any]:
        """Return the arguments as the function takes them, behind the object.

        Args:
            target: Whose method it is; where ``object:method()`` put it first, too, it is left out.
            spelling: What the script called it, for messages.
            arguments: As the script gave them.

        Raises:
            InvalidInputError: There are too few or too many, or one is of the wrong type.
        """
        if arguments and arguments[0] is target and spelling != _CALL:
            arguments = arguments[1:]
        where = _where(target, spelling)
        given = list(arguments)
        if self._most is not None:
            while len(given) > self._most and given[-1] is None:
                given.pop()
            if len(given) > self._most:
                surplus = len(given) - self._most
                raise self._refusal(where, f"{_count(given)}; leave out the last {surplus}")
        bound = [self._one(where, index, given) for index in range(len(self._fixed()))]
        return bound + given[len(bound) :]

    def _fixed(self) -> Sequence[inspect.Parameter]:
        return self._parameters if self._most is not None else self._parameters[:-1]

    def _one(self, where: str, index: int, given: list[Any]) -> Any:
        parameter = self._parameters[index]
        value = given[index] if index < len(given) else None
        hint = self._hints.get(parameter.name, Any)
        if value is None and parameter.default is not parameter.empty:
            return parameter.default
        if index >= len(given) and parameter.default is parameter.empty:
            raise self._refusal(where, f"{_count(given)}; {parameter.name} is missing", parameter.name)
        fitted = _fit(value, hint)
        if fitted is _MISFIT:
            reason = f"{parameter.name} = {_shown(value)}; {parameter.name} must be {_word(hint)}"
            raise self._refusal(where, reason, parameter.name)
        return fitted

    def _refusal(self, where: str, reason: str, field: str = "") -> InvalidInputError:
        return InvalidInputError(f"{where}: expected {self._shape}, got {reason}", field=field)


def binding_of(target: ScriptObject, spelling: str, *, pure: bool = False) -> Binding:
    """Return the method of an object that a script calls so.

    Args:
        target: The object.
        spelling: What the script calls.
        pure: Whether only a pure one will do.

    Raises:
        InvalidInputError: There is none, and the nearest are named; or it is not pure.
    """
    kind: Any = type(target)
    offered = _bindings_of(kind)
    if spelling in offered:
        if pure and not offered[spelling].method.pure:
            message = f"{_where(target, spelling)}: it is not pure, it asks the host; await call instead"
            raise InvalidInputError(message)
        return offered[spelling]
    near = difflib.get_close_matches(spelling, offered, n=3, cutoff=0.5)
    advice = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(offered)) or 'none'}"
    raise InvalidInputError(f"{_where(target, spelling)}: there is no such method; {advice}")


@functools.lru_cache(maxsize=512)
def _bindings_of(of: type) -> Mapping[str, Binding]:
    """Return every spelling of every method that a class offers to scripts, ready to be called."""
    made: dict[str, Binding] = {}
    for method in script_methods(of).values():
        if method.function not in made:
            made[method.function] = Binding(method, getattr(of, method.function))
    return types.MappingProxyType({name: made[method.function] for name, method in script_methods(of).items()})


def _where(target: ScriptObject, spelling: str) -> str:
    name = target.name if isinstance(target, ScriptGlobal) else type(target).__name__
    return name if spelling == _CALL else f"{name}.{spelling}"


def _hints_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError:  # an annotation that exists for type checkers only: its argument is the method's own affair
        return {}


def _fit(value: Any, hint: Any) -> Any:
    """Return the value as the hint wants it, or `_MISFIT`."""
    if hint is Any or hint is inspect.Parameter.empty:
        return value
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        fitted = (_fit(value, option) for option in typing.get_args(hint))
        return next((each for each in fitted if each is not _MISFIT), _MISFIT)
    kind = typing.get_origin(hint) or hint
    if kind in (int, float):
        return _fit_number(value, kind)
    if kind in (list, Sequence):
        return _fit_list(value)
    if kind in (dict, Mapping):
        return {} if isinstance(value, list | tuple) and not value else _only(value, Mapping)
    return _only(value, kind)


def _fit_number(value: Any, kind: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _MISFIT
    if kind is int and isinstance(value, float):
        return int(value) if value.is_integer() else _MISFIT
    return value


def _fit_list(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return list(value)
    return [] if isinstance(value, Mapping) and not value else _MISFIT


def _only(value: Any, kind: Any) -> Any:
    try:
        return value if isinstance(value, kind) else _MISFIT
    except TypeError:  # a hint that cannot be checked at run time, such as a Protocol with fields
        return value


def _word(hint: Any) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        words = [_word(option) for option in typing.get_args(hint) if option is not type(None)]
        return " or ".join(dict.fromkeys(words))
    kind = typing.get_origin(hint) or hint
    name = getattr(kind, "__name__", str(kind))
    return _WORDS.get(kind) or ("a function" if name == "ScriptFunction" else f"a {name}")


def _spelled(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"{parameter.name}..."
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name}?"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    return repr(value) if isinstance(value, bool | int | float) else "a function or object"


def _count(given: Sequence[Any]) -> str:
    return f"{len(given)} argument{'' if len(given) == 1 else 's'}"
