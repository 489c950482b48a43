"""A function is a tool: `tool` makes one from its signature and its docstring.

Each parameter becomes one of the tool's, described by the ``Args`` of a Google docstring; pydantic makes the schema. A
parameter annotated with `ToolContext` is given the call's context, one annotated with the settings' model the settings.

Invariant: what cannot be a tool is refused where it is marked. The function itself stays as it is.
"""

from __future__ import annotations

import inspect
import re
import typing
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, overload

from pydantic import BaseModel, create_model
from pydantic.fields import Field, FieldInfo

from .components import SecurityLevel
from .errors import PluginError
from .spelling import told
from .tool import Tool, ToolContext, ToolExample, ToolLimits

__all__ = ["tool"]

F = TypeVar("F", bound=Callable[..., object])
_ATTRIBUTE: Final = "llmspell_tool"
_GIVEN: Final = object()
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")
_ENTRY: Final = re.compile(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)")


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    *,
    name: str = "",
    description: str = "",
    category: str = "utility",
    level: SecurityLevel = SecurityLevel.SAFE,
    aliases: Sequence[str] = (),
    version: str = "1.0.0",
    limits: ToolLimits | None = None,
    repeatable: bool = False,
    effects: str = "",
    examples: Sequence[ToolExample] = (),
    settings: type[BaseModel] | None = None,
) -> Callable[[F], F]: ...
def tool(function: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
    """Mark a function as a tool: ``@tool`` or ``@tool(name="weather", level=SecurityLevel.RESTRICTED)``.

    Take it as an entry point in ``llmspell.tools``, or hand it over with ``plugins=[function]``. It may be sync or
    async; a sync one must be short, for nothing can stop it: it has no deadline.

    Args:
        function: The function; every parameter has an annotation, and none is positional-only or variadic.
        options: Those of `Tool` (``name`` is the function's if it is left out, ``description`` its docstring's first
            paragraph), and ``settings``, the pydantic model of ``[tools.NAME]``.

    Raises:
        PluginError: No tool can be made of it, or an option is unknown.
    """

    def mark(target: F) -> F:
        setattr(target, _ATTRIBUTE, _made(target, **options))
        return target

    return mark if function is None else mark(function)


def _made(function: Callable[..., Any], **options: Any) -> type[Tool[Any]]:
    """Return the tool's class."""
    if not inspect.isfunction(function):
        raise PluginError(f"@tool: {type(function).__name__} is no function; mark a function, or subclass Tool")
    called = options.pop("name", "") or function.__name__
    settings_model = options.pop("settings", None)
    _check(function, called, options, settings_model)
    hints = _hints(function, called)
    described = _arguments(inspect.getdoc(function) or "")
    fields: dict[str, Any] = {}
    given: dict[str, str] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise _wrong(called, f"its parameter {parameter} cannot be given by name; make it an ordinary one")
        if parameter.name.startswith("_"):
            raise _wrong(called, f"its parameter {parameter.name} begins with an underscore; give it another name")
        if hint is None:
            raise _wrong(called, f"its parameter {parameter.name} has no annotation; say its type")
        if hint is ToolContext:
            given[parameter.name] = "context"
        elif settings_model is not None and hint is settings_model:
            given[parameter.name] = "settings"
        else:
            if parameter.name == "settings" and inspect.isclass(hint) and issubclass(hint, BaseModel):
                message = f"callers would fill in its parameter settings; say @tool(settings={hint.__name__})"
                raise _wrong(called, f"{message}, or give it another name")
            fields[parameter.name] = (hint, _field(parameter, hint, described.get(parameter.name, "")))

    if settings_model is not None and "settings" not in given.values():
        raise _wrong(called, f"nothing gets its settings; annotate a parameter with {settings_model.__name__}")

    names = tuple(fields)

    def call(self: Tool[Any], parameters: BaseModel, context: ToolContext) -> Any:
        """Call the function."""
        values = {name: getattr(parameters, name) for name in names}
        for name, what in given.items():
            values[name] = context if what == "context" else self.settings
        return function(**values)

    async def run(self: Tool[Any], parameters: BaseModel, context: ToolContext) -> Any:
        """Call the function, and wait for what it answers."""
        answer = call(self, parameters, context)
        return await answer if inspect.isawaitable(answer) else answer

    if not inspect.iscoroutinefunction(function):
        run.at_once = call  # type: ignore[attr-defined]  # on the method, so that whoever overrides that is called
    paragraph = (inspect.getdoc(function) or "").partition("\n\n")[0]
    attributes = {
        "description": " ".join(paragraph.split()),
        **{key: value for key, value in options.items() if value not in ("", None)},
        "name": called,
        "aliases": tuple(options.get("aliases", ())),
        "parameters": _model(called, fields),
        "Settings": settings_model,
        "run": run,
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
    }
    return type(function.__name__, (Tool,), attributes)


def _check(function: Any, called: str, options: dict[str, Any], settings_model: Any) -> None:
    known = ("description", "category", "level", "aliases", "version", "limits", "repeatable", "effects", "examples")
    for option in options:
        if option not in known:
            raise _wrong(called, f"there is no option {option!r}; there are name, settings, {', '.join(known)}")
    if not (isinstance(called, str) and _NAME.fullmatch(called)):
        raise _wrong(repr(called)[:80], "that is no name for a tool; say name='...', of letters, digits and _")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _wrong(called, "it is a generator; return one value")
    if not isinstance(options.get("aliases", ()), tuple | list):
        raise _wrong(called, f"its aliases are {told(options['aliases'], 80)}; write a tuple of texts")
    if not isinstance(options.get("level", SecurityLevel.SAFE), SecurityLevel):
        raise _wrong(called, f"its level is {options['level']!r}; use SecurityLevel.SAFE, RESTRICTED or PRIVILEGED")
    if options.get("effects", "") not in ("", "transactional", "keyed"):
        raise _wrong(called, f"its effects are {told(options['effects'], 80)}; use '', 'transactional' or 'keyed'")
    if settings_model is not None and not (inspect.isclass(settings_model) and issubclass(settings_model, BaseModel)):
        raise _wrong(called, f"its settings are {told(settings_model)}; give a pydantic model")


def _hints(function: Callable[..., Any], called: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        message = f"its annotations cannot be read: {type(error).__name__}: {error}; name types that its module knows"
        raise _wrong(called, message) from error


def _field(parameter: inspect.Parameter, hint: Any, description: str) -> Any:
    """Return a parameter's default, described by the docstring unless it says so itself."""
    default = ... if parameter.default is parameter.empty else parameter.default
    noted = [each.description for each in (default, *typing.get_args(hint)[1:]) if isinstance(each, FieldInfo)]
    if isinstance(default, FieldInfo) or not description or any(noted):
        return default
    return Field(default, description=description)


def _model(called: str, fields: dict[str, Any]) -> type[BaseModel]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a parameter may be called as a method of the model is
            model: type[BaseModel] = create_model(
                f"{called}_parameters", __config__={"protected_namespaces": (), "extra": "forbid"}, **fields
            )
        marked: dict[str, Any] = dict.fromkeys(fields, _GIVEN)
        given = model.model_construct(**marked)
        taken = [name for name in fields if name not in model.model_fields or getattr(given, name, None) is not _GIVEN]
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise _wrong(
            called, f"no schema can be made of its parameters: {text}; use types that pydantic knows"
        ) from error
    if taken:
        raise _wrong(called, f"its parameter {taken[0]} is called as something of pydantic's; give it another name")
    return model


def _arguments(doc: str) -> dict[str, str]:
    """Return what the ``Args`` section of a Google docstring says of each parameter."""
    _, found, section = f"\n{doc}".partition("\nArgs:\n")
    described: dict[str, str] = {}
    name, depth = "", 0
    for line in section.splitlines() if found else ():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text and not indent:
            break
        entry = _ENTRY.fullmatch(text)
        if entry and (not name or indent <= depth):
            name, depth = entry[1], indent
            described[name] = entry[2]
        elif text and name:
            described[name] = f"{described[name]} {text}".strip()
    return described


def _wrong(called: str, problem: str) -> PluginError:
    return PluginError(f"tool {called}: {problem}", plugin=called)
