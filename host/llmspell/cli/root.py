"""The root of all commands: those that stay when plugins are broken, and behind them those that plugins bring.

Invariant: help lists every command and imports none. Every command takes the options that all take, but for those whose
names it has taken for its own; every group answers to plurals, and to no misspelling without naming the nearest. An
option of its own that takes one value is refused the second time. Below every noun stand the verbs that packages add
to it, behind its own, whose names none of them takes.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from gettext import gettext
from typing import TYPE_CHECKING, Any

import click

from .invocation import OPTIONS, Invocation
from .outlet import say

if TYPE_CHECKING:
    from .verbs import Verb

__all__ = ["COMMANDS", "NOUNS", "cli", "version"]

COMMANDS = {
    "run": ("llmspell.cli.run:run", "Run a script."),
    "exec": ("llmspell.cli.run:exec_", "Run code that is given on the command line."),
    "plugin": ("llmspell.cli.plugin:plugin", "List, switch and examine plugins."),
    "hook": ("llmspell.cli.hook:hook", "List hook points and hooks, and show their order."),
    "config": ("llmspell.cli.config:config", "Show and check the settings."),
    "trust": ("llmspell.cli.config:trust", "Let a project's settings file loosen policy."),
    "untrust": ("llmspell.cli.config:untrust", "Let it only tighten policy again."),
    "version": ("llmspell.cli.root:version", "Print the version."),
}
NOUNS = ("plugin", "hook", "config")
"""Those of them below which others stand; help imports none to find out."""
_REST = "llmspell.rest"
_PARTS = ("llmspell", "trio", "pluggy", "pydantic", "msgspec", "lupa")


def _adopt(command: click.Command, place: str) -> click.Command:
    """Return a command as one of ours; click makes plain ones, and a package knows nothing of our classes.

    Args:
        command: It.
        place: Where it stands: ``hook``, ``hook.point``.
    """
    taken = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    command.params += [option for option in OPTIONS if taken.isdisjoint(option.opts)]
    ours = _Noun if isinstance(command, click.Group) else _Verb
    if not isinstance(command, ours):
        command.__class__ = type(
            ours.__name__.strip("_"), (ours, type(command)), {}
        )  # its own methods go on below ours
    if isinstance(command, _Noun):
        command.place = place
    return command


def _check_once(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Refuse an option of the command's own that is given twice and holds one value: one of them would be lost."""
    given: set[str | None] = set()
    for each in command.make_parser(ctx).parse_args(list(args))[2]:
        if not isinstance(each, click.Option) or each in OPTIONS or each.multiple or each.is_flag or each.count:
            continue
        if each.name in given:
            ctx.fail(f"{max(each.opts, key=len)} is given twice, and takes one value; give it once")
        given.add(each.name)


class _Verb(click.Command):
    """A command that takes each of its own options once."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _check_once(self, ctx, args)
        return super().parse_args(ctx, args)


class _Noun(click.Group):
    """A group that answers to each name and to its plural.

    Attributes:
        place: Where it stands, for the verbs that packages add; empty for the root.
    """

    place: str = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._own(), *(verb.name for verb in self._added() if not verb.problem)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = self._own()
        for name in (cmd_name, cmd_name.removesuffix("s")):
            if name in own:
                return _adopt(self._command(name), ".".join(filter(None, (self.place, name))))
        return self._load(ctx, cmd_name, own)

    def _own(self) -> Mapping[str, str]:
        """Return the names of its own commands, each with its line of help; imports none."""
        return {name: each.get_short_help_str(limit=100) for name, each in sorted(self.commands.items())}

    def _command(self, name: str) -> click.Command:
        return self.commands[name]

    def _load(self, ctx: click.Context, typed: str, staying: Collection[str]) -> click.Command | None:
        """Return the command of this name or plural that a package brings."""
        from .verbs import load

        rest = ctx.meta.get(_REST, [])
        found = load((typed.removesuffix("s"), typed), staying, ctx.ensure_object(Invocation), rest, self.place)
        return found and _adopt(found[1], ".".join(filter(None, (self.place, found[0]))))

    def _added(self) -> list[Verb]:
        """Return what packages add, without importing it."""
        from .verbs import listed

        return listed(self._own(), self._nouns(), self.place)

    def _nouns(self) -> Collection[str]:
        return [name for name, each in self.commands.items() if isinstance(each, click.Group)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.parent is None:
            ctx.meta[_REST] = args[1:]
        command = self.get_command(ctx, args[0])
        if command is None and not args[0].startswith("-"):
            from llmspell_hookspecs.spelling import meant

            names = self.list_commands(ctx)
            # What a noun can do fits on the line; what the root has is a page of its own.
            there = "" if ctx.parent is None else f"there are {', '.join(names)}; "
            hint = meant(args[0], names, f"{there}see {ctx.command_path} --help", most=3)
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return (args[0], command, args[1:]) if command else super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _check_once(self, ctx, args)
        return super().parse_args(ctx, args or ["--help"])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        click would end with 1 and without a word if nobody reads what a command prints, would take what a plugin
        raises for the user's own Ctrl-C, and does not know of every wrong option to which command it was given.
        Where only options stand, the help is printed.
        """
        from .failure import NOBODY_READS, Exit, Stray

        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if error.message == gettext("Missing command."):  # click's own words; options alone name none
                return say(ctx.get_help())
            if error.ctx is None and ctx.invoked_subcommand is not None:  # it may have been raised while it was parsed
                command = self.get_command(ctx, ctx.invoked_subcommand) or self
                error.ctx = click.Context(command, info_name=ctx.invoked_subcommand, parent=ctx)
            raise
        except BrokenPipeError as error:
            raise Exit(NOBODY_READS, word="nobody_reads") from error
        except (KeyboardInterrupt, EOFError) as error:
            raise Stray from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, rows in (
            ("Commands", [*self._own().items()]),
            ("Commands of plugins", [(verb.name, verb.text) for verb in self._added()]),
        ):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class _Root(_Noun):
    """The host's own commands, imported when they are typed, then those of plugins, none of which takes their names."""

    def _own(self) -> Mapping[str, str]:
        return {name: text for name, (_, text) in COMMANDS.items()}

    def _command(self, name: str) -> click.Command:
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def _nouns(self) -> Collection[str]:
        return NOUNS


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"llmspell {version('llmspell')}")
        context.exit()


@click.group(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A noun answers to its plural too: llmspell tools list.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def cli() -> None:
    """A plugin host for language-model agents, tools and workflows."""


cli.params += OPTIONS


@click.command()
@click.pass_obj
def version(invocation: Invocation) -> None:
    """Print the version of llmspell and of what it stands on."""
    import platform
    from importlib import metadata

    found = {name: metadata.version(name) for name in _PARTS} | {"python": platform.python_version()}
    invocation.show(found, *(f"{name} {number}" for name, number in found.items()))
