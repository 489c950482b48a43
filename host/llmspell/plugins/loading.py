"""Loading plugins inside the host's own guard: import, settings, construction, and the check of what came out.

stevedore imports by entry point; its managers let SystemExit and AssertionError through, so each load has a manager of
its own inside a guard of ours. What was handed over in code goes the same way, without the import.

Invariant: whatever a plugin does wrong while it loads is a `PluginError` that names it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint
from time import perf_counter
from typing import Any, Final

from msgspec import structs
from pydantic import BaseModel, ValidationError
from stevedore import ExtensionManager

from llmspell.settings import Settings
from llmspell_hookspecs import HOOK_API_VERSION, LlmspellError, Services
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.parameters import models_at, validate, written_names
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.spelling import told

from .discovery import Candidate
from .groups import Groups
from .lifespan import Lifespans

__all__ = ["Loader", "load", "settings_of"]

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


class _Step:
    """What is being done with a plugin; makes the error for what goes wrong meanwhile."""

    __slots__ = ("failure", "info")

    def __init__(self, info: PluginInfo, failure: str) -> None:
        self.info = info
        self.failure = failure

    def __call__(self, error: BaseException) -> PluginError:
        message = f"{_named(self.info)}: {self.failure}: {text_of(error)}; repair it, or disable it"
        return PluginError(message, plugin=self.info.name)


def _named(info: PluginInfo) -> str:
    source = f" ({info.distribution} {info.version})" if info.distribution else ""
    return f"plugin {info.name}{source}"


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
        started = perf_counter()
        try:
            candidate = load(candidate)
            constructs = self.groups.row(candidate.info.group).constructed
            made = self.make(candidate.info, candidate.target, constructs=constructs)
        except LlmspellError as error:
            if not candidate.info.error:  # else that was told when it was found
                self.failed(structs.replace(candidate.info, error=str(error)))
            raise
        self.tell_loaded(candidate.info, perf_counter() - started)
        return made

    def tell_loaded(self, info: PluginInfo, elapsed_s: float) -> None:
        """Log that a plugin is loaded, and how long it took."""
        if _log.isEnabledFor(logging.INFO):
            word = self.groups.row(info.group).word
            source = f" ({info.distribution} {info.version})" if info.distribution else ""
            _log.info("%s %s: loaded in %.1f ms%s", word, info.name, elapsed_s * 1000, source)

    def make(self, info: PluginInfo, target: Any, *, constructs: bool = True) -> Any:
        """Construct what an entry point names with its settings, and check it.

        A module or an object is the plugin as it is; a class is constructed with ``(settings, services)``. So is one
        of which others are made, a global or a provider, but not here: ``constructs`` says so.

        Raises:
            PluginError: Its settings do not fit, its constructor failed, or what came out is none.
        """
        row = self.groups.row(info.group)
        settings: BaseModel | None = None
        if constructs or not row.typed:  # each of a provider's tables makes one of its own
            table = self._settings().table(row.section, info.name, info.group) if row.section else {}
            if row.typed:
                table.pop("type", None)
            settings = settings_of(info, target, table, row.section)
        made: Any = target
        step = _Step(info, "its constructor failed")
        with Blamed(step):
            if constructs and inspect.isclass(target):
                constructor: Any = target
                with self.lifespans.collect() as needs:
                    takes = inspect.signature(constructor).parameters
                    made = constructor(settings, self._services) if takes else constructor()
                self.lifespans.keep(info, made, needs, row.word)
            elif constructs:
                self.lifespans.keep(info, made, [], row.word)
            step.failure = "it cannot be used"
            problem = row.problem(made, info.name)
        if problem:
            source = info.module or type(made).__name__
            raise PluginError(f"{row.word} {info.name}: {source} {problem}", plugin=info.name)
        return made


def load(candidate: Candidate) -> Candidate:
    """Return the candidate with what its entry point names as its target, imported; what was handed over as it is.

    What is written for another contract is refused, and what says itself that nothing runs without it is required. A
    slow import is told.

    Raises:
        PluginError: It is refused, or cannot be imported, for whatever reason.
    """
    target, info, started = candidate.target, candidate.info, perf_counter()
    if info.error:
        raise PluginError(info.error, plugin=info.name)
    wanted: Any = None
    unfit = False
    step = _Step(info, "it cannot be imported")
    with Blamed(step):
        if candidate.point is not None:
            target = _Single(candidate.point)[candidate.point.name].plugin
        elapsed_s = perf_counter() - started
        step.failure = "it cannot be looked at"
        target = getattr(target, "llmspell_tool", target) if inspect.isfunction(target) else target
        required = info.required or inspect.getattr_static(target, "required", None) is True
        step.failure = "its requires_host cannot be read"
        wanted = inspect.getattr_static(target, "requires_host", None)
        if wanted is not None:
            from packaging.specifiers import SpecifierSet

            unfit = HOOK_API_VERSION not in SpecifierSet(wanted)
    if unfit:
        message = f"its requires_host is {wanted!r}, and this llmspell has the contract {HOOK_API_VERSION}"
        raise PluginError(f"{_named(info)}: {message}; install a version of either that fits", plugin=info.name)
    if candidate.point is not None and elapsed_s >= _SLOW_S:
        _log.warning(
            "plugin %s: its import took %.1f s; import what is heavy where it is used (%s %s)",
            info.name,
            elapsed_s,
            info.distribution,
            info.version,
        )
    return Candidate(structs.replace(info, required=required) if required else info, candidate.point, target)


def settings_of(info: PluginInfo, target: Any, table: dict[str, Any], section: str) -> BaseModel | None:
    """Return the settings of a plugin as its own model has them; None if it takes none.

    Args:
        info: Which plugin it is.
        target: What its entry point names, or what was handed over.
        table: Its own settings, secrets revealed.
        section: Where its settings stand.

    Raises:
        PluginError: They do not fit; names the key.
    """
    with Blamed(_Step(info, "its Settings cannot be used"), spares=PluginError):
        where = f"{section}.{info.name}"
        given = inspect.isclass(target) or inspect.ismodule(target)
        # a module that makes names on demand is asked for none that it lacks
        asked = not inspect.ismodule(target) or "Settings" in vars(target)
        model = getattr(target, "Settings", None) if asked else None
        problem = ""
        if table and not given:
            problem = "it was handed over as an object, which no settings reach; hand over its class"
        elif table and model is None:
            problem = "this plugin takes no settings; take the table out"
        if problem:
            raise PluginError(f"{where}.{next(iter(table))}: {problem}", plugin=info.name)
        if model is not None and not (inspect.isclass(model) and issubclass(model, BaseModel)):
            shown = told(model, 43)
            message = f"plugin {info.name}: its Settings is {shown}, no pydantic model; make it one"
            raise PluginError(message, plugin=info.name)
        return None if model is None or not given else _validated(model, table, where)


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
