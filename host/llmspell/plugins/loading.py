"""Loading one plugin inside the host's own guard: import, construct, settings.

stevedore imports by entry point; its managers let SystemExit and AssertionError through, so each load has a manager of
its own inside a guard of ours.

Invariant: whatever a plugin does wrong while it loads is a `PluginError` that names it.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from stevedore import ExtensionManager

from llmspell_hookspecs import LlmspellError, PluginError, PluginInfo, Services

__all__ = ["construct", "load", "validated"]

_SECTIONS: Final = {"llmspell.tools": "tools", "llmspell.providers": "providers", "llmspell.storage": "storage"}
"""Where the settings of a group's plugins stand, if not in ``[plugins.NAME]``."""


class _Single(ExtensionManager[Any]):
    """A stevedore manager of exactly one entry point."""

    def __init__(self, point: EntryPoint) -> None:
        self._point = point
        super().__init__(point.group, on_load_failure_callback=_passed_on)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._point]


def _passed_on(manager: object, point: object, error: BaseException) -> None:
    raise error


def load(info: PluginInfo, point: EntryPoint) -> Any:
    """Import what the entry point names.

    Raises:
        PluginError: It cannot be imported, for whatever reason.
    """
    try:
        return _Single(point)[point.name].plugin
    except (Exception, SystemExit) as error:
        raise _problem(info, "it cannot be imported", error) from error


def construct(info: PluginInfo, target: Any, table: dict[str, Any], services: Services) -> Any:
    """Answer the plugin object: the module as it is, a class constructed with ``(settings, services)``.

    Args:
        info: Which plugin it is.
        target: What its entry point names, or what was handed over.
        table: Its own settings, secrets revealed.
        services: What it may use of the host.

    Raises:
        PluginError: Its settings do not fit, or its constructor failed.
    """
    model = getattr(target, "Settings", None)
    section = _SECTIONS.get(info.group, "plugins")
    if table and not (inspect.isclass(model) and issubclass(model, BaseModel)):
        key = next(iter(table))
        message = f"{section}.{info.name}.{key}: this plugin takes no settings; take the table out"
        raise PluginError(message, plugin=info.name)
    settings = validated(model, table, f"{section}.{info.name}") if model is not None else None
    if not inspect.isclass(target):
        return target
    constructor: Any = target
    try:
        return constructor(settings, services) if inspect.signature(constructor).parameters else constructor()
    except (Exception, SystemExit) as error:
        raise _problem(info, "its constructor failed", error) from error


def validated(model: type[BaseModel], table: dict[str, Any], where: str) -> BaseModel:
    """Answer the settings of a plugin as its own model has them.

    Raises:
        PluginError: They do not fit; names the key.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([where, *(str(part) for part in first["loc"])])
        message = f"{key}: {first['msg']}; mend it, or take it out for the default"
        raise PluginError(message, plugin=where.rpartition(".")[2]) from None


def _problem(info: PluginInfo, what: str, error: BaseException) -> PluginError:
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, LlmspellError):
        reason = str(error)
    source = f" ({info.distribution} {info.version})" if info.distribution else ""
    message = f"plugin {info.name}{source}: {what}: {' '.join(reason.split())}; repair it, or disable it"
    return PluginError(message, plugin=info.name)
