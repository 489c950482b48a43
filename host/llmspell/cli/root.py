"""The root of all commands: which there are, and what all take."""

from __future__ import annotations

import click

from .group import LazyGroup
from .invocation import global_options
from .outlet import say

__all__ = ["COMMANDS", "cli"]

COMMANDS = {
    "run": ("llmspell.cli.run:run", "Run a script."),
    "exec": ("llmspell.cli.run:exec_", "Run code that is given on the command line."),
    "repl": ("llmspell.cli.repl:repl", "Type code and see what it answers."),
    "agent": ("llmspell.cli.agent:agent", "Ask agents, and list their kinds."),
    "provider": ("llmspell.cli.provider:provider", "List and test the providers of models."),
    "plugin": ("llmspell.cli.plugin:plugin", "List, switch and examine plugins."),
    "hook": ("llmspell.cli.hook:hook", "List hook points and hooks, and show their order."),
    "event": ("llmspell.cli.event:event", "Watch events."),
    "tool": ("llmspell.cli.tool:tool", "List, describe and invoke tools."),
    "state": ("llmspell.cli.state:state", "Read and write the values that scripts and plugins keep."),
    "config": ("llmspell.cli.config:config", "Show and check the settings."),
    "trust": ("llmspell.cli.trust:trust", "Let a project's settings file loosen policy."),
    "untrust": ("llmspell.cli.trust:untrust", "Let it only tighten policy again."),
    "version": ("llmspell.cli.version:version", "Print the version."),
}


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"llmspell {version('llmspell')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A noun answers to its plural too: llmspell tools list.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@global_options
def cli() -> None:
    """A plugin host for language-model agents, tools and workflows."""
