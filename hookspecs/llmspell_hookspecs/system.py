"""The topic system: the host itself, its settings, limits, security and load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from .context import HookContext
from .errors import ResourceLimitError, ScriptError, text_of_error
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "ConfigurationChange",
    "HostState",
    "LimitExceeded",
    "LoadSample",
    "SlowOperation",
    "Violation",
    "configuration_change",
    "cpu_usage_high",
    "limit_of",
    "memory_usage_high",
    "performance_threshold_exceeded",
    "resource_limit_exceeded",
    "security_violation",
    "system_shutdown",
    "system_startup",
]

_RESOURCES: Final = {"memory_limit": "memory_bytes", "time_limit": "time_s", "instruction_limit": "instructions"}


class HostState(Struct, frozen=True):
    """The host as it starts or stops.

    Attributes:
        version: llmspell's version.
        plugins: The names of the plugins that are loaded.
        failed: The names of those that could not be.
    """

    version: str
    plugins: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class ConfigurationChange(Struct, frozen=True):
    """A setting is about to change at run time.

    Attributes:
        key: Its dotted path.
        old: The value now; secrets are masked.
        new: The value asked for; secrets are masked.
        origin: Who asks: ``script``, ``code`` ...
    """

    key: str
    old: Any
    new: Any
    origin: str


class LimitExceeded(Struct, frozen=True):
    """A limit was exceeded.

    Attributes:
        resource: ``memory_bytes``, ``time_s``, ``instructions`` ...
        limit: The limit, in the unit that the resource's name carries.
        message: What happened.
    """

    resource: str
    limit: float
    message: str


class Violation(Struct, frozen=True):
    """A security rule refused something.

    Attributes:
        rule: ``level``, ``path``, ``host``, ``environment``, ``process`` or ``sandbox``.
        message: What was refused.
        details: Facts for programs.
    """

    rule: str
    message: str
    details: Mapping[str, Any] = {}


class SlowOperation(Struct, frozen=True):
    """An operation, or most of the last ones of a component, took longer than the threshold in settings.

    Attributes:
        elapsed_ms: How long it took; of many, what all but the slowest twentieth took at most.
        threshold_ms: How long it should take at most.
        component: Of many, whose they are, as ``kind:name``; empty for one operation, which the context tells of.
        calls: How many they are.
    """

    elapsed_ms: float
    threshold_ms: float
    component: str = ""
    calls: int = 1


class LoadSample(Struct, frozen=True):
    """The process's load as it crosses a threshold.

    Attributes:
        resource: ``memory_bytes`` or ``cpu_percent``.
        value: The load now.
        threshold: The threshold in settings.
    """

    resource: Literal["memory_bytes", "cpu_percent"]
    value: float
    threshold: float


def limit_of(error: BaseException) -> LimitExceeded | None:
    """Return the limit that an error says was exceeded, also behind errors of scripts; None if it says of none."""
    cause: BaseException | None = error
    while isinstance(cause, ScriptError):
        cause = cause.__cause__
    if isinstance(cause, ResourceLimitError):
        return LimitExceeded(cause.resource, cause.limit, text_of_error(error))
    if isinstance(error, ScriptError) and error.code in _RESOURCES:
        return LimitExceeded(_RESOURCES[error.code], 0, text_of_error(error))
    return None


@hookpoint(phase=Phase.NOTICE, topic="system")
def system_startup(context: HookContext[HostState]) -> HookResult | None:
    """The host is open.

    When: once, after the plugins are loaded and before the first operation.
    Subject: the host's state.
    """


@hookpoint(phase=Phase.NOTICE, topic="system")
def system_shutdown(context: HookContext[HostState]) -> HookResult | None:
    """The host is about to close.

    When: once, also when it closes because of an error or a cancellation.
    Subject: the host's state.
    """


@hookpoint(phase=Phase.CHECK, topic="system")
def configuration_change(context: HookContext[ConfigurationChange]) -> HookResult | None:
    """A setting is about to change while the host runs.

    When: before the change, once for each key.
    Subject: the change; a ``Cancel`` keeps the old value.
    """


@hookpoint(phase=Phase.NOTICE, topic="system")
def resource_limit_exceeded(context: HookContext[LimitExceeded]) -> HookResult | None:
    """A script or tool exceeded a limit on memory, time, instructions or size.

    When: once for each operation that ends so.
    Subject: which limit.
    """


@hookpoint(phase=Phase.NOTICE, topic="system")
def security_violation(context: HookContext[Violation]) -> HookResult | None:
    """A rule on levels, paths, hosts, variables or processes refused something.

    When: at the refusal.
    Subject: which rule and what it refused.
    """


@hookpoint(phase=Phase.NOTICE, topic="system")
def performance_threshold_exceeded(context: HookContext[SlowOperation]) -> HookResult | None:
    """An operation took longer than ``performance.slow_operation_ms``, or many of a component's than ``slow_p95_ms``.

    When: when it ends; for those of a component once when they have become slow, and again after they were quick.
    Subject: how long it took, or they took.
    """


@hookpoint(phase=Phase.NOTICE, topic="system")
def memory_usage_high(context: HookContext[LoadSample]) -> HookResult | None:
    """The process's memory rose above ``performance.memory_high_bytes``.

    When: once for each crossing, and again after it fell to ``performance.rearm_percent`` of that.
    Subject: the sample.
    """


@hookpoint(phase=Phase.NOTICE, topic="system")
def cpu_usage_high(context: HookContext[LoadSample]) -> HookResult | None:
    """The process's processor use rose above ``performance.cpu_high_percent``.

    When: once for each crossing, and again after it fell to ``performance.rearm_percent`` of that.
    Subject: the sample.
    """
