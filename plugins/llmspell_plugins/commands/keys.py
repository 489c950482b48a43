"""Keep secrets in the vault, and make the master key that locks it.

Invariant: a secret is never printed, but for the master key by the verb that is there for it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmspell_hookspecs.commands import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """Keep secrets in the vault, and make the master key that locks it."""


@keys.command("init")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--keyring", is_flag=True, help="Keep the key in the system's keyring instead of a file.")
@click.option("--recover", is_flag=True, help="Read the key from standard input, as export-recovery printed it.")
@click.pass_obj
def keys_init(invocation: Invocation, file: Path | None, keyring: bool, recover: bool) -> None:
    """Make a master key, in FILE or in the keyring."""
    from llmspell_plugins.services.vault.master import FILE, keep_in_keyring, new_key, write_key

    if (file is None) is not keyring:
        raise click.UsageError("name the FILE of the key, or say --keyring")
    key = _recovered(invocation.read("-")) if recover else new_key()
    if file is None:
        if not keep_in_keyring(key):
            raise CommandError("keys init: there is no keyring that keeps secrets encrypted; name a FILE")
        told = "the master key is in the keyring; write it down: llmspell keys export-recovery"
        invocation.show({"place": "keyring"}, told)
        return
    path = file.absolute()
    write_key(path, key)
    lines = f"the master key is in {path}", f"name it to llmspell: export {FILE}={path}"
    invocation.show({"place": str(path), "variable": FILE}, *lines, "whoever loses it loses what it locks")


@keys.command("set")
@click.argument("name")
@click.argument("value", default="-")
@click.pass_obj
def keys_set(invocation: Invocation, name: str, value: str) -> None:
    """Keep a secret under NAME: what stands in VALUE (@FILE for a file), or is typed or piped in."""
    from pydantic import SecretStr

    from llmspell_hookspecs.vault import Vault

    secret = SecretStr(_typed(invocation, name) if value == "-" else invocation.read(value).strip())

    async def use(host: CommandHost) -> None:
        await (await host.enter(Vault)).set(name, secret)

    invocation.run(use)
    invocation.show({"name": name}, f"{name} is kept")


@keys.command("list")
@click.pass_obj
def keys_list(invocation: Invocation) -> None:
    """List the names of the secrets."""
    from llmspell_hookspecs.vault import Vault

    async def use(host: CommandHost) -> Sequence[str]:
        return await (await host.enter(Vault)).names()

    names = invocation.run(use)
    invocation.show_rows([{"name": name} for name in names], ("name",), empty="no secret is kept")


@keys.command("remove")
@click.argument("name")
@click.pass_obj
def keys_remove(invocation: Invocation, name: str) -> None:
    """Forget the secret NAME; ends with 1 if there is none."""
    from llmspell_hookspecs.vault import Vault

    async def use(host: CommandHost) -> bool:
        return await (await host.enter(Vault)).remove(name)

    if not invocation.run(use):
        raise CommandError(f"keys remove: there is none of the name {name}; 'llmspell keys list' shows them")
    invocation.show({"name": name, "removed": True}, f"{name} is forgotten")


@keys.command("export-recovery")
@click.pass_obj
def keys_export(invocation: Invocation) -> None:
    """Print the master key, to be written down and kept where no computer reads it."""
    from llmspell_plugins.services.vault.master import find_master

    master = find_master(os.environ)
    key = master.recovery()
    invocation.note("whoever has this key reads all that it locks; 'llmspell keys init FILE --recover' brings it back")
    invocation.show({"key": key}, key)


def _typed(invocation: Invocation, name: str) -> str:
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(f"{name}: ")
    return invocation.read("-").strip()


def _recovered(text: str) -> str:
    key = "".join(text.split()).lower()
    if len(key) != 64 or any(each not in "0123456789abcdef" for each in key):
        raise CommandError("keys init: what was given is no master key; it has 64 hexadecimal digits")
    return key
