"""The service Dependencies: reads what components declare and which hooks there are, and says what leads to what.

Invariant: nothing is imported or run for it but the kinds of component, which the host has loaded as it started. What
may be long is worked out in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import translate
from typing import Any, ClassVar, Final, TypeVar

import trio
from msgspec import structs

from llmspell_hookspecs import LlmspellError, Services
from llmspell_hookspecs.dependencies import (
    AskedHook,
    ComponentCall,
    ComponentNode,
    Declared,
    Dependencies,
    DependencyGraph,
)
from llmspell_hookspecs.errors import ComponentNotFoundError, PluginError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.groups import KINDS
from llmspell_hookspecs.kind import ComponentKind, Registries
from llmspell_hookspecs.services import HookInfo, Hooks
from llmspell_hookspecs.spelling import told

from .arrange import arrange

__all__ = ["DependencyService"]

_STAGE: Final = "."
_EITHER: Final = ("workflow_error",)
_OTHERS: Final = ("custom", "script")
"""What has addresses, and is no kind of component."""
T = TypeVar("T")
Everything = Mapping[str, Mapping[str, Sequence[Declared]] | None]
"""By kind and name, what each component declares."""


class DependencyService:
    """Implements the contract's `Dependencies`."""

    name: ClassVar[str] = "dependencies"
    provides: ClassVar[type[Any]] = Dependencies

    def __init__(self, settings: None, services: Services) -> None:
        self._services = services

    async def graph(self, *, every: bool = False, component: str = "") -> DependencyGraph:
        """Return the graph as it is now; see the contract's `Dependencies`."""
        hooks = self._services.get(Hooks)
        forms = {point.name: point.form for point in hooks.points()}
        topics = {point.name: point.topic for point in hooks.points()}
        failed: dict[str, PluginError] = {}
        infos, told = hooks.list(), dict(self._told(failed))

        def graph() -> DependencyGraph:
            asked = [_Asked(info, topics.get(info.point, ""), forms.get(info.point, "")) for info in infos]
            declared = {kind: _kept(kind, names, failed) for kind, names in told.items()}
            return _graph(declared, asked, every, component)

        found = await trio.to_thread.run_sync(graph, abandon_on_cancel=True)
        for kind, error in failed.items():
            self._services.get(Registries).of(KINDS).tell(kind, error)
        return found

    def _told(self, failed: dict[str, PluginError]) -> Iterator[tuple[str, Mapping[str, Iterable[Declared]] | None]]:
        """Yield what each kind says of its components; None for one that cannot list them, or be asked."""
        yield from dict.fromkeys(_OTHERS, None).items()
        kinds = self._services.get(Registries).of(KINDS)
        for name in kinds.names():
            try:
                provides = kinds.get(name).provides
                kind = None if provides is None else self._services.get(provides)
            except LlmspellError:  # the host has told of it as it started
                kind = None
            if isinstance(kind, ComponentKind):
                yield name, _blaming(name, kind.declared, failed)
            else:
                yield name, None


def _blaming(kind: str, function: Callable[[], T], failed: dict[str, PluginError]) -> T | None:
    """Return what a kind's own code answers; None if it fails, and why is noted."""

    def blame(error: BaseException) -> PluginError:
        return PluginError(f"component kind {kind}: its declared() failed: {text_of(error)}; repair it", plugin=kind)

    try:
        with Blamed(blame):
            return function()
    except PluginError as error:
        failed[kind] = error
    return None


class _Asked:
    """A hook, and what its point is about.

    Args:
        info: It.
        topic: Its point's: the kind of component that it is about, if it is about one.
        form: How the names at its point are formed.
    """

    def __init__(self, info: HookInfo, topic: str, form: str) -> None:
        self.info = info
        self.topic = topic
        self._of_stages = _STAGE in form
        self._matches = None if info.match is None else re.compile(translate(info.match)).match

    def fits(self, name: str, declared: Sequence[Declared]) -> bool:
        """Return whether it is asked about a component of its topic, or about a part of it."""
        stages = [f"{name}.{each.place}" for each in declared if each.place]
        names = [name, *stages] if self.info.point in _EITHER else stages if self._of_stages else [name]
        return self._matches is None or any(map(self._matches, names))


def _graph(declared: Everything, asked: Sequence[_Asked], every: bool, component: str) -> DependencyGraph:
    calls = list(_calls(declared))
    known = {f"{kind}:{name}" for kind, names in declared.items() for name in names or ()}
    edges: dict[str, list[str]] = {address: [] for address in sorted(known)}
    for call in calls:
        edges.setdefault(call.callee, [])
        edges[call.caller].append(call.callee)
    if component not in ("", *edges):
        message = f"component {component!r:.80}: there is none; there are {', '.join(list(edges)[:20])} ..."
        raise ComponentNotFoundError(message, address=component)
    about = [_about(hook, edges, declared) for hook in asked]
    shown = _shown(edges, calls, asked, about, every, component)
    order, cycles = arrange(edges)
    missing = {each for each in edges.keys() - known if declared.get(each.partition(":")[0], {}) is not None}
    return DependencyGraph(
        components=tuple(ComponentNode(address, address in missing) for address in order if address in shown),
        calls=tuple(call for call in calls if {call.caller, call.callee} <= shown),
        hooks=tuple(_hooks(asked, about, shown, component)),
        cycles=tuple(ring for ring in cycles if not component or shown.intersection(ring)),
    )


def _kept(
    kind: str, names: Mapping[str, Iterable[Declared]] | None, failed: dict[str, PluginError]
) -> Mapping[str, Sequence[Declared]] | None:
    """Return what a kind declares, gone through and looked at."""

    def keep() -> Mapping[str, Sequence[Declared]] | None:
        kept = None if names is None else {name: tuple(parts) for name, parts in names.items()}
        for name, parts in (kept or {}).items():
            wrong = [part for part in parts if not isinstance(part, Declared) or type(part.address) is not str]
            if wrong or type(name) is not str:
                raise TypeError(f"of {told(name)} it answers {told(wrong[0] if wrong else name)}, which is no Declared")
        return kept

    return _blaming(kind, keep, failed)


def _calls(declared: Everything) -> Iterator[ComponentCall]:
    for kind, names in sorted(declared.items()):
        for name, parts in sorted((names or {}).items()):
            places: dict[str, list[str]] = {}
            for part in parts:
                if part.address:
                    places.setdefault(part.address, []).append(part.place)
            for address, found in places.items():
                yield ComponentCall(f"{kind}:{name}", address, tuple(dict.fromkeys(filter(None, found))))


def _about(hook: _Asked, edges: Mapping[str, Sequence[str]], declared: Everything) -> frozenset[str]:
    """Return the addresses of what a hook is asked about."""
    found = []
    for address in edges:
        kind, _, name = address.partition(":")
        if kind == hook.topic and hook.fits(name, (declared.get(kind) or {}).get(name, ())):
            found.append(address)
    return frozenset(found)


def _shown(
    edges: Mapping[str, Sequence[str]],
    calls: Sequence[ComponentCall],
    asked: Sequence[_Asked],
    about: Sequence[frozenset[str]],
    every: bool,
    component: str,
) -> set[str]:
    """Return the components that are shown."""
    if component:
        near = [call for call in calls if component in (call.caller, call.callee)]
        return {component}.union(*({call.caller, call.callee} for call in near))
    if every:
        return set(edges)
    taking_part = {address for call in calls for address in (call.caller, call.callee)}
    return taking_part.union(*(found for hook, found in zip(asked, about, strict=True) if hook.info.match is not None))


def _hooks(
    asked: Sequence[_Asked], about: Sequence[frozenset[str]], shown: set[str], component: str
) -> Iterator[AskedHook]:
    places: dict[str, int] = {}
    for hook, found in zip(asked, about, strict=True):
        info = hook.info
        place = 0
        if info.enabled:
            place = places[info.point] = places.get(info.point, 0) + 1
        if component and not found & shown:
            continue
        fields = {name: getattr(info, name) for name in _KEPT}
        yield AskedHook(place=place, components=tuple(sorted(found & shown)), **fields)


_KEPT: Final = tuple(
    name for name in (field.name for field in structs.fields(AskedHook)) if name not in ("place", "components")
)
