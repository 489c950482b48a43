"""Make sessions, see which there are, save them, hand them on and end them.

To run something within a session, name it: ``llmspell run work.lua --set plugins.sessions.current=ID``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import click

from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.sessions import (
    SESSION_STATUSES,
    SessionCheckpoint,
    SessionDraft,
    SessionInfo,
    SessionQuery,
    Sessions,
)
from llmspell_plugins.commands.meant import meant, moment
from llmspell_plugins.commands.told import size_of, time_of

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["session"]

_COLUMNS: Final = ("id", "name", "status", "live", "operations", "checkpoints", "created", "updated", "tags")
_SAVED: Final = ("number", "made", "values", "size", "automatic")
_TAKE_OVER = click.option("--take-over", is_flag=True, help="Take it from the host that holds it.")


@click.group()
def session() -> None:
    """Make sessions, see which there are, save them, hand them on and end them.

    To run something within one: llmspell run FILE --set plugins.sessions.current=ID
    """


@session.command("list")
@click.option("--status", multiple=True, type=click.Choice(SESSION_STATUSES), help="Only these; may be repeated.")
@click.option("--tag", "tags", multiple=True, help="Only with all of these; may be repeated.")
@click.option("--name", default="", metavar="GLOB", help="Only whose name matches.")
@click.option("--by", "created_by", default="", help="Only whom this one made.")
@click.option("--parent", default="", metavar="ID", help="Only those that came from this one.")
@click.option("--since", "since_s", callback=moment, metavar="TIME", help="Only made from this time on.")
@click.option("--until", "until_s", callback=moment, metavar="TIME", help="Only made up to this time.")
@click.option(
    "--sort", default="created", show_default=True, type=click.Choice(["created", "updated", "name", "operations"])
)
@click.option("--descending", is_flag=True, help="The last first.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.pass_obj
def session_list(invocation: Invocation, /, **chosen: Any) -> None:
    """List the sessions."""
    query = SessionQuery(**chosen)

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        return [_row(info) for info in await (await host.enter(Sessions)).list(query)]

    rows = invocation.run(use)
    if not invocation.json:
        for row in rows:
            row["tags"] = ", ".join(row["tags"])
            row["live"] = "yes" if row["live"] else ""
    invocation.show_rows(rows, _COLUMNS, empty="there are no sessions")


@session.command("show")
@click.argument("id")
@click.pass_obj
def session_show(invocation: Invocation, id: str) -> None:
    """Show a session and its checkpoints."""

    async def use(host: CommandHost) -> tuple[SessionInfo, list[dict[str, Any]]]:
        sessions = await host.enter(Sessions)
        info = await sessions.get(id)
        return info, [_saved(each) for each in await sessions.checkpoints(id)]

    info, saved = invocation.run(use)
    row = _row(info)
    if invocation.json:
        invocation.show({**row, "saved": saved})
        return
    live = ", a host holds it" if info.live else ""
    invocation.say(f"{info.name or 'session'} {info.id}: {info.status}{live}")
    for key in ("description", "created", "updated", "ended", "created_by", "parent", "operations", "fence", "error"):
        if row[key]:
            invocation.say(f"{key.replace('_', ' ')}: {row[key]}")
    if info.tags:
        invocation.say(f"tags: {', '.join(info.tags)}")
    for key, value in info.custom.items():
        invocation.say(f"{key}: {value if isinstance(value, str) else invocation.to_json(value)}")
    for each in saved:
        each.update(size=size_of(each["size_bytes"]), automatic="yes" if each["automatic"] else "")
    invocation.show_rows(saved, _SAVED, empty="it was not saved yet")


@session.command("create")
@click.argument("name", default="")
@click.option("--description", default="", help="What it is for.")
@click.option("--tag", "tags", multiple=True, help="For selecting; may be repeated.")
@click.option("--by", "created_by", default="", help="Who makes it.")
@click.option("--parent", default="", metavar="ID", help="The session that it comes from.")
@click.option("--custom", default="{}", help="Further facts: a JSON object, @FILE or - for standard input.")
@click.option("--max-operations", type=click.IntRange(1), help="How many operations may begin in it.")
@click.option("--max-duration", "max_duration_s", type=click.FloatRange(0, min_open=True), help="Seconds it may last.")
@click.pass_obj
def session_create(invocation: Invocation, /, custom: str, **chosen: Any) -> None:
    """Make a session, and print its id."""
    facts = meant(invocation.read(custom), "--custom")
    if not isinstance(facts, dict):
        raise click.UsageError('--custom: it is no JSON object; write {"key": "value"}')
    draft = SessionDraft(**chosen, custom=facts)

    async def use(host: CommandHost) -> SessionInfo:
        return await (await host.enter(Sessions)).create(draft)

    info = invocation.run(use)
    invocation.show(_row(info), info.id)


def _do(invocation: Invocation, id: str, verb: Callable[[Sessions], Awaitable[SessionInfo]], told: str) -> None:
    """Let the session become something, and say so."""

    async def use(host: CommandHost) -> SessionInfo:
        return await verb(await host.enter(Sessions))

    info = invocation.run(use)
    invocation.show(_row(info), f"session {id} {told}")


@session.command("save")
@click.argument("id")
@click.pass_obj
def session_save(invocation: Invocation, id: str) -> None:
    """Save a session as a checkpoint."""

    async def use(host: CommandHost) -> SessionCheckpoint:
        return await (await host.enter(Sessions)).save(id)

    saved = invocation.run(use)
    told = f"session {id} is saved as checkpoint {saved.number}: {saved.values} values, {size_of(saved.size_bytes)}"
    invocation.show(_saved(saved), told)


@session.command("restore")
@click.argument("id")
@click.option("--number", default=0, type=click.IntRange(0), help="Which checkpoint; the newest if left out.")
@click.pass_obj
def session_restore(invocation: Invocation, id: str, number: int) -> None:
    """Give a session's values back what they were at a checkpoint."""

    async def use(host: CommandHost) -> SessionCheckpoint:
        return await (await host.enter(Sessions)).restore(id, number)

    saved = invocation.run(use)
    told = f"session {id} is as it was at checkpoint {saved.number}: {saved.values} values"
    invocation.show(_saved(saved), told)


@session.command("suspend")
@click.argument("id")
@click.pass_obj
def session_suspend(invocation: Invocation, id: str) -> None:
    """Save a session and let nothing begin in it; a host that holds it notices within seconds."""
    _do(invocation, id, lambda sessions: sessions.suspend(id), "is suspended")


@session.command("resume")
@click.argument("id")
@_TAKE_OVER
@click.pass_obj
def session_resume(invocation: Invocation, id: str, take_over: bool) -> None:
    """Let a session go on that is suspended, or whose host died."""
    _do(invocation, id, lambda sessions: sessions.resume(id, take_over=take_over), "goes on")


@session.command("complete")
@click.argument("id")
@click.pass_obj
def session_complete(invocation: Invocation, id: str) -> None:
    """End a session well."""
    _do(invocation, id, lambda sessions: sessions.complete(id), "has completed")


@session.command("fail")
@click.argument("id")
@click.option("--reason", default="", help="Why.")
@click.pass_obj
def session_fail(invocation: Invocation, id: str, reason: str) -> None:
    """End a session badly."""
    _do(invocation, id, lambda sessions: sessions.fail(id, reason), "has failed")


@session.command("archive")
@click.argument("id")
@click.pass_obj
def session_archive(invocation: Invocation, id: str) -> None:
    """Put a session away that has ended; of its checkpoints the newest stays."""
    _do(invocation, id, lambda sessions: sessions.archive(id), "is archived")


@session.command("export")
@click.argument("id")
@click.pass_obj
def session_export(invocation: Invocation, id: str) -> None:
    """Print all that is kept of a session, as one line of JSON."""

    async def use(host: CommandHost) -> Any:
        return await (await host.enter(Sessions)).export(id)

    invocation.write(f"{invocation.to_json(invocation.run(use))}\n")


@session.command("delete")
@click.argument("id")
@click.pass_obj
def session_delete(invocation: Invocation, id: str) -> None:
    """Forget a session with its values and checkpoints; ends with 2 if there is none."""

    async def use(host: CommandHost) -> bool:
        return await (await host.enter(Sessions)).delete(id)

    if not invocation.run(use):
        message = f"session {id}: there is none; 'llmspell session list' names those that there are"
        raise ComponentNotFoundError(message, address=f"session:{id}")
    invocation.show({"id": id, "deleted": True}, f"session {id} is deleted")


def _row(info: SessionInfo) -> dict[str, Any]:
    row = _plain(info)
    for name in ("created", "updated", "started", "ended"):
        row[name] = time_of(row.pop(f"{name}_s"))
    return row


def _saved(saved: SessionCheckpoint) -> dict[str, Any]:
    row = _plain(saved)
    return {**row, "made": time_of(row.pop("made_s"))}


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
