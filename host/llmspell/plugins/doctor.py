"""The doctor: loads each plugin by itself, inside the guard, and says what is wrong with it.

Invariant: examining runs no operation and registers nothing with a host.
"""

from __future__ import annotations

import inspect
from functools import partial
from time import perf_counter
from typing import Any, Literal

from msgspec import Struct, structs
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llmspell.hooks import HookRegistry
from llmspell.settings import LoadedSettings, Settings, plain
from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.catalog import PointCatalog
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.groups import PLUGINS
from llmspell_hookspecs.hook_table import Composites, HookTable
from llmspell_hookspecs.outside import NoServices, needs_a_host
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.topics import own_points

from .discovery import Installed, choose, scan_all
from .groups import Candidate, Groups
from .lifespan import Lifespans
from .loading import Loader, load
from .plugins import Registrar, register
from .registry import LazyRegistry, ServiceRegistry
from .tables import components_in, known_groups, unknown_names

__all__ = ["Finding", "examine", "explain"]


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


def examine(settings: Settings, installed: Installed | None = None) -> list[Finding]:
    """Load every enabled plugin by itself; returns what was found, also what settings name and what is not there."""
    installed = installed or Installed()
    registry = HookRegistry(PointCatalog(own_points()))
    examination = _Examination(settings, registry, installed)
    candidates = [candidate for group in installed.groups for candidate in choose(group, settings, installed)]
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
        if not any(each.status != "disabled" and spelled in each.plugin.spellings for each in findings):
            message = f"required plugin {spelled} is not installed or disabled; install it, or change plugins.required"
            findings.append(Finding(PluginInfo(spelled, required=True), "failed", message))
    registered = [info for info, _ in registry.order()]
    for key, problem in unknown_names(settings, every, registered):
        findings.append(Finding(PluginInfo(key, "settings"), "failed", problem))
    lines: dict[str, list[str]] = {}
    registry.components = components_in(every, examination.groups)
    for hook, line in registry.idle():
        lines.setdefault(hook.plugin, []).append(line)
    return [
        structs.replace(each, message=" | ".join(lines[each.plugin.name]))
        if each.status == "ok" and each.plugin.group == PLUGINS and each.plugin.name in lines
        else each
        for each in findings
    ]


def explain(loaded: LoadedSettings, name: str, installed: Installed) -> list[dict[str, Any]]:
    """Return what each plugin of a name is and brings, and why it fails if it does; a disabled one is not imported."""
    settings = loaded.settings
    found = []
    for candidate in (each for group in installed.groups for each in choose(group, settings, installed)):
        info = candidate.info
        if name in info.spellings:
            registry = HookRegistry(PointCatalog(own_points()))
            finding = _Examination(settings, registry, installed).of(candidate)
            brings = [f"{hook.point}: {hook.kind} {hook.name}" for hook, _ in registry.order()]
            found.append({**structs.asdict(finding.plugin), "status": finding.status, "hooks": brings})
            if not info.error:
                found[-1] |= _told(candidate, loaded)
    return found


def _told(candidate: Candidate, loaded: LoadedSettings) -> dict[str, Any]:
    """What a plugin tells of itself: its description, which protocol it keeps, and its settings."""
    info, told = candidate.info, {"description": "", "provides": "", "settings": {}}
    try:
        with Blamed(lambda error: PluginError(text_of(error))):
            target = load(candidate).target
            own = target.__doc__ if inspect.isroutine(target) else vars(target).get("__doc__")  # not the base class's
            told["description"] = inspect.cleandoc(own or "").partition("\n\n")[0].replace("\n", " ")
            provides = inspect.getattr_static(target, "provides", None)
            told["provides"] = provides.__name__ if inspect.isclass(provides) else ""
            model = inspect.getattr_static(target, "Settings", None)
            if inspect.isclass(model) and issubclass(model, BaseModel):
                section = f"{Groups().row(info.group).section}.{info.name}"
                told["settings"] = {
                    key: _setting(loaded, f"{section}.{key}", each) for key, each in model.model_fields.items()
                }
    except PluginError:  # what failed is told as its error
        pass
    return told


def _setting(loaded: LoadedSettings, key: str, field: FieldInfo) -> dict[str, Any]:
    """One setting: its value as it counts, its default, where it was set and what it is for."""
    default = None if field.is_required() else field.get_default(call_default_factory=False)
    default = default if isinstance(default, str | int | float | bool | None) else str(default)
    set_ = plain(loaded, key)
    return {
        "value": default if set_ is None else set_,
        "default": default,
        "origin": str(loaded.origins.get(key, "default")),
        "description": field.description or "",
    }


class _Examination:
    """Loads plugins as a host does, without one."""

    def __init__(self, settings: Settings, registry: HookRegistry, installed: Installed) -> None:
        self.groups = known_groups(settings, installed)
        lifespans = Lifespans(None)
        self._loader = Loader(self.groups, lambda: settings, NoServices(), lifespans)
        self._registrar = Registrar(registry)
        services = ServiceRegistry(lifespans, lambda name: {})  # the one that registering may need
        services.offer({HookTable: registry})
        loader = Loader(self.groups, lambda: settings, services, lifespans)
        group = "llmspell.services"
        services.brought = LazyRegistry(group, choose(group, settings, installed), loader, ())
        registry.composites = partial(services.get, Composites)

    def of(self, candidate: Candidate) -> Finding:
        """Return what is found about one."""
        info = candidate.info
        if info.error:
            return Finding(info, "failed" if info.required else "refused", info.error)
        started = perf_counter()
        hooks, error = 0, ""
        try:
            if info.group == PLUGINS:
                candidate = load(candidate)
                info, target = candidate.info, candidate.target
                hooks = register(self._registrar, info, target, self._loader.make(info, target), self._loader.groups)
            else:
                self._loader(candidate)
        except LlmspellError as problem:
            error = "" if needs_a_host(problem) else str(problem)
        elapsed_ms = (perf_counter() - started) * 1000
        return Finding(structs.replace(info, error=error), "failed" if error else "ok", error, hooks, elapsed_ms)
