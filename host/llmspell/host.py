"""The host: opens, wires and closes everything.

Invariant: several hosts live in one process and share nothing; whatever a host started has ended when its block is
left, also on cancellation.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from operator import attrgetter
from typing import Any, Final, Literal, TypeVar

import trio

from llmspell.events import Bus
from llmspell.hooks import BreakerTimer, HookRegistry
from llmspell.operations import Runner
from llmspell.plugins import Groups, Installed
from llmspell.plugins.lifespan import Lifespans, open_lifespans
from llmspell.plugins.loading import Loader
from llmspell.plugins.plugins import Plugins
from llmspell.plugins.registry import PluginRegistries, ServiceRegistry
from llmspell.plugins.tables import TableModels, tell_unknown
from llmspell.scripting import ScriptRunner, ScriptSession
from llmspell.services import Addresses, HookService, Latest, Policies, SettingsService, flow_limit, runner_limits
from llmspell.settings import SCHEMA, LoadedSettings, load_settings
from llmspell.settings.place import HostFolder
from llmspell.version import VERSION
from llmspell_hookspecs import Calls, Events, FileAccess, State
from llmspell_hookspecs.agents import Agents
from llmspell_hookspecs.breaker import PROFILES
from llmspell_hookspecs.catalog import PointCatalog
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.hook_table import Composites, HookTable
from llmspell_hookspecs.kind import Registries
from llmspell_hookspecs.model import Models
from llmspell_hookspecs.network import Hosts
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.plugin import PluginInfo, fault_lines
from llmspell_hookspecs.requests import EventRequests
from llmspell_hookspecs.result_store import ResultCache
from llmspell_hookspecs.script import ScriptRun, Scripts
from llmspell_hookspecs.services import Hooks, Levels, ProjectFolder, SettingsAccess, Tools
from llmspell_hookspecs.switching import PluginTable
from llmspell_hookspecs.system import HostState
from llmspell_hookspecs.topics import own_points
from llmspell_hookspecs.trace import Tracer, TraceRow

__all__ = ["Host"]

SettingsArgument = LoadedSettings | Mapping[str, Any] | Literal[False] | None
_log = logging.getLogger("llmspell")
_CLOSING_S: Final = 5.0
T = TypeVar("T")


class Host:
    """A running plugin host; open it with `Host.open`.

    Attributes:
        hooks: Register, list and fire hooks.
        events: Publish events and subscribe to them.
        settings: The settings as they are now.
        plugins: What became of each hook plugin.
    """

    hooks: HookService
    events: Bus
    settings: SettingsService
    plugins: Plugins

    def __init__(
        self,
        loaded: LoadedSettings,
        nursery: trio.Nursery,
        lifespans: Lifespans,
        *,
        trace: bool = False,
        write: Callable[[str], object] | None = None,
        read_line: Callable[[], str | None] | None = None,
    ) -> None:
        """Wire the rooms; nothing is loaded yet."""
        self._tracer = Tracer() if trace else None
        self._timer = BreakerTimer()
        self._policies = Policies(loaded)
        self._addresses = Addresses()
        self._lifespans = lifespans
        self._services = ServiceRegistry(lifespans, lambda name: self.settings.loaded.settings.table("plugins", name))
        self._write, self._read_line = write, read_line
        hooks = loaded.settings.hooks
        self._registry = HookRegistry(
            PointCatalog(own_points()),
            profile=PROFILES.get(hooks.breaker),
            timeout_s=hooks.timeout_s,
            disabled=hooks.disabled,
            orders=hooks.orders,
            tracer=self._tracer,
        )
        self._registry.on_open = self._timer.schedule
        self._runner = Runner(self._registry, runner_limits(loaded), nursery, self._addresses, self._tracer)
        self.hooks = HookService(self._registry, self._runner)
        self.events = Bus(self._registry, self._runner, nursery)
        self.settings = SettingsService(loaded, self._runner, self._apply)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: SettingsArgument = None,
        *,
        plugins: Iterable[Any] = (),
        discover: bool = True,
        trace: bool = False,
        write: Callable[[str], object] | None = None,
        read_line: Callable[[], str | None] | None = None,
        installed: Installed | None = None,
    ) -> AsyncIterator[Host]:
        """Open a host for the block.

        Args:
            settings: On top of the layers; False for the defaults alone; what `load_settings` answered as it is.
            plugins: Handed over in code: modules, classes or objects with hooks, tools, agents, providers, languages,
                script globals, services, storages.
            discover: Whether plugins of other packages are loaded by their entry points.
            trace: Whether ``host.trace`` records what every hook does.
            write: Where scripts write to; standard output if None.
            read_line: Where they read lines from, None at the end; standard input if None. May block.
            installed: What is installed, for whoever has read that; the packages are looked through if None.

        Raises:
            SettingsError: The settings are wrong.
        """
        plugins = [*plugins] if isinstance(plugins, Iterator) else plugins
        models = TableModels(plugins, installed)
        loaded = settings if isinstance(settings, LoadedSettings) else load_settings(settings, models=models)
        failure: Exception | None = None
        with ExitStack() as at_last:
            async with open_lifespans() as lifespans, trio.open_nursery() as nursery:
                host = cls(loaded, nursery, lifespans, trace=trace, write=write, read_line=read_line)
                at_last.callback(host._runner.close)
                try:
                    await host._start(plugins, models.installed, discover=discover, nursery=nursery)
                    yield host
                except Exception as error:
                    failure = error
                finally:
                    await host._stop()
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def call(
        self,
        address: str,
        input: Any = None,
        /,
        *,
        deadline_s: float | None = None,
    ) -> Any:
        """Run any component by its address: ``tool:calculator``, ``agent:writer``, ``script:tour.lua``.

        Args:
            address: ``kind:name``.
            input: What it is given.
            deadline_s: How long it may take; its own limit counts as well.

        Returns:
            Its result; for a tool the envelope, a `ToolResult`.

        Raises:
            ComponentNotFoundError: Nothing has this address.
            OperationCancelledError: A hook cancelled it.
            OperationTimeoutError: A deadline passed.
        """
        return await self._addresses.call(address, input, deadline_s=deadline_s)

    async def run_script(self, path: str | os.PathLike[str], arguments: Sequence[str] = ()) -> Any:
        """Run a script file and return its value, plain.

        Raises:
            ScriptError: It cannot be read, or it failed.
        """
        return await self._scripts.run_file(path, arguments)

    async def run_source(
        self, source: str, language: str | None = None, *, name: str = "script", arguments: Sequence[str] = ()
    ) -> Any:
        """Run a script given as text and return its value, plain.

        Raises:
            ScriptError: It failed.
        """
        language = language or self.settings.loaded.settings.default_language
        return await self._scripts.run_script(ScriptRun(source, language, name, "", tuple(arguments)))

    def session(
        self,
        language: str | None = None,
        *,
        name: str = "session",
        arguments: Sequence[str] = (),
    ) -> AbstractAsyncContextManager[ScriptSession]:
        """Open a session for the block: chunk after chunk in one runtime.

        Its hooks and subscriptions live until the block is left.

        Args:
            language: Its language; the setting ``default_language`` if None.
            name: What errors call its chunks.
            arguments: What ``ARGS`` holds.
        """
        language = language or self.settings.loaded.settings.default_language
        return self._scripts.console(ScriptRun("", language, name, "", tuple(arguments)))

    def get(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol; what is written as `Callable` takes a protocol's class.

        Raises:
            ComponentNotFoundError: No plugin offers it.
            PluginError: It cannot be loaded, or is not open yet.
        """
        return self._services.get(protocol)

    async def enter(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol, opened if need be; see the contract's `Services`."""
        return await self._services.enter(protocol)

    @property
    def tools(self) -> Tools:
        """What tools there are."""
        return self.get(Tools)

    @property
    def agents(self) -> Agents:
        """Make agents and find them."""
        return self.get(Agents)

    @property
    def models(self) -> Models:
        """Ask models, and see who provides them."""
        return self.get(Models)

    @property
    def state(self) -> State:
        """Values that outlive the host, each under a key in a scope.

        Raises:
            ComponentNotFoundError: Settings disable the plugin ``state``.
            PluginError: It cannot be loaded.
        """
        return self.get(State)

    @property
    def trace(self) -> Sequence[TraceRow]:
        """What every hook did, in order, if the host was opened with ``trace``."""
        return self._tracer.rows if self._tracer is not None else ()

    @property
    def problems(self) -> Sequence[Exception]:
        """What hooks answered wrongly at notices outside any operation."""
        return self._runner.problems

    async def _start(
        self, plugins: Iterable[Any], installed: Installed, *, discover: bool, nursery: trio.Nursery
    ) -> None:
        settings = self.settings.loaded.settings
        self._apply(self.settings.loaded)
        loader = Loader(
            Groups(), partial(attrgetter("settings.loaded.settings"), self), self._services, self._lifespans
        )
        registries = PluginRegistries(plugins, settings, loader, installed, discover=discover)
        self.plugins = Plugins(self._registry, settings, loader)
        self.plugins.told = self._tell_switched
        self._wire(registries)
        nursery.start_soon(self._timer.run)
        kinds = self.plugins.load_kinds(registries)
        for name, kind in kinds.items():
            self._addresses.add(name, kind.run)
            if kind.provides is not None:
                self._services.offer({kind.provides: kind})
        await self.plugins.load(registries)
        await self.plugins.start(registries.others(), registries.installed.problems if discover else ())
        await self.plugins.enter(kinds)
        self._runner.refusal = self.plugins.refusal()
        tell_unknown(settings, registries, loader.groups, self._registry)
        self.events.check()
        for line in fault_lines(self.plugins.infos, SCHEMA.sections):
            _log.warning("%s", line)
        if any(map(self._registry.hooked, ("plugin_loaded", "plugin_failed"))):
            for info in self.plugins.infos:
                await self._tell(info)
        loader.failed = self._lifespans.failed = partial(self._lose, nursery)
        await self._runner.notify("system_startup", self._state())

    async def _tell(self, info: PluginInfo) -> None:
        component = ComponentRef("plugin", info.name, f"plugin:{info.name}")
        await self._runner.notify("plugin_failed" if info.error else "plugin_loaded", info, component)

    async def _tell_switched(self, info: PluginInfo) -> None:
        self._runner.refusal = self.plugins.refusal()
        await self._tell(info)

    def _lose(self, nursery: trio.Nursery, info: PluginInfo) -> None:
        """Give notice of a plugin that failed when it was first needed; operations end if it said it is required."""
        if self.plugins.lose(info):
            self._runner.refusal = self.plugins.refusal()
            nursery.start_soon(self._tell, info)

    def _wire(self, registries: PluginRegistries) -> None:
        """Give each room its plugins, and offer what the rooms do as services."""
        self._scripts = ScriptRunner(
            registries.of("llmspell.languages"),
            lambda: self.settings.loaded.settings.default_language,
            self._runner,
            self._policies,
            self._services,
            registries.of("llmspell.globals"),
            self._write,
            self._read_line,
        )
        self._addresses.add("script", self._scripts.run)
        self._addresses.add("custom", self.hooks.run)
        self._services.brought = registries.of("llmspell.services")
        offered: dict[type[Any], Any] = {
            Calls: self._addresses,
            Events: self.events,
            FileAccess: Latest(lambda: self._policies.files),
            HookTable: self._registry,
            Hooks: self.hooks,
            Hosts: Latest(lambda: self._policies.hosts),
            Levels: self._policies,
            Operations: self._runner,
            PluginTable: self.plugins,
            ProjectFolder: HostFolder(self.settings.loaded.project_dir),
            Registries: registries,
            Scripts: self._scripts,
            SettingsAccess: self.settings,
        }
        self._runner.results = partial(self._services.get, ResultCache)
        self.events.requests = partial(self._services.get, EventRequests)
        self._registry.composites = partial(self._services.get, Composites)
        self._services.offer(offered)

    def _apply(self, loaded: LoadedSettings) -> None:
        self._policies.apply(loaded)
        self._registry.open_to_scripts(loaded.settings.scripts.hooks == "all")
        self._runner.limit(runner_limits(loaded))
        self.events.limit(flow_limit(loaded.settings))

    async def _stop(self) -> None:
        """Close everything; what fails or hangs keeps nothing else from being closed."""
        plugins = self._registry.components.get("plugin", ())
        self._registry.tell_unordered(hook for hook in self._registry if hook.plugin not in plugins)
        if hasattr(self, "plugins"):
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING_S):
                await self._runner.notify("system_shutdown", self._state())
            await self._lifespans.close(keeping="llmspell.storage")
        self.events.close()

    def _state(self) -> HostState:
        return HostState(VERSION, self.plugins.loaded, self.plugins.failed)
