"""The verbs ``state copy``, ``move`` and ``clear``: what is done to whole scopes.

Invariant: each value is read, written and deleted as by a script, so every hook sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec import structs

from llmspell_hookspecs.commands import CommandError

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.state_scopes import ScopeChange

__all__ = ["clear", "copy", "move"]

_KEEP = click.option("--keep", is_flag=True, help="Keep what is there under the same key.")


@click.command()
@click.argument("source")
@click.argument("target")
@_KEEP
@click.pass_obj
def copy(invocation: Invocation, source: str, target: str, keep: bool) -> None:
    """Copy every value of the scope SOURCE to the scope TARGET; goes on with one that was broken off."""
    from llmspell_hookspecs.state_scopes import StateScopes

    async def use(host: CommandHost) -> ScopeChange:
        return await (await host.enter(StateScopes)).copy(source, target, overwrite=not keep)

    _tell(invocation, invocation.run(use))


@click.command()
@click.argument("source")
@click.argument("target")
@_KEEP
@click.pass_obj
def move(invocation: Invocation, source: str, target: str, keep: bool) -> None:
    """Move every value of the scope SOURCE to the scope TARGET; goes on with one that was broken off."""
    from llmspell_hookspecs.state_scopes import StateScopes

    async def use(host: CommandHost) -> ScopeChange:
        return await (await host.enter(StateScopes)).move(source, target, overwrite=not keep)

    _tell(invocation, invocation.run(use))


@click.command()
@click.argument("scope")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
def clear(invocation: Invocation, scope: str, yes: bool) -> None:
    """Delete every value of SCOPE."""
    from llmspell_hookspecs.state_scopes import StateScopes

    if not yes and (invocation.ask(f"delete every value of {scope}? [y/N] ") or "").strip().lower() not in ("y", "yes"):
        raise CommandError(f"state clear {scope}: nothing is deleted; say --yes to delete every value of it")

    async def use(host: CommandHost) -> ScopeChange:
        return await (await host.enter(StateScopes)).clear(scope)

    _tell(invocation, invocation.run(use))


def _tell(invocation: Invocation, change: ScopeChange) -> None:
    done = {"copy": "copied", "move": "moved", "clear": "deleted"}[change.verb]
    items = "1 value" if change.items == 1 else f"{change.items} values"
    where = f"of {change.source}" + (f" to {change.target}" if change.target else "")
    kept = f"; {change.kept} were there already and are kept" if change.kept else ""
    invocation.show(structs.asdict(change), f"{items} {where} {done}{kept}")
