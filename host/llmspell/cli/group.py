"""Groups of commands, and how whatever stands in one becomes a command of llmspell's, also what plugins bring.

Invariant: every command takes the options that all take, but for those whose names it has taken for its own; every
group answers to plurals, and to no misspelling without naming the nearest.
"""

from __future__ import annotations

from gettext import gettext
from typing import Any

import click

from .invocation import OPTIONS
from .outlet import say

__all__ = ["Noun", "adopt"]


def adopt(command: click.Command) -> click.Command:
    """Return a command as one of ours; click makes plain ones, and a package knows nothing of our classes."""
    taken = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    command.params += [option for option in OPTIONS if taken.isdisjoint(option.opts)]
    if isinstance(command, click.Group) and not isinstance(command, Noun):
        command.__class__ = type("Noun", (Noun, type(command)), {})  # its own methods go on below ours
    return command


class Noun(click.Group):
    """A group that answers to each name and to its plural."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name or plural, None if there is none."""
        for name in (cmd_name, cmd_name.removesuffix("s")):
            if found := super().get_command(ctx, name):
                return adopt(found)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name.

        Raises:
            UsageError: There is none.
        """
        command = self.get_command(ctx, args[0])
        if command is None and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"see {ctx.command_path} --help"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments in; without any, those that print the help."""
        return super().parse_args(ctx, args or ["--help"])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        click would end with 1 and without a word if nobody reads what a command prints, would take what a plugin
        raises for the user's own Ctrl-C, and does not know of every wrong option to which command it was given.
        Where only options stand, the help is printed.
        """
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if error.message == gettext("Missing command."):  # click's own words; options alone name none
                say(ctx.get_help())
                return None
            if error.ctx is None and ctx.invoked_subcommand is not None:  # it may have been raised while it was parsed
                command = self.get_command(ctx, ctx.invoked_subcommand) or self
                error.ctx = click.Context(command, info_name=ctx.invoked_subcommand, parent=ctx)
            raise
        except BrokenPipeError as error:
            from .failure import NOBODY_READS, Exit

            raise Exit(NOBODY_READS, word="nobody_reads") from error
        except (KeyboardInterrupt, EOFError) as error:
            from .failure import Stray

            raise Stray from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=100)) for name, each in commands if each])
