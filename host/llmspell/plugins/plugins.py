"""The hook plugins of a host: discovered or handed over, constructed, registered, and what became of each.

pluggy holds a plugin's hooks, the registry takes them in. pluggy's own call path is not used, nor its look at every
attribute: what it is given has been found by `find_hooks`.

Invariant: one that fails is named and leaves nothing behind, also nothing of others; it never stops the host. One is
registered with all of its hooks or with none. While a required one is missing operations are refused with its name.
It is longer than most because all that becomes of a plugin, from its loading to its being made anew, is told here.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Final

import pluggy
import trio
from msgspec import structs

from llmspell.hooks import Hook, HookRegistry
from llmspell.settings import Settings
from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.errors import HookRegistrationError, PluginError
from llmspell_hookspecs.finding import Found, find_hooks
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.groups import KINDS, PLUGINS
from llmspell_hookspecs.kind import ComponentKind
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.points import PROJECT, points_of
from llmspell_hookspecs.signature import check_declared
from llmspell_hookspecs.stateful import Stateful
from llmspell_hookspecs.switching import LoadedPlugin

from .discovery import OWN
from .groups import OWN_GROUPS, STARTED, Candidate, Groups
from .loading import Loader, load
from .registry import LazyRegistry, PluginRegistries

__all__ = ["Plugins", "Registrar", "register"]

_HANDING_ON_S: Final = 10.0


class Plugins:
    """The hook plugins of one host.

    Args:
        registry: Takes their hooks in.
        settings: Say which are loaded, and with what.
        loader: Makes them.

    Attributes:
        told: Told what became of one that is loaded while the host runs.
        infos: What became of each, in the order of loading, and of what is required in other groups; ``error`` is empty
            if it is loaded.
    """

    def __init__(self, registry: HookRegistry, settings: Settings, loader: Loader) -> None:
        self.infos: list[PluginInfo] = []
        self._settings = settings
        self._loader = loader
        self._registry = registry
        self._registrar = Registrar(registry)
        self._made: dict[str, tuple[Candidate, Any]] = {}
        self._find: Callable[[str], Candidate | None] = lambda name: None
        self.told: Callable[[PluginInfo], Awaitable[None]]

    def load_kinds(self, registries: PluginRegistries) -> dict[str, ComponentKind]:
        """Return the kinds of component that packages bring, made; from then on their groups and points are known."""
        made: dict[str, ComponentKind] = {}
        kinds = registries.of(KINDS).candidates.values()
        for candidate in sorted(kinds, key=lambda each: (each.info.distribution != OWN, each.info.name)):
            info = candidate.info  # those in the box come first: nobody takes their groups
            try:
                candidate = load(candidate)
                info = candidate.info
                kind: type[ComponentKind] = self._loader.make(info, candidate.target, constructs=False)
                if kind.group is not None:
                    registries.know(kind.group)
                self._registrar.declare(kind.points)
                made[info.name] = self._loader.make(info, kind)
            except LlmspellError as error:
                info = structs.replace(info, error=_told(info, error, "component kind"))
            if info.error or info.required or info.distribution != OWN:  # those in the box are no news
                self.infos.append(info)
        return made

    async def load(self, registries: PluginRegistries) -> None:
        """Load what was handed over, and then what discovery chose."""
        candidates, self._find = registries.candidates(PLUGINS), registries.optional
        for candidate in candidates:
            info = candidate.info
            loaded = (each for each in self.infos if (each.name, each.group, each.error) == (info.name, PLUGINS, ""))
            if not info.error and candidate.point is not None and any(loaded):
                error = f"plugin {info.name}: one of this name was handed over in code; rename one of them"
                info = structs.replace(info, error=error)
            self.infos.append(info if info.error else await self._take(structs.replace(candidate, info=info)))

    # While the host runs; see the contract's `PluginTable`.

    def known(self) -> Sequence[PluginInfo]:
        """Return those of hooks that were loaded, or could not be."""
        return [info for info in self.infos if info.group == PLUGINS]

    def made(self, name: str, /) -> LoadedPlugin | None:
        """Return a plugin that is loaded; None if it is not."""
        if name not in self._made:
            return None
        candidate, plugin = self._made[name]
        return LoadedPlugin(candidate.info, candidate.target, plugin)

    def is_required(self, name: str, /) -> bool:
        """Return whether a plugin that is loaded is required, as it says or as settings do."""
        required = name in map(_bare, self._settings.required_plugins())
        return required or self._made[name][0].info.required

    def make(self, name: str, /) -> Any:
        """Return another one of a plugin that is loaded, made with the settings as they are now."""
        candidate, _ = self._made[name]
        return self._loader.make(candidate.info, candidate.target)

    async def load_asked(self, name: str, /) -> None:
        """Load one that is loaded only if somebody asks."""
        candidate = self._find(name)
        if candidate is None:
            message = f"plugin {name[:80]}: none that may be switched on is called so, or the settings disable it"
            raise PluginError(f"{message}; see 'llmspell plugin list'", plugin=name)
        info = candidate.info if candidate.info.error else await self._take(candidate)
        if info.error and not candidate.info.required:  # whoever asked is told, and all goes on as it was
            info = structs.replace(info, required=False)
        self._note(info)
        await self.told(info)
        if info.error:
            raise PluginError(info.error, plugin=name)

    async def replace(self, name: str, new: Any, /) -> None:
        """Put a new plugin in the place of the one of a name, and hand on what that knows."""
        candidate, old = self._made[name]
        info = candidate.info
        self._registrar.give_back(info.name)
        del self._made[info.name]
        try:
            with Blamed(partial(_problem, info), spares=LlmspellError):
                with trio.fail_after(_HANDING_ON_S):
                    state = await old.dump_state() if isinstance(old, Stateful) else None
                await self._loader.lifespans.leave(old)
                with trio.fail_after(_HANDING_ON_S):
                    if isinstance(new, Stateful) and state is not None:
                        await new.load_state(state)
            await self._loader.lifespans.enter(new)
            register(self._registrar, info, candidate.target, new, self._loader.groups)
        except LlmspellError as error:
            self._note(_failed(candidate, error))
            await self.told(self.infos[-1])
            raise
        self._made[info.name] = (candidate, new)

    def _note(self, info: PluginInfo) -> None:
        self.infos = [known for known in self.infos if (known.group, known.name) != (info.group, info.name)]
        self.infos.append(info)

    async def start(self, registries: Iterable[LazyRegistry[Any]], problems: Iterable[PluginInfo]) -> None:
        """Load what is required, eager or a component handed over in code; take over what is wrong with packages."""
        self.infos += problems
        for registry in registries:
            for name, candidate in sorted(registry.candidates.items()):
                info = candidate.info
                try:
                    if info.error:
                        info = registry.failure(name, info.error)
                    elif info.required or (registry.group == STARTED and _is_eager(candidate)):
                        await registry.enter(name)
                    elif candidate.point is None and registry.group not in OWN_GROUPS:
                        registry.get(name)
                        continue
                    else:
                        continue
                except LlmspellError as error:
                    info = registry.failure(name, error)
                self.infos.append(info)

    async def enter(self, kinds: Mapping[str, ComponentKind]) -> None:
        """Open the kinds, now that hooks and services are there."""
        for name, kind in kinds.items():
            try:
                await self._loader.lifespans.enter(kind)
            except LlmspellError as error:
                known = (info for info in self.infos if (info.group, info.name) == (KINDS, name))
                self.lose(structs.replace(next(known, PluginInfo(name, KINDS)), error=str(error)))

    def lose(self, info: PluginInfo) -> bool:
        """Take over what became of a plugin that failed when it was first needed; False if that is known."""
        if any(known.error and (known.group, known.name) == (info.group, info.name) for known in self.infos):
            return False
        self._note(info)
        return True

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of those that are loaded."""
        return tuple(info.name for info in self.infos if not info.error)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of those that could not be loaded."""
        return tuple(info.name for info in self.infos if info.error)

    def refusal(self) -> str:
        """Return why operations are refused; empty if no required plugin is missing."""
        for spelled in self._settings.required_plugins():
            known = [info for info in self.infos if spelled in info.spellings]
            missing = not any(not info.error for info in known)
            if missing or any(info.error and info.required for info in known):
                error = next((info.error for info in known if info.error), "")
                return _refusal(spelled.rpartition(":")[2], error or "it is not installed, or it is disabled")
        broken = next((info for info in self.infos if info.required and info.error), None)
        return "" if broken is None else _refusal(broken.name, broken.error, "disable it")

    async def _take(self, candidate: Candidate) -> PluginInfo:
        """Load one, and return what became of it."""
        info = candidate.info
        before, started = {hook.id for hook in self._registry}, perf_counter()
        try:
            candidate = load(candidate)
            info, target = candidate.info, candidate.target
            plugin = self._loader.make(info, target)
            await self._loader.lifespans.enter(plugin)
            register(self._registrar, info, target, plugin, self._loader.groups)
            self._made[info.name] = (candidate, plugin)
            self._loader.tell_loaded(info, perf_counter() - started)
        except LlmspellError as error:
            for hook in [hook for hook in self._registry if hook.plugin == info.name and hook.id not in before]:
                self._registry.remove(hook)
            return _failed(candidate, error)
        return info


def _bare(name: str) -> str:
    return name.rpartition(":")[2]


def _told(info: PluginInfo, error: LlmspellError, word: str) -> str:
    return str(error) if info.name in str(error) else f"{word} {info.name}: {error}"


def _is_eager(candidate: Candidate) -> bool:
    """Whether one that a package brings wants to be opened as the host starts; imports it."""
    if candidate.info.distribution == OWN:
        return False
    try:
        candidate = load(candidate)
    except LlmspellError:  # told when it is needed, or by the doctor
        return False
    return candidate.info.required or inspect.getattr_static(candidate.target, "eager", None) is True


def register(registrar: Registrar, info: PluginInfo, target: Any, plugin: Any, groups: Groups) -> int:
    """Register a plugin's hooks; returns how many.

    Raises:
        HookRegistrationError: One of them is wrong.
        PluginError: It fails when it is looked at, calls itself by another name, or brings nothing at all.
    """
    with Blamed(partial(_problem, info), spares=LlmspellError):
        own = inspect.getattr_static(plugin, "name", None)
        if isinstance(own, str) and own != info.name and info.distribution:
            message = f"plugin {info.name}: it calls itself {own!r}; give it the name of its entry point"
            raise PluginError(message, plugin=info.name)
        points, hooks = registrar.take(plugin, info.name)
        if points or hooks:
            return hooks
        group = groups.of(target).name
        # One whose constructor is given services may do its work with them, without a hook.
        if not (group == PLUGINS and inspect.isclass(target) and inspect.signature(target).parameters):
            hint = "mark its functions with @hookimpl"
            if inspect.isfunction(target):
                hint = "mark it with @tool, or with @hookimpl"
            elif group != PLUGINS:
                hint = f"name it in the group {group}"
            message = f"plugin {info.name}: it brings no hook and no point; {hint}"
            raise PluginError(message, plugin=info.name)
        return hooks


def _failed(candidate: Candidate, error: LlmspellError) -> PluginInfo:
    """Return what became of one that failed: it is as if required if it says that calls are not to run without it."""
    closed = candidate.info.required or inspect.getattr_static(candidate.target, "fails_closed", None) is True
    return structs.replace(candidate.info, required=closed, error=_told(candidate.info, error, "plugin"))


def _refusal(name: str, why: str, otherwise: str = "take it out of plugins.required") -> str:
    why = why.removesuffix("; repair it, or disable it")
    return f"required plugin {name} is not loaded: {why}; repair it, or {otherwise} (llmspell plugin doctor)"


def _problem(info: PluginInfo, error: BaseException) -> PluginError:
    message = f"plugin {info.name}: it cannot be registered: {text_of(error)}; repair it, or disable it"
    return PluginError(message, plugin=info.name)


class Registrar(pluggy.PluginManager):
    """pluggy's manager over our registry.

    Args:
        registry: Takes the hooks in.
    """

    def __init__(self, registry: HookRegistry) -> None:
        super().__init__(PROJECT)
        self._registry = registry

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Return pluggy's options for what has been found, None for anything else."""
        return {"specname": None} if isinstance(plugin, _Hooks) and name in vars(plugin) else None

    def declare(self, namespace: Any) -> None:
        """Take in the points that a module or class declares; None declares none.

        Raises:
            HookRegistrationError: A name belongs to another point.
        """
        for point in () if namespace is None else points_of(namespace):
            self._registry.catalog.add(point)

    def take(self, plugin: Any, name: str) -> tuple[int, int]:
        """Register a plugin's points and hooks; returns how many points and hooks.

        Raises:
            HookRegistrationError: One of them is wrong, or the name is taken; none is registered then.
            HookOrderError: Their constraints form a cycle; none is registered then.
        """
        if self.has_plugin(name):
            raise HookRegistrationError(f"plugin {name}: another of this name is registered; rename one of them")
        points = list(points_of(plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin)))
        catalog = self._registry.catalog
        declared = [point for point in points if point not in catalog]
        added: list[Hook] = []
        try:
            for point in points:
                catalog.add(point)
            found = find_hooks(plugin, name, [point.name for point in catalog])
            for each in found:
                added.append(self._add(each, name))  # noqa: PERF401 - what was added before a failure is taken out
            routines = {each.attribute: each.function for each in found if inspect.isroutine(each.function)}
            stands = dict.fromkeys((each.attribute for each in found), _stands_in)
            self.register(_Hooks(**{**stands, **routines}), name=name)
        except Exception:
            for hook in added:
                self._registry.remove(hook)
            for point in declared:
                catalog.remove(point)
            raise
        return len(points), len(added)

    def give_back(self, name: str) -> None:
        """Take a plugin's hooks out, so that another of its name may be registered; its points stay."""
        for hook in [hook for hook in self._registry if hook.plugin == name and not hook.scope]:
            self._registry.remove(hook)
        self.unregister(name=name)

    def _add(self, found: Found, plugin: str) -> Hook:
        options = found.options
        point, pattern = self._registry.catalog.resolve(options.specname or found.attribute)
        check_declared(found, plugin, point)
        if pattern is not None and options.match is None:
            message = f"plugin {plugin}: {options.specname} names a component; say match={pattern!r} instead"
            raise HookRegistrationError(message, hook=found.attribute, point=point.name)
        return self._registry.add(point, found.function, options, plugin=plugin)


def _stands_in(context: object) -> None:
    """Stands in for an object that can be called, which pluggy takes for no function."""


class _Hooks(SimpleNamespace):
    """What pluggy is given of a plugin: its hooks by name."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other
