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

from .discovery import GROUPS, PLUGINS, Candidate, Installed, choose, scan_all
from .loading import construct, load
from .registrar import Registrar

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
    """Load every enabled plugin by itself and answer what was found, missing required ones included."""
    installed = Installed()
    candidates = [candidate for group in GROUPS for candidate in choose(group, settings, installed=installed)]
    findings = [_examine_one(candidate, settings) for candidate in candidates]
    seen = {(finding.plugin.group, finding.plugin.name) for finding in findings}
    findings += [
        Finding(info, "disabled", "it is disabled, so it is not imported")
        for info in scan_all()
        if (info.group, info.name) not in seen
    ]
    present = {finding.plugin.name for finding in findings if finding.plugin.group == PLUGINS}
    for name in settings.required_plugins():
        if name not in present:
            message = f"required plugin {name} is not installed; install it, or take it out of plugins.required"
            findings.append(Finding(PluginInfo(name, required=True), "failed", message))
    return findings


def _examine_one(candidate: Candidate, settings: Settings) -> Finding:
    info = candidate.info
    if info.error:
        return Finding(info, "refused", info.error)
    started = perf_counter()
    try:
        target = load(info, candidate.point)
        hooks = _hooks(info, target, settings) if info.group == PLUGINS else 0
    except LlmspellError as error:
        elapsed_ms = (perf_counter() - started) * 1000
        return Finding(structs.replace(info, error=str(error)), "failed", str(error), 0, elapsed_ms)
    return Finding(info, "ok", "", hooks, (perf_counter() - started) * 1000)


def _hooks(info: PluginInfo, target: Any, settings: Settings) -> int:
    made = construct(info, target, settings.plugin_table(info.name), _NoServices())
    return Registrar(HookRegistry(PointCatalog(own_points()))).take(made, info.name)


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
        raise ComponentNotFoundError(message, address=self._name)
