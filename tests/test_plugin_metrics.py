"""The plugin metrics: what it counts is what ended, and its own client and httpx can read it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import httpx
import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kernel import make_plugin, make_tool, opened
from llmspell import Host
from llmspell_hookspecs import Cancel, Message, ModelRequest, Services, ToolContext
from llmspell_hookspecs.errors import OperationCancelledError, ToolError
from llmspell_hookspecs.model import ModelUsage
from llmspell_plugins.hooks.metrics import Metrics, MetricsSettings
from llmspell_plugins.hooks.metrics.series import BOUNDS_S, Counter, Histogram
from scripted_model import ScriptedModel, says
from waiting import PATIENCE_S


class Watched(Metrics):
    """The plugin, as the newest host made it."""

    name = "watched"
    Settings = MetricsSettings
    newest: ClassVar[Watched]

    def __init__(self, settings: MetricsSettings, services: Services) -> None:
        super().__init__(settings, services)
        Watched.newest = self


def measured(**settings: Any) -> dict[str, Any]:
    return {"plugins": {"watched": settings}}


def samples(text: bytes | str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what the client of Prometheus reads."""
    if isinstance(text, bytes):
        text = text.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(text: bytes | str, name: str, **labels: str) -> float:
    return sum(
        value for (found, has), value in samples(text).items() if found == name and set(labels.items()) <= set(has)
    )


async def _echo(parameters: dict[str, Any], context: ToolContext) -> Any:
    if parameters.get("fail"):
        raise ToolError("no", code="no")
    return parameters


def deny(context: Any) -> Cancel | None:
    return Cancel("no") if context.subject.parameters.get("deny") else None


async def use(host: Host) -> None:
    """Three that complete, two that fail, one that is denied, one that the caller leaves, and a model's call."""
    for _ in range(3):
        await host.call("tool:echoing", {})
    for _ in range(2):
        with pytest.raises(ToolError):
            await host.call("tool:echoing", {"fail": True})
    with pytest.raises(OperationCancelledError):
        await host.call("tool:echoing", {"deny": True})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.call, "tool:waiting", {})
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await host.models.complete(ModelRequest("scripted/play", (Message("user", "hello"),)))


async def _wait(parameters: dict[str, Any], context: ToolContext) -> None:
    await trio.sleep_forever()


def everything() -> list[Any]:
    usage = ModelUsage(7, 5, 0.25)
    denies = make_plugin("denies", ("before_tool_execution", deny, {"kind": "guard", "match": "echoing"}))
    model = ScriptedModel(msgspec.structs.replace(says("hello"), usage=usage))
    return [Watched, make_tool("echoing", _echo), make_tool("waiting", _wait), denies, model]


async def test_what_ended_is_counted_by_how_it_ended_and_prometheus_reads_it() -> None:
    async with opened(*everything(), settings=measured()) as host:
        await use(host)
        text = Watched.newest.text()
        published = host.events.stats().published

    def ended(status: str, component: str = "echoing") -> float:
        return total(text, "llmspell_operations_total", kind="tool", component=component, status=status)

    assert (ended("completed"), ended("failed"), ended("cancelled")) == (3, 2, 1)
    assert ended("cancelled", "waiting") == 1
    assert total(text, "llmspell_operation_seconds_count", component="echoing") == 6
    assert total(text, "llmspell_operation_seconds_bucket", component="echoing", le="+Inf") == 6
    assert total(text, "llmspell_operation_seconds_sum", component="waiting") > 0
    assert total(text, "llmspell_tokens_total", model="scripted/play", direction="input") == 7
    assert total(text, "llmspell_tokens_total", model="scripted/play", direction="output") == 5
    assert total(text, "llmspell_cost_usd_total") == 0.25
    assert total(text, "llmspell_hook_calls_total", plugin="denies") == 6
    assert total(text, "llmspell_events_published_total") == published


async def test_the_page_is_served_and_nothing_else_is() -> None:
    async with opened(*everything(), settings=measured(listen="127.0.0.1:0")) as host, httpx.AsyncClient() as client:
        await use(host)
        base = f"http://127.0.0.1:{Watched.newest.port}"
        first, second = await client.get(f"{base}/metrics"), await client.get(f"{base}/metrics?again")
        other, posted = await client.get(f"{base}/"), await client.post(f"{base}/metrics")

    assert first.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert total(first.text, "llmspell_operations_total", component="echoing") == 6
    assert (second.status_code, other.status_code, posted.status_code) == (200, 404, 405)


async def test_a_client_that_speaks_no_http_harms_nobody() -> None:
    async with opened(*everything(), settings=measured(listen="127.0.0.1:0")) as host:
        for noise in (b"\x00\xff\r\n\r\n", b"GET", b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 20_000):
            stream = await trio.open_tcp_stream("127.0.0.1", Watched.newest.port)
            with trio.move_on_after(1), suppress(trio.BrokenResourceError):  # it may hang up before all is sent
                await stream.send_all(noise)
            await stream.aclose()
        await use(host)
        async with httpx.AsyncClient() as client:
            found = await client.get(f"http://127.0.0.1:{Watched.newest.port}/metrics")

    assert total(found.text, "llmspell_operations_total", component="echoing") == 6


async def test_a_port_that_is_taken_leaves_the_plugin_out_and_the_host_works() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        async with opened(*everything(), settings=measured(listen=f"127.0.0.1:{port}")) as host:
            (failed,) = [info for info in host.plugins.infos if info.error]
            await use(host)

    assert f"127.0.0.1:{port} cannot be served" in failed.error


async def test_the_file_holds_the_last_figures_when_the_host_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "metrics.prom"
    settings = {**measured(path=str(file)), "security": {"paths": {"write": [str(tmp_path)]}}}
    async with opened(*everything(), settings=settings) as host:
        await use(host)

    assert total(file.read_bytes(), "llmspell_operations_total", component="echoing") == 6
    assert os.listdir(tmp_path) == ["metrics.prom"]


async def test_a_file_that_cannot_be_written_is_told_once_and_harms_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    file = folder / "metrics.prom"
    settings = {**measured(path=str(file), every_s=0.1), "security": {"paths": {"write": [str(tmp_path)]}}}
    async with opened(*everything(), settings=settings) as host, host.events.subscribe("metrics.*") as events:
        folder.rmdir()
        with trio.fail_after(PATIENCE_S):
            event = await anext(aiter(events))
        await use(host)

    assert event.data["path"] == str(file)


async def test_stats_tell_scripts_percentiles() -> None:
    async with opened(*everything(), settings=measured()) as host:
        await use(host)
        stats = Watched.newest.stats()["tool:echoing"]

    assert (stats["completed"], stats["failed"], stats["cancelled"]) == (3, 2, 1)
    assert 0 < stats["p50_s"] <= stats["p95_s"] <= stats["p99_s"] < 60


async def test_an_address_that_is_none_is_refused() -> None:
    async with opened(Watched, settings=measured(listen="9464")) as host:
        (failed,) = [info for info in host.plugins.infos if info.error]

    assert "write host:port" in failed.error


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 5)), max_size=200), st.integers(1, 20))
def test_a_family_is_bounded_and_its_sum_is_right(added: list[tuple[str, int]], most: int) -> None:
    counter = Counter(most)
    for label, amount in added:
        counter.add((label,), amount)

    rows = list(counter.rows())
    assert len(rows) <= most + 1
    assert sum(amount for _, amount in rows) == sum(amount for _, amount in added)


@given(st.lists(st.integers(0, 299 * 10**9), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(times_ns: list[int], part: float) -> None:
    histogram = Histogram()
    for took_ns in times_ns:
        histogram.add(("all",), took_ns)

    ((_, times),) = histogram.rows()
    rank = max(1, -(-int(part * len(times_ns) * 100) // 100))
    true_s = sorted(times_ns)[rank - 1] / 1e9
    low = max((bound for bound in BOUNDS_S if bound < true_s), default=0.0)
    high = min((bound for bound in BOUNDS_S if bound >= true_s), default=300.0)
    next_true = sorted(times_ns)[min(rank, len(times_ns) - 1)] / 1e9
    assert low <= times.quantile_s(part) <= max(high, min(b for b in BOUNDS_S if b >= next_true))
    assert times.count == len(times_ns) == sum(times.buckets)
    assert times.total_ns == sum(times_ns)
