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
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs
from pydantic import BaseModel
from stevedore import ExtensionManager

from llmspell.settings import Settings
from llmspell_hookspecs import HOOK_API_VERSION, LlmspellError, Services
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.loading import LoadingStep, settings_of, shown_plugin
from llmspell_hookspecs.plugin import PluginInfo

from .groups import Candidate, Groups

if TYPE_CHECKING:
    from .lifespan import Lifespans

__all__ = ["Loader", "load"]

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
            if table or inspect.getattr_static(target, "Settings", None) is not None:  # most have none
                settings = settings_of(info, target, table, row.section)
        made: Any = target
        with LoadingStep(info, "its constructor failed") as step:
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
    target, info, started = candidate.target, candidate.info, thread_time()
    if info.error:
        raise PluginError(info.error, plugin=info.name)
    wanted: Any = None
    unfit = False
    with LoadingStep(info, "it cannot be imported") as step:
        if candidate.point is not None:
            target = _Single(candidate.point)[candidate.point.name].plugin
        busy_s = thread_time() - started  # on a busy machine any import takes long
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
        raise PluginError(f"{shown_plugin(info)}: {message}; install a version of either that fits", plugin=info.name)
    if candidate.point is not None and busy_s >= _SLOW_S:
        _log.warning(
            "plugin %s: its import took %.1f s of processor time; import what is heavy where it is used (%s %s)",
            info.name,
            busy_s,
            info.distribution,
            info.version,
        )
    return Candidate(structs.replace(info, required=required) if required else info, candidate.point, target)
