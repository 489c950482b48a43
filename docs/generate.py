"""Writes the generated references: hook points, results, contract, entry points, tools, settings, ...

``python docs/generate.py`` writes them; a test holds the files against what this module answers.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import runpy
import textwrap
from collections.abc import Container, Iterator
from enum import Enum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from pydantic import BaseModel

import llmspell
import llmspell_hookspecs
import llmspell_plugins
from llmspell.cli.failure import EXIT_CODES
from llmspell.cli.root import cli
from llmspell.plugins.groups import OWN_GROUPS, Groups
from llmspell.settings import Settings
from llmspell_hookspecs import Phase, Policy, Tool, commands
from llmspell_hookspecs.language import ScriptObject, script_methods
from llmspell_hookspecs.operation import OperationKind
from llmspell_hookspecs.results import RESULT_TYPES
from llmspell_hookspecs.topics import own_points
from llmspell_plugins.commands.tool import parameter_rows
from llmspell_plugins.languages import answers
from llmspell_testing.provider_quirks import QUIRKS

__all__ = ["references"]

FOLDER = Path(__file__).parent / "reference"
_QUOTED = re.compile(r"""(: |-> )(['"])(.*?)\2""")
_SELF = re.compile(r"\(self(: [^,)]*)?(, /)?(, |(?=\)))")
_OPENS = ("__aenter__", "__aexit__", "__call__")
_NOTE = "<!-- Written by docs/generate.py; edit the docstrings instead. -->"


_MATCHES = """## What match fits

The pattern `match` of a hook is held against the name of the component alone, without its kind; `*`, `?` and
`[...]` are wildcards, and all letters count as they are written. What can be told to fit nothing is warned of.

| points of the topic | what `match` fits | such as |
|---|---|---|
| tool | the tool's name, never an alias; at the points of discovery `tools` | `calculator`, `file_*` |
| agent | the agent's name | `writer` |
| model | the provider and the model | `openai/*` |
| workflow | the workflow's name, also at conditions, loops, forks and what is shared | `order` |
| workflow, where a stage runs: `..._workflow_stage` | the workflow, a dot, the stage | `order.charge`, `order.*` |
| workflow: `workflow_error` | either, for a stage that failed or the workflow | `order*` |
| state | the scope | `session:*` |
| script | the file's name without its folder | `*.lua` |
| event | the event's type | `workflow.*` |
| plugin | the plugin's name | `rate_limit` |"""


def references() -> dict[str, str]:
    """Return every reference page by its file name."""
    return {
        "hook-points.md": _points(),
        "results.md": _results(),
        "tools.md": _tools(),
        "tool-oracles.md": _tool_oracles(),
        "settings.md": _settings(),
        "plugin-settings.md": _plugin_settings(),
        "script-globals.md": _globals(),
        "providers.md": _quirks(),
        "command-line.md": _command_line(),
        "contract.md": _contract(),
        "testing.md": _testing(),
        "entry-points.md": _entry_points(),
        "events.md": _events(),
        "script-hooks.md": _script_hooks(),
        "workflow-patterns.md": _patterns(),
    }


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", _NOTE, *parts]) + "\n"


def _points() -> str:
    parts = ["Any of the names may be used. `custom:<name>` is there for points of your own.", _MATCHES]
    topic = ""
    for point in own_points():
        if point.topic != topic:
            topic = point.topic
            parts.append(f"## {topic}")
        names = ", ".join(f"`{name}`" for name in point.names[1:])
        accepts = ", ".join(sorted(point.accepts)) or "nothing: it takes wraps"
        parts.append(
            f"### {point.name}\n\n{point.doc}\n\n"
            f"Phase: {point.phase.value}. Subject: `{point.subject.__name__}`. Also: {names}. Accepts: {accepts}."
        )
    return _page("Hook points", *parts)


def _results() -> str:
    names = [result.__name__ for result in RESULT_TYPES]
    rows = [f"| point | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    rows += [
        f"| {point.name} | {' | '.join('yes' if name in point.accepts else '-' for name in names)} |"
        for point in own_points()
    ]
    texts = [f"## {result.__name__}\n\n{inspect.getdoc(result)}" for result in RESULT_TYPES]
    return _page("Results", "What each point accepts; each cell is tested.", "\n".join(rows), *texts)


def _tools() -> str:
    parts = []
    for point in sorted(_own("llmspell.tools"), key=lambda point: point.name):
        kind: type[Tool[Any]] = point.load()
        fields = "\n".join(_fields(kind.parameters))
        parts.append(
            f"## {kind.name}\n\n{inspect.getdoc(kind)}\n\n"
            f"Category {kind.category}, level {kind.level.name.lower()}. Also: {', '.join(kind.aliases) or 'none'}.\n\n"
            f"{fields}" + "".join(_examples(kind))
        )
    return _page("Tools", *parts)


def _examples(kind: type[Tool[Any]]) -> Iterator[str]:
    for each in kind.examples:
        needs = f" (needs {each.needs})" if each.needs else ""
        answer = "" if each.result is None else f"\n{json.dumps(each.result, ensure_ascii=False)}"
        given = json.dumps(each.parameters, ensure_ascii=False)
        yield f"\n\n{each.name}{needs}:\n\n```json\n{given}{answer}\n```"


def _tool_oracles() -> str:
    table = runpy.run_path(str(FOLDER.parents[1] / "tests" / "tool_oracles.py"))
    rows = [f"| {tool} | {operation} | {held.oracle} | `{held.test}` |" for tool, operation, held in table["pairs"]()]
    text = (
        "Each operation of each tool has a test that holds its answer against a program, a library or a server that "
        f"is none of ours; there are {len(rows)}. A guard test fails if one is missing. A tool of one operation has "
        "`run`. The programs are Debian's, as `.ci/run` installs them."
    )
    return _page(
        "What tools are held against",
        text,
        "\n".join(["| tool | operation | held against | test |", "|---|---|---|---|", *rows]),
    )


def _fields(model: type[BaseModel]) -> Iterator[str]:
    for row in parameter_rows(model.model_json_schema()):
        default = "optional" if row["default"] in (None, "", [], {}) else f"default `{json.dumps(row['default'])}`"
        allowed = f"one of {row['allowed']}" if row["allowed"] else ""
        told = "; ".join(filter(None, ("required" if row["required"] else default, allowed)))
        yield f"- `{row['parameter']}` ({told}): {row['description']}"


def _settings() -> str:
    rows = ["| key | default | a project file may | meaning |", "|---|---|---|---|", *_setting_rows("", Settings)]
    return _page("Settings", "\n".join(rows))


def _setting_rows(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            yield from _setting_rows(f"{prefix}{name}.", kind)
            continue
        policy = next((item for item in field.metadata if isinstance(item, Policy)), None)
        if policy is None:
            policy = next((item for item in get_args(kind) if isinstance(item, Policy)), None)
        default = repr(field.get_default(call_default_factory=True)).replace("|", "\\|")
        allowed = policy.value if policy is not None else ""
        yield f"| `{prefix}{name}` | `{default}` | {allowed} | {field.description or ''} |"


def _plugin_settings() -> str:
    parts = ["What the plugins in the box take, each in its own table; `llmspell config validate` checks them."]
    for group, section in (
        ("llmspell.plugins", "plugins"),
        ("llmspell.providers", "providers"),
        ("llmspell.storage", "storage"),
        ("llmspell.tools", "tools"),
    ):
        for point in sorted(_own(group), key=lambda point: point.name):
            model = getattr(point.load(), "Settings", None)
            fields = "\n".join(_fields(model)) if model is not None else ""
            if fields:
                parts.append(f"## [{section}.{point.name}]\n\n{fields}")
    return _page("Settings of plugins", *parts)


def _patterns() -> str:
    parts = ["What orders the stages of [a workflow](../write-a-workflow.md), and the options that stand beside them."]
    for point in sorted(_own("llmspell.workflows"), key=lambda point: point.name):
        kind = point.load()
        rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
        for row in parameter_rows(kind.Options.model_json_schema()) if kind.Options is not None else ():
            default = "required" if row["required"] else f"`{json.dumps(row['default'])}`"
            told = f"{row['description']} One of {row['allowed']}." if row["allowed"] else row["description"]
            rows.append(f"| `{row['parameter']}` | {row['type'] or 'any'} | {default} | {told} |".replace("  ", " "))
        table = "\n".join(rows) if len(rows) > 2 else "It takes no options."
        parts.append(f"## {kind.name}\n\n{kind.description}\n\n{table}")
    return _page("Workflow patterns", *parts)


def _globals() -> str:
    parts = ["Every method answers to its snake-case and its camel-case name."]
    points = sorted(_own("llmspell.globals"), key=lambda point: point.name.lower())
    parts += [_methods(point.name, point.load()) for point in points]
    parts.append('# Objects that they answer\n\nTheir methods are called with a colon: `agent:execute("hello")`.')
    objects = {kind for kind in ScriptObject.__subclasses__() if kind.__module__.startswith("llmspell_plugins.")}
    parts += [_methods(kind.__name__, kind) for kind in sorted(objects, key=lambda kind: kind.__name__)]
    return _page("Script globals", *parts)


def _quirks() -> str:
    rows = ["| server | what it does | asked for | what it means |", "|---|---|---|---|"]
    for quirk in QUIRKS:
        meaning = quirk.reason
        if quirk.code:
            meaning = f"error `{quirk.code}`, {'may be asked again' if quirk.retryable else 'not asked again'}"
        rows.append(f"| {quirk.server} | {quirk.name} | {'a stream' if quirk.streams else 'a whole'} | {meaning} |")
    text = (
        "Which servers were imitated with which quirk. Each is an answer in `llmspell_testing.provider_quirks`, "
        "and `llmspell_testing.ProviderConformance` asks any provider about all of them."
    )
    return _page("What servers make of the chat interface", text, "\n".join(rows))


def _contract() -> str:
    """What a plugin imports, by kind: what has fields, what has methods, errors, and what is called."""
    face = _topics()
    points = {point.name for point in own_points()}
    classes = {name: each for name, each in face.items() if inspect.isclass(each)}
    errors = {name: each for name, each in classes.items() if issubclass(each, BaseException)}
    values = {name: each for name, each in classes.items() if issubclass(each, msgspec.Struct)}
    enums = {name: each for name, each in classes.items() if issubclass(each, Enum)}
    others = {name: each for name, each in classes.items() if name not in {*errors, *values, *enums}}
    called = {name: each for name, each in face.items() if inspect.isfunction(each) and name not in points}
    return _page(
        "The contract",
        "What a plugin imports. What a first plugin needs stands in `llmspell_hookspecs` itself: "
        f"{', '.join(f'`{name}`' for name in llmspell_hookspecs.__all__)}. Everything else is imported from its topic, "
        "which each entry names. Hook points and the nine results have pages of their own. "
        "A service is asked for by its protocol: `services.get(NetworkAccess)`, in a tool "
        "`context.services.get(NetworkAccess)`.",
        "## Values: subjects of hook points, and what services take and return",
        *[_class(name, each) for name, each in values.items() if each not in RESULT_TYPES],
        "## Protocols and classes: services of the host, and what plugins are",
        *[_class(name, each) for name, each in others.items()],
        "## Words",
        *[f"### {name}\n\n{inspect.getdoc(each)}\n\nOne of {_members(each)}." for name, each in enums.items()],
        "## Errors",
        *[_class(name, each) for name, each in errors.items()],
        "## Verbs of the command line\n\n"
        "From `llmspell_hookspecs.commands`: what a click command in `llmspell.commands` gets, and may raise.",
        *[_class(name, getattr(commands, name)) for name in commands.__all__],
        "## Functions",
        '### hookimpl\n\nMarks a hook: bare, or with the options of `HookOptions`: `@hookimpl(kind="guard")`.',
        *[_function(name, each) for name, each in called.items()],
    )


def _topics() -> dict[str, Any]:
    """What each topic of the contract says it brings, by name; a name that a second topic shares is in its own."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(llmspell_hookspecs.__path__):
        topic = importlib.import_module(f"llmspell_hookspecs.{module.name}")
        if module.name != "commands":  # has a chapter of its own
            for name in topic.__all__:
                if getattr(getattr(topic, name), "__module__", topic.__name__) == topic.__name__:
                    found[name] = getattr(topic, name)
    return dict(sorted(found.items()))


def _members(kind: type[Enum]) -> str:
    return ", ".join(f"`{kind.__name__}.{member.name}`" for member in kind)


def _testing() -> str:
    import llmspell_testing
    from llmspell_testing import plugin

    fixtures = [f"- `{name}`: {_prose(getattr(plugin, name))}" for name in plugin.__all__]
    face = {name: getattr(llmspell_testing, name) for name in llmspell_testing.__all__}
    return _page(
        "The testing kit",
        "A pytest plugin, active wherever llmspell is installed. " + (inspect.getdoc(plugin) or "").split("\n", 2)[2],
        "## Fixtures",
        "\n".join(fixtures),
        "## Imported from `llmspell_testing`",
        *[(_class if inspect.isclass(each) else _function)(name, each) for name, each in face.items()],
    )


def _prose(fixture: Any) -> str:
    """A docstring on one line."""
    return " ".join((inspect.getdoc(fixture) or "").split())


def _class(name: str, kind: type) -> str:
    """A class: what it is for, and its own public methods and properties; the fields are in its docstring."""
    bases = [base.__name__ for base in kind.__bases__ if issubclass(base, Exception)]
    heading = f"### {name}" + (f" ({', '.join(bases)})" if bases else "")
    lines = [heading, *_place(kind), inspect.getdoc(kind) or ""]
    if issubclass(kind, msgspec.Struct):
        lines.insert(-1, f"`{', '.join(_struct_fields(kind))}`")
    elif issubclass(kind, Exception) and "__init__" in vars(kind):
        lines.insert(-1, _called(name, kind.__init__).replace(" -> None", ""))
    for attribute, value in vars(kind).items():
        if attribute.startswith(("_", "test_", "record_")) and attribute not in _OPENS:
            continue
        text = textwrap.indent(inspect.getdoc(value) or "", "  ").strip()
        if isinstance(value, property):
            lines.append(f"- `{attribute}`: {text}")
        elif inspect.isfunction(value):
            lines.append(f"- {_called(attribute, value)}: {text}")
    return "\n\n".join(lines)


def _struct_fields(kind: type[msgspec.Struct]) -> Iterator[str]:
    """Each field with its type, and its default if that is a word."""
    names = kind.__struct_fields__
    defaults = dict(zip(reversed(names), reversed(kind.__struct_defaults__), strict=False))
    for name in names:
        text = f"{name}: {kind.__annotations__.get(name, 'Any')}"
        default = defaults.get(name, msgspec.NODEFAULT)
        plain = default is None or isinstance(default, str | bool | int | float | tuple)
        yield text if default is msgspec.NODEFAULT else f"{text} = {default!r}" if plain else f"{text} = ..."


def _function(name: str, function: Any) -> str:
    return "\n\n".join([f"### {name}", *_place(function), _called(name, function), inspect.getdoc(function) or ""])


def _place(each: Any) -> list[str]:
    """Where one imports something of the contract from, if that is not its root."""
    package, _, topic = each.__module__.partition(".")
    rooted = package != "llmspell_hookspecs" or each.__name__ in llmspell_hookspecs.__all__
    return [] if rooted else [f"From `llmspell_hookspecs.{topic}`."]


def _called(name: str, function: Any) -> str:
    """How a function is called, in code; annotations are texts, which would stand in quotes."""
    word = "async " if inspect.iscoroutinefunction(function) else ""
    text = _QUOTED.sub(lambda found: found[1] + found[3], str(inspect.signature(function)))
    return f"`{word}{name}{_SELF.sub('(', text)}`"


def _methods(title: str, kind: type[ScriptObject]) -> str:
    methods = {method.function: method for method in script_methods(kind).values()}
    lines = [f"## {title}", inspect.getdoc(kind) or ""]
    for name, method in sorted(methods.items()):
        text = textwrap.indent(inspect.getdoc(getattr(kind, name)) or "", "  ").strip()
        lines.append(f"- `{'`, `'.join(method.names)}`: {text}")
    return "\n\n".join(lines)


_VARIABLES = {
    "LLMSPELL_CONFIG": "the file that takes the place of the project's llmspell.toml, as `--config` does",
    "LLMSPELL_CONFIG_HOME": "the folder of the user's llmspell.toml and of what the user trusts",
    "LLMSPELL_DATA_HOME": "the user's folder: prompt history, running hosts, caches; state lies in the project's",
    "LLMSPELL_SECTION__KEY": "a setting: `LLMSPELL_LIMITS__DEPTH=8` is `limits.depth`",
    "XDG_CONFIG_HOME": "where `llmspell/` lies if LLMSPELL_CONFIG_HOME is not given; else `~/.config`",
    "XDG_DATA_HOME": "where `llmspell/` lies if LLMSPELL_DATA_HOME is not given; else `~/.local/share`",
    "NO_COLOR": "`event tail` writes no colours",
}
_ERRORS = """With `--output json` a command that fails writes one JSON value to standard output, if it has written none:

```json
{"error": {"code": "denied", "message": "tool:calculator: denied by hook ...", "exit": 1, "hook": "..."}}
```

`code` is the error's own word (`denied`, `timeout`, `not_found`, ...), or `usage` (the line was wrong), `io`,
`internal`, `interrupted`, `terminated`, `hung_up`. `message` is the line that standard error has; beside it stands what
else is known:
`hook`, `point`, `reason`, `field`, `file`, `line`, `origin`, `key`, `address`, `rule`, `resource`. With `--explain` the
trace stands beside the error as `trace`."""
_LOG = """What the host logs goes to standard error, or to `--log-file`, from `--log-level` on (`warning`): one line a
record, `2026-11-28T10:22:28.123Z warning llmspell.plugins: plugin slow: its import took 1.2 s of ...`, or with
`--log-format json` an object with `time`, `level`, `logger`, `message` and, where there is one, `exception`. Secrets
are masked and control characters spelled out. Settings: `[logging]`."""


def _command_line() -> str:
    codes = ["| code | meaning |", "|---|---|", *(f"| {code} | {text} |" for code, text in sorted(EXIT_CODES.items()))]
    variables = [
        "| variable | meaning |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in _VARIABLES.items()),
    ]
    parts = [
        "Noun, then verb; a noun answers to its plural too. Without a verb a noun prints its help. Any misspelling is "
        "one line on standard error with what to do, and exit code 2.",
        "## Options of all commands\n\n" + "\n".join(_parameters(cli)),
        "## Exit codes\n\n" + "\n".join(codes),
        "## Errors for programs\n\n" + _ERRORS,
        "## The log\n\n" + _LOG,
        "## Environment variables\n\n" + "\n".join(variables),
    ]
    general = {parameter.name for parameter in cli.params}
    for path, command in _verbs(cli, ("llmspell",)):
        usage = " ".join([*path, *command.collect_usage_pieces(click.Context(command))])
        own = "\n".join(line for line in _parameters(command, general))
        parts += [f"## {' '.join(path)}", f"`{usage}`", inspect.cleandoc(command.help or ""), *([own] if own else [])]
    return _page("The command line", *parts)


def _verbs(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None:
            yield from _verbs(found, (*path, name))


def _parameters(command: click.Command, general: Container[str | None] = ()) -> Iterator[str]:
    for option in command.params:
        record = option.get_help_record(click.Context(command))
        if record is not None and record[1] and option.name not in general:
            yield f"- `{record[0]}`: {record[1]}"


def _entry_points() -> str:
    rows = ["| group | one is | settings | ours |", "|---|---|---|---|"]
    brought = [kind.group for kind in (point.load() for point in _own("llmspell.kinds")) if kind.group is not None]
    groups = {name: Groups().row(name) for name in OWN_GROUPS} | {group.name: group for group in brought}
    for name, row in sorted(groups.items()):
        ours = ", ".join(f"`{point.name}`" for point in sorted(_own(name), key=lambda point: point.name)) or "-"
        table = f"`[{row.section}.NAME]`" if row.section else "none"
        rows.append(f"| `{name}` | {row.word} | {table} | {ours} |")
    return _page(
        "Entry points",
        "The groups in which a package names what it brings; NAME is the entry point's. A kind of component "
        "adds a group of its own. How each is written: [a package of your own](../packages.md).",
        "\n".join(rows),
    )


_ENDS = {
    "started": "an operation of this kind starts",
    "completed": "it ended with a result",
    "failed": "it ended with an error",
    "cancelled": "a hook or its caller cancelled it",
}


def _events() -> str:
    told = sorted({kind.name for kind in _kinds() if kind.events})
    ends = [f"| `{kind}.{end}` | {text} |" for kind in told for end, text in _ENDS.items()]
    marks = [
        f"| `event.mailbox.{mark}` | a subscription's mailbox crossed its {mark} mark |" for mark in ("high", "low")
    ]
    return _page(
        "Events",
        "What the host publishes by itself; what you publish has any topic of your own. Patterns: `*` one segment, a "
        "trailing `*` the rest, `**` any number, `?` one character, `{a,b}` one of these.",
        "\n".join(["| topic | when |", "|---|---|", *ends, *marks]),
        "The data of an operation's event: `component` (`kind`, `name`, `id`), `operation_id`, `parent_id` (the "
        "operation around it, or the event whose handler set it off: [what came of what](../timeline.md)); at its end "
        "also `duration_ms`, `attempts` and, where it failed, `error` (`type`, `code`, `message`, and `hook` and "
        "`point` if a hook cancelled). What a handler sets off is not told under the topic that it handles.",
    )


def _kinds() -> Iterator[OperationKind]:
    """Every kind of operation that the host and what ships in the box have, whatever module it stands in."""
    for package in (llmspell, llmspell_plugins):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                module = importlib.import_module(found.name)
                yield from (value for value in vars(module).values() if isinstance(value, OperationKind))


_HOOK_TABLE = """A hook of a script is called with one table:

| field | what it is |
|---|---|
| `point` | the point's name: `BeforeToolExecution` |
| `component_id` | `type`, `name` and `id` of what is run |
| `data` | the subject's fields, below; `attempt`; and what hooks of scripts kept beside them |
| `operation` | `id`, `correlation_id`, `parent_id`, `root_id`, `session_id`, `attempt`, `hops` |
| `correlation_id`, `language` | of the operation |
| `metadata` | what is known of the tool, and what scripts keep |
| `request`, `elapsed_ms` | after and at errors: what was asked, and how long it took |
| `outcome` | what earlier hooks proposed or decided |
| `forks` | how the calls of a Fork ended |

Changing the table changes nothing. Beside the subject's own names stand `tool_name` for `name`, `input` for
`parameters` and `output` for `result`, where the subject has those."""


def _script_hooks() -> str:
    kinds = ", ".join(f"`{word}`" for word in answers._KINDS)
    rows = ["| point | fields of `data` |", "|---|---|"]
    for point in own_points():
        if point.phase is not Phase.AROUND:
            fields = ", ".join(f"`{field}`" for field in getattr(point.subject, "__struct_fields__", ())) or "the value"
            rows.append(f"| {point.script_name} | {fields} |")
    return _page(
        "Hooks of scripts",
        _HOOK_TABLE,
        "## What it may return\n\nNothing, `true` or `'continue'`: go on. `'skip'`: it did not apply. Any other text: "
        f"cancel, with that reason. Or a table whose `type` is one of {kinds}; what each means: [results](results.md).",
        "## The fields of each point\n\n" + "\n".join(rows),
    )


def _own(group: str) -> list[Any]:
    return [point for point in entry_points(group=group) if point.dist is not None and point.dist.name == "llmspell"]


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in references().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
