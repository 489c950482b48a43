"""The services that the host offers to plugins, scripts and the people who embed it, each by its protocol.

Invariant: a service judges by the settings of the moment, and whatever it does on someone's behalf goes through the
runner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import trio
from msgspec import structs

from llmspell.hooks import HookRegistry
from llmspell.operations import Runner, beside
from llmspell.security import HostJudge, HostRules
from llmspell.settings import LoadedSettings, change, plain
from llmspell_hookspecs import Failure, LlmspellError, Phase, custom_point
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.fit import bound, fit
from llmspell_hookspecs.fit import plain as plain_fields
from llmspell_hookspecs.kind import CallOptions
from llmspell_hookspecs.network import Target
from llmspell_hookspecs.operation import Operation, OperationKind
from llmspell_hookspecs.payload import payload_of
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.system import ConfigurationChange

__all__ = ["HookService", "HostService", "SettingsService"]

_KINDS: Final = 1024
_FEW: Final = 32
"""How many entries of a setting are judged on the loop."""


class HostService:
    """Judges hosts by the settings of the moment.

    Args:
        judge: Returns who judges now.
    """

    def __init__(self, judge: Callable[[], HostJudge]) -> None:
        self._judge_now = judge
        self._trusting: HostJudge | None = None
        self._made_of: HostRules | None = None

    @property
    def rules(self) -> HostRules:
        """The rules of now."""
        return self._judge_now().rules

    def locate(self, url: str, /, *, trusted: bool = False, schemes: Sequence[str] = ("http", "https")) -> Target:
        """Return where a URL leads; see the contract's `Hosts`."""
        return self._judge(trusted).locate(url, schemes)

    def judge(self, target: Target, addresses: Sequence[str], /, *, trusted: bool = False) -> tuple[str, ...]:
        """Return the addresses of what `locate` found, all of them judged."""
        return self._judge(trusted).judge(target, addresses)

    def _judge(self, trusted: bool) -> HostJudge:
        judge = self._judge_now()
        if not trusted:
            return judge
        if self._trusting is None or self._made_of is not judge.rules:
            self._made_of = judge.rules
            self._trusting = judge.with_rules(structs.replace(judge.rules, allowed=("*",), allow_private=True))
        return self._trusting


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
        self.points, self.point, self.appeal = registry.points, registry.point, registry.appeal

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
                point.topic, result=point.value, to_result=partial(_to_value, point), payload=plain_fields, **stands
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
