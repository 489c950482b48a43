"""``llmspell tool``: which tools there are, what they take, and a call of one.

Invariant: a call from here goes through the runner like any other, so every hook sees it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .explain import EXPLAIN, run_explained
from .group import LazyGroup
from .invocation import Invocation, global_options
from .outlet import say

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["tool"]

_COLUMNS = ("parameter", "type", "required", "default", "allowed", "description")
_DEEP = 4


@click.group(cls=LazyGroup)
@global_options
def tool() -> None:
    """List, describe and invoke tools."""


@tool.command("list")
@click.option("--category", default="", help="Only the tools of this category.")
@click.option("--tag", default="", help="Only the tools whose name or description contains this.")
@global_options
@click.pass_obj
def tool_list(invocation: Invocation, category: str, tag: str) -> None:
    """List the tools."""
    from .output import print_json, print_rows
    from .session import with_host

    async def use(host: Host) -> list[dict[str, Any]]:
        return [dict(item) for item in await host.tools.discover(category, tag)]

    rows = with_host(use, invocation)
    if invocation.json:
        print_json(rows)
    else:
        print_rows(rows, ("name", "category", "level", "version", "description"), empty="there are no such tools")


@tool.command("info")
@click.argument("name")
@global_options
@click.pass_obj
def tool_info(invocation: Invocation, name: str) -> None:
    """Describe the tool NAME and its parameters."""
    from .output import print_json, print_rows
    from .session import with_host

    async def use(host: Host) -> Mapping[str, Any]:
        return host.tools.describe(name)

    described = with_host(use, invocation)
    if invocation.json:
        print_json(described)
        return
    say(f"{described['name']} {described['version']}: {described['description']}")
    say(f"category {described['category']}, level {described['level']}")
    if described.get("aliases"):
        say(f"also called {', '.join(described['aliases'])}")
    say("")
    print_rows(_parameters(described["schema"]), _COLUMNS, empty="")


@tool.command("invoke")
@click.argument("name")
@click.argument("parameters", nargs=-1, type=click.UNPROCESSED)
@EXPLAIN
@global_options
@click.pass_obj
def tool_invoke(invocation: Invocation, name: str, parameters: tuple[str, ...], explain: bool) -> None:
    """Call the tool NAME.

    PARAMETERS are one JSON object, @FILE or - for a file or standard input that holds one, or pairs such as
    operation=read path=notes.txt.
    """
    from llmspell.foreign import Blamed, text_of
    from llmspell_hookspecs import LlmspellError, ToolError

    from .failure import Exit
    from .output import print_value

    given = _whole(parameters)

    def failed(error: BaseException) -> ToolError:
        return ToolError(f"tool:{name}: it failed: {text_of(error)}; mend the tool (--debug shows where)")

    async def use(host: Host) -> Any:
        described = host.tools.describe(name)
        values = _paired(parameters, described["schema"]) if given is None else given
        with Blamed(failed, spares=LlmspellError):
            return await host.call(f"tool:{described['name']}", values)

    def show(result: Any) -> None:
        print_value(result.text if result.text is not None else result.result)

    result = run_explained(invocation, use, show, explain=explain)
    if not result.success:
        error = result.error or {}
        raise Exit(1, f"tool {name}: {result.message or error.get('message') or 'it answers that it failed'}")


def _whole(parameters: Sequence[str]) -> dict[str, Any] | None:
    """The parameters, if they were given as one JSON object."""
    if len(parameters) != 1 or not parameters[0].lstrip().startswith(("{", "@", "-")):
        return None
    text = parameters[0]
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = _content(text[1:])
        value = json.loads(text)
    except RecursionError as error:
        raise click.UsageError("the parameters are nested too deeply; make them flatter") from error
    except ValueError as error:
        raise click.UsageError(f"the parameters are no JSON: {error}; write an object or key=value pairs") from error
    if not isinstance(value, dict):
        raise click.UsageError("the parameters are no JSON object; write an object or key=value pairs")
    return value


def _content(file: str) -> str:
    """What the file of parameters holds."""
    from llmspell.regular import read_regular

    try:
        return read_regular(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file}: is not UTF-8; save it as UTF-8") from error
    except OSError as error:
        message = f"{file}: cannot be read: {error.strerror}; name a file that can, or give - and pipe it in"
        raise click.UsageError(message) from error


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
