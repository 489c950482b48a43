"""List, look up and test models: by the providers that know of them.

Invariant: listing and looking up ask no network; a test is a model call through the runner, so every hook sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs.model import Models
from llmspell_plugins.commands.provider import provider_test

if TYPE_CHECKING:
    from llmspell_hookspecs import ProviderInfo
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["model"]


@click.group()
def model() -> None:
    """List, look up and test models."""


@model.command("list")
@click.option("--available", is_flag=True, help="Only those that can be asked now.")
@click.pass_obj
def model_list(invocation: Invocation, available: bool) -> None:
    """List the models that providers know of; others may work too, as provider/model."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        infos = [info for info in host.get(Models).providers() if info.available or not available]
        return [_row(f"{info.name}/{name}", info) for info in infos for name in _names(info)]

    columns = ("model", "default", "available", "streams", "tools")
    invocation.show_rows(invocation.run(use), columns, empty="no provider knows of such a model")


@model.command("info")
@click.argument("name", default="", metavar="MODEL")
@click.pass_obj
def model_info(invocation: Invocation, name: str) -> None:
    """Show what MODEL (provider/model, a provider, or a bare model; the default if left out) stands for."""

    async def use(host: CommandHost) -> dict[str, Any]:
        models = host.get(Models)
        resolved = models.resolve(name)
        info = next(each for each in models.providers() if each.name == resolved.partition("/")[0])
        known = resolved.partition("/")[2] in _names(info)
        facts = {"known": known, "type": info.type, "reason": info.reason, "base_url": info.base_url}
        return {**_row(resolved, info), **facts}

    row = invocation.run(use)
    invocation.show(row, *(f"{key.replace('_', ' ')}: {_told(value)}" for key, value in row.items() if value != ""))


model.add_command(provider_test, "test")


def _names(info: ProviderInfo) -> tuple[str, ...]:
    default = (info.default_model,) if info.default_model else ()
    return tuple(dict.fromkeys((*default, *info.models)))


def _row(name: str, info: ProviderInfo) -> dict[str, Any]:
    return {
        "model": name,
        "default": name == f"{info.name}/{info.default_model}",
        "available": info.available,
        "streams": info.streams,
        "tools": info.tools,
    }


def _told(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
