"""Groups of commands whose modules are imported when they are asked for.

Invariant: help lists every command and imports none.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group that answers to each name, to its plural, and to no misspelling without naming the nearest."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **options: Any) -> None:
        """Take the commands as ``name: (module:attribute, one line of help)``."""
        super().__init__(*arguments, **options)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Answer the names in the order in which they were given."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Answer the command of this name or plural, importing its module."""
        for name in (cmd_name, cmd_name.removesuffix("s")):
            if name in self._lazy:
                module, _, attribute = self._lazy[name][0].partition(":")
                command: click.Command = getattr(importlib.import_module(module), attribute)
                return command
            if found := super().get_command(ctx, name):
                return found
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Answer the command that the arguments name.

        Raises:
            UsageError: There is none.
        """
        command = self.get_command(ctx, args[0])
        if command is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0], known, 3)
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
        """
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if error.ctx is None and ctx.invoked_subcommand is not None:  # it may have been raised while it was parsed
                command = self.get_command(ctx, ctx.invoked_subcommand) or self
                error.ctx = click.Context(command, info_name=ctx.invoked_subcommand, parent=ctx)
            raise
        except BrokenPipeError as error:
            from .failure import Exit

            raise Exit(141, word="nobody_reads") from error
        except (KeyboardInterrupt, EOFError) as error:
            from .failure import Stray

            raise Stray from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        rows = [(name, text) for name, (_, text) in self._lazy.items()]
        for name in super().list_commands(ctx):
            command = super().get_command(ctx, name)
            rows.append((name, command.get_short_help_str(limit=100) if command else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
