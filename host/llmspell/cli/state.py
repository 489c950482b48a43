"""``llmspell state``: values that outlive a run.

Invariant: each command is an operation like a script's own, so every hook sees it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import click

from .group import LazyGroup
from .invocation import Invocation, global_options
from .outlet import say

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["state"]

_SCOPE = click.option(
    "--scope",
    default="global",
    help="global, a word, or one of user, session, agent, tool, workflow, hook, custom with an id: agent:writer.",
)


@click.group(cls=LazyGroup)
@global_options
def state() -> None:
    """Read and write the values that scripts and plugins keep."""


@state.command("get")
@click.argument("key")
@_SCOPE
@global_options
@click.pass_obj
def state_get(invocation: Invocation, key: str, scope: str) -> None:
    """Print the value under KEY; ends with 1 if there is none."""
    from .output import print_json, print_value
    from .session import with_host

    async def use(host: Host) -> tuple[Any, int]:
        return await host.state.entry(key, scope=scope)

    value, version = with_host(use, invocation)
    if value is None and version == 0:
        raise _missing(key, scope)
    if invocation.json:
        print_json({"scope": scope, "key": key, "value": value, "version": version})
    else:
        print_value("null" if value is None else value)


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
@global_options
@click.pass_obj
def state_set(invocation: Invocation, values: tuple[str, ...], scope: str) -> None:
    """Keep values.

    VALUES are KEY VALUE, or pairs such as retries=3 name=Ada. What is JSON is kept as what it means, all else as text.
    """
    from .output import print_json, print_rows
    from .session import with_host

    pairs = _paired(values)

    async def use(host: Host) -> list[dict[str, Any]]:
        return [
            {"scope": scope, "key": key, "version": await host.state.set(key, value, scope=scope)}
            for key, value in pairs
        ]

    rows = with_host(use, invocation)
    if invocation.json:
        print_json(rows if len(rows) > 1 else rows[0])
    else:
        print_rows(rows, ("key", "version"), empty="")


@state.command("list")
@click.argument("prefix", default="")
@_SCOPE
@global_options
@click.pass_obj
def state_list(invocation: Invocation, prefix: str, scope: str) -> None:
    """List the keys, all or those that begin with PREFIX."""
    from .output import cell, print_json
    from .session import with_host

    async def use(host: Host) -> Sequence[str]:
        return await host.state.keys(scope, prefix=prefix)

    keys = with_host(use, invocation)
    if invocation.json:
        print_json([{"scope": scope, "key": key} for key in keys])
    elif keys:
        say("\n".join(map(cell, keys)))
    else:
        say(f"nothing is kept in scope {scope}" + (f" under {prefix}" if prefix else ""))


@state.command("delete")
@click.argument("key")
@_SCOPE
@global_options
@click.pass_obj
def state_delete(invocation: Invocation, key: str, scope: str) -> None:
    """Forget the value under KEY; ends with 1 if there is none."""
    from .output import print_json
    from .session import with_host

    async def use(host: Host) -> bool:
        return await host.state.delete(key, scope=scope)

    if not with_host(use, invocation):
        raise _missing(key, scope)
    if invocation.json:
        print_json({"scope": scope, "key": key, "deleted": True})
    else:
        say(f"{key} is deleted")


def _paired(values: Sequence[str]) -> list[tuple[str, Any]]:
    """The keys and values, from two arguments or from ``key=value`` pairs."""
    if len(values) == 2 and "=" not in values[0]:
        return [(values[0], _meant(values[1]))]
    pairs = []
    for pair in values:
        key, sign, text = pair.partition("=")
        if not sign:
            raise click.UsageError(f"{pair!r} has no '='; write KEY VALUE or key=value pairs")
        pairs.append((key, _meant(text)))
    return pairs


def _meant(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _missing(key: str, scope: str) -> Exception:
    from .failure import Exit

    return Exit(1, f"state {key}: there is none in scope {scope}; 'llmspell state list --scope {scope}' shows the keys")
