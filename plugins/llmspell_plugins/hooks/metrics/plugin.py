"""The plugin: observers count what ran; hooks, events and breakers are asked when somebody reads.

Labels hold names of components and hooks, never sessions, users or texts, and a family is bounded in breadth.
Invariant: the sums are those of what ended, whatever becomes of the page and the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

import trio
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmspell_hookspecs import Events, FileAccess, HookContext, ModelResponse, Policy, Services
from llmspell_hookspecs.borrowing import Borrowing
from llmspell_hookspecs.errors import InvalidInputError, PluginError, text_of_error
from llmspell_hookspecs.regular import replace_regular
from llmspell_hookspecs.services import Hooks
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_plugins.hooks.standing import POINTS, stand

from .series import BOUNDS_S, OTHER, Counter, Histogram, Times, cumulative
from .text import render, serve

__all__ = ["Metrics", "MetricsSettings"]

_BREAKER: Final = {"closed": 0, "half_open": 1, "open": 2}
_FATES: Final = ("delivered", "dropped", "rejected", "sampled", "expired", "discarded", "failed")


class MetricsSettings(BaseModel):
    """``[plugins.metrics]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: Annotated[str, Policy.LOCKED] = Field(
        default="", description="Where /metrics is served: 127.0.0.1:9464; port 0 takes any free one; nowhere if empty."
    )
    path: Annotated[str, Policy.LOCKED] = Field(
        default="", description="A file that is written with the same text, for a node exporter; none if empty."
    )
    every_s: float = Field(default=15.0, ge=0.1, le=3600, description="How often the file is written.")
    series: int = Field(default=1000, ge=10, le=100_000, description="How many series a family may have.")

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        host, colon, port = listen.rpartition(":")
        if listen and not (host and colon and port.isdigit() and int(port) < 65_536):
            raise ValueError(f"{listen!r} is no address; write host:port, such as 127.0.0.1:9464")
        return listen


class _State(Struct, frozen=True):
    """What outlives the plugin: labels and sum of each series."""

    sums: dict[str, list[tuple[tuple[str, ...], float]]]
    took: list[tuple[tuple[str, ...], Times]]
    unwritten: int = 0


class Metrics:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.

    Attributes:
        port: Where the page is served; 0 if it is not.

    Raises:
        PluginError: ``prometheus_client`` is not installed.
    """

    name = "metrics"
    Settings: ClassVar[type[BaseModel]] = MetricsSettings
    borrowing = Borrowing(fixed={"listen": "", "path": "", "series": 1000})

    def __init__(self, settings: MetricsSettings, services: Services) -> None:
        if find_spec("prometheus_client") is None:
            raise PluginError("prometheus_client is not installed; pip install 'llmspell[metrics]'")
        self.port = 0
        self._settings = settings
        self._services = services
        self._ended = Counter(settings.series)
        self._took = Histogram(settings.series)
        self._attempts = Counter(settings.series)
        self._tokens = Counter(settings.series)
        self._usd = Counter(settings.series)
        self._unwritten = 0
        self._file = ""
        for _, *ends in POINTS.values():
            for point in ends:
                stand(self, point, self._count, kind="observe")

    async def __aenter__(self) -> Self:
        """Judge the path of the file."""
        if self._settings.path:
            self._file = self._services.get(FileAccess).resolve(self._settings.path, "write")
        return self

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the page, and write the file."""
        async with trio.open_nursery() as nursery:
            if self._settings.listen:
                host, _, port = self._settings.listen.rpartition(":")
                try:
                    listeners = await trio.open_tcp_listeners(int(port), host=host.strip("[]"))
                except OSError as error:
                    raise InvalidInputError(
                        f"plugins.metrics.listen: {self._settings.listen} cannot be served: {text_of_error(error)}; "
                        "take another port, or 0 for any"
                    ) from error
                nursery.start_soon(trio.serve_listeners, self._serve, listeners)
                self.port = listeners[0].socket.getsockname()[1]
            task_status.started()
            while self._file:
                await trio.sleep(self._settings.every_s)
                await self._write()
            await trio.sleep_forever()

    async def __aexit__(self, *error: object) -> None:
        """Write the file a last time."""
        if self._file:
            with trio.move_on_after(2):
                await self._write()

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            await serve(self.text, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _write(self) -> None:
        """Write the file whole, by its name at once."""
        text = self.text()

        def write() -> None:
            replace_regular(Path(self._file), text)
            os.chmod(self._file, 0o644)  # other programs read it

        try:
            await trio.to_thread.run_sync(write)
        except OSError as error:
            self._unwritten += 1
            if self._unwritten == 1:
                told = {"path": self._file, "error": text_of_error(error)}
                self._services.get(Events).publish_nowait("metrics.unwritten", told)

    def _count(self, context: HookContext[Any]) -> None:
        component = context.component
        status = context.outcome.status if context.outcome is not None else "completed"
        self._ended.add((component.kind, component.name, status))
        self._took.add((component.kind, component.name), context.elapsed_ns)
        if context.operation.attempt > 1:
            self._attempts.add((component.kind, component.name), context.operation.attempt - 1)
        if isinstance(context.subject, ModelResponse):
            usage = context.subject.usage
            self._tokens.add((component.name, "input"), usage.input_tokens)
            self._tokens.add((component.name, "output"), usage.output_tokens)
            if usage.cost_usd:
                self._usd.add((component.name,), usage.cost_usd)

    def stats(self) -> dict[str, dict[str, float]]:
        """Return, by component, how many ended, and the 50th, 95th and 99th percentile of how long they took."""
        counts: dict[str, dict[str, float]] = {}
        for (kind, name, status), count in self._ended.rows():
            counts.setdefault(f"{kind}:{name}", {})[status] = count
        for (kind, name), times in self._took.rows():
            counts.setdefault(f"{kind}:{name}", {}).update(
                {f"p{part}_s": round(times.quantile_s(part / 100), 6) for part in (50, 95, 99)}
            )
        return counts

    async def dump_state(self) -> Any:
        """Return all sums, which never become smaller; see the contract's `Stateful`."""
        sums = {name: list(counter.rows()) for name, counter in self._counters().items()}
        return plain_state(_State(sums, list(self._took.rows()), self._unwritten))

    async def load_state(self, state: Any, /) -> None:
        """Add them."""
        given = state_of(state, _State, self.name)
        if any(len(times.buckets) != len(BOUNDS_S) + 1 for _, times in given.took):
            raise InvalidInputError(f"plugin {self.name}: this state has other buckets; begin without it")
        for name, counter in self._counters().items():
            for labels, amount in given.sums.get(name, ()):
                counter.add(labels, amount)
        for labels, times in given.took:
            self._took.merge(labels, times)
        self._unwritten += given.unwritten

    def _counters(self) -> dict[str, Counter]:
        return {"ended": self._ended, "attempts": self._attempts, "tokens": self._tokens, "usd": self._usd}

    def text(self) -> bytes:
        """Return all of it in the text format of Prometheus."""
        return render(self._families())

    def _families(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield _counter("llmspell_operations", "Operations that ended.", ("kind", "component", "status"), self._ended)
        yield _histogram("llmspell_operation_seconds", "How long they took.", ("kind", "component"), self._took)
        yield _counter("llmspell_retries", "Attempts beyond the first.", ("kind", "component"), self._attempts)
        yield _counter("llmspell_tokens", "Tokens of models.", ("model", "direction"), self._tokens)
        yield _counter("llmspell_cost_usd", "What providers said calls cost.", ("model",), self._usd)
        hooks = ("plugin", "hook", "point")
        calls, failures, seconds, breakers = (Counter(self._settings.series) for _ in range(4))
        for info in self._services.get(Hooks).list():
            labels = (info.plugin, info.name, info.point)
            calls.add(labels, info.calls)
            failures.add(labels, info.failures)
            seconds.add(labels, info.total_ns / 1e9)
            if info.breaker in _BREAKER:
                breakers.add(labels, _BREAKER[info.breaker])
        yield _counter("llmspell_hook_calls", "Calls of hooks.", hooks, calls)
        yield _counter("llmspell_hook_failures", "Hooks that failed.", hooks, failures)
        yield _counter("llmspell_hook_seconds", "How long hooks took together.", hooks, seconds)
        gauge = GaugeMetricFamily("llmspell_breaker_state", "0 closed, 1 half open, 2 open.", labels=hooks)
        for values, state in breakers.rows():
            if values[0] != OTHER:  # states have no sum
                gauge.add_metric(values, state)
        yield gauge
        stats = self._services.get(Events).stats()
        yield CounterMetricFamily("llmspell_events_published", "Events that were published.", value=stats.published)
        fates = CounterMetricFamily("llmspell_events", "What became of events, by subscription.", labels=("fate",))
        for fate in _FATES:
            fates.add_metric((fate,), getattr(stats, fate))
        yield fates
        yield GaugeMetricFamily("llmspell_events_pending", "Events in mailboxes.", value=stats.pending)


def _counter(name: str, help_text: str, labels: tuple[str, ...], counter: Counter) -> Any:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, total in counter.rows():
        family.add_metric(values, total)
    return family


def _histogram(name: str, help_text: str, labels: tuple[str, ...], histogram: Histogram) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, help_text, labels=labels)
    for values, times in histogram.rows():
        family.add_metric(values, list(cumulative(times.buckets)), times.total_ns / 1e9)
    return family
