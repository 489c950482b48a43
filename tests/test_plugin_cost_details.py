"""The plugin cost, further: agents within agents, persons who are asked, what a call tells of its cost, and prices."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import make_plugin, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Cancel, Message, ModelRequest, ModelResponse, Services, ToolContext
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.errors import OperationCancelledError, ProviderError
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.hooks.call_match import input_tokens
from llmspell_plugins.hooks.cost import Cost, CostSettings
from llmspell_plugins.hooks.cost.prices import PICO, Prices, read_list
from scripted_model import ScriptedModel, asks, says

PRICES = {"scripted/*": {"input_usd": 1.0, "output_usd": 10.0, "max_output_tokens": 100}}


class Watched(Cost):
    """The plugin, as the newest host made it."""

    name = "watched"
    Settings = CostSettings
    newest: ClassVar[Watched]

    def __init__(self, given: CostSettings, services: Services) -> None:
        super().__init__(given, services)
        Watched.newest = self


def budgeted(*budgets: dict[str, Any], **given: Any) -> dict[str, Any]:
    rows = [{"match": "model:*", **budget} for budget in budgets]
    table = {"budgets": rows, "prices": PRICES, "price_list": "none", "ledger": "memory", **given}
    return {"plugins": {"watched": table}}


def request(**fields: Any) -> ModelRequest:
    return ModelRequest("scripted/play", (Message("user", "how much is it?"),), **fields)


def used(asked: int, answered: int, cost_usd: float | None = None) -> ModelResponse:
    return msgspec.structs.replace(says("much"), usage=ModelUsage(asked, answered, cost_usd))


async def refusal(call: Callable[[], Awaitable[object]]) -> OperationCancelledError | None:
    try:
        await call()
    except OperationCancelledError as error:
        return error
    return None


# Agents within agents.


def delegate(host: Host) -> Callable[[dict[str, Any], ToolContext], Awaitable[str]]:
    """Return what a tool does that asks the agent helper."""

    async def run_helper(parameters: dict[str, Any], context: ToolContext) -> str:
        return str((await host.call("agent:helper", "help")).text)

    return run_helper


@pytest.mark.parametrize("key", ["agent", "workflow"])
def test_what_an_agent_within_spends_is_spent_of_the_budget_of_the_one_around_it(key: str) -> None:
    model = ScriptedModel(
        lambda request: asks(("delegate", {})) if request.messages[-1].content == "begin" else used(5, 5),
    )
    tool: Any = {}

    async def main() -> tuple[Any, dict[str, dict[str, float]]]:
        delegating = make_tool("delegate", lambda given, context: tool["run"](given, context))
        rows = budgeted({"name": "each", "calls": 4, "key": [key]})
        async with opened(Watched, model, delegating, settings=rows) as host:
            tool["run"] = delegate(host)
            await host.agents.create(name="helper", model="scripted/play")
            writer = await host.agents.create(name="writer", model="scripted/play", tools=["delegate"])
            if key == "workflow":
                definition = {"name": "report", "stages": [{"name": "write", "agent": "writer", "input": "begin"}]}
                workflow = await host.get(Workflows).create(definition)
                call: Callable[[], Awaitable[object]] = partial(workflow.run, {})
            else:
                call = partial(writer.run, "begin")
            await call()
            writer.forget()
            second = await refusal(call)
            return second, Watched.newest.headroom()

    second, left = run(main)

    assert len(model.requests) == 4, "writer, helper, writer; writer; and no more"
    assert second is None or second.code == "budget_exceeded"
    assert left[{"agent": "each/writer", "workflow": "each/report"}[key]]["calls"] == 0
    if key == "agent":
        assert left["each/helper"]["calls"] == 3


def test_an_agent_that_runs_itself_is_counted_once() -> None:
    model = ScriptedModel(asks(("again", {})), used(5, 5), used(5, 5))
    tool: Any = {}

    async def main() -> float:
        again = make_tool("again", lambda given, context: tool["run"](given, context))
        async with opened(
            Watched, model, again, settings=budgeted({"name": "each", "calls": 9, "key": ["agent"]})
        ) as h:
            await h.agents.create(name="helper", model="scripted/play", tools=["again"])
            tool["run"] = delegate(h)
            await h.call("agent:helper", "begin")
            return Watched.newest.headroom()["each/helper"]["calls"]

    assert run(main) == 9 - len(model.requests) == 6


# Persons who are asked.


def test_what_a_budget_has_not_left_a_person_may_allow_once_and_it_is_counted() -> None:
    model = ScriptedModel(used(5, 10))

    async def main() -> list[Any]:
        told: list[Any] = []
        asks_first = budgeted({"name": "purse", "calls": 1, "on_exceed": "ask"}, {"name": "wall", "calls": 2})
        async with opened(Watched, model, settings=asks_first) as host:
            call = partial(host.models.complete, request(max_tokens=50))
            await call()
            refused = await refusal(call)
            told += [refused and refused.code, Watched.newest.stats()["calls"], Watched.newest.stats()["taken_usd"]]
            (asked,) = await host.get(Approvals).list(status="pending")
            told.append(asked.reason)
            await host.get(Approvals).allow(asked.id, by="Ada")
            told.append(await refusal(call))
            told.append(Watched.newest.stats()["calls"])
            again = await refusal(call)
            told.append(again and again.code)
        return told

    code, calls, taken, reason, allowed, then, last = run(main)

    assert (code, calls, taken) == ("approval_required", 1, 0)
    assert "the budget purse has 0 calls left" in reason
    assert (allowed, then) == (None, 2)
    assert last == "budget_exceeded", "what nobody may allow comes first"
    assert len(model.requests) == 2


def test_of_a_budget_that_asks_an_answer_is_cut_while_there_is_room_and_whole_when_a_person_is_asked() -> None:
    model = ScriptedModel(lambda request: used(5, request.max_tokens or 0))

    async def main() -> Any:
        first_asks = budgeted({"usd": 0.0012, "on_exceed": "ask"})
        async with opened(Watched, model, settings=first_asks) as host:
            for _ in range(2):
                await host.models.complete(request())
            await refusal(lambda: host.models.complete(request()))
            (asked,) = await host.get(Approvals).list(status="pending")
            return asked.call["max_tokens"]

    whole = run(main)

    assert model.requests[0].max_tokens == 100
    assert 0 < (model.requests[1].max_tokens or 0) < 100
    assert whole == 100


# What a call tells.


@pytest.mark.parametrize(
    ("told", "price", "cost_usd"),
    [
        (None, PRICES, 5e-6 + 10 * 10e-6),
        (0.5, PRICES, 5e-6 + 10 * 10e-6),
        (0.5, {}, 0.5),
        (None, {}, None),
    ],
)
def test_a_response_tells_its_cost_by_the_settings_else_as_its_provider_does(
    told: float | None, price: Any, cost_usd: float | None
) -> None:
    seen: list[Any] = []
    watcher = make_plugin(
        "seer",
        ("after_model_call", lambda context: seen.append(dict(context.metadata["watched"])), {"kind": "observe"}),
    )

    async def main() -> Any:
        model = ScriptedModel(used(5, 10, told))
        async with opened(Watched, watcher, model, settings=budgeted(prices=price)) as host:
            agent = await host.agents.create(name="writer", model="scripted/play")
            return (await agent.run("hello")).usage.cost_usd, (await host.models.complete(request())).usage.cost_usd

    agents, models = run(main)

    assert (agents, models) == (pytest.approx(cost_usd), pytest.approx(cost_usd))
    assert [each["usd"] for each in seen] == [pytest.approx(cost_usd or 0)] * 2


# Prices.

_ASK_LITELLM = """
import json, sys
import litellm
costs = {}
for model, asked, answered in json.load(sys.stdin):
    usage = litellm.Usage(prompt_tokens=asked, completion_tokens=answered, total_tokens=asked + answered)
    response = litellm.ModelResponse(model=model, usage=usage)
    try:
        costs[model] = litellm.completion_cost(completion_response=response, model=model)
    except Exception as error:
        costs[model] = None
print(json.dumps(costs))
"""


PROVIDERS = ("openai", "anthropic", "gemini", "mistral", "groq", "deepseek", "xai", "perplexity", "together_ai")
VARIES = ("above", "tiered", "off_peak")


def _is_plain(name: str, entry: bytes) -> bool:
    """Whether a model chats, is of a provider that many know, and has one price at any length and hour."""
    facts = json.loads(entry)
    is_known = facts.get("litellm_provider") in PROVIDERS
    return is_known and facts.get("mode") == "chat" and not any(word in key for key in facts for word in VARIES)


def test_what_a_call_costs_is_what_litellm_works_out_for_it() -> None:
    if importlib.util.find_spec("litellm") is None:  # not imported: it asks the network for its list
        pytest.skip("litellm is not installed")
    listed = read_list()
    prices = Prices({}, listed)
    chat = [name for name, entry in listed.items() if _is_plain(name, bytes(entry)) and prices.of(name) is not None]
    dice = random.Random(11)
    sample = [(name, dice.randint(1, 90_000), dice.randint(1, 4_000)) for name in dice.sample(sorted(chat), 100)]

    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    asked = subprocess.run(
        [sys.executable, "-c", _ASK_LITELLM],
        input=json.dumps(sample),
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )
    theirs = json.loads(asked.stdout.splitlines()[-1])

    compared = {}
    for name, inputs, outputs in sample:
        price = prices.of(name)
        assert price is not None
        if theirs[name] is not None:
            compared[name] = ((inputs * price.input_pico + outputs * price.output_pico) / PICO, theirs[name])
    wrong = {name: pair for name, pair in compared.items() if pair[0] != pytest.approx(pair[1], rel=1e-6)}
    assert len(compared) > 80
    assert wrong == {}


# A hundred callers.

CALLERS = st.lists(
    st.tuples(
        st.integers(0, 20),  # when it comes, in tenths of a second
        st.integers(0, 20),  # how long the model takes
        st.integers(0, 150),  # what it answers
        st.sampled_from(["answers", "answers", "answers", "unbilled", "breaks", "denied", "leaves"]),
    ),
    min_size=1,
    max_size=100,
)


class _Shop:
    """A model that does what each caller asks of it, and what it really bills."""

    def __init__(self) -> None:
        self.billed = Decimal(0)
        self.open = Decimal(0)

    async def serve(self, request: ModelRequest) -> ModelResponse:
        last = request.messages[-1]
        _, wait, answered, how = json.loads(last.content)
        asked, most = input_tokens(request), request.max_tokens or 0
        await trio.sleep(wait / 10)
        if how == "unbilled":
            raise ProviderError("busy", code="rate_limited")
        if how in ("breaks", "leaves"):
            self.billed += _usd(asked, most)  # as far as anybody knows
            if how == "leaves":
                await trio.sleep_forever()
            raise ConnectionError("it was cut off")
        tokens = max(1, min(answered, most))
        self.billed += _usd(asked, tokens)
        return used(asked, tokens)


def _usd(asked: int, answered: int) -> Decimal:
    return (Decimal(asked) + Decimal(answered) * 10) / 1_000_000


class _Served(ScriptedModel):
    """A scripted model whose line is a shop."""

    def __init__(self, shop: _Shop) -> None:
        super().__init__(says(""))
        self.shop = shop

    async def complete(self, model: str, request: ModelRequest, sink: Any, /) -> ModelResponse:
        return await self.shop.serve(request)


def deny(context: Any) -> Cancel | None:
    return Cancel("no") if '"denied"' in context.subject.messages[-1].content else None


@settings(max_examples=25)
@given(CALLERS, st.integers(1, 20))
def test_however_a_hundred_callers_come_and_go_a_budget_is_never_exceeded(
    callers: list[tuple[int, int, int, str]], thousandths: int
) -> None:
    budget, shop = Decimal(thousandths) / 1000, _Shop()

    async def main() -> tuple[Decimal, float]:
        judge = make_plugin("judge", ("before_model_call", deny, {"kind": "guard", "priority": 3_000_000}))
        async with opened(Watched, judge, _Served(shop), settings=budgeted({"usd": float(budget)})) as host:

            async def call(number: int, caller: tuple[int, int, int, str]) -> None:
                await trio.sleep(caller[0] / 10)
                with trio.move_on_after(caller[1] / 10 + 0.05 if caller[3] == "leaves" else 1e6):
                    try:
                        text = json.dumps([number, *caller[1:]])
                        await host.models.complete(ModelRequest("scripted/play", (Message("user", text),)))
                    except (OperationCancelledError, ProviderError, ConnectionError):
                        pass

            async with trio.open_nursery() as nursery:
                for number, caller in enumerate(callers):
                    nursery.start_soon(call, number, caller)
            stats: dict[str, float] = Watched.newest.stats()
            return Decimal(stats["pico_usd"]) / PICO, stats["taken_usd"]

    spent, taken = run(main, virtual=True)

    assert shop.billed <= budget
    assert spent == shop.billed
    assert taken == 0
