"""The groups of plugins that the host itself knows, and what one of each must be; those of components come with kinds.

A row is a `ComponentGroup`: by it is judged what is found by entry point, and what is handed over in code.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Collection
from typing import Any, Final

from .kind import ComponentGroup, ComponentKind
from .language import Language, ScriptGlobal
from .spelling import told
from .storage import Storage

__all__ = ["GROUPS", "KINDS", "PLUGINS", "keeps", "name_problem", "plugin_name", "service_name"]

PLUGINS: Final = "llmspell.plugins"
"""The group of hook plugins; the others hold what is loaded by name on first use."""
KINDS: Final = "llmspell.kinds"
"""The group of component kinds, which the host loads before all others: they say which groups there are."""
_OPENS: Final = ("__aenter__", "__aexit__")
_NAME_CHARACTERS: Final = 100
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def plugin_name(item: Any) -> str:
    """Return the name of what was handed over: what it calls itself, or its module's, class's or function's own."""
    for attribute in ("name", "kind"):
        given = _attribute(item, attribute)
        if isinstance(given, str):
            return str.__str__(given)  # a subclass may compare as it likes
    if _provides(item) and not inspect.ismodule(item):
        return service_name(item.provides)
    if inspect.ismodule(item) or inspect.isclass(item) or inspect.isroutine(item):
        return str(item.__name__).rpartition(".")[2]
    return type(item).__name__


def name_problem(name: str, section: str, taken: Collection[str]) -> str:
    """Return what is wrong with the name of a plugin, for which settings could not tell it apart; empty if nothing is.

    Args:
        name: The name.
        section: Where its settings stand.
        taken: The host's own keys there.
    """
    if not name.strip():
        return "it has no name; give it one"
    if len(name) > _NAME_CHARACTERS:
        return f"its name has {len(name)} characters; a name has at most {_NAME_CHARACTERS}"
    if not name.isprintable() or name != name.strip():
        return "its name holds what cannot be printed, or blanks around it; rename it"
    if ":" in name:
        return "its name holds a colon, which stands between a group and a name; rename it"
    if name in taken:
        return f"its name is a key of the host's own, {section}.{name}; rename it"
    return ""


def service_name(protocol: type[Any]) -> str:
    """Return the name of the entry point that keeps a protocol: ``EventLog`` becomes ``event_log``."""
    return _HUMP.sub("_", protocol.__name__).lower()


def _is(*kinds: type) -> Callable[[Any], bool]:
    """Whether it is a class of these, or an object of one."""
    return lambda item: issubclass(item if inspect.isclass(item) else type(item), kinds)


def _is_class(kind: type) -> Callable[[Any], bool]:
    return lambda item: inspect.isclass(item) and issubclass(item, kind)


def _is_language(item: Any) -> bool:
    return not inspect.ismodule(item) and all(hasattr(item, name) for name in ("extensions", "hook_adapter", "run"))


def _provides(item: Any) -> bool:
    return inspect.isclass(_attribute(item, "provides"))


def _attribute(item: Any, name: str) -> Any:
    """Return an attribute, None if there is none; of a module only what it has, not what it makes on demand."""
    return vars(item).get(name) if inspect.ismodule(item) else getattr(item, name, None)


def keeps(protocol: Callable[[Any], bool], kind: type) -> Callable[[Any, str], str]:
    """Return what says of a plugin what it lacks that a protocol asks for; see `ComponentGroup`.

    Args:
        protocol: Whether something has all of it.
        kind: The protocol.
    """

    def problem(item: Any, name: str) -> str:
        if protocol(item):
            return ""
        asked = [name for name in vars(kind) if name in _OPENS or not name.startswith("_")]
        lacks = ", ".join(name for name in asked if not hasattr(item, name))
        return (
            f"does not implement the protocol llmspell_hookspecs.{kind.__name__}; give it {lacks or 'what that says'}"
        )

    return problem


def _service_problem(service: Any, name: str) -> str:
    return "" if _provides(service) else "does not say which protocol it keeps; give its class provides = ..."


def _is_command(item: Any) -> bool:
    click = sys.modules.get("click")  # who has made a command has imported it
    return click is not None and isinstance(item, click.Command)


def _command_problem(command: Any, name: str) -> str:
    return "" if _is_command(command) else f"is a {type(command).__name__}, no click command; decorate a function"


def _hooks_problem(plugin: Any, name: str) -> str:
    if plugin is None or isinstance(plugin, str | bytes | int | float | list | tuple | dict | set | frozenset):
        return f"is {told(plugin, 40)}, which is no plugin; name a module, or a class with hooks"
    return ""


def _kind_problem(kind: Any, name: str) -> str:
    if not _is(ComponentKind)(kind):
        return "is no ComponentKind; subclass llmspell_hookspecs.ComponentKind"
    if kind.name != name:
        return f"calls itself {kind.name!r}; give it the name of its entry point"
    return ""


GROUPS: Final = (
    ComponentGroup(KINDS, "component kind", _is_class(ComponentKind), "plugins", _kind_problem, constructed=False),
    ComponentGroup(
        "llmspell.globals",
        "script global",
        _is_class(ScriptGlobal),
        "plugins",
        keeps(callable, ScriptGlobal),
        constructed=False,
    ),
    ComponentGroup("llmspell.services", "service", _provides, "plugins", _service_problem),
    ComponentGroup(
        "llmspell.storage", "storage", _is(Storage), "storage", keeps(lambda item: isinstance(item, Storage), Storage)
    ),
    ComponentGroup(
        "llmspell.languages",
        "language",
        _is_language,
        "plugins",
        keeps(lambda item: isinstance(item, Language), Language),
    ),
    ComponentGroup("llmspell.commands", "command", _is_command, "", _command_problem, constructed=False),
    ComponentGroup(PLUGINS, "plugin", lambda item: True, "plugins", _hooks_problem),
)
"""The rows; of several that something fits, the first is its own."""
