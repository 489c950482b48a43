"""List, describe and invoke tools.

Invariant: a call from here goes through the runner like any other, so every hook sees it.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs import LlmspellError, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.commands import CommandError
from llmspell_hookspecs.errors import line_of_error, text_of_error
from llmspell_hookspecs.services import Tools
from llmspell_hookspecs.values import thaw
from llmspell_plugins.commands.meant import meant
from llmspell_plugins.tool_index import ToolIndex, fits

from .tool_answer import show_answer

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["parameter_rows", "tool"]

_COLUMNS = ("parameter", "type", "required", "default", "allowed", "description")
_DEEP = 4
_MOST_TOLD = 300


@click.group()
def tool() -> None:
    """List, describe and invoke tools."""


@tool.command("list")
@click.option("--category", default="", help="Only the tools of this category.")
@click.option("--tag", "--search", default="", help="Only the tools whose name or description contains this.")
@click.pass_obj
def tool_list(invocation: Invocation, category: str, tag: str) -> None:
    """List the tools, by category."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        found = await host.get(Tools).discover(category, tag)
        return _by_category(found, category, found or await host.get(Tools).discover())

    every = _indexed(invocation)
    if every is None:
        rows = invocation.run(use)
    else:
        rows = _by_category([told for told in every if fits(told, category, tag)], category, every)
    columns = ("name", "category", "level", "version", "description")
    invocation.show_rows(rows, columns, empty="there are no such tools")


def _by_category(
    found: Iterable[Mapping[str, Any]], category: str, every: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of a listing; a category that no tool has is refused."""
    known = sorted({told["category"] for told in every})
    if category and category not in known:
        raise click.UsageError(f"there is no category {category!r}; there are {', '.join(known)}")
    return [dict(told) for told in sorted(found, key=lambda told: (told["category"], told["name"]))]


def _indexed(invocation: Invocation) -> list[dict[str, Any]] | None:
    """What every tool tells of itself, if no plugin has a say in that and the index knows them all: without a host."""
    unhooked = invocation.unhooked("tools")
    if unhooked is None:
        return None
    index = ToolIndex(unhooked.cache_dir, unhooked.settings)
    found = [index.find(info) for info in unhooked.plugins]
    return None if None in found else [summary.told() for summary in found if summary is not None]


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
        invocation.show_rows(parameter_rows(described["schema"]), _COLUMNS, empty="it takes no parameters")
        for each in described["examples"]:
            needs = f" (needs {each['needs']})" if each["needs"] else ""
            given = json.dumps(thaw(each["parameters"]), ensure_ascii=False)
            invocation.say()
            invocation.say(f"{each['name']}{needs}:")
            invocation.say(f"  llmspell tool invoke {described['name']} {shlex.quote(given)}")

    invocation.run(use, show=show)


@tool.command("test")
@click.argument("name")
@click.pass_obj
def tool_test(invocation: Invocation, name: str) -> None:
    """Run the examples of the tool NAME, but those that need something first, and hold them to what they say."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        described = host.get(Tools).describe(name)
        return [await _tried(host, described["name"], ToolExample(**each)) for each in described["examples"]]

    rows = invocation.run(use)
    invocation.show_rows(rows, ("example", "outcome", "message"), empty=f"tool {name} has no examples")
    failed = [row["example"] for row in rows if row["outcome"] == "failed"]
    if failed:
        raise CommandError(f"tool {name}: {len(failed)} of {len(rows)} examples failed: {', '.join(failed)}; see above")


async def _tried(host: CommandHost, name: str, example: ToolExample) -> dict[str, Any]:
    """Run an example, and say what became of it."""
    if example.needs:
        return {"example": example.name, "outcome": "skipped", "message": f"it needs {example.needs}"}
    try:
        result: ToolResult = await host.call(f"tool:{name}", dict(example.parameters))
    except LlmspellError as error:
        return {"example": example.name, "outcome": "failed", "message": str(error)}
    if not result.success:
        return {"example": example.name, "outcome": "failed", "message": result.message or "it answers that it failed"}
    if not example.fits(result.payload()):
        told = json.dumps(thaw(result.payload()), ensure_ascii=False, default=str)[:_MOST_TOLD]
        return {"example": example.name, "outcome": "failed", "message": f"it answers {told}"}
    return {"example": example.name, "outcome": "passed", "message": ""}


@tool.command("invoke", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("parameters", nargs=-1, type=click.UNPROCESSED)
@click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")
@click.option("--no-pager", is_flag=True, help="Print a long answer as it is, on a terminal, too.")
@click.pass_context
def tool_invoke(context: click.Context, name: str, parameters: tuple[str, ...], explain: bool, no_pager: bool) -> None:
    """Call the tool NAME.

    PARAMETERS are one JSON object, @FILE or - for a file or standard input that holds one, pairs such as
    operation=read path=notes.txt, or flags such as --operation read --path=notes.txt; a flag alone is true. What
    is an option of the command, such as --output, is given as a pair, and what lies within a parameter as
    options.depth=3.

    Records are shown as a table. On a terminal, bytes in the answer are saved to files, and what is longer than it goes
    to the program that PAGER names.
    """
    invocation: Invocation = context.obj
    given_to = [each for each in context.command.params if isinstance(each, click.Option)]
    options = [option for each in given_to for option in each.opts if option.startswith("--")]
    if name.startswith("-"):
        raise _stray(name, options)
    given = _whole(invocation, parameters)

    async def use(host: CommandHost) -> ToolResult:
        described = host.get(Tools).describe(name)
        values = _paired(parameters, described["schema"], options) if given is None else given
        try:
            result: ToolResult = await host.call(f"tool:{described['name']}", values)
        except LlmspellError:
            raise
        except Exception as error:  # its own code failed
            text = f"{type(error).__name__}: {text_of_error(error)}"
            raise ToolError(f"tool:{name}: it failed: {text}; fix the tool (--debug shows where)") from error
        return result

    def show(result: ToolResult) -> None:
        show_answer(invocation, result, pages=not no_pager)

    result = invocation.run(use, show=show, explain=explain)
    if not result.success:
        error = result.error or {}
        raise CommandError(f"tool {name}: {result.message or error.get('message') or 'it answers that it failed'}")


def _whole(invocation: Invocation, parameters: Sequence[str]) -> dict[str, Any] | None:
    """The parameters, if they were given as one JSON object."""
    if len(parameters) != 1 or not (parameters[0] == "-" or parameters[0].lstrip().startswith(("{", "@"))):
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


def _paired(words: Sequence[str], schema: Mapping[str, Any], options: Sequence[str]) -> dict[str, Any]:
    """The parameters from ``key=value`` pairs and ``--key value`` flags: text where the tool takes text, else JSON."""
    values: dict[str, Any] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        key, sign, text = word.partition("=")
        if word.startswith("--"):
            key = _flag_of(key, schema, options)
            if not sign:
                switch = not left or left[0].startswith("--") or _types(schema, key) == {"boolean"}
                text = "true" if switch else left.pop(0)
        elif not sign:
            raise click.UsageError(f"{word!r} has no '='; write an object, key=value pairs or --key value")
        value = text if "string" in _types(schema, key) else meant(text, f"the parameter {key}")
        holder, name = values, key
        if key not in schema.get("properties", {}):  # as tool info lists what lies within a parameter: options.depth
            *outer, name = key.split(".") if key.partition(".")[0] in schema.get("properties", {}) else [key]
            for part in outer:
                holder = holder.setdefault(part, {}) if isinstance(holder, dict) else {}
        if not isinstance(holder, dict) or name in holder:
            raise click.UsageError(f"{key!r} is given twice; give each parameter once")
        holder[name] = value
    return values


def _flag_of(flag: str, schema: Mapping[str, Any], options: Sequence[str]) -> str:
    """The parameter that a flag names, with ``-`` or ``_`` between its words."""
    known = schema.get("properties", {})
    plain = flag.removeprefix("--")
    found = next((name for name in (plain, plain.replace("-", "_")) if name in known), None)
    if found is None:
        raise _stray(flag, [*options, *(f"--{name}" for name in known)])
    return found


def _stray(flag: str, known: Sequence[str]) -> click.UsageError:
    near = difflib.get_close_matches(flag, known, 1)
    advice = f"did you mean {near[0]!r}?" if near else "see llmspell tool invoke --help, or give key=value pairs"
    return click.UsageError(f"there is no option or parameter {flag[:100]!r}; {advice}")


def _types(schema: Mapping[str, Any], name: str) -> set[str]:
    """The JSON types that a parameter, or what lies within one, may have."""
    if name not in schema.get("properties", {}) and "." in name:
        return {
            kind for row in parameter_rows(schema) if row["parameter"] == name for kind in row["type"].split(" or ")
        }
    choices = _choices(schema.get("properties", {}).get(name, {}), schema.get("$defs", {}))
    return {str(choice["type"]) for choice in choices if "type" in choice}


def parameter_rows(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a JSON schema's parameters as rows, and below each the fields of what it holds.

    A field is spelled ``options.depth`` or ``rows[].name``; what only some of several forms demand is not required.
    """
    return list(_rows([schema], schema.get("$defs", {}), "", 0))


def _rows(
    forms: Sequence[Mapping[str, Any]], definitions: Mapping[str, Any], prefix: str, depth: int
) -> Iterator[dict[str, Any]]:
    forms = [form for form in forms if form.get("properties")]
    for name in dict.fromkeys(name for form in forms for name in form["properties"]):
        items = [form["properties"][name] for form in forms if name in form["properties"]]
        choices = [choice for item in items for choice in _choices(item, definitions)]
        inner = [each for choice in choices for each in _choices(choice.get("items"), definitions)]
        fields = [*_rows(choices, definitions, f"{prefix}{name}.", depth + 1)] if depth < _DEEP else []
        fields += _rows(inner, definitions, f"{prefix}{name}[].", depth + 1) if depth < _DEEP else []
        yield {
            "parameter": prefix + name,
            "type": " or ".join(sorted({str(choice["type"]) for choice in choices if "type" in choice} - {"null"}))
            or "any",
            "required": all(name in form.get("required", ()) for form in forms),
            "default": None if fields else items[0].get("default"),
            "allowed": ", ".join(
                dict.fromkeys(str(value) for choice in (*choices, *inner) for value in _values(choice))
            ),
            "description": next((item["description"] for item in items if item.get("description")), ""),
        }
        yield from fields


def _values(choice: Mapping[str, Any]) -> list[Any]:
    return list(choice.get("enum", [choice["const"]] if "const" in choice else []))


def _choices(item: Any, definitions: Mapping[str, Any], depth: int = 0) -> list[Mapping[str, Any]]:
    """What a schema allows, one by one, with references followed."""
    if not isinstance(item, Mapping) or depth > _DEEP:
        return []
    name = str(item.get("$ref", "")).rpartition("/")[2]
    found = definitions.get(name, {}) if name else item
    further = (each for word in ("anyOf", "oneOf", "allOf") for each in found.get(word, ()))
    return [found, *(choice for each in further for choice in _choices(each, definitions, depth + 1))]
