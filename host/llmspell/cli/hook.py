"""``llmspell hook``: the points, the hooks, and the order in which they are called."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from .invocation import Invocation
from .plugin import plugin_disable, plugin_enable

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["hook"]

T = TypeVar("T")


@click.group()
def hook() -> None:
    """List hook points and hooks, and show their order."""


@hook.group()
def point() -> None:
    """List and describe hook points."""


@point.command("list")
@click.option("--topic", default="", help="Only the points of this topic.")
@click.pass_obj
def point_list(invocation: Invocation, topic: str) -> None:
    """List the hook points."""
    points = _asked(invocation, lambda host: host.hooks.points())
    rows = [item.plain() for item in points if topic in ("", item.topic)]
    invocation.show_rows(rows, ("name", "phase", "summary"), empty="there are no such points")


@point.command("show")
@click.argument("name")
@click.pass_obj
def point_show(invocation: Invocation, name: str) -> None:
    """Describe the hook point NAME, in any of its spellings."""
    row = _asked(invocation, lambda host: host.hooks.point(name)).plain()
    lines = [
        f"{row['name']}\n\n{row['doc']}\n",
        f"Names:    {', '.join(row['names'])}",
        f"Topic:    {row['topic']}, phase {row['phase']}",
        f"Subject:  {row['subject']}",
        f"Value:    {row['value']}",
        f"Accepts:  {', '.join(row['accepts']) or 'no result'}",
    ]
    if row["fields"]:
        lines.append(f"\n{row['subject']}: {row['fields']}")
    invocation.show(row, *lines)


@hook.command("list")
@click.argument("point", default="")
@click.pass_obj
def hook_list(invocation: Invocation, point: str) -> None:
    """List the hooks that are registered, at POINT or everywhere."""
    from msgspec.structs import asdict

    rows = [asdict(info) for info in _asked(invocation, lambda host: host.hooks.list(point))]
    columns = ("point", "plugin", "name", "kind", "priority", "match", "language", "enabled", "breaker")
    invocation.show_rows(rows, columns, empty="no hook is registered")


hook.add_command(plugin_enable)  # hooks come and go with their plugin
hook.add_command(plugin_disable)


@hook.command("order")
@click.argument("point")
@click.pass_obj
def hook_order(invocation: Invocation, point: str) -> None:
    """Show in which order the hooks at POINT are called, and why."""
    ordered, origin = _asked(
        invocation, lambda host: (host.hooks.order(point), host.settings.loaded.origin("hooks.disabled"))
    )
    called = itertools.count(1)
    rows = [
        {
            "order": next(called) if info.enabled and not info.within else None,
            "kind": info.kind,
            "plugin": info.plugin,
            "hook": info.name,
            "priority": info.priority,
            "match": info.match,
            "enabled": info.enabled,
            "why": why if info.enabled else f"disabled by hooks.disabled ({origin})",
        }
        for info, why in ordered
    ]
    columns = ("order", "kind", "plugin", "hook", "priority", "match", "enabled", "why")
    invocation.show_rows(rows, columns, empty=f"no hook is registered at {point}")


def _asked(invocation: Invocation, question: Callable[[Host], T]) -> T:
    """Return what a host says that is open."""

    async def use(host: Host) -> T:
        return question(host)

    return invocation.run(use)
