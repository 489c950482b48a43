"""The group of tools: what one must be."""

from __future__ import annotations

import inspect
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from llmspell_hookspecs import SecurityLevel, Tool, ToolExample
from llmspell_hookspecs.kind import ComponentGroup
from llmspell_hookspecs.parameters import first_problem, validate
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.tool import ToolLimits

__all__ = ["TOOLS"]

_EFFECTS: Final = ("", "transactional", "keyed")
_LEVELS: Final = "SecurityLevel.SAFE, RESTRICTED or PRIVILEGED"


def _is_tool(item: Any) -> bool:
    return issubclass(item if inspect.isclass(item) else type(item), Tool)


def _is_model(item: Any) -> bool:
    return inspect.isclass(item) and issubclass(item, BaseModel)


def _takes_two(run: Any) -> bool:
    try:
        inspect.signature(run).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a method that takes nothing; what is no method may not tell what it takes
        return not inspect.ismethod(run)
    return True


def _tool_problem(tool: Any, name: str) -> str:
    if not isinstance(tool, Tool):
        return "is no Tool; subclass llmspell_hookspecs.Tool, or mark a function with @tool"
    called = getattr(tool, "name", "")
    if called != name:
        problem = f"calls itself {told(called, 80)}" if called else "has no name"
        return f"{problem}; give it name = {name!r}, as its entry point is called"
    model: Any = getattr(tool, "parameters", None)
    if not _is_model(model):
        return "has no model of its parameters; write class ...(Tool[Parameters])"
    if not model.__pydantic_complete__ and model.model_rebuild(raise_errors=False) is False:
        return f"has a model of its parameters, {model.__name__}, that names types which are not there; import them"
    if not callable(tool.run) or getattr(tool.run, "__func__", None) is Tool.run:
        return "has no run method; write async def run(self, parameters, context)"
    if not _takes_two(tool.run):
        return "has a run method that does not take (parameters, context); write it so"
    if not isinstance(tool.limits, ToolLimits):
        return f"has the limits {told(tool.limits, 80)}; use ToolLimits"
    if not isinstance(tool.level, SecurityLevel):
        return f"has the level {tool.level!r}; use {_LEVELS}"
    if not isinstance(tool.repeatable, bool):
        return f"says repeatable = {told(tool.repeatable, 80)}; write True or False"
    if tool.effects not in _EFFECTS:
        return f"has the effects {told(tool.effects, 80)}; use '', 'transactional' or 'keyed'"
    aliases = tool.aliases if isinstance(tool.aliases, tuple | list) else (None,)
    if not all(isinstance(text, str) for text in (tool.description, tool.category, tool.version, *aliases)):
        return "has a description, category, version or alias that is no text; write texts, and aliases as a tuple"
    return _example_problem(tool)


def _example_problem(tool: Tool[Any]) -> str:
    """Say what is wrong with the examples: people and models copy them."""
    examples: Any = tool.examples
    if not isinstance(examples, tuple | list) or not all(isinstance(each, ToolExample) for each in examples):
        return f"has the examples {told(examples, 80)}; write a tuple of ToolExample"
    for each in examples:
        try:
            validate(tool.parameters, dict(each.parameters))
        except ValidationError as error:
            found = first_problem(tool.parameters, error)
            wrong = f"{found.where or 'parameters'}: {found.words}"
            return f"has an example {told(each.name, 40)} that it would refuse: {wrong}; correct it"
    return ""


TOOLS: Final = ComponentGroup(
    "llmspell.tools", "tool", _is_tool, "tools", _tool_problem, topic="tool", besides=("tools",)
)
