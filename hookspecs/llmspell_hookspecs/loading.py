"""Loading a plugin: the error for what it does wrong meanwhile, and its settings as its own model has them."""

from __future__ import annotations

import inspect
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from .errors import PluginError
from .foreign import Blamed, text_of
from .parameters import first_problem, models_at, validate, written_names
from .plugin import PluginInfo
from .spelling import told

__all__ = ["LoadingStep", "settings_of", "shown_plugin"]


class LoadingStep(Blamed):
    """A block that does something with a plugin: what it raises leaves as an error that names the plugin.

    Args:
        info: The plugin.
        failure: What has failed if something is raised now; may be set anew.
        spares: As of `Blamed`.
    """

    __slots__ = ("failure", "info")

    def __init__(self, info: PluginInfo, failure: str, *, spares: type[Exception] | tuple[()] = ()) -> None:
        self.info = info
        self.failure = failure
        self._blame = self._failed
        self._spares = spares

    def __enter__(self) -> Self:
        return self

    def _failed(self, error: BaseException) -> PluginError:
        message = f"{shown_plugin(self.info)}: {self.failure}: {text_of(error)}; repair it, or disable it"
        return PluginError(message, plugin=self.info.name)


def shown_plugin(info: PluginInfo) -> str:
    """Return a plugin as messages call it."""
    source = f" ({info.distribution} {info.version})" if info.distribution else ""
    return f"plugin {info.name}{source}"


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
    with LoadingStep(info, "its Settings cannot be used", spares=PluginError):
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
        problem = first_problem(model, error)
        key, words = f"{where}.{problem.where}".rstrip("."), problem.words
        message = f"{key}: {words}" if "; " in words else f"{key}: {words}; fix it, or take it out for the default"
        if problem.kind == "extra_forbidden":
            known = {name for each in models_at(model, problem.path) for name in written_names(each)}
            message = f"{key}: {words}; fix it, there are {', '.join(sorted(known)) or 'none'}"
        elif problem.kind == "missing":
            message = f"{key}: it has no default; set it in [{key.rpartition('.')[0]}]"
        raise PluginError(message, plugin=where.rpartition(".")[2]) from None
