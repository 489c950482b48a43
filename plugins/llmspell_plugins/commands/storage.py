"""Look at the storage, and encrypt what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs.commands import CommandError

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["storage"]


@click.group()
def storage() -> None:
    """Look at the storage, and encrypt what it holds."""


@storage.command("info")
@click.pass_obj
def storage_info(invocation: Invocation) -> None:
    """Print which backend it is, and whether it is encrypted."""
    from llmspell_hookspecs.services import SettingsAccess
    from llmspell_hookspecs.storage import Storages

    async def use(host: CommandHost) -> dict[str, Any]:
        backend = host.get(SettingsAccess).section("storage").backend
        opened: Any = await host.get(Storages).open()
        facts = await opened.facts() if getattr(opened, "sealed", None) is not None else {}
        return {"backend": backend, "encrypted": bool(facts), **facts}

    facts = invocation.run(use)
    invocation.show(facts, *(f"{name}: {value}" for name, value in facts.items()))


@storage.command("rekey")
@click.pass_obj
def storage_rekey(invocation: Invocation) -> None:
    """Encrypt everything with a new key; goes on with one that was broken off."""
    count, number = invocation.run(_rekey)
    invocation.show({"values": count, "key": number}, f"{count} values are encrypted anew, with the key {number}")


@storage.command("encrypt")
@click.pass_obj
def storage_encrypt(invocation: Invocation) -> None:
    """Encrypt a storage that was not, once storage.backend says so; backups from before stay as they are."""
    count, number = invocation.run(_rekey)
    told = f"{count} values are encrypted, with the key {number}"
    more = "backups from before are not: delete those that must not stay"
    invocation.show({"values": count, "key": number}, told, more)


async def _rekey(host: CommandHost) -> tuple[int, int]:
    from llmspell_hookspecs.storage import Storages

    opened: Any = await host.get(Storages).open()
    if getattr(opened, "sealed", None) is None:
        raise CommandError("storage: it is not an encrypted one; set storage.backend to encrypted")
    answer: tuple[int, int] = await opened.rekey()
    below = opened.sealed
    if hasattr(below, "vacuum"):  # what was overwritten may lie in the file still
        await below.vacuum()
    return answer
