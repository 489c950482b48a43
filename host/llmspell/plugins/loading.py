"""Loading plugins inside the host's own guard: import, settings, construction, and the check of what came out.

stevedore imports by entry point; its managers let SystemExit and AssertionError through, so each load has a manager of
its own inside a guard of ours. What was handed over in code goes the same way, without the import.

Invariant: whatever a plugin does wrong while it loads is a `PluginError` that names it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint
from time import perf_counter
from typing import Any, Final

from msgspec import structs
from pydantic import BaseModel, ValidationError
from stevedore import ExtensionManager

from llmspell.settings import Settings
from llmspell_hookspecs import HOOK_API_VERSION, ComponentGroup, LlmspellError, PluginError, PluginInfo, Services
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.parameters import models_at, validate, written_names

from .discovery import Candidate
from .groups import Groups
from .lifespan import Lifespans

__all__ = ["Loader", "construct", "load", "says_required", "settings_of", "table_of"]

_log = logging.getLogger("llmspell.plugins")
_SLOW_S: Final = 1.0


class _Single(ExtensionManager[Any]):
    """A stevedore manager of exactly one entry point."""

    def __init__(self, point: EntryPoint) -> None:
        self._point = point
        super().__init__(point.group, on_load_failure_callback=_passed_on)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._point]


def _passed_on(manager: object, point: object, error: BaseException) -> None:
    raise error


class Loader:
    """Makes plugins as their groups want them.

    Args:
        groups: Say what one of each is.
        settings: Returns the settings as they are now.
        services: What plugins are constructed with.
        lifespans: Open what is made.

    Attributes:
        failed: Told of each plugin that cannot be loaded, with the reason in its ``error``.
    """

    def __init__(
        self, groups: Groups, settings: Callable[[], Settings], services: Services, lifespans: Lifespans
    ) -> None:
        self.groups = groups
        self.lifespans = lifespans
        self._settings = settings
        self._services = services
        self.failed: Callable[[PluginInfo], None] = lambda info: None

    def __call__(self, candidate: Candidate) -> Any:
        """Return the plugin, made and checked.

        Raises:
            PluginError: It cannot be made, for whatever reason, or is none.
        """
        if candidate.info.error:
            raise PluginError(candidate.info.error, plugin=candidate.info.name)
        info, started = candidate.info, perf_counter()
        try:
            target = load(candidate)
            info = structs.replace(info, required=info.required or says_required(info, target))
            made = self.make(info, target, constructs=self.groups.row(info.group).constructed)
        except LlmspellError as error:
            self.failed(structs.replace(info, error=str(error)))
            raise
        self.tell_loaded(info, perf_counter() - started)
        return made

    def tell_loaded(self, info: PluginInfo, elapsed_s: float) -> None:
        """Log that a plugin is loaded, and how long it took."""
        source = f" ({info.distribution} {info.version})" if info.distribution else ""
        word = self.groups.row(info.group).word
        _log.info("%s %s: loaded in %.1f ms%s", word, info.name, elapsed_s * 1000, source)

    def make(self, info: PluginInfo, target: Any, *, constructs: bool = True) -> Any:
        """Construct what an entry point names with its settings, and check it."""
        row = self.groups.row(info.group)
        if constructs:
            with self.lifespans.collect() as needs:
                made = construct(info, target, table_of(self._settings(), info, row), self._services, row.section)
            self.lifespans.keep(info, made, needs, row.word)
        else:
            made = target
            if not row.typed:  # each of a provider's tables makes one of its own
                settings_of(info, target, table_of(self._settings(), info, row), row.section)
        with Blamed(partial(_problem, info, "it cannot be used"), spares=LlmspellError):
            problem = row.problem(made, info.name)
        if problem:
            source = info.module or type(made).__name__
            raise PluginError(f"{row.word} {info.name}: {source} {problem}", plugin=info.name)
        return made


def load(candidate: Candidate) -> Any:
    """Import what the entry point names, or return what was handed over. A slow import is told.

    Raises:
        PluginError: It cannot be imported, for whatever reason.
    """
    target, info = candidate.target, candidate.info
    if candidate.point is not None:
        started = perf_counter()
        with Blamed(partial(_problem, info, "it cannot be imported")):
            target = _Single(candidate.point)[candidate.point.name].plugin
        elapsed_s = perf_counter() - started
        if elapsed_s >= _SLOW_S:
            _log.warning(
                "plugin %s: its import took %.1f s; import what is heavy where it is used (%s %s)",
                info.name,
                elapsed_s,
                info.distribution,
                info.version,
            )
    target = getattr(target, "llmspell_tool", target) if inspect.isfunction(target) else target
    _check_version(info, target)
    return target


def _check_version(info: PluginInfo, target: Any) -> None:
    """Refuse a plugin that was written for another contract."""
    with Blamed(partial(_problem, info, "its requires_host cannot be read"), spares=PluginError):
        wanted = inspect.getattr_static(target, "requires_host", None)
        if wanted is None:
            return
        from packaging.specifiers import SpecifierSet

        if HOOK_API_VERSION not in SpecifierSet(wanted):
            source = f" ({info.distribution} {info.version})" if info.distribution else ""
            message = f"its requires_host is {wanted!r}, and this llmspell has the contract {HOOK_API_VERSION}"
            raise PluginError(
                f"plugin {info.name}{source}: {message}; install a version of either that fits", plugin=info.name
            )


def says_required(info: PluginInfo, target: Any) -> bool:
    """Return whether a plugin says itself that nothing runs without it."""
    with Blamed(partial(_problem, info, "it cannot be looked at")):
        return inspect.getattr_static(target, "required", None) is True


def construct(info: PluginInfo, target: Any, table: dict[str, Any], services: Services, section: str) -> Any:
    """Return the plugin object: the module as it is, a class constructed with ``(settings, services)``.

    Args:
        info: Which plugin it is.
        target: What its entry point names, or what was handed over.
        table: Its own settings, secrets revealed.
        services: What it may use of the host.
        section: Where its settings stand.

    Raises:
        PluginError: Its settings do not fit, or its constructor failed.
    """
    settings = settings_of(info, target, table, section)
    with Blamed(partial(_problem, info, "its constructor failed")):
        if not inspect.isclass(target):
            return target
        constructor: Any = target
        return constructor(settings, services) if inspect.signature(constructor).parameters else constructor()


def settings_of(info: PluginInfo, target: Any, table: dict[str, Any], section: str) -> BaseModel | None:
    """Return the settings of a plugin as its own model has them; None if it takes none.

    Raises:
        PluginError: They do not fit; names the key.
    """
    with Blamed(partial(_problem, info, "its Settings cannot be used"), spares=PluginError):
        where = f"{section}.{info.name}"
        model = getattr(target, "Settings", None) if _may_have_settings(target) else None
        if table and not (inspect.isclass(target) or inspect.ismodule(target)):
            key = f"{where}.{next(iter(table))}"
            message = f"{key}: it was handed over as an object, which no settings reach; hand over its class"
            raise PluginError(message, plugin=info.name)
        if model is None:
            if table:
                message = f"{where}.{next(iter(table))}: this plugin takes no settings; take the table out"
                raise PluginError(message, plugin=info.name)
            return None
        if not (inspect.isclass(model) and issubclass(model, BaseModel)):
            message = f"plugin {info.name}: its Settings is {_shown(model)}, no pydantic model; make it one"
            raise PluginError(message, plugin=info.name)
        if not (inspect.isclass(target) or inspect.ismodule(target)):
            return None
        return _validated(model, table, where)


def _shown(value: Any) -> str:
    """Return what a value looks like, short."""
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."


def _may_have_settings(target: Any) -> bool:
    """Whether ``Settings`` may be asked for; a module that makes names on demand is asked for none that it lacks."""
    return not inspect.ismodule(target) or "Settings" in vars(target)


def _validated(model: type[BaseModel], table: dict[str, Any], where: str) -> BaseModel:
    """Return the settings of a plugin as its own model has them; a key that it does not know is refused.

    Raises:
        PluginError: They do not fit; names the key.
    """
    try:
        return validate(model, table)
    except ValidationError as error:
        problems = error.errors()
        first = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
        key = ".".join([where, *(str(part) for part in first["loc"])])
        told = first["msg"].removeprefix("Value error, ")
        message = f"{key}: {told}" if "; " in told else f"{key}: {told}; fix it, or take it out for the default"
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted({name for each in models_at(model, first["loc"]) for name in written_names(each)}))
            message = f"{key}: {first['msg']}; fix it, there are {known or 'none'}"
        elif first["type"] == "missing":
            message = f"{key}: it has no default; set it in [{key.rpartition('.')[0]}]"
        raise PluginError(message, plugin=where.rpartition(".")[2]) from None


def table_of(settings: Settings, info: PluginInfo, row: ComponentGroup) -> dict[str, Any]:
    """Return a plugin's own settings, secrets revealed, from the section of its group."""
    table = settings.table(row.section, info.name, info.group) if row.section else {}
    if row.typed:
        table.pop("type", None)
    return table


def _problem(info: PluginInfo, what: str, error: BaseException) -> PluginError:
    source = f" ({info.distribution} {info.version})" if info.distribution else ""
    message = f"plugin {info.name}{source}: {what}: {text_of(error)}; repair it, or disable it"
    return PluginError(message, plugin=info.name)
