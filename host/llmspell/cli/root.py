"""The root of all commands: those that stay when plugins are broken, and behind them those that plugins bring.

Invariant: help lists every command and imports none.
"""

from __future__ import annotations

import importlib

import click

from .group import Noun, adopt
from .invocation import OPTIONS, Invocation
from .outlet import say

__all__ = ["COMMANDS", "cli"]

COMMANDS = {
    "run": ("llmspell.cli.run:run", "Run a script."),
    "exec": ("llmspell.cli.run:exec_", "Run code that is given on the command line."),
    "plugin": ("llmspell.cli.plugin:plugin", "List, switch and examine plugins."),
    "hook": ("llmspell.cli.hook:hook", "List hook points and hooks, and show their order."),
    "config": ("llmspell.cli.config:config", "Show and check the settings."),
    "trust": ("llmspell.cli.trust:trust", "Let a project's settings file loosen policy."),
    "untrust": ("llmspell.cli.trust:untrust", "Let it only tighten policy again."),
    "version": ("llmspell.cli.version:version", "Print the version."),
}
_REST = "llmspell.rest"
_LOADED = "llmspell.loaded"


class _Root(Noun):
    """The host's own commands, then those of plugins, none of which takes the name of one of the host's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, without importing a command."""
        from .verbs import listed

        return [*COMMANDS, *(verb.name for verb in listed(COMMANDS) if not verb.problem)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name or plural, imported; None if there is none.

        Raises:
            PluginError: A plugin brings it, and it cannot be used.
        """
        names = (cmd_name.removesuffix("s"), cmd_name)
        for name in names:
            if name in COMMANDS:
                module, _, attribute = COMMANDS[name][0].partition(":")
                return adopt(getattr(importlib.import_module(module), attribute))
        from .verbs import load

        loaded: dict[str, click.Command | None] = ctx.meta.setdefault(_LOADED, {})  # click asks more than once
        if cmd_name not in loaded:
            loaded[cmd_name] = verb = load(names, COMMANDS, ctx.ensure_object(Invocation), _rest(ctx))
            if verb is not None:
                adopt(verb)
        return loaded[cmd_name]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; what stands behind it may say which settings judge a plugin."""
        ctx.meta[_REST] = args[1:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        from .verbs import listed

        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
        if rows := [(verb.name, verb.text) for verb in listed(COMMANDS)]:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(rows)


def _rest(ctx: click.Context) -> list[str]:
    rest: list[str] = ctx.meta.get(_REST, [])
    return rest


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
