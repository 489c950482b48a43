"""Store artifacts, find them, get them back, verify them, and take out contents that no artifact has."""

from __future__ import annotations

import mimetypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from llmspell_hookspecs.artifacts import (
    HOST_SESSION,
    ArtifactDraft,
    ArtifactInfo,
    ArtifactQuery,
    ArtifactReport,
    Artifacts,
    ArtifactSweep,
)
from llmspell_hookspecs.commands import CommandError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.regular import replace_regular
from llmspell_plugins.commands.meant import meant, moment
from llmspell_plugins.commands.told import size_of, time_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["artifact"]

_COLUMNS: Final = ("artifact", "name", "version", "type", "mime_type", "size", "created", "tags")
_GRANTS: Final = ("principal", "right", "until")


class _Place(click.ParamType[tuple[str, int]]):
    """An artifact as people write it: ``SESSION/SEQUENCE``, or its sequence alone for the host's."""

    name = "artifact"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return its session and sequence."""
        session, _, sequence = str(value).rpartition("/")
        if not sequence.isascii() or not sequence.isdigit():
            self.fail(f"{value!r} is no artifact; write SESSION/NUMBER, as 'llmspell artifact list' does", param, ctx)
        return session or HOST_SESSION, int(sequence)


_ARTIFACT = click.argument("place", metavar="ARTIFACT", type=_Place())


@click.group()
def artifact() -> None:
    """Store artifacts, find them, get them back, and verify them.

    ARTIFACT is SESSION/NUMBER; a number alone is one of the host's, which belong to no session.
    """


@artifact.command("list")
@click.argument("session", default="")
@click.option("--type", "type", default="", help="Only of this type.")
@click.option("--name", default="", metavar="GLOB", help="Only whose name matches.")
@click.option("--tag", "tags", multiple=True, help="Only with all of these; may be repeated.")
@click.option("--mime-type", default="", metavar="GLOB", help="Only of these kinds: 'image/*'.")
@click.option("--since", "since_s", callback=moment, metavar="TIME", help="Only made from this time on.")
@click.option("--until", "until_s", callback=moment, metavar="TIME", help="Only made up to this time.")
@click.option("--min-bytes", type=click.IntRange(0), help="Only so large, or larger.")
@click.option("--max-bytes", type=click.IntRange(0), help="Only so large, or smaller.")
@click.option("--latest", is_flag=True, help="Only the newest version under each name.")
@click.option("--sort", default="created", show_default=True, type=click.Choice(["created", "name", "size", "type"]))
@click.option("--descending", is_flag=True, help="The last first.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.pass_obj
def artifact_list(invocation: Invocation, /, **chosen: Any) -> None:
    """List artifacts, all or those of SESSION."""
    query = ArtifactQuery(**chosen)

    async def use(host: CommandHost) -> Sequence[ArtifactInfo]:
        return await (await host.enter(Artifacts)).query(query)

    rows = [_row(info) for info in invocation.run(use)]
    if not invocation.json:
        for row in rows:
            row.update(size=size_of(row["size_bytes"]), tags=", ".join(row["tags"]))
    invocation.show_rows(rows, _COLUMNS, empty="there are no artifacts")


@artifact.command("show")
@_ARTIFACT
@click.pass_obj
def artifact_show(invocation: Invocation, place: tuple[str, int]) -> None:
    """Show what is known of ARTIFACT, and who else may touch it."""

    async def use(host: CommandHost) -> tuple[ArtifactInfo, list[dict[str, Any]]]:
        artifacts = await host.enter(Artifacts)
        info = await artifacts.get(*place)
        grants = await artifacts.grants(*place)
        return info, [
            {"principal": each.principal, "right": each.right, "until": time_of(each.expires_s or 0.0)}
            for each in grants
        ]

    info, grants = invocation.run(use)
    row = _row(info)
    if invocation.json:
        invocation.show({**row, "grants": grants})
        return
    stored = f", {size_of(info.stored_bytes)} stored ({info.codec})" if info.codec != "raw" else ""
    invocation.say(f"{info.name} {info.id}: {info.type}, {info.mime_type}, {size_of(info.size_bytes)}{stored}")
    for key in ("description", "version", "created", "created_by", "parent", "content_hash", "previous_hash"):
        if row[key]:
            invocation.say(f"{key.replace('_', ' ')}: {row[key]}")
    if info.tags:
        invocation.say(f"tags: {', '.join(info.tags)}")
    for key, value in info.custom.items():
        invocation.say(f"{key}: {value if isinstance(value, str) else invocation.to_json(value)}")
    if grants:
        invocation.show_rows(grants, _GRANTS)


@artifact.command("get")
@_ARTIFACT
@click.option("--to", "file", type=click.Path(dir_okay=False, path_type=Path), help="The file that it is written to.")
@click.pass_obj
def artifact_get(invocation: Invocation, place: tuple[str, int], file: Path | None) -> None:
    """Print the content of ARTIFACT, or write it to a file."""

    async def use(host: CommandHost) -> bytes:
        return await (await host.enter(Artifacts)).read(*place)

    content = invocation.run(use)
    if file is not None:
        try:
            replace_regular(file, content)
        except OSError as error:
            raise CommandError(f"{file}: it cannot be written: {line_of_error(error)}; name another one") from error
        invocation.show({"file": str(file), "size_bytes": len(content)}, f"{file}: {size_of(len(content))}")
        return
    text = _text_of(content)
    if invocation.json:
        invocation.show({"content": text, "hex": None if text is not None else content.hex()})
    elif text is not None:
        invocation.write(text)
    elif sys.stdout.isatty():
        message = f"artifact {place[0]}/{place[1]}: it is no text; write it to a file: --to FILE"
        raise CommandError(message)
    else:
        invocation.write("")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


@artifact.command("put")
@click.argument("file")
@click.option("--session", default="", help="Whose it is; the host's if left out.")
@click.option("--name", default="", help="Its name; that of the file if left out.")
@click.option("--type", "type", default="user_input", show_default=True, help="What it is.")
@click.option("--mime-type", default="", help="Of what kind; as the file's name says if left out.")
@click.option("--description", default="", help="What it is for.")
@click.option("--tag", "tags", multiple=True, help="For selecting; may be repeated.")
@click.option("--custom", default="{}", help="Further facts: a JSON object.")
@click.pass_obj
def artifact_put(
    invocation: Invocation, /, file: str, session: str, name: str, mime_type: str, custom: str, **chosen: Any
) -> None:
    """Store FILE, or standard input for -, and print which artifact it is."""
    facts = meant(custom, "--custom")
    if not isinstance(facts, dict):
        raise click.UsageError('--custom: it is no JSON object; write {"key": "value"}')
    given = invocation.read("-") if file == "-" else None
    kind = mime_type or mimetypes.guess_type(file)[0] or ("text/plain" if given is not None else "")
    draft = ArtifactDraft(
        name or ("stdin" if given is not None else Path(file).name),
        session,
        mime_type=kind or "application/octet-stream",
        custom=facts,
        **chosen,
    )

    async def use(host: CommandHost) -> ArtifactInfo:
        artifacts = await host.enter(Artifacts)
        return await (artifacts.put_file(draft, file) if given is None else artifacts.put(draft, given))

    info = invocation.run(use)
    invocation.show(_row(info), str(info.id))


@artifact.command("delete")
@_ARTIFACT
@click.pass_obj
def artifact_delete(invocation: Invocation, place: tuple[str, int]) -> None:
    """Forget ARTIFACT; its content goes with a later gc if no other has it."""

    async def use(host: CommandHost) -> bool:
        return await (await host.enter(Artifacts)).delete(*place)

    where = f"{place[0]}/{place[1]}"
    if not invocation.run(use):
        raise CommandError(f"artifact {where}: there is none; 'llmspell artifact list' names those that there are")
    invocation.show({"artifact": where, "deleted": True}, f"artifact {where} is deleted")


@artifact.command("grant")
@_ARTIFACT
@click.argument("principal")
@click.argument("right", type=click.Choice(["read", "write", "admin"]))
@click.option("--until", "expires_s", callback=moment, metavar="TIME", help="Until when; for ever if left out.")
@click.pass_obj
def artifact_grant(
    invocation: Invocation, place: tuple[str, int], principal: str, right: Any, expires_s: float | None
) -> None:
    """Let PRINCIPAL (session:ID, user:NAME, agent:NAME or *) read, write or administer ARTIFACT."""

    async def use(host: CommandHost) -> None:
        await (await host.enter(Artifacts)).grant(*place, principal, right, expires_s=expires_s)

    invocation.run(use)
    where = f"{place[0]}/{place[1]}"
    facts = {"artifact": where, "principal": principal, "right": right}
    invocation.show(facts, f"{principal} may {right} artifact {where}")


@artifact.command("revoke")
@_ARTIFACT
@click.argument("principal")
@click.pass_obj
def artifact_revoke(invocation: Invocation, place: tuple[str, int], principal: str) -> None:
    """Take back what PRINCIPAL may do with ARTIFACT; ends with 1 if that is nothing."""

    async def use(host: CommandHost) -> bool:
        return await (await host.enter(Artifacts)).revoke(*place, principal)

    where = f"{place[0]}/{place[1]}"
    if not invocation.run(use):
        raise CommandError(f"artifact {where}: nothing was granted to {principal}; 'llmspell artifact show' tells")
    invocation.show({"artifact": where, "principal": principal}, f"{principal} may do nothing with artifact {where}")


@artifact.command("audit")
@click.argument("session", default="")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="The last so many.")
@click.pass_obj
def artifact_audit(invocation: Invocation, session: str, limit: int) -> None:
    """List accesses, grants and refusals, the oldest first."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        records = await (await host.enter(Artifacts)).audit(session, limit=limit)
        return [
            {
                "number": each.number,
                "at": time_of(each.at_s),
                "action": each.action,
                "artifact": each.artifact,
                "principals": ", ".join(each.principals),
                "allowed": each.allowed,
                "details": each.details,
            }
            for each in records
        ]

    columns = ("number", "at", "action", "artifact", "principals", "allowed", "details")
    invocation.show_rows(invocation.run(use), columns, empty="nothing is on record")


@artifact.command("verify")
@click.option("--repair", is_flag=True, help="Remove the contents that no artifact has; nothing else is touched.")
@click.pass_obj
def artifact_verify(invocation: Invocation, repair: bool) -> None:
    """Hash all contents again, and check the record of accesses; ends with 1 and says what is wrong."""

    async def use(host: CommandHost) -> ArtifactReport:
        return await (await host.enter(Artifacts)).verify(repair=repair)

    report = invocation.run(use)
    facts = {name: getattr(report, name) for name in report.__struct_fields__}
    lines = [f"{report.artifacts} artifacts with {report.contents} contents"]
    for name in ("missing", "corrupt", "wrong_size"):
        lines += [f"{name.replace('_', ' ')}: {where}" for where in getattr(report, name)]
    if report.audit:
        lines.append(f"the record of accesses: {report.audit}")
    if report.orphans:
        what = f"{report.removed} of them removed" if repair else "they go with 'llmspell artifact gc'"
        lines.append(f"{len(report.orphans)} contents that no artifact has; {what}")
    invocation.show(facts, *lines)
    if not report.is_whole:
        count = len(report.missing) + len(report.corrupt) + len(report.wrong_size) + bool(report.audit)
        raise CommandError(f"artifacts: {count} {'is' if count == 1 else 'are'} not as they were; restore them")


@artifact.command("gc")
@click.option("--grace", "grace_s", type=click.FloatRange(0), help="Seconds since it was stored; as settings say.")
@click.pass_obj
def artifact_gc(invocation: Invocation, grace_s: float | None) -> None:
    """Take out the contents that no artifact has."""

    async def use(host: CommandHost) -> ArtifactSweep:
        return await (await host.enter(Artifacts)).sweep(grace_s)

    swept = invocation.run(use)
    facts = {name: getattr(swept, name) for name in swept.__struct_fields__}
    told = f"{swept.removed} contents are taken out, {size_of(swept.freed_bytes)}; {swept.kept} are left"
    invocation.show(facts, told)


def _row(info: ArtifactInfo) -> dict[str, Any]:
    id = info.id
    return {
        "artifact": str(id),
        "session": id.session_id,
        "sequence": id.sequence,
        "content_hash": id.content_hash,
        "name": info.name,
        "type": info.type,
        "mime_type": info.mime_type,
        "size_bytes": info.size_bytes,
        "stored_bytes": info.stored_bytes,
        "codec": info.codec,
        "description": info.description,
        "tags": [*info.tags],
        "custom": info.custom,
        "parent": "" if info.parent is None else str(info.parent),
        "created_by": info.created_by,
        "created": time_of(info.created_s),
        "updated": time_of(info.updated_s),
        "version": info.version,
        "previous_hash": info.previous_hash,
    }


def _text_of(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
