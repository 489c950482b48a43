"""Show what was spent, by budget, and by provider, model, component and session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["cost"]

_PARTS = {"component": 0, "provider": 1, "session": 2}


@click.group()
def cost() -> None:
    """Show what was spent."""


@cost.command("report")
@click.option(
    "--by",
    type=click.Choice(["budget", "component", "model", "provider", "session", "day"]),
    default="component",
    help="Whose.",
)
@click.option("--since", default="", help="Only what was spent from this day on, such as 2026-11-01.")
@click.pass_obj
def cost_report(invocation: Invocation, by: str, since: str) -> None:
    """List what was spent in USD, tokens, calls and seconds, the dearest first."""
    since_s = _day(since)

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        from llmspell_hookspecs.storage import Storages
        from llmspell_plugins.hooks.cost.ledger import Account, Amount, read_accounts

        sums: dict[tuple[str, ...], Amount] = {}

        def add(account: Account, *name: str) -> None:
            sums[name] = sums.get(name, Amount()) + account.amount

        async for _, account in read_accounts(await host.get(Storages).open()):
            if account.window != "none" and account.since_s < since_s:
                continue
            if by == "budget" and account.budget:
                add(account, account.budget, "/".join(account.key), _since(account.since_s))
            elif by == "day" and not account.budget:
                add(account, _since(account.since_s))
            elif by == "model" and not account.budget and account.key[0].startswith("model:"):
                add(account, account.key[0].removeprefix("model:"))
            elif by in _PARTS and not account.budget:
                add(account, account.key[_PARTS[by]])
        heads = ("budget", "key", "since") if by == "budget" else (by,)
        rows = [{**dict(zip(heads, name, strict=True)), **_plain(amount)} for name, amount in sums.items()]
        return sorted(rows, key=lambda row: (-row["usd"], -row["tokens"], -row["calls"], *map(str, row.values())))

    heads = ("budget", "key", "since") if by == "budget" else (by,)
    invocation.show_rows(invocation.run(use), (*heads, "usd", "tokens", "calls", "seconds"), empty="nothing was spent")


def _plain(amount: Any) -> dict[str, Any]:
    from llmspell_plugins.hooks.cost.prices import PICO

    return {
        "usd": amount.pico_usd / PICO,
        "tokens": amount.tokens,
        "calls": amount.calls,
        "seconds": round(amount.ns / 1e9, 3),
    }


def _since(since_s: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%d %H:%M") if since_s else ""


def _day(text: str) -> float:
    from datetime import UTC, datetime

    from llmspell_hookspecs.errors import InvalidInputError

    if not text:
        return 0.0
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InvalidInputError(f"--since {text!r} is no day; write it as 2026-11-01") from None
