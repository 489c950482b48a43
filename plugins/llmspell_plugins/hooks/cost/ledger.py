"""Accounts of what was spent: taken before, settled after, kept in a storage. Money in 1e-12 USD, time in nanoseconds.

What is asked of accounts and what is taken from them have no await in between, so however many callers there are, no
limit is passed. Hosts that share a storage add up: each writes what it adds, under the version that it knows, and takes
in what others added where the version is another.

Invariant: an account holds what was spent and what is taken and not settled; so a host that dies in a call has spent
what the call had taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
import trio
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs import Storage
from llmspell_hookspecs.errors import StorageError, text_of_error

__all__ = ["PREFIX", "Account", "Amount", "Ledger", "Stored", "read_accounts"]

PREFIX: Final = "cost/"
_BATCH: Final = 256
_TRIES: Final = 20


class Amount(Struct, frozen=True):
    """What a call costs, or a budget has.

    Attributes:
        pico_usd: Money.
        tokens: Of request and answer.
        calls: How many.
        ns: How long.
    """

    pico_usd: int = 0
    tokens: int = 0
    calls: int = 0
    ns: int = 0

    def __add__(self, other: Amount) -> Amount:
        """Return both together."""
        return Amount(
            self.pico_usd + other.pico_usd, self.tokens + other.tokens, self.calls + other.calls, self.ns + other.ns
        )

    def __sub__(self, other: Amount) -> Amount:
        """Return the difference."""
        return Amount(
            self.pico_usd - other.pico_usd, self.tokens - other.tokens, self.calls - other.calls, self.ns - other.ns
        )


class Stored(Struct, frozen=True):
    """An account as the storage has it."""

    budget: str
    window: str
    since_s: int
    key: tuple[str, ...]
    amount: Amount


class Account(Struct, eq=False):
    """What one budget, or one component on one day, has spent in one window.

    Attributes:
        budget: The budget's title; empty for what is counted of a component without one.
        window: The budget's.
        since_s: When the window began, in seconds since the epoch; 0 for none.
        key: Whose it is.
        amount: What was spent, and what is taken and not settled.
        taken: What of it is taken by this host and not settled.
        told: The highest part that was told as used.
        place: Its key in the storage.
    """

    budget: str
    window: str
    since_s: int
    key: tuple[str, ...]
    amount: Amount = Amount()
    taken: Amount = Amount()
    told: float = 0.0
    base: Amount = Amount()
    version: int = 0
    place: str = ""

    def __post_init__(self) -> None:
        name = msgspec.json.encode([self.budget, self.window, self.since_s, self.key])
        self.place = PREFIX + blake3(name).hexdigest()[:32]


class Ledger:
    """All accounts of a host.

    Args:
        storage: Keeps them; None for memory alone.
        most: How many are held; those of the oldest windows go first.

    Attributes:
        lost: How often they could not be written.
        on_lost: Told each time why.
    """

    def __init__(self, storage: Storage | None, most: int = 100_000) -> None:
        self.lost = 0
        self.on_lost: Callable[[StorageError], object] = lambda error: None
        self._storage = storage
        self._most = most
        self._accounts: dict[tuple[str, str, int, tuple[str, ...]], Account] = {}
        self._dirty: dict[str, Account] = {}
        self._wake = trio.Event()
        self._turn = trio.Lock()

    async def load(self, oldest_s: float) -> None:
        """Read what was spent before; windows that began before this are deleted."""
        if self._storage is None:
            return
        old: dict[str, bytes | None] = {}
        async for place, account in read_accounts(self._storage):
            if account.window != "none" and account.since_s < oldest_s:
                old[place] = None
            else:
                self._accounts[(account.budget, account.window, account.since_s, account.key)] = account
        if old:
            await self._storage.write(old)

    def account(self, budget: str, window: str, since_s: int, key: tuple[str, ...]) -> Account:
        """Return the account, a new one if there is none."""
        name = (budget, window, since_s, key)
        account = self._accounts.get(name)
        if account is None:
            if len(self._accounts) >= self._most:
                self._forget()
            account = self._accounts[name] = Account(budget, window, since_s, key)
        return account

    def accounts(self) -> list[Account]:
        """Return all of them."""
        return list(self._accounts.values())

    def take(self, accounts: Iterable[Account], amount: Amount) -> None:
        """Take an amount of accounts; whoever calls has asked whether there is so much."""
        self._change(accounts, amount, amount)

    def settle(self, accounts: Iterable[Account], taken: Amount, spent: Amount) -> None:
        """Put what was really spent in place of what was taken."""
        self._change(accounts, spent - taken, Amount() - taken)

    async def run(self) -> None:
        """Write what changes, soon after; never returns."""
        while True:
            await self._wake.wait()
            await trio.sleep(0.1)
            try:
                await self.flush()
            except StorageError:
                await trio.sleep(1)

    async def flush(self, accounts: Sequence[Account] | None = None) -> None:
        """Write what changed; of these accounts only, if they are given.

        Raises:
            StorageError: It cannot be written; it is kept, and tried again the next time.
        """
        async with self._turn:
            wanted = None if accounts is None else {account.place for account in accounts}
            while batch := [account for place, account in self._dirty.items() if wanted is None or place in wanted][
                :_BATCH
            ]:
                try:
                    await self._write(batch)
                except StorageError as error:
                    self.lost += 1
                    self.on_lost(error)
                    raise
            if not self._dirty:
                self._wake = trio.Event()

    async def _write(self, batch: list[Account]) -> None:
        assert self._storage is not None
        for _ in range(_TRIES):
            amounts = {account.place: account.amount for account in batch}
            values = {account.place: _encode(account) for account in batch}
            expected = {account.place: account.version for account in batch}
            versions = await self._storage.write(values, expect=expected)
            if versions is not None:
                for account in batch:
                    account.base, account.version = amounts[account.place], versions[account.place]
                    if account.amount == account.base:
                        self._dirty.pop(account.place, None)
                return
            for account in batch:
                await self._take_in(account)
        raise StorageError(f"the ledger: others write to it without a pause; gave up after {_TRIES} tries")

    async def _take_in(self, account: Account) -> None:
        """Add what other hosts have added meanwhile."""
        assert self._storage is not None
        entry = await self._storage.get(account.place)
        stored = Amount() if entry is None else _decode(entry.value).amount
        account.amount += stored - account.base
        account.base = stored
        account.version = 0 if entry is None else entry.version

    def _change(self, accounts: Iterable[Account], more: Amount, taken: Amount) -> None:
        kept = self._storage is not None
        for account in accounts:
            account.amount += more
            account.taken += taken
            if kept:
                self._dirty[account.place] = account
        if kept and not self._wake.is_set():
            self._wake.set()

    def _forget(self) -> None:
        """Drop accounts that are written and settled, of past windows and of components; at most half of all."""
        newest: dict[str, int] = {}
        for account in self._accounts.values():
            newest[account.window] = max(newest.get(account.window, 0), account.since_s)
        idle = [
            (account.since_s, name)
            for name, account in self._accounts.items()
            if (account.budget == "" or account.since_s < newest[account.window])
            and account.taken == Amount()
            and account.place not in self._dirty
        ]
        for _, name in sorted(idle)[: self._most // 2]:
            del self._accounts[name]


async def read_accounts(storage: Storage) -> Any:
    """Iterate over what a storage keeps, as pairs of place and account.

    Raises:
        StorageError: An entry is none of a ledger's.
    """
    after, more = "", True
    while more:
        more = False
        async for place, entry in storage.scan(PREFIX, after=after):
            stored = _decode(entry.value)
            account = Account(stored.budget, stored.window, stored.since_s, stored.key)
            account.amount = account.base = stored.amount
            account.version = entry.version
            yield place, account
            after, more = place, True


def _encode(account: Account) -> bytes:
    return msgspec.json.encode(Stored(account.budget, account.window, account.since_s, account.key, account.amount))


def _decode(value: bytes) -> Stored:
    try:
        return msgspec.json.decode(value, type=Stored)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StorageError(
            f"the ledger: an entry is damaged: {text_of_error(error)}; delete it with its key below {PREFIX}"
        ) from error
