"""Show the audit log of the plugin security, and check that nobody changed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from llmspell_hookspecs.commands import CommandError

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["audit"]


@click.group()
def audit() -> None:
    """Show the audit log, and check that nobody changed it."""


@audit.command("show")
@click.option("--action", default="", help="Only these: allow, deny, ask or report.")
@click.option("--component", default="", help="Only those of this component, such as tool:calculator.")
@click.option("--after", default=0, type=click.IntRange(0), help="Only what comes after this number.")
@click.option("--limit", default=1000, type=click.IntRange(1), help="At most so many.")
@click.pass_obj
def audit_show(invocation: Invocation, action: str, component: str, after: int, limit: int) -> None:
    """List what was decided, the oldest first."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        from llmspell_hookspecs.storage import Storages
        from llmspell_plugins.hooks.security.audit import read_entries

        storage, at = await host.get(Storages).open(), after
        rows: list[dict[str, Any]] = []
        while len(rows) < limit:
            entries = await read_entries(storage, after=at)
            if not entries:
                break
            at = entries[-1].number
            rows += [row for entry in entries if _fits(row := _row(entry), action, component)]
        return rows[:limit]

    columns = ("number", "at_s", "action", "component", "rule", "reason", "session")
    invocation.show_rows(invocation.run(use), columns, empty="nothing is recorded")


@audit.command("verify")
@click.pass_obj
def audit_verify(invocation: Invocation) -> None:
    """Check every entry, and that none is missing; ends with 1 and names the first that is wrong."""

    async def use(host: CommandHost) -> tuple[int, Any]:
        from llmspell_hookspecs.services import ProjectFolder
        from llmspell_hookspecs.storage import Storages
        from llmspell_plugins.hooks.security.audit import verify
        from llmspell_plugins.hooks.security.plugin import audit_places

        head = (invocation.settings("plugins.security") or {}).get("audit_head", "")
        return await verify(await host.get(Storages).open(), audit_places(host.get(ProjectFolder), head))

    good, problem = invocation.run(use)
    if problem is not None:
        if invocation.json:
            invocation.show({"entries": good, "number": problem.number, "problem": problem.problem})
        raise CommandError(f"audit log: entry {problem.number}: {problem.problem}; {good} before it are in order")
    invocation.show({"entries": good, "problem": None}, f"{good} entries are in order")


def _row(entry: Any) -> dict[str, Any]:
    try:
        record = msgspec.json.decode(entry.record)
    except msgspec.DecodeError:
        record = {}
    return {"number": entry.number, **(record if isinstance(record, dict) else {})}


def _fits(row: dict[str, Any], action: str, component: str) -> bool:
    return action in ("", row.get("action")) and component in ("", row.get("component"))
