"""List, describe and invoke tools.

Invariant: a call from here goes through the runner like any other, so every hook sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs import LlmspellError, ToolError, ToolResult, Tools
from llmspell_hookspecs.commands import CommandError
from llmspell_hookspecs.errors import line_of_error, text_of_error

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["tool"]

_COLUMNS = ("parameter", "type", "required", "default", "allowed", "description")
_DEEP = 4


@click.group()
def tool() -> None:
    """List, describe and invoke tools."""


@tool.command("list")
@click.option("--category", default="", help="Only the tools of this category.")
@click.option("--tag", default="", help="Only the tools whose name or description contains this.")
@click.pass_obj
def tool_list(invocation: Invocation, category: str, tag: str) -> None:
    """List the tools."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        return [dict(item) for item in await host.get(Tools).discover(category, tag)]

    columns = ("name", "category", "level", "version", "description")
    invocation.show_rows(invocation.run(use), columns, empty="there are no such tools")


@tool.command("info")
@click.argument("name")
@click.pass_obj
def tool_info(invocation: Invocation, name: str) -> None:
    """Describe the tool NAME and its parameters."""

    async def use(host: CommandHost) -> Mapping[str, Any]:
        return host.get(Tools).describe(name)

    def show(described: Mapping[str, Any]) -> None:
        invocation.say(f"{described['name']} {described['version']}: {described['description']}")
        invocation.say(f"category {described['category']}, level {described['level']}")
        if described.get("aliases"):
            invocation.say(f"also called {', '.join(described['aliases'])}")
        invocation.say()
        invocation.show_rows(_parameters(described["schema"]), _COLUMNS, empty="it takes no parameters")

    invocation.run(use, show=show)


@tool.command("invoke")
@click.argument("name")
@click.argument("parameters", nargs=-1, type=click.UNPROCESSED)
@click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")
@click.pass_obj
def tool_invoke(invocation: Invocation, name: str, parameters: tuple[str, ...], explain: bool) -> None:
    """Call the tool NAME.

    PARAMETERS are one JSON object, @FILE or - for a file or standard input that holds one, or pairs such as
    operation=read path=notes.txt.
    """
    given = _whole(invocation, parameters)

    async def use(host: CommandHost) -> ToolResult:
        described = host.get(Tools).describe(name)
        values = _paired(parameters, described["schema"]) if given is None else given
        try:
            result: ToolResult = await host.call(f"tool:{described['name']}", values)
        except LlmspellError:
            raise
        except Exception as error:  # its own code failed
            text = f"{type(error).__name__}: {text_of_error(error)}"
            raise ToolError(f"tool:{name}: it failed: {text}; fix the tool (--debug shows where)") from error
        return result

    def show(result: ToolResult) -> None:
        invocation.show(result.text if result.text is not None else result.result)

    result = invocation.run(use, show=show, explain=explain)
    if not result.success:
        error = result.error or {}
        raise CommandError(f"tool {name}: {result.message or error.get('message') or 'it answers that it failed'}")


def _whole(invocation: Invocation, parameters: Sequence[str]) -> dict[str, Any] | None:
    """The parameters, if they were given as one JSON object."""
    if len(parameters) != 1 or not parameters[0].lstrip().startswith(("{", "@", "-")):
        return None
    try:
        value = json.loads(invocation.read(parameters[0]))
    except RecursionError as error:
        raise click.UsageError("the parameters are nested too deeply; make them flatter") from error
    except ValueError as error:
        raise click.UsageError(
            f"the parameters are no JSON: {line_of_error(error)}; write an object or key=value pairs"
        ) from error
    if not isinstance(value, dict):
        raise click.UsageError("the parameters are no JSON object; write an object or key=value pairs")
    return value


def _paired(pairs: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters from ``key=value`` pairs: text where the tool takes text, else JSON."""
    values = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign:
            raise click.UsageError(f"{pair!r} has no '='; write an object or key=value pairs")
        values[key] = text if "string" in _types(schema, key) else _json(text)
    return values


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _types(schema: Mapping[str, Any], name: str) -> set[str]:
    """The JSON types that a parameter may have."""
    properties = schema.get("properties", {})
    found = properties.get(name, {})
    choices = [*found.get("anyOf", ()), *found.get("oneOf", ()), found]
    resolved = [schema.get("$defs", {}).get(item.get("$ref", "").rpartition("/")[2], item) for item in choices]
    return {str(item["type"]) for item in resolved if "type" in item}


def _parameters(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parameters as rows, and below each the fields of what it holds: ``options.depth``, ``rows[].name``."""
    return list(_rows(schema, schema.get("$defs", {}), "", 0))


def _rows(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str, depth: int
) -> Iterator[dict[str, Any]]:
    for name, item in schema.get("properties", {}).items():
        choices = _choices(item, definitions)
        kinds = {str(choice["type"]) for choice in choices if "type" in choice}
        allowed = [
            value for choice in choices for value in choice.get("enum", [choice["const"]] if "const" in choice else [])
        ]
        yield {
            "parameter": prefix + name,
            "type": " or ".join(sorted(kinds - {"null"})) or "any",
            "required": name in schema.get("required", ()),
            "default": item.get("default"),
            "allowed": ", ".join(map(str, allowed)),
            "description": item.get("description", ""),
        }
        if depth < _DEEP:
            for choice in choices:
                yield from _rows(choice, definitions, f"{prefix}{name}.", depth + 1)
                for inner in _choices(choice["items"], definitions) if isinstance(choice.get("items"), dict) else ():
                    yield from _rows(inner, definitions, f"{prefix}{name}[].", depth + 1)


def _choices(item: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a schema allows, one by one, with references followed."""
    found: list[Mapping[str, Any]] = []
    for choice in (*item.get("anyOf", ()), *item.get("oneOf", ()), *item.get("allOf", ()), item):
        name = str(choice.get("$ref", "")).rpartition("/")[2]
        found.append(definitions.get(name, {}) if name else choice)
    return found
