"""The doctor: loads each plugin by itself, inside the guard, and says what is wrong with it.

Invariant: examining runs no operation and registers nothing with a host.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Literal

from msgspec import Struct, structs

from llmspell.hooks import HookRegistry, PointCatalog
from llmspell.settings import Settings
from llmspell_hookspecs import (
    ComponentNotFoundError,
    LlmspellError,
    PluginInfo,
    own_points,
)

from .discovery import Candidate, Installed, choose, scan_all
from .groups import GROUPS, PLUGINS
from .loading import Loader, load
from .plugins import register, says_required, split_name
from .registrar import Registrar
from .tables import unknown_names

__all__ = ["Finding", "examine"]


class Finding(Struct, frozen=True):
    """What the doctor found.

    Attributes:
        plugin: Which plugin.
        status: ``ok``, ``disabled``, ``refused`` or ``failed``.
        message: What is wrong and what to do.
        hooks: How many hooks it has.
        elapsed_ms: How long it took to load.
    """

    plugin: PluginInfo
    status: Literal["ok", "disabled", "refused", "failed"]
    message: str = ""
    hooks: int = 0
    elapsed_ms: float = 0.0


def examine(settings: Settings) -> list[Finding]:
    """Load every enabled plugin by itself; returns what was found, also what settings name and what is not there."""
    installed = Installed()
    registry = HookRegistry(PointCatalog(own_points()))
    examination = _Examination(settings, registry)
    candidates = [candidate for group in GROUPS for candidate in choose(group, settings, installed=installed)]
    findings = [examination.of(candidate) for candidate in candidates]
    findings += [Finding(info, "failed", info.error) for info in installed.problems]
    seen = {(finding.plugin.group, finding.plugin.name) for finding in findings}
    every = scan_all(installed)
    findings += [
        Finding(info, "disabled", "it is disabled, so it is not imported")
        for info in every
        if (info.group, info.name) not in seen
    ]
    for spelled in settings.required_plugins():
        if not any(_is_called(finding, spelled) for finding in findings):
            message = f"required plugin {spelled} is not installed or disabled; install it, or change plugins.required"
            findings.append(Finding(PluginInfo(spelled, required=True), "failed", message))
    registered = [info for info, _ in registry.order()]
    for key, problem in unknown_names(settings, every, registered):
        findings.append(Finding(PluginInfo(key, "settings"), "failed", problem))
    return findings


def _is_called(finding: Finding, spelled: str) -> bool:
    """Whether it is an enabled plugin of the name that settings require."""
    group, name = split_name(spelled)
    return finding.status != "disabled" and finding.plugin.name == name and group in ("", finding.plugin.group)


class _Examination:
    """Loads plugins as a host does, without one."""

    def __init__(self, settings: Settings, registry: HookRegistry) -> None:
        self._loader = Loader(lambda: settings, _NoServices())
        self._registrar = Registrar(registry)

    def of(self, candidate: Candidate) -> Finding:
        """Return what is found about one."""
        info = candidate.info
        if info.error:
            return Finding(info, "failed" if info.required else "refused", info.error)
        started = perf_counter()
        hooks, error = 0, ""
        try:
            if info.group == PLUGINS:
                target = load(candidate)
                info = structs.replace(info, required=info.required or says_required(info, target))
                hooks = register(self._registrar, info, target, self._loader.make(info, target))
            else:
                self._loader(candidate)
        except LlmspellError as problem:
            error = "" if _needs_a_host(problem) else str(problem)
        elapsed_ms = (perf_counter() - started) * 1000
        return Finding(structs.replace(info, error=error), "failed" if error else "ok", error, hooks, elapsed_ms)


def _needs_a_host(problem: BaseException | None) -> bool:
    """Whether its constructor asked for what only a running host has, which says nothing against it."""
    while problem is not None and not isinstance(problem, _OutsideError):
        problem = problem.__cause__
    return problem is not None


class _OutsideError(ComponentNotFoundError):
    """A service was used outside a host."""


class _NoServices:
    """Services outside a host: a constructor may ask for one and keep it, but not use it."""

    def get(self, protocol: type[Any], /) -> Any:
        """Answer what stands for the service."""
        return _Unavailable(protocol.__name__)

    def settings(self, plugin: str, /) -> dict[str, Any]:
        """Answer no settings."""
        return {}


class _Unavailable:
    """What stands for a service that only a running host has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Say that it cannot be used yet."""
        message = f"service {self._name}: {attribute} cannot be used in a constructor; use it when a hook is called"
        raise _OutsideError(message, address=self._name)
