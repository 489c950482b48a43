"""``llmspell hook``: the points, the hooks, and the order in which they are called."""

from __future__ import annotations

import inspect
import itertools
from typing import TYPE_CHECKING, Any

import click

from .group import LazyGroup
from .invocation import Invocation, global_options
from .outlet import say

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["hook"]


@click.group(cls=LazyGroup)
@global_options
def hook() -> None:
    """List hook points and hooks, and show their order."""


@hook.group(cls=LazyGroup)
@global_options
def point() -> None:
    """List and describe hook points."""


@point.command("list")
@click.option("--topic", default="", help="Only the points of this topic.")
@global_options
@click.pass_obj
def point_list(invocation: Invocation, topic: str) -> None:
    """List the hook points."""
    from .output import print_json, print_rows
    from .session import with_host

    async def use(host: Host) -> list[dict[str, Any]]:
        return [_described(item) for item in host.hooks.points() if topic in ("", item.topic)]

    rows = with_host(use, invocation)
    if invocation.json:
        print_json(rows)
    else:
        print_rows(rows, ("name", "phase", "summary"), empty="there are no such points")


@point.command("show")
@click.argument("name")
@global_options
@click.pass_obj
def point_show(invocation: Invocation, name: str) -> None:
    """Describe the hook point NAME, in any of its spellings."""
    from .output import print_json
    from .session import with_host

    async def use(host: Host) -> dict[str, Any]:
        return _described(host.hooks.point(name))

    row = with_host(use, invocation)
    if invocation.json:
        print_json(row)
        return
    say(f"{row['name']}\n\n{row['doc']}\n")
    say(f"Names:    {', '.join(row['names'])}")
    say(f"Topic:    {row['topic']}, phase {row['phase']}")
    say(f"Subject:  {row['subject']}")
    say(f"Value:    {row['value']}")
    say(f"Accepts:  {', '.join(row['accepts']) or 'no result'}")
    if row["fields"]:
        say(f"\n{row['subject']}: {row['fields']}")


@hook.command("list")
@click.argument("point", default="")
@global_options
@click.pass_obj
def hook_list(invocation: Invocation, point: str) -> None:
    """List the hooks that are registered, at POINT or everywhere."""
    import msgspec

    from .output import print_json, print_rows
    from .session import with_host

    async def use(host: Host) -> list[dict[str, Any]]:
        return [msgspec.structs.asdict(info) for info in host.hooks.list(point)]

    rows = with_host(use, invocation)
    if invocation.json:
        print_json(rows)
    else:
        columns = ("point", "plugin", "name", "kind", "priority", "match", "language", "enabled", "breaker")
        print_rows(rows, columns, empty="no hook is registered")


@hook.command("order")
@click.argument("point")
@global_options
@click.pass_obj
def hook_order(invocation: Invocation, point: str) -> None:
    """Show in which order the hooks at POINT are called, and why."""
    from .output import print_json, print_rows
    from .session import with_host

    async def use(host: Host) -> list[dict[str, Any]]:
        ordered = host.hooks.order(point)
        origin = host.settings.loaded.origin("hooks.disabled")
        called = itertools.count(1)
        return [
            {
                "order": next(called) if info.enabled else None,
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

    rows = with_host(use, invocation)
    if invocation.json:
        print_json(rows)
    else:
        columns = ("order", "kind", "plugin", "hook", "priority", "match", "enabled", "why")
        print_rows(rows, columns, empty=f"no hook is registered at {point}")


def _described(item: Any) -> dict[str, Any]:
    return {
        "name": item.name,
        "topic": item.topic,
        "phase": item.phase.value,
        "script_name": item.script_name,
        "alias": item.alias,
        "names": list(dict.fromkeys(item.names)),
        "subject": item.subject.__name__,
        "fields": inspect.getdoc(item.subject) or "",
        "value": item.value.__name__,
        "accepts": sorted(item.accepts),
        "summary": item.summary,
        "doc": item.doc,
    }
