"""Read and write the values that scripts and plugins keep.

Invariant: each command is an operation like a script's own, so every hook sees it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs import State
from llmspell_hookspecs.commands import CommandError
from llmspell_plugins.commands.meant import meant

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["state"]

_SCOPE = click.option(
    "--scope",
    default="global",
    help="global, a word, or one of user, session, agent, tool, workflow, hook, custom with an id: agent:writer.",
)


@click.group()
def state() -> None:
    """Read and write the values that scripts and plugins keep."""


@state.command("get")
@click.argument("key")
@_SCOPE
@click.pass_obj
def state_get(invocation: Invocation, key: str, scope: str) -> None:
    """Print the value under KEY; ends with 1 if there is none."""

    async def use(host: CommandHost) -> tuple[Any, int]:
        return await (await host.enter(State)).entry(key, scope=scope)

    value, version = invocation.run(use)
    if value is None and version == 0:
        raise _missing(key, scope)
    if invocation.json:
        invocation.show({"scope": scope, "key": key, "value": value, "version": version})
    else:
        invocation.show("null" if value is None else value)


class _Values(click.Command):
    """Takes -5 for a value, and still no misspelled option; what stands behind ``--`` is a value whatever it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments in.

        Raises:
            NoSuchOption: One is none, though it looks like one.
        """
        known = [name for option in self.get_params(ctx) for name in (*option.opts, *option.secondary_opts)]
        for word in takewhile(lambda word: word != "--", args):
            name = word.partition("=")[0]
            if name.startswith("--") and name not in known:
                raise click.NoSuchOption(name, possibilities=difflib.get_close_matches(name, known), ctx=ctx)
        return super().parse_args(ctx, args)


@state.command("set", cls=_Values, context_settings={"ignore_unknown_options": True})
@click.argument("values", nargs=-1, required=True, type=click.UNPROCESSED)
@_SCOPE
@click.pass_obj
def state_set(invocation: Invocation, values: tuple[str, ...], scope: str) -> None:
    """Keep values.

    VALUES are KEY VALUE, or pairs such as retries=3 name=Ada. What is JSON is kept as what it means, all else as text;
    what begins with {, [ or a double quote has to be JSON.
    """
    pairs = _paired(values)

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        return [
            {"scope": scope, "key": key, "version": await (await host.enter(State)).set(key, value, scope=scope)}
            for key, value in pairs
        ]

    rows = invocation.run(use)
    if invocation.json and len(rows) == 1:
        invocation.show(rows[0])
    else:
        invocation.show_rows(rows, ("key", "version"))


@state.command("list")
@click.argument("prefix", default="")
@_SCOPE
@click.pass_obj
def state_list(invocation: Invocation, prefix: str, scope: str) -> None:
    """List the keys, all or those that begin with PREFIX."""

    async def use(host: CommandHost) -> Sequence[str]:
        return await (await host.enter(State)).keys(scope, prefix=prefix)

    keys = invocation.run(use)
    lines = [" ".join(key.split("\n")) for key in keys]
    nothing = f"nothing is kept in scope {scope}" + (f" under {prefix}" if prefix else "")
    invocation.show([{"scope": scope, "key": key} for key in keys], *(lines or [nothing]))


@state.command("delete")
@click.argument("key")
@_SCOPE
@click.pass_obj
def state_delete(invocation: Invocation, key: str, scope: str) -> None:
    """Forget the value under KEY; ends with 1 if there is none."""

    async def use(host: CommandHost) -> bool:
        return await (await host.enter(State)).delete(key, scope=scope)

    if not invocation.run(use):
        raise _missing(key, scope)
    invocation.show({"scope": scope, "key": key, "deleted": True}, f"{key} is deleted")


def _paired(values: Sequence[str]) -> list[tuple[str, Any]]:
    """The keys and values, from two arguments or from ``key=value`` pairs."""
    if len(values) == 2 and "=" not in values[0]:
        return [(values[0], meant(values[1], f"the value of {values[0]}"))]
    pairs: list[tuple[str, Any]] = []
    for pair in values:
        key, sign, text = pair.partition("=")
        if not sign:
            raise click.UsageError(f"{pair!r} has no '='; write KEY VALUE or key=value pairs")
        if any(key == earlier for earlier, _ in pairs):
            raise click.UsageError(f"{key!r} is given twice; give each key once")
        pairs.append((key, meant(text, f"the value of {key}")))
    return pairs


def _missing(key: str, scope: str) -> CommandError:
    return CommandError(
        f"state {key}: there is none in scope {scope}; 'llmspell state list --scope {scope}' shows the keys"
    )
