"""The plugin: each attempt of a call takes what it may cost at most, of every budget that is about it, or does not run.

A transform that stands behind all others cuts the answer of a model to what is left; the guard that stands last takes
it; a transform at the after and error points that stands first settles it with what was really used. What was taken and
nobody settled is settled when the operation ends: given back if the body never ran, spent as it was taken if it was
cut short.

Invariant: what is spent and taken together exceeds no budget by a call that keeps to its ``max_tokens``, however many
callers there are. A provider that bills more is told of by an event, and the budget is closed. Time is counted when a
call ends, so a call that began in time may end above it. Where a person is asked, and allows it, a call passes a budget
by as much as it costs.

It is longer than most because what is taken, settled and given back is one story.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar, Final, Literal, Self, overload

import msgspec
import trio
from msgspec import Struct
from pydantic import BaseModel

from llmspell_hookspecs import (
    Cancel,
    Events,
    Failure,
    HookContext,
    ModelRequest,
    ModelResponse,
    Modified,
    Redirect,
    Services,
)
from llmspell_hookspecs.approvals import APPROVAL_REQUIRED
from llmspell_hookspecs.borrowing import Borrowing
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, ProviderError, StorageError, text_of_error
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.hooks.call_match import TokenCount, address_of, fits, provider_of
from llmspell_plugins.hooks.standing import CALLED, POINTS, stand

from .around import WITHIN, Around
from .budget import Rule, holds, left_of, room_of, rule_of, used_of, window_start
from .ledger import Account, Amount, Ledger, Stored
from .prices import PICO, Prices, TokenPrice, read_list, token_price
from .settings import CostSettings

__all__ = ["Cost"]

_LAST: Final = 2_000_000
_FIRST: Final = -2_000_000
_HELD: Final = 100_000
_KEPT: Final = 4096
_NOBODYS: Final[tuple[tuple[str, ...], ...]] = ((),)
_UNBILLED: Final = ("rate_limited", "authentication", "invalid_request", "unavailable")
_UNREACHED: Final = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError")
_FREE: Final = TokenPrice(0, 0)


class _Held(Struct):
    """What an attempt has taken."""

    attempt: int
    accounts: list[Account]
    amount: Amount
    price: TokenPrice


class _State(Struct, frozen=True):
    """What outlives the plugin: its counts, the alerts that were told, and the accounts that no storage keeps."""

    counts: dict[str, int]
    told: list[tuple[Stored, float]]
    accounts: list[Stored]


class Cost:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.
    """

    name = "cost"
    fails_closed = True
    Settings: ClassVar[type[BaseModel]] = CostSettings
    borrowing = Borrowing(
        frozenset({"budgets", "prices", "unknown_model", "estimate", "max_output_tokens"}), {"ledger": "memory"}
    )

    def __init__(self, settings: CostSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._clock = services.get(Clock)
        self._prices = Prices(settings.prices, {})
        self._ledger = Ledger(None)
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._around = Around()
        self._tokens = TokenCount()
        self._counts: Counter[str] = Counter()
        self._told_unwritten = False
        self._inherited = _State({}, [], [])
        self._rules = tuple(map(rule_of, settings.budgets))
        self._by_name = {(rule.title, rule.window): rule for rule in self._rules}
        self._by_component: dict[tuple[str, str], tuple[str, tuple[Rule, ...]]] = {}
        take = self._take_strictly if settings.ledger == "strict" else self._take
        if any({"agent", "workflow"}.intersection(budget.key) for budget in settings.budgets):
            self._stand_around()
        for kind in CALLED:
            before, after, error = POINTS[kind]
            if kind == "model":
                stand(self, before, self._fit, priority=_LAST, waits=True)  # else a busy machine would take it out
            elif not any(fits(budget.match.partition(":")[0], kind) for budget in settings.budgets):
                continue
            stand(self, before, take, kind="guard", priority=_LAST)
            if kind == "model":  # of others only the time counts, which observers are told, too
                stand(self, after, self._settle_result, priority=_FIRST, waits=True)
                stand(self, error, self._settle_failure, priority=_FIRST, waits=True)
            stand(self, after, self._end, kind="observe")
            stand(self, error, self._end, kind="observe")

    def _stand_around(self) -> None:
        for before, ends in WITHIN.items():
            stand(self, before, self._around.begin, kind="observe")
            for end in ends:
                stand(self, end, self._around.end, kind="observe", priority=_LAST)

    async def __aenter__(self) -> Self:
        """Read the prices, and what was spent before."""
        if self._settings.price_list == "litellm":
            try:
                listed = await trio.to_thread.run_sync(read_list)
            except (OSError, ValueError) as error:
                advice = 'install litellm anew, or say price_list = "none"'
                raise InvalidInputError(
                    f"litellm's list of prices cannot be read: {text_of_error(error)}; {advice}"
                ) from error
            self._prices = Prices(self._settings.prices, listed)
        if self._settings.ledger != "memory":
            self._ledger = Ledger(await self._services.get(Storages).open())
            self._ledger.on_lost = self._tell_unwritten
            await self._ledger.load(self._clock.now_s() - self._settings.keep_days * 86_400)
            self._inherit()
        return self

    async def run(self) -> None:
        """Write what is spent."""
        await self._ledger.run()

    async def __aexit__(self, *error: object) -> None:
        """Write what is not written yet."""
        with trio.move_on_after(2):
            with suppress(StorageError):  # which has been told
                await self._ledger.flush()

    def stats(self) -> dict[str, float]:
        """Return what was spent and refused, and what is taken by calls under way."""
        taken = sum((account.taken for account in self._ledger.accounts() if not account.budget), Amount())
        return {
            **self._counts,
            "usd": self._counts["pico_usd"] / PICO,
            "taken_usd": taken.pico_usd / PICO,
            "unwritten": self._ledger.lost,
        }

    async def dump_state(self) -> Any:
        """Return what was spent, and what is taken and not settled as spent; see the contract's `Stateful`."""
        accounts = [(_stored(account), account.told) for account in self._ledger.accounts()]
        unkept = [stored for stored, _ in accounts] if self._settings.ledger == "memory" else []
        return plain_state(_State(dict(self._counts), [row for row in accounts if row[1]], unkept))

    async def load_state(self, state: Any, /) -> None:
        """Take that over; what a storage keeps is read from there when the plugin opens."""
        given = state_of(state, _State, self.name)
        self._counts.update(given.counts)
        self._inherited = given
        self._inherit()

    def _inherit(self) -> None:
        """Add what another one of this plugin has spent, once, and what it told of."""
        given = self._inherited
        for stored in given.accounts if self._settings.ledger == "memory" else ():
            self._ledger.account(stored.budget, stored.window, stored.since_s, stored.key).amount += stored.amount
        for stored, told in given.told:
            account = self._ledger.account(stored.budget, stored.window, stored.since_s, stored.key)
            account.told = max(account.told, told)
        self._inherited = msgspec.structs.replace(given, accounts=[])

    def headroom(self) -> dict[str, dict[str, float]]:
        """Return what is left of each budget that something was spent of, by its name and key."""
        left = {}
        for account in self._ledger.accounts():
            budget = self._by_name.get((account.budget, account.window))
            if budget is not None and account.since_s == window_start(budget.window, self._clock.now_s()):
                left["/".join((account.budget, *account.key))] = left_of(budget, account.amount)
        return left

    # Before: cut, then take.

    def _fit(self, context: HookContext[ModelRequest]) -> Cancel | Modified | Redirect | None:
        """Cut the answer to what is left; refuse or redirect if that is nothing."""
        request, price = context.subject, self._price(context)
        if isinstance(price, Cancel):
            return price
        budgets = [each for each in self._budgets(context)[1] if each.cuts]
        if not budgets:
            return None
        asked = self._tokens(request)
        longest = request.max_tokens or price.max_output_tokens or self._settings.max_output_tokens
        most = longest
        for budget, account in self._charged(budgets, context):
            room = room_of(budget, account.amount, asked, price)
            if room is None or room >= most or (room < 1 and budget.on_exceed == "ask"):
                continue
            if room < 1:
                return self._exceeded(budget, account, context, redirects=True)
            most = room
        if most == request.max_tokens:
            return None
        if most < longest:
            self._counts["cut"] += 1
        return Modified(msgspec.structs.replace(request, max_tokens=most))

    def _take(self, context: HookContext[Any]) -> Cancel | None:
        """Take what the call may cost at most, of all its budgets or of none."""
        operation = context.operation
        held = self._held.pop(operation.id, None)
        if held is not None:  # asked again about this attempt, or a further one whose predecessor nobody settled
            spent = Amount() if held.attempt == operation.attempt else held.amount
            self._settle(held, spent, context)
        if context.outcome is not None and context.outcome.decision is not None:
            return None  # a hook has the result; nothing is asked for
        price, amount = _FREE, Amount(calls=1)
        if isinstance(context.subject, ModelRequest):
            found = self._price(context)
            if isinstance(found, Cancel):
                return found
            price, amount = found, self._most(context.subject, found)
        address, budgets = self._budgets(context)
        charged = self._charged(budgets, context)
        exceeded = [pair for pair in charged if not holds(pair[0], pair[1].amount, amount)]
        refusal = None
        if exceeded:
            exceeded.sort(key=lambda pair: pair[0].on_exceed == "ask")
            refusal = self._exceeded(*exceeded[0], context, redirects=False)
            if refusal.code != APPROVAL_REQUIRED:
                return refusal
        accounts = [pair[1] for pair in charged]
        accounts.append(self._total(address, context))
        self._ledger.take(accounts, amount)  # also where a person is asked: it is given back if that is no yes
        self._held[operation.id] = _Held(operation.attempt, accounts, amount, price)
        if len(self._held) > _HELD:
            self._held.popitem(last=False)
        return refusal

    async def _take_strictly(self, context: HookContext[Any]) -> Cancel | None:
        """Take it, and go on when it is written: what other hosts of this storage spent counts, too."""
        refusal = self._take(context)
        held = self._held.get(context.operation.id)
        if held is None:
            return refusal
        try:
            await self._ledger.flush(held.accounts)
        except StorageError as error:
            self._give_back(context, held)
            return Cancel(
                f"{address_of(context)}: the ledger cannot be written: {text_of_error(error)}", "budget_unknown"
            )
        except (trio.Cancelled, BaseExceptionGroup):  # a group where the storage waits in a nursery
            self._give_back(context, held)
            raise
        for budget, account in self._charged(self._budgets(context)[1], context):
            if not holds(budget, account.amount, Amount()) and budget.on_exceed != "ask":
                self._give_back(context, held)
                return self._exceeded(budget, account, context, redirects=False)
        return refusal

    def _give_back(self, context: HookContext[Any], held: _Held) -> None:
        self._held.pop(context.operation.id, None)
        self._settle(held, Amount(), context)

    def _most(self, request: ModelRequest, price: TokenPrice) -> Amount:
        asked = self._tokens(request)
        answered = request.max_tokens or price.max_output_tokens or self._settings.max_output_tokens
        return Amount(asked * price.input_pico + answered * price.output_pico, asked + answered, 1)

    def _price(self, context: HookContext[ModelRequest]) -> TokenPrice | Cancel:
        model = context.component.name
        price = self._prices.of(model)
        if price is not None:
            return price
        if self._settings.unknown_model == "estimate":
            return token_price(self._settings.estimate)
        limited = any(budget.pico_usd is not None for budget in self._budgets(context)[1])
        if self._settings.unknown_model == "zero" or not limited:
            return _FREE
        self._counts["refused"] += 1
        advice = f'give [plugins.cost.prices."{model}"], or unknown_model = "zero" or "estimate"'
        return Cancel(f"model:{model}: nobody knows its price, and a budget limits money; {advice}", "price_unknown")

    @overload
    def _exceeded(
        self, budget: Rule, account: Account, context: HookContext[Any], *, redirects: Literal[False]
    ) -> Cancel: ...

    @overload
    def _exceeded(
        self, budget: Rule, account: Account, context: HookContext[Any], *, redirects: Literal[True]
    ) -> Cancel | Redirect: ...

    def _exceeded(
        self, budget: Rule, account: Account, context: HookContext[Any], *, redirects: bool
    ) -> Cancel | Redirect:
        if redirects and budget.on_exceed == "redirect" and budget.redirect != address_of(context):
            self._counts["redirected"] += 1
            return Redirect(budget.redirect)
        asks = budget.on_exceed == "ask"
        self._counts["asked" if asks else "refused"] += 1
        left = ", ".join(f"{value:.6g} {unit}" for unit, value in left_of(budget, account.amount).items())
        whose = f" of {'/'.join(account.key)}" if account.key else ""
        until = "" if budget.window == "none" else f"; it begins anew each {budget.window}"
        what = f"the budget {budget.title}{whose} has {left} left, which is too little for this call"
        return Cancel(f"{address_of(context)}: {what}{until}", APPROVAL_REQUIRED if asks else "budget_exceeded")

    # After: settle.

    def _settle_result(self, context: HookContext[ModelResponse]) -> Modified | None:
        """Put what was used in place of what was taken, and tell what it cost where the provider has not."""
        held = self._held.pop(context.operation.id, None)
        if held is None:
            return None
        usage = context.subject.usage
        known = bool(usage.input_tokens or usage.output_tokens)
        if known:
            spent = Amount(_billed(usage, held.price), usage.input_tokens + usage.output_tokens, 1, context.elapsed_ns)
        else:
            spent = held.amount + Amount(ns=context.elapsed_ns)
        self._settle(held, spent, context)
        context.metadata[self.name]["usd"] = usd = spent.pico_usd / PICO
        is_told = usage.cost_usd == usd or (usage.cost_usd is not None and not held.price.own)
        if not known or held.price is _FREE or is_told:
            return None
        told = msgspec.structs.replace(usage, cost_usd=usd)
        return Modified(msgspec.structs.replace(context.subject, usage=told))

    def _settle_failure(self, context: HookContext[Failure]) -> None:
        """Give back what a refused call did not use; what failed midway is spent as it was taken."""
        held = self._held.pop(context.operation.id, None)
        if held is not None:
            self._settle(held, self._failed(held, context), context)

    def _end(self, context: HookContext[Any]) -> None:
        """Settle what nobody has settled: the call was denied, or the caller left."""
        held = self._held.pop(context.operation.id, None)
        if held is not None:
            self._settle(held, self._failed(held, context) if context.elapsed_ns else Amount(), context)

    def _failed(self, held: _Held, context: HookContext[Any]) -> Amount:
        error = getattr(context.subject, "error", None)
        if context.component.kind != "model" or _is_unbilled(error):
            return Amount(calls=1, ns=context.elapsed_ns)
        return held.amount + Amount(ns=context.elapsed_ns)

    def _settle(self, held: _Held, spent: Amount, context: HookContext[Any]) -> None:
        self._ledger.settle(held.accounts, held.amount, spent)
        self._counts["pico_usd"] += spent.pico_usd
        self._counts["tokens"] += spent.tokens
        self._counts["calls"] += spent.calls
        over = spent.pico_usd > held.amount.pico_usd or spent.tokens > held.amount.tokens
        for account in held.accounts:
            budget = self._by_name.get((account.budget, account.window))
            if budget is not None and budget.alerts and account.told < budget.alerts[-1]:
                self._alert(budget, account)
        if over:
            told = {"component": address_of(context), "expected_tokens": held.amount.tokens, "tokens": spent.tokens}
            self._services.get(Events).publish_nowait("cost.overshoot", told)

    def _alert(self, budget: Rule, account: Account) -> None:
        used = used_of(budget, account.amount)
        for part in budget.alerts:
            if account.told < part <= used:
                account.told = part
                told = {"budget": budget.title, "key": list(account.key), "used": round(used, 4), "at": part}
                self._services.get(Events).publish_nowait("cost.alert", told)

    def _tell_unwritten(self, problem: StorageError) -> None:
        """Tell that the ledger cannot be written, the first time."""
        if self._told_unwritten:
            return
        self._told_unwritten = True
        error = f"the ledger cannot be written: {problem}"
        self._services.get(Operations).problem(StorageError(f"plugin {self.name}: {error}"))
        with suppress(LlmspellError):  # a hook may refuse it; the host's problems tell of it all the same
            self._services.get(Events).publish_nowait("cost.unwritten", {"plugin": self.name, "error": error})

    # Whose.

    def _budgets(self, context: HookContext[Any]) -> tuple[str, tuple[Rule, ...]]:
        """Return the address of what runs, and the budgets that are about it."""
        component = context.component
        name = component.kind, component.name
        found = self._by_component.get(name)
        if found is None:
            address = address_of(context)
            found = address, tuple(rule for rule in self._rules if fits(rule.match, address))
            if len(self._by_component) >= _KEPT:
                self._by_component.clear()
            self._by_component[name] = found
        return found

    def _charged(self, budgets: Iterable[Rule], context: HookContext[Any]) -> list[tuple[Rule, Account]]:
        """Return the accounts that a call is spent of, with their budgets."""
        now_s, account = self._clock.now_s(), self._ledger.account
        charged: list[tuple[Rule, Account]] = []
        for budget in budgets:
            since_s = window_start(budget.window, now_s)
            keys = self._around.keys(budget.key, context) if budget.key else _NOBODYS
            charged += [(budget, account(budget.title, budget.window, since_s, key)) for key in keys]
        return charged

    def _total(self, address: str, context: HookContext[Any]) -> Account:
        """The account that the report of components is made of."""
        key = (address, provider_of(context), context.operation.session_id)
        return self._ledger.account("", "day", window_start("day", self._clock.now_s()), key)


def _stored(account: Account) -> Stored:
    return Stored(account.budget, account.window, account.since_s, account.key, account.amount)


def _billed(usage: ModelUsage, price: TokenPrice) -> int:
    """What its tokens cost by the settings, else what the provider says, else by the list, in 1e-12 USD."""
    if usage.cost_usd is not None and not price.own:
        return max(0, round(usage.cost_usd * PICO))
    return usage.input_tokens * price.input_pico + usage.output_tokens * price.output_pico


def _is_unbilled(error: BaseException | None) -> bool:
    """Whether a provider refused the call, or was never reached."""
    if isinstance(error, ProviderError) and (error.code in _UNBILLED or error.status >= 400):
        return True
    while error is not None:
        if type(error).__name__ in _UNREACHED:
            return True
        error = error.__cause__ or error.__context__
    return False
