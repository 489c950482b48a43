"""The verbs that plugins bring by entry points in ``llmspell.commands``: listed from metadata, imported when typed.

An entry point ``NOUN.VERB`` adds a verb below a noun, the host's own or a package's: ``hook.graph`` is
``llmspell hook graph``. Help reads the packages' metadata by itself, since to import `importlib.metadata` takes as long
as all the rest of help; what is typed goes through discovery and the settings like any other plugin.

Invariant: help imports nothing of a package's. A verb that is disabled, not trusted or refused is not imported, and no
verb takes a name away from another.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .outlet import clean

if TYPE_CHECKING:
    import click

    from .invocation import Invocation

__all__ = ["Verb", "listed", "load"]

_GROUP = "llmspell.commands"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_HEAD_CHARACTERS = 8000
_MOST_CHARACTERS = 16_000_000


class Verb(NamedTuple):
    """A verb as help shows it.

    Attributes:
        name: What is typed.
        text: One line about it, or why it cannot be used.
        problem: Whether that is why.
    """

    name: str
    text: str
    problem: bool


class _Found(NamedTuple):
    name: str
    module: str
    folder: str
    package: str


def listed(staying: Collection[str], groups: Collection[str], noun: str = "") -> list[Verb]:
    """Return the verbs of all installed packages, in order of name, without importing any.

    Args:
        staying: The names that the noun has of its own.
        groups: Those of them that are nouns; what is to stand below any other is told of.
        noun: Below which they stand, such as ``hook``; empty for the root.
    """
    below = f"{noun}." if noun else ""
    every = [each for each in _scan() if each.name.startswith(below)]
    found = [each for each in every if _noun_of(each.name) == noun]
    names = {each.name for each in found}
    nouns = {below + group for group in groups} | names
    found += [each for each in every if _noun_of(each.name) != noun and _first(each.name, below) not in nouns]
    verbs = {}
    for each in found:
        packages = sorted({other.package for other in found if other.name == each.name})
        problem = _problem(each.name, names, staying)
        if problem:
            text = f"cannot be used: {problem} ({', '.join(packages)})"
        elif len(packages) > 1:
            text = f"{' and '.join(packages)} both bring it; settings say which wins: plugins.prefer"
        else:
            text = _line_of(each, alone=sum(other.folder == each.folder for other in found) == 1)
        verbs[each.name] = Verb(clean(each.name.removeprefix(below)), clean(text), bool(problem))
    return [verbs[name] for name in sorted(verbs)]


def load(
    names: Sequence[str], staying: Collection[str], invocation: Invocation, rest: Sequence[str], noun: str = ""
) -> tuple[str, click.Command] | None:
    """Return the verb of the first of these names that a package brings, and that name; None if none is brought.

    Args:
        names: What was typed may stand for them.
        staying: The names that the noun has of its own.
        invocation: Gives the settings.
        rest: What stands behind the verb, for there may be options that say which settings count.
        noun: Below which it stands; empty for the root.

    Raises:
        PluginError: It cannot be used; says why.
        SettingsError: The settings are wrong, so nothing says whether this third party may be imported.
    """
    from llmspell.plugins.discovery import OWN, choose
    from llmspell.plugins.groups import Groups
    from llmspell.plugins.loading import load as import_plugin
    from llmspell.settings import Settings
    from llmspell_hookspecs.errors import PluginError, SettingsError

    installed = invocation.installed
    infos = [each.info for each in installed.of(_GROUP) if _noun_of(each.info.name) == noun]
    below = f"{noun}." if noun else ""
    name = next((below + name for name in names if any(info.name == below + name for info in infos)), None)
    if name is None:
        return None
    packages = sorted({info.distribution for info in infos if info.name == name})
    if problem := _problem(name, {info.name for info in infos}, staying):
        raise PluginError(f"command {name} ({', '.join(packages)}): {problem}", plugin=name)
    try:
        settings = invocation.settings_with(rest)
    except SettingsError:
        if packages != [OWN]:
            raise
        settings = Settings()  # the verb itself tells what is wrong with them, once it needs them
    for candidate in choose(_GROUP, settings, installed):
        if candidate.info.name == name:
            command: click.Command = import_plugin(candidate).target
            if problem := Groups().row(_GROUP).problem(command, name):
                raise PluginError(f"command {name}: {candidate.info.module} {problem}", plugin=name)
            return name.removeprefix(below), command
    message = f"command {name}: settings disable it; 'llmspell plugin enable commands:{name}' lets it be used"
    raise PluginError(message, plugin=name)


def _noun_of(name: str) -> str:
    """Return the noun below which a verb stands; empty for the root."""
    return name.rpartition(".")[0]


def _first(name: str, below: str) -> str:
    """Return the name of what stands at this level, and below which a verb of that name stands."""
    return below + name.removeprefix(below).partition(".")[0]


def _problem(name: str, names: Collection[str], staying: Collection[str]) -> str:
    """Return why no verb may be called so; empty if one may."""
    noun, _, verb = name.rpartition(".")
    if not _NAME.fullmatch(verb):
        return f"{verb!r} is no name for a command; write lower-case letters, digits, - and _"
    if name not in names:
        return f"there is no noun {noun.replace('.', ' ')!r} that it could stand below; ask its author to rename it"
    if verb in staying or verb.removesuffix("s") in staying:
        return f"{noun or 'llmspell itself'} has a command of that name; ask its author to rename it"
    if verb.endswith("s") and name[:-1] in names:
        return f"it is the plural of {verb[:-1]}, which answers to it; ask its author to rename it"
    return ""


def _scan() -> Iterator[_Found]:
    """Yield the entry points of our group; of a package that stands in two folders, those of the first."""
    seen: dict[str, str] = {}
    for folder in dict.fromkeys(path or "." for path in sys.path):
        try:
            entries = sorted(entry.name for entry in os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if entry.endswith((".dist-info", ".egg-info")) and not entry.startswith("~"):
                package = re.sub(r"[-_.]+", "-", entry.rpartition(".")[0].partition("-")[0]).lower()
                if seen.setdefault(package, folder) == folder:
                    info = os.path.join(folder, entry)
                    for name, module in _points(_head(os.path.join(info, "entry_points.txt"), _MOST_CHARACTERS)):
                        yield _Found(name, module, info, package)


def _points(text: str) -> Iterator[tuple[str, str]]:
    within = False
    for line in map(str.strip, text.splitlines() if _GROUP in text else ()):
        if line.startswith("["):
            within = line == f"[{_GROUP}]"
        elif within and "=" in line and not line.startswith(("#", ";")):
            name, _, module = line.partition("=")
            yield name.strip(), module.strip()


def _line_of(verb: _Found, *, alone: bool) -> str:
    """Return one line about a verb: its package's summary, or its own if its package brings several."""
    metadata = _head(os.path.join(verb.folder, "METADATA")) or _head(os.path.join(verb.folder, "PKG-INFO"))
    found = re.search(r"^Summary: *(.*)", metadata.partition("\n\n")[0], re.MULTILINE)
    summary = found[1] if found else f"(its package {verb.package} has no summary)"
    return summary if alone else _docstring(verb.module) or summary


def _docstring(place: str) -> str:
    """Return the first line of a function's docstring, else its module's, from its file, which importing would run."""
    from importlib.util import find_spec

    module, _, name = place.partition(":")
    top, *rest = module.strip().split(".")
    own = rf'^def {re.escape(name.strip())}\((?:[^"\n]|\n[ )])*"""(.+?)(?:"""|$)'
    try:
        spec = find_spec(top)  # runs nothing of the package's
    except (ImportError, ValueError):
        return ""
    for folder in (spec and spec.submodule_search_locations) or ():
        path = os.path.join(folder, *rest)
        text = _head(path + ".py", _MOST_CHARACTERS) or _head(os.path.join(path, "__init__.py"))
        for pattern in (own, r'\A(?:#.*\n|\s)*[rR]?"""(.+?)(?:"""|$)'):
            if found := re.search(pattern, text, re.MULTILINE):
                return found[1].strip()
    return ""


def _head(path: str, characters: int = _HEAD_CHARACTERS) -> str:
    """Return the beginning of a file; nothing if it cannot be read. The contract's reader would import the contract."""
    try:
        if os.path.isfile(path):  # a pipe may have no writer
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(characters)
    except (OSError, ValueError):
        pass
    return ""
