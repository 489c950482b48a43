"""The plugin features: flags, each a name for plugins and hooks that are switched together, for all or in a session.

A flag that is on brings what it needs. What a flag names is asked while any flag that names it is on. A plugin that is
optional, as most in the box are, is loaded when a flag first wants it; any other is there and silent meanwhile.

Invariant: what the settings disable no flag loads; what a plugin knows is kept while it is off.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar

import trio
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import HookContext, Policy, Services, hookimpl
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.services import Hooks
from llmspell_hookspecs.spelling import meant, told
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_hookspecs.switching import HookSwitch, PluginSwitch
from llmspell_hookspecs.system import HostState

__all__ = ["FeatureSettings", "Features"]

_log = logging.getLogger("llmspell.plugins")


class Flag(BaseModel):
    """One flag."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: bool = Field(default=False, description="Whether it is on as the host starts.")
    plugins: tuple[str, ...] = Field(default=(), description="Plugins of hooks, by name.")
    hooks: tuple[str, ...] = Field(default=(), description="Globs for plugin.hook.")
    needs: tuple[str, ...] = Field(default=(), description="Flags that are on whenever it is.")


class FeatureSettings(BaseModel):
    """``[plugins.features]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flags: Annotated[dict[str, Flag], Policy.LOCKED] = Field(
        default={}, description="The flags, each a table [plugins.features.flags.NAME]."
    )

    @model_validator(mode="after")
    def _hold_together(self) -> FeatureSettings:
        for name, flag in self.flags.items():
            for needed in flag.needs:
                if needed not in self.flags:
                    raise ValueError(f"flag {name} needs {needed!r}, {_unknown(needed, self.flags)}")
            if not (flag.plugins or flag.hooks or flag.needs):
                raise ValueError(f"flag {name} names nothing; give plugins, hooks or needs")
            way = _circle(name, self.flags)
            if way:
                raise ValueError(f"flags need each other in a circle: {' -> '.join(way)}; take one need out")
        return self


class _State(Struct, frozen=True):
    """What was switched: of each flag, and in each session."""

    on: dict[str, bool]
    sessions: dict[str, dict[str, bool]]


class Features:
    """The plugin; the host makes one. `PluginSwitch.plugin("features")` returns it.

    Args:
        settings: Its own.
        services: What it may use of the host.
    """

    name = "features"
    Settings: ClassVar[type[BaseModel]] = FeatureSettings

    def __init__(self, settings: FeatureSettings, services: Services) -> None:
        self._flags = settings.flags
        self._services = services
        self._plugins = services.get(PluginSwitch)
        self._hooks = services.get(HookSwitch)
        self._on: dict[str, bool] = dict.fromkeys(self._flags, False)
        self._sessions: dict[str, dict[str, bool]] = {}
        self._lock = trio.Lock()
        for name, flag in self._flags.items():
            for each in _with_needs(name, self._flags) if flag.on else ():
                self._on[each] = True
        if self._plugins.plugin(self.name) is None:  # else the one before has switched, and hands that on
            self._switch_all()

    def _switch_all(self) -> None:
        """Silence what no flag wants, also what is loaded later."""
        self._switch(self._patterns(self._flags), [""])

    def _switch(self, patterns: Iterable[str], sessions: Iterable[str]) -> None:
        for pattern in dict.fromkeys(patterns):
            for session in sessions:
                self._hooks.switch(pattern, self._is_wanted(pattern, session), session=session)

    @hookimpl(kind="observe")
    async def system_startup(self, context: HookContext[HostState]) -> None:
        """Load what the flags want that are on, and tell of names that stand for nothing."""
        for name in dict.fromkeys(each for flag in self._flags for each in self._flags[flag].plugins):
            if self._is_wanted(f"{name}.*", "") and self._plugins.plugin(name) is None:
                try:
                    await self._plugins.enable(name)
                except PluginError as error:
                    _log.warning("features: %s", error)
        await self._tell_unknown()

    async def _tell_unknown(self) -> None:
        """A flag that is off silences nothing by a misspelt name, and would say so only once it is on."""
        known = {info.name for info in self._plugins.known()}
        there = known | await trio.to_thread.run_sync(_installed)
        hooks = sorted({f"{info.plugin}.{info.name}" for info in self._services.get(Hooks).list()})
        for flag, names in self._flags.items():
            for name in names.plugins:
                if name not in there and not self._is_wanted(f"{name}.*", ""):
                    advice = meant(name, there, "see 'llmspell plugin list'")
                    _log.warning("features: flag %s: no plugin is called %s; %s", flag, told(name), advice)
            for pattern in names.hooks:
                plugin = pattern.partition(".")[0]
                if plugin not in there - known and not any(fnmatchcase(hook, pattern) for hook in hooks):
                    look = "see 'llmspell hook list'"
                    advice = meant(pattern, hooks, look) if plugin in known else meant(plugin, there, look)
                    _log.warning("features: flag %s: no hook fits %s; %s", flag, told(pattern), advice)

    def is_on(self, name: str, /, *, session: str = "") -> bool:
        """Return whether a flag is on, for all or in a session.

        Raises:
            PluginError: There is no such flag.
        """
        self._check(name)
        return self._sessions.get(session, {}).get(name, self._on[name])

    async def switch(self, name: str, on: bool, /, *, session: str = "") -> None:
        """Switch a flag on, with all that it needs, or off.

        Args:
            name: The flag.
            on: Whether it is to be on.
            session: Only in this session; for all where nothing else is said of it if empty.

        Raises:
            PluginError: There is none, another that is on needs it, or what it names cannot be loaded or is required.
        """
        self._check(name)
        if not (isinstance(on, bool) and isinstance(session, str)):
            message = (
                f"flag {name}: {on!r:.80} in {session!r:.80} is no switch; give True or False, and the id of a session"
            )
            raise PluginError(message, plugin="features")
        async with self._lock:
            changed = list(_with_needs(name, self._flags)) if on else [name]
            holders = [each for each in self._flags if name in self._flags[each].needs]
            holder = next((each for each in holders if not on and self.is_on(each, session=session)), "")
            if holder:
                raise PluginError(f"flag {name}: {holder} is on and needs it; switch {holder} off first", plugin=name)
            before = {each: dict(said) for each, said in self._sessions.items()}, dict(self._on)
            said = self._sessions.setdefault(session, {}) if session else self._on
            said.update(dict.fromkeys(changed, on))
            try:
                await self._apply(changed, session)
            except PluginError:
                self._sessions, self._on = before
                self._switch(self._patterns(changed), [session] if session else ["", *self._sessions])
                raise

    def forget(self, session: str, /) -> None:
        """Take back what was said of a session, such as one that has ended."""
        for pattern in self._patterns(self._sessions.pop(session, {})):
            self._hooks.switch(pattern, None, session=session)

    def stats(self) -> dict[str, Any]:
        """Return which flags are on, and in how many sessions something else was said of each."""
        said = [each for flags in self._sessions.values() for each in flags]
        return {name: {"on": on, "sessions": said.count(name)} for name, on in self._on.items()}

    async def dump_state(self) -> Any:
        """Return what was switched; see the contract's `Stateful`."""
        return plain_state(_State(self._on, self._sessions))

    async def load_state(self, state: Any, /) -> None:
        """Take over what was switched of the flags that there still are."""
        given = state_of(state, _State, self.name)
        self._on.update({name: on for name, on in given.on.items() if name in self._flags})
        for session, said in given.sessions.items():
            self._sessions[session] = {name: on for name, on in said.items() if name in self._flags}
        self._switch_all()

    async def _apply(self, changed: list[str], session: str) -> None:
        """Switch what these flags name, in the session or for all, and in those of which something is said."""
        sessions = [session] if session else ["", *self._sessions]
        for name in dict.fromkeys(each for flag in changed for each in self._flags[flag].plugins):
            for each in sessions:
                if self._is_wanted(f"{name}.*", each):
                    await self._plugins.enable(name, session=each)
                elif self._plugins.plugin(name) is not None:
                    self._plugins.disable(name, session=each)
        self._switch((each for flag in changed for each in self._flags[flag].hooks), sessions)

    def _is_wanted(self, pattern: str, session: str) -> bool:
        """Return whether a flag is on that names this."""
        return any(self.is_on(name, session=session) for name in self._flags if pattern in self._patterns([name]))

    def _patterns(self, flags: Any) -> list[str]:
        names = [self._flags[name] for name in flags]
        return [pattern for flag in names for pattern in (*(f"{name}.*" for name in flag.plugins), *flag.hooks)]

    def _check(self, name: str) -> None:
        if name not in self._flags:
            raise PluginError(f"flag {name!r:.80}: {_unknown(str(name), self._flags)}", plugin="features")


def _installed() -> set[str]:
    """Return the names of plugins of hooks that packages bring."""
    return {point.name for point in entry_points(group="llmspell.plugins")}


def _unknown(name: str, flags: Any) -> str:
    near = difflib.get_close_matches(name, flags, 1)
    there = ", ".join(flags)[:300] or "none"
    return f"which is no flag; did you mean {near[0]}?" if near else f"which is no flag; there are {there}"


def _with_needs(name: str, flags: dict[str, Flag]) -> Iterator[str]:
    """Yield a flag and all that it needs, each once."""
    seen, row = {name}, [name]
    for each in row:
        yield each
        row += [needed for needed in flags[each].needs if needed not in seen]
        seen.update(flags[each].needs)


def _circle(name: str, flags: dict[str, Flag]) -> list[str]:
    """Return the way from a flag back to itself through what each needs; empty if there is none."""
    row, ways = [name], {name: [name]}
    for each in row:
        for needed in flags[each].needs if each in flags else ():
            if needed == name:
                return [*ways[each], name]
            if needed not in ways:
                ways[needed] = [*ways[each], needed]
                row.append(needed)
    return []
