"""Answer what guards want persons asked about.

Invariant: what is allowed is the call that is shown, once, and no other.
"""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs.approvals import Approval, Approvals
from llmspell_hookspecs.errors import ComponentNotFoundError

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["approval"]

_BY = click.option("--by", default="", help="Who answers; the user who calls this if left out.")
_NOTE = click.option("--note", default="", help="What is to be remembered with the answer.")


@click.group()
def approval() -> None:
    """Answer what guards want persons asked about."""


@approval.command("list")
@click.option("--all", "everything", is_flag=True, help="What is answered, too.")
@click.pass_obj
def approval_list(invocation: Invocation, everything: bool) -> None:
    """List what is asked."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        approvals = await host.enter(Approvals)
        return [_row(each) for each in await approvals.list(status="" if everything else "pending")]

    columns = ("id", "status", "address", "reason", "run_id", "path", "asked")
    invocation.show_rows(invocation.run(use), columns, empty="nothing is asked")


@approval.command("show")
@click.argument("id")
@click.pass_obj
def approval_show(invocation: Invocation, id: str) -> None:
    """Show the exact call that ID is about."""

    async def use(host: CommandHost) -> dict[str, Any]:
        found = await (await host.enter(Approvals)).get(id)
        if found is None:
            message = f"approval {id}: there is none; 'llmspell approval list' shows what is asked"
            raise ComponentNotFoundError(message, address=id)
        return _row(found)

    invocation.show(invocation.run(use))


@approval.command("allow")
@click.argument("id")
@_BY
@_NOTE
@click.pass_obj
def approval_allow(invocation: Invocation, id: str, by: str, note: str) -> None:
    """Let the call that ID is about pass, once, when it is made again."""

    async def use(host: CommandHost) -> Approval:
        return await (await host.enter(Approvals)).allow(id, by=by or getpass.getuser(), note=note)

    found = invocation.run(use)
    then = f"; 'llmspell workflow resume {found.run_id}' goes on with its run" if found.run_id else ""
    invocation.show(_row(found), f"{found.address} is allowed, once{then}")


@approval.command("deny")
@click.argument("id")
@_BY
@_NOTE
@click.pass_obj
def approval_deny(invocation: Invocation, id: str, by: str, note: str) -> None:
    """Refuse the call that ID is about."""

    async def use(host: CommandHost) -> Approval:
        return await (await host.enter(Approvals)).deny(id, by=by or getpass.getuser(), note=note)

    found = invocation.run(use)
    invocation.show(_row(found), f"{found.address} is denied")


@approval.command("reopen")
@click.argument("id")
@_BY
@_NOTE
@click.pass_obj
def approval_reopen(invocation: Invocation, id: str, by: str, note: str) -> None:
    """Take the answer to ID back, so that it can be answered otherwise."""

    async def use(host: CommandHost) -> Approval:
        return await (await host.enter(Approvals)).reopen(id, by=by or getpass.getuser(), note=note)

    found = invocation.run(use)
    invocation.show(_row(found), f"{found.address} is asked again; 'llmspell approval allow {id}' lets it pass, once")


def _row(found: Approval) -> dict[str, Any]:
    row = {name: getattr(found, name) for name in found.__struct_fields__}
    row["asked"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.asked_s))
    return row
