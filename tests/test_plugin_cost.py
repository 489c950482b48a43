"""The plugin cost: no budget is exceeded by anybody, what was taken is settled, and what was spent is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kernel import make_plugin, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Cache, Cancel, Message, ModelRequest, ModelResponse, Services, ToolContext
from llmspell_hookspecs.errors import OperationCancelledError, ProviderError
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.results import Replace, Retry
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.hooks.call_match import input_tokens
from llmspell_plugins.hooks.cost import Cost, CostSettings
from llmspell_plugins.hooks.cost.ledger import Account, Amount, Ledger
from llmspell_plugins.hooks.cost.prices import PICO, Prices, read_list
from scripted_model import WAITS, ScriptedModel, says

PRICES = {"scripted/*": {"input_usd": 1.0, "output_usd": 10.0, "max_output_tokens": 100}}


def budgeted(*budgets: dict[str, Any], **settings: Any) -> dict[str, Any]:
    rows = [{"match": "model:*", **budget} for budget in budgets]
    table = {"budgets": rows, "prices": PRICES, "price_list": "none", "ledger": "memory"}
    return {"plugins": {"watched": {**table, **settings}}}


def kept(folder: Path) -> dict[str, Any]:
    return {"storage": {"backend": "sqlite", "sqlite": {"path": str(folder / "state.db")}}}


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at_s = 1_764_500_000.0

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


class Watched(Cost):
    """The plugin, as the newest host made it."""

    name = "watched"
    Settings = CostSettings
    newest: ClassVar[Watched]

    def __init__(self, settings: CostSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._clock = self.clock = SetClock()
        Watched.newest = self


def request(**fields: Any) -> ModelRequest:
    return ModelRequest("scripted/play", (Message("user", "how much is it?"),), **fields)


def used(asked: int, answered: int) -> ModelResponse:
    return msgspec.structs.replace(says("much"), usage=ModelUsage(asked, answered))


async def ask(host: Host, **fields: Any) -> ModelResponse:
    answer = await host.models.complete(request(**fields))
    assert isinstance(answer, ModelResponse)
    return answer


def spent_usd(answered: int, asked: int = 5) -> Decimal:
    return (Decimal(asked) + Decimal(answered) * 10) / 1_000_000


def test_a_hundred_callers_at_once_never_spend_more_than_the_budget() -> None:
    model = ScriptedModel(lambda request: used(5, request.max_tokens or 0))
    refused = 0

    async def main() -> dict[str, float]:
        async with opened(Watched, model, settings=budgeted({"usd": 0.005})) as host:

            async def call() -> None:
                nonlocal refused
                try:
                    await ask(host)
                except OperationCancelledError as error:
                    assert error.code == "budget_exceeded"
                    refused += 1

            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(call)
            stats: dict[str, float] = Watched.newest.stats()
            return stats

    stats = run(main)

    bought = sum((spent_usd(each.max_tokens or 0) for each in model.requests), Decimal(0))
    assert bought <= Decimal("0.005")
    assert Decimal(stats["pico_usd"]) / PICO == bought
    assert stats["taken_usd"] == 0
    assert refused == 100 - len(model.requests)
    assert len(model.requests) >= 4
    assert min(each.max_tokens or 0 for each in model.requests) < 100, "the rest was used, by a shorter answer"


def test_an_answer_that_was_shorter_gives_back_what_it_did_not_use() -> None:
    model = ScriptedModel(used(5, 10))

    async def main() -> int:
        async with opened(Watched, model, settings=budgeted({"tokens": 300})) as host:
            with pytest.raises(OperationCancelledError, match=r"budget model:\* has \d+ tokens left"):
                for _ in range(100):
                    await ask(host)
            return int(Watched.newest.stats()["tokens"])

    assert 300 - 15 - input_tokens(request()) <= run(main) <= 300
    assert len(model.requests) > 10


def test_what_failed_without_being_billed_is_given_back_and_what_was_cut_short_is_spent() -> None:
    refusal = ProviderError("slow down", code="rate_limited", status=429)
    broken = ProviderError("it broke in the middle", code="protocol")
    model = ScriptedModel(refusal, broken, WAITS)

    async def main() -> list[float]:
        amounts = []
        async with opened(Watched, model, settings=budgeted({"usd": 1.0})) as host:
            for _ in range(2):
                with pytest.raises(ProviderError):
                    await ask(host)
                amounts.append(Watched.newest.stats()["pico_usd"])
            with trio.move_on_after(1):
                await ask(host)
            amounts.append(Watched.newest.stats()["pico_usd"])
            assert Watched.newest.stats()["taken_usd"] == 0
        return amounts

    most = input_tokens(request()) * 1_000_000 + 100 * 10_000_000
    assert run(main, virtual=True) == [0, most, 2 * most]


def test_a_call_that_a_later_guard_denies_spends_nothing() -> None:
    def deny(context: Any) -> Cancel:
        return Cancel("not today")

    denies = make_plugin("denies", ("before_model_call", deny, {"kind": "guard", "priority": 3_000_000}))
    model = ScriptedModel(used(5, 10))

    async def main() -> dict[str, float]:
        async with opened(Watched, model, denies, settings=budgeted({"usd": 1.0})) as host:
            with pytest.raises(OperationCancelledError, match="not today"):
                await ask(host)
            stats: dict[str, float] = Watched.newest.stats()
            return stats

    stats = run(main)

    assert stats.get("pico_usd", 0) == stats["taken_usd"] == 0
    assert not model.requests


@pytest.mark.parametrize("answer", [Replace(used(1_000, 1_000)), Cache("kept", 60, "host")])
def test_what_nobody_asks_a_model_for_costs_nothing(answer: Any) -> None:
    replaces = make_plugin("replaces", ("before_model_call", lambda context: answer, {}))
    model = ScriptedModel(used(5, 10))

    async def main() -> tuple[float, float]:
        async with opened(Watched, model, replaces, settings=budgeted({"usd": 1.0})) as host:
            await ask(host)
            first = Watched.newest.stats().get("pico_usd", 0)
            await ask(host)
            return first, Watched.newest.stats().get("pico_usd", 0)

    first, second = run(main)

    assert first == second == len(model.requests) * (5 * 1_000_000 + 10 * 10_000_000)


def test_each_attempt_of_a_retried_call_is_paid_for() -> None:
    def again(context: Any) -> Retry | None:
        return Retry(0, 3) if context.operation.attempt < 3 else None

    retries = make_plugin("retries", ("after_model_call", again, {}))
    model = ScriptedModel(used(5, 10))

    async def main() -> dict[str, float]:
        async with opened(Watched, model, retries, settings=budgeted({"calls": 100})) as host:
            await ask(host)
            stats: dict[str, float] = Watched.newest.stats()
            return stats

    stats = run(main)

    assert stats["calls"] == len(model.requests) >= 1
    assert stats["tokens"] == 15 * len(model.requests)


def test_a_provider_that_bills_more_than_was_asked_for_is_told_of_and_closes_the_budget() -> None:
    model = ScriptedModel(used(5, 5_000))
    heard: list[str] = []

    async def main() -> None:
        settings = budgeted({"tokens": 1_000})
        async with opened(Watched, model, settings=settings) as host, host.events.subscribe("cost.*") as events:
            await ask(host)
            with pytest.raises(OperationCancelledError, match="has 0 tokens left"):
                await ask(host)
            with trio.move_on_after(1):
                async for event in events:
                    heard.append(event.type)  # noqa: PERF401 - it ends by a cancellation

    run(main, virtual=True)

    assert heard.count("cost.overshoot") == 1
    assert heard.count("cost.alert") == 2


def test_a_model_without_a_price_is_refused_free_or_estimated_as_the_settings_say() -> None:
    async def ask_unknown(unknown_model: str) -> float | str:
        model = ScriptedModel(used(10, 10))
        async with opened(
            Watched, model, settings=budgeted({"usd": 1.0}, prices={}, unknown_model=unknown_model)
        ) as host:
            try:
                await ask(host)
            except OperationCancelledError as error:
                return error.code
            return float(Watched.newest.stats()["usd"])

    assert run(lambda: ask_unknown("refuse")) == "price_unknown"
    assert run(lambda: ask_unknown("zero")) == 0
    assert run(lambda: ask_unknown("estimate")) == (10 * 15 + 10 * 75) / 1e6


def test_a_budget_of_a_session_is_each_sessions_own_and_one_of_an_agent_is_the_agents() -> None:
    model = ScriptedModel(used(5, 5))

    async def main() -> None:
        settings = budgeted({"name": "each", "calls": 2, "key": ["agent"]})
        async with opened(Watched, model, settings=settings) as host:
            for name in ("writer", "reader"):
                agent = await host.agents.create(name=name, model="scripted/play")
                await agent.run("one")
                await agent.run("two")
                with pytest.raises(OperationCancelledError, match=f"the budget each of {name} has 0 calls left"):
                    await agent.run("three")

    run(main)

    assert len(model.requests) == 4


def test_a_window_begins_anew() -> None:
    tool = make_tool("counted", _one)

    async def main() -> None:
        settings = budgeted({"match": "tool:counted", "calls": 1, "window": "hour"})
        async with opened(Watched, tool, settings=settings) as host:
            await host.call("tool:counted", {})
            with pytest.raises(OperationCancelledError, match="it begins anew each hour"):
                await host.call("tool:counted", {})
            Watched.newest.clock.at_s += 3600
            await host.call("tool:counted", {})

    run(main)


MODEL = {"model": "scripted/play", "input": "how much is it?"}
STAGED: dict[str, dict[str, Any]] = {
    "sequential": {"stages": [{"name": f"s{n}", **MODEL} for n in range(9)]},
    "parallel": {"branches": [{"name": f"b{n}", "stages": [{"name": "s", **MODEL}]} for n in range(9)]},
    "graph": {"stages": [{"name": f"s{n}", "needs": [f"s{n - 1}"] if n % 3 else [], **MODEL} for n in range(9)]},
    "loop": {"range": {"end": 9}, "stages": [{"name": "s", **MODEL}]},
    "map_reduce": {"items": [*range(8)], "stages": [{"name": "s", **MODEL}], "reduce": {"name": "r", **MODEL}},
    "pipeline": {"items": [*range(3)], "stages": [{"name": f"s{n}", **MODEL} for n in range(3)]},
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("pattern", STAGED)
def test_a_budget_holds_over_the_stages_of_a_workflow(pattern: str, nested: bool) -> None:
    model = ScriptedModel(lambda request: used(5, request.max_tokens or 0))

    async def main() -> dict[str, float]:
        async with opened(Watched, model, settings=budgeted({"usd": 0.0035})) as host:
            made = await host.get(Workflows).create({"name": "inner", "pattern": pattern, **STAGED[pattern]})
            if nested:
                stages = [{"name": "call", "workflow": "inner"}]
                made = await host.get(Workflows).create({"name": "outer", "stages": stages})
            with pytest.raises(OperationCancelledError) as caught:
                await made.run()
            assert caught.value.code == "budget_exceeded"
            with pytest.raises(OperationCancelledError, match="budget"):  # nor does the next run get anything
                await made.run()
            stats: dict[str, float] = Watched.newest.stats()
            return stats

    stats = run(main)

    bought = sum((spent_usd(each.max_tokens or 0) for each in model.requests), Decimal(0))
    assert 3 <= len(model.requests) <= 4, "three at their full length, and one within what was left"
    assert Decimal("0.003") < bought <= Decimal("0.0035")
    assert Decimal(stats["pico_usd"]) / PICO == bought
    assert stats["taken_usd"] == 0


def test_a_redirect_runs_the_cheaper_model_when_the_budget_is_used_up() -> None:
    model = ScriptedModel(used(5, 5))
    budget = {"match": "model:scripted/dear", "calls": 10, "tokens": 1, "on_exceed": "redirect"}

    async def main() -> ModelResponse:
        settings = budgeted({**budget, "redirect": "model:scripted/play"})
        async with opened(Watched, model, settings=settings) as host:
            answer = await host.models.complete(msgspec.structs.replace(request(), model="scripted/dear"))
            assert isinstance(answer, ModelResponse)
            return answer

    assert run(main).text == "much"
    assert [each.model for each in model.requests] == ["scripted/play"]


@pytest.mark.parametrize("ledger", ["behind", "strict"])
def test_what_was_spent_counts_for_the_next_host(ledger: str, tmp_path: Path) -> None:
    model = ScriptedModel(used(5, 5))
    settings = {
        **budgeted({"calls": 3}, ledger=ledger),
        **kept(tmp_path),
    }

    async def main() -> None:
        async with opened(Watched, model, settings=settings) as host:
            await ask(host)
            await ask(host)
        async with opened(Watched, ScriptedModel(used(5, 5)), settings=settings) as host:
            await ask(host)
            with pytest.raises(OperationCancelledError, match="has 0 calls left"):
                await ask(host)

    run(main)


def test_two_hosts_of_one_storage_share_a_strict_budget(tmp_path: Path) -> None:
    settings = {
        **budgeted({"calls": 10}, ledger="strict"),
        **kept(tmp_path),
    }
    models = [ScriptedModel(used(5, 5)), ScriptedModel(used(5, 5))]

    async def call(host: Host) -> None:
        for _ in range(10):
            try:
                await ask(host)
            except OperationCancelledError as error:
                assert error.code in {"budget_exceeded", "budget_unknown"}

    async def main() -> None:
        async with (
            opened(Watched, models[0], settings=settings) as one,
            opened(Watched, models[1], settings=settings) as other,
            trio.open_nursery() as nursery,
        ):
            for host in (one, other, one, other):
                nursery.start_soon(call, host)

    run(main)

    assert sum(len(model.requests) for model in models) <= 10
    assert sum(len(model.requests) for model in models) >= 8


def test_a_damaged_ledger_is_named_when_the_host_opens(tmp_path: Path) -> None:
    settings = {
        **budgeted({"calls": 3}, ledger="strict"),
        **kept(tmp_path),
    }

    async def main() -> None:
        async with opened(Watched, settings={**kept(tmp_path)}) as host:
            await (await host.get(Storages).open()).write({"cost/0000": b"{"})
        async with opened(Watched, settings=settings) as host:
            (failed,) = [info for info in host.plugins.infos if info.error]
            assert "an entry is damaged" in failed.error

    run(main)


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({}, "a budget limits usd, tokens, calls or seconds"),
        ({"calls": 1, "on_exceed": "redirect"}, "give both or neither"),
        ({"match": "tool:*", "usd": 1}, "only calls of models cost tokens and usd"),
        ({"calls": 1, "alerts": [2]}, "parts between 0 and 1"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(budget: dict[str, Any], told: str) -> None:
    async def main() -> str:
        async with opened(Watched, settings=budgeted(budget)) as host:
            (failed,) = [info for info in host.plugins.infos if info.error]
            return failed.error

    assert told in run(main)


def test_the_report_sums_by_component_and_budget(tmp_path: Path) -> None:
    home = tmp_path / "project"
    home.mkdir()
    prices = 'prices = {"offline/*" = {input_usd = 1.0, output_usd = 1.0}}'
    budget = '[[plugins.cost.budgets]]\nname = "all"\nusd = 1.0\n'
    home.joinpath("llmspell.toml").write_text(f"[plugins.cost]\nenabled = true\n{prices}\n{budget}")

    def llmspell(*arguments: str) -> str:
        command = [sys.executable, "-m", "llmspell", "--project", str(home), *arguments]
        found = subprocess.run(command, capture_output=True, text=True, cwd=home, timeout=120)
        assert found.returncode == 0, found.stderr
        return found.stdout

    llmspell("trust", str(home))
    llmspell("agent", "run", "--model", "offline/rules", "what is 2 + 2?")

    rows = json.loads(llmspell("cost", "report", "--output", "json"))
    assert [row["component"] for row in rows if row["component"].startswith("model:")] == ["model:offline/rules"]
    assert rows[0]["calls"] >= 1
    assert rows[0]["usd"] == pytest.approx(rows[0]["tokens"] / 1e6)
    (model,) = json.loads(llmspell("cost", "report", "--by", "model", "--output", "json"))
    assert (model["model"], model["calls"]) == ("offline/rules", rows[0]["calls"])
    assert json.loads(llmspell("cost", "report", "--by", "budget", "--output", "json"))[0]["budget"] == "all"


def test_prices_come_from_the_settings_first_and_then_from_litellms_list() -> None:
    pytest.importorskip("litellm")
    listed = read_list()
    assert "litellm" not in sys.modules or listed

    price = Prices({}, listed).of("litellm/gpt-4o")
    assert price is not None
    assert price.input_pico == 2_500_000
    assert price.output_pico == 10_000_000
    assert Prices({}, listed).of("nobody/knows") is None


async def _one(parameters: dict[str, Any], context: ToolContext) -> int:
    return 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=40), st.integers(0, 200))
def test_an_account_is_the_sum_of_what_was_spent_and_is_taken(steps: list[tuple[int, int, bool]], limit: int) -> None:
    ledger = Ledger(None)
    account: Account = ledger.account("all", "none", 0, ())
    open_calls: list[Amount] = []
    spent = 0
    for taken, really, at_once in steps:
        if account.amount.tokens + taken <= limit:
            ledger.take([account], Amount(tokens=taken))
            open_calls.append(Amount(tokens=taken))
        if at_once and open_calls:
            amount = open_calls.pop(0)
            real = min(really, amount.tokens)
            ledger.settle([account], amount, Amount(tokens=real))
            spent += real
        assert account.amount.tokens == spent + sum(each.tokens for each in open_calls) <= limit
        assert account.taken.tokens == sum(each.tokens for each in open_calls)
