"""The services that the host offers to plugins, scripts and the people who embed it, each by its protocol.

Invariant: a service judges by the settings of the moment: one value holds the judges that these ask for, a change
makes a new one, and whoever judges asks for it at each call. Whatever a service does on someone's behalf goes through
the runner. Whatever can be called has an address, ``kind:name``, and that leads to one runner of components.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import trio
from msgspec import convert

from llmspell.hooks import HookRegistry
from llmspell.operations import Runner, RunnerLimits, beside
from llmspell.security import HostJudge
from llmspell.settings import LoadedSettings, Settings, change, plain
from llmspell_hookspecs import Failure, LlmspellError, Phase, SecurityLevel, custom_point
from llmspell_hookspecs.bucket import TokenRate
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import ComponentNotFoundError, SecurityError
from llmspell_hookspecs.fit import bound, fit
from llmspell_hookspecs.fit import plain as plain_fields
from llmspell_hookspecs.kind import CallOptions
from llmspell_hookspecs.language import ScriptLimits
from llmspell_hookspecs.operation import Operation, OperationKind
from llmspell_hookspecs.path_rules import PathJudge
from llmspell_hookspecs.payload import payload_of
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.system import ConfigurationChange

__all__ = ["Addresses", "HookService", "Latest", "Policies", "SettingsService", "flow_limit", "runner_limits"]

_KINDS: Final = 1024
_FEW: Final = 32
"""How many entries of a setting are judged on the loop."""


class HookService:
    """Registration, listing and firing; ``host.hooks``.

    Attributes:
        register: Register a hook; see the contract's `Hooks`.
        unregister_scope: Take out all hooks of a script; returns how many.
        list: Return the hooks of a point (or of all), in the order in which they are called.
        order: Return the same, each with what settles its place.
        points: Return every point there is.
        point: Return the point with this name or alias.
        appeal: Ask a function about each Cancel of a guard that wants a person asked.
    """

    def __init__(self, registry: HookRegistry, runner: Runner) -> None:
        self._registry = registry
        self._runner = runner
        self._kinds: dict[str, OperationKind] = {}
        self.register, self.unregister_scope = registry.register, registry.unregister_scope
        self.list, self.order = registry.infos, registry.order
        self.points: Callable[[], list[HookPoint]] = partial(list, registry.catalog)
        self.point, self.appeal = registry.point, registry.appeal

    async def fire(self, name: str, value: Any, /) -> Any:
        """Fire ``custom:<name>``, or a point that a plugin declared, and return the value as the hooks leave it.

        Raises:
            OperationCancelledError: A hook cancelled.
            HookRegistrationError: The host itself fires this point.
            InvalidInputError: The value is not of the point's type.
        """
        return await self._fire(self._registry.catalog.fireable(name), value, CallOptions())

    async def run(self, name: str, input: Any, options: CallOptions, /) -> Any:
        """Fire ``custom:<name>`` by its address; see `ComponentKind`."""
        return await self._fire(custom_point(name), input, options)

    async def _fire(self, point: HookPoint, value: Any, options: CallOptions) -> Any:
        name = point.name.removeprefix("custom:") if point.topic == "custom" else point.topic
        component = ComponentRef(point.topic, name, f"{point.topic}:{name}")
        value = await beside(value, _to_subject, point, value)
        if point.phase in (Phase.CHECK, Phase.DECISION, Phase.NOTICE):
            return await self._runner.ask(point.name, value, component)
        operation = Operation(
            kind=self._kind(point),
            component=component,
            subject=value,
            body=_fail if point.phase is Phase.ERROR else _same,
            deadline_s=options.deadline_s,
            repeatable=True,
            hops=options.hops,
            started=options.started,
        )
        return await self._runner.execute(operation)

    def _kind(self, point: HookPoint) -> OperationKind:
        """Return the kind of operation that fires a point; one for each, since chains are kept by kind."""
        kind = self._kinds.get(point.name)
        if kind is None:
            stands: dict[str, Any] = {point.phase.value: point.name}
            kind = OperationKind(
                point.topic,
                result=point.value,
                to_result=partial(_to_value, point),
                payload=plain_fields,
                composes=True,
                **stands,
            )
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            self._kinds[point.name] = kind
        return kind


def _to_subject(point: HookPoint, value: Any) -> Any:
    if not isinstance(value, point.subject):
        value = fit(value, point.subject, f"fire {point.name}")
    bound(value, point.name)
    return value


def _to_value(point: HookPoint, value: Any) -> Any:
    held = payload_of(value)
    return held if isinstance(held, point.value) else fit(held, point.value, f"fire {point.name}")


async def _same(value: Any) -> Any:
    return value


async def _fail(failure: Failure) -> Any:
    raise failure.error if isinstance(failure.error, Exception) else LlmspellError(failure.message)


class SettingsService:
    """The settings as they are now; ``host.settings``.

    Args:
        loaded: As they were read.
        runner: Asks the hooks before a change.
        applied: Told the settings after each change.
    """

    def __init__(self, loaded: LoadedSettings, runner: Runner, applied: Callable[[LoadedSettings], None]) -> None:
        self.loaded = loaded
        self._runner = runner
        self._applied = applied
        self._lock = trio.Lock()

    def plain(self, section: str = "", /) -> Any:
        """Return a section, or all, with secrets masked; None if there is no such section."""
        return plain(self.loaded, section)

    def section(self, name: str, /) -> Any:
        """Return a section as its model, frozen; see the contract's `SettingsAccess`."""
        return getattr(self.loaded.settings, name)

    async def change(self, key: str, value: Any, /, *, origin: str = "code") -> None:
        """Change one setting, after the hooks at ``configuration_change`` agreed."""
        changed = await self._changed(key, value, origin)
        old, new = plain(self.loaded, key), plain(changed, key)
        await self._runner.ask("configuration_change", ConfigurationChange(key, old, new, origin))
        async with self._lock:  # what another change did meanwhile stands
            self.loaded = await self._changed(key, value, origin)
            self._applied(self.loaded)

    async def _changed(self, key: str, value: Any, origin: str) -> LoadedSettings:
        """The settings with the change; many values, each of which the judges look at, are judged beside the loop."""
        if isinstance(value, Sequence | Mapping) and len(value) > _FEW:
            return await trio.to_thread.run_sync(change, self.loaded, key, value, origin)
        return change(self.loaded, key, value, origin)


class Latest:
    """A service that the judge of the moment keeps.

    Args:
        judge: Returns who judges now.
    """

    def __init__(self, judge: Callable[[], Any]) -> None:
        self._judge = judge

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judge(), name)


class Policies:
    """The judges of one host; implements the contract's `Levels`.

    Args:
        loaded: The settings.

    Attributes:
        level: The highest level of a component that runs.
        files: Judges paths.
        hosts: Judges hosts; its rules are the same object as long as nothing changed.
        script_limits: What a script may use.
    """

    level: SecurityLevel
    files: PathJudge
    hosts: HostJudge
    script_limits: ScriptLimits

    def __init__(self, loaded: LoadedSettings) -> None:
        self.hosts = loaded.judges.hosts
        self.apply(loaded)

    def apply(self, loaded: LoadedSettings) -> None:
        """Judge by these settings from now on."""
        settings = loaded.settings
        self.level = SecurityLevel[settings.security.level.upper()]
        self.files = loaded.judges.files
        if self.hosts.rules != loaded.judges.hosts.rules:
            self.hosts = loaded.judges.hosts
        self.script_limits = convert(settings.scripts, ScriptLimits, from_attributes=True)

    def check(self, component: str, level: SecurityLevel, /) -> None:
        """Refuse a component whose level is too high; see the contract's `Levels`."""
        if level > self.level:
            message = (
                f"{component}: its level is {level.name.lower()}, and the highest that runs here is "
                f"{self.level.name.lower()}; the setting security.level allows more"
            )
            raise SecurityError(message, rule="level")


def runner_limits(loaded: LoadedSettings) -> RunnerLimits:
    """Return how far operations may go by these settings."""
    limits, performance = loaded.settings.limits, loaded.settings.performance
    return RunnerLimits(
        limits.depth,
        limits.hops,
        performance.slow_operation_ms,
        limits.operation_time_s,
        limits.forks,
        limits.descendants,
        loaded.settings.hooks.final_s,
        loaded.settings.scripts.retry_delay_s,
    )


def flow_limit(settings: Settings) -> TokenRate | None:
    """Return how fast a source may publish by these settings; None for as fast as it likes."""
    rate = settings.events.source_rate
    return None if rate is None else TokenRate(rate, settings.events.source_burst)


Run = Callable[[str, Any, CallOptions], Coroutine[Any, Any, Any]]
_AS_EVER: Final = CallOptions()
"""Runs the component of a name, as the contract's `ComponentKind` does."""


class Addresses:
    """The kinds of component there are."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def add(self, kind: str, run: Run) -> None:
        """Let a kind be called."""
        self._runs[kind] = run

    def call(
        self,
        address: str,
        input: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        apart: bool = False,
        lenient: bool = False,
        key: str = "",
    ) -> Coroutine[Any, Any, Any]:
        """Run any component by its address; see the contract's `Calls`."""
        if deadline_s is None and not (apart or lenient or key):
            return self._call(address, input, _AS_EVER)
        return self._call(address, input, CallOptions(deadline_s, apart=apart, lenient=lenient, key=key))

    def __call__(
        self, call: Call, /, *, hops: int = 0, started: Callable[[], None] | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Run a call for a hook: the runner's way in."""
        return self._call(call.address, call.input, CallOptions(None, hops, started, call.scope))

    def _call(self, address: str, given: Any, options: CallOptions) -> Coroutine[Any, Any, Any]:
        kind, _, name = address.partition(":")
        run = self._runs.get(kind)
        return self._nowhere(address) if run is None or not name else run(name, given, options)

    async def _nowhere(self, address: str) -> NoReturn:
        kinds = ", ".join(f"{known}:<name>" for known in sorted(self._runs))
        message = f"address {address!r}: it leads nowhere; write {kinds}"
        raise ComponentNotFoundError(message, address=address)
