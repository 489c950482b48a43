"""Finding plugins by their entry points, and choosing among them, without importing one.

Invariant: only metadata is read here. What is disabled, not trusted, or brought by two packages is refused with the
reason, never imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Final

from msgspec import Struct, structs

from llmspell.settings import Settings
from llmspell_hookspecs import PluginInfo

__all__ = ["GROUPS", "OWN", "PLUGINS", "Candidate", "Installed", "choose", "scan_all"]

OWN: Final = "llmspell"
"""The distribution whose plugins are built in."""
PLUGINS: Final = "llmspell.plugins"
"""The group of hook plugins; the others hold what is loaded by name on first use."""
GROUPS: Final = (
    PLUGINS,
    "llmspell.tools",
    "llmspell.agents",
    "llmspell.providers",
    "llmspell.languages",
    "llmspell.globals",
    "llmspell.services",
    "llmspell.storage",
)
"""The groups that this host looks into."""


class Candidate(Struct, frozen=True):
    """An entry point that may be loaded, or why not.

    Attributes:
        info: What is known of it; ``info.error`` says why it is refused.
        point: The entry point.
    """

    info: PluginInfo
    point: EntryPoint


class Installed:
    """The plugins that are installed, of every group; the metadata of all packages are read once."""

    def __init__(self) -> None:
        points, names = entry_points(), _Names()
        self._groups = {group: _candidates(group, points.select(group=group), names) for group in GROUPS}

    def of(self, group: str) -> Sequence[Candidate]:
        """Answer the plugins of a group, in order of name."""
        return self._groups[group]


def scan_all() -> list[PluginInfo]:
    """Answer every plugin of every group; nothing is imported."""
    installed = Installed()
    return [candidate.info for group in GROUPS for candidate in installed.of(group)]


def choose(
    group: str, settings: Settings, *, discover: bool = True, installed: Installed | None = None
) -> list[Candidate]:
    """Answer the plugins of a group that may be loaded, and those that are refused with ``info.error`` set.

    Args:
        group: The entry point group.
        settings: Say what is disabled, trusted and preferred.
        discover: Whether packages other than llmspell itself count.
        installed: What is installed; it is looked for if left out, which takes some milliseconds.

    Returns:
        In order of name; disabled ones are left out, and so are those that a preference outvotes.
    """
    wanted = [
        candidate
        for candidate in (installed or Installed()).of(group)
        if (discover or candidate.info.distribution == OWN) and settings.plugin_enabled(candidate.info.name)
    ]
    return [_judged(candidate, wanted, settings) for candidate in wanted if not _outvoted(candidate, wanted, settings)]


class _Names:
    """Names and versions of packages, each read once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Distribution, str, str]] = {}

    def of(self, package: Distribution | None) -> tuple[str, str]:
        """Answer name and version; a package that is half installed has none."""
        if package is None:
            return "", ""
        if id(package) not in self._known:
            metadata = package.metadata
            self._known[id(package)] = (package, metadata["Name"] or "", metadata["Version"] or "")
        return self._known[id(package)][1:]


def _candidates(group: str, points: Iterable[EntryPoint], names: _Names) -> list[Candidate]:
    found: dict[tuple[str, str, str], Candidate] = {}
    for point in points:
        name, version = names.of(point.dist)
        info = PluginInfo(point.name, group, name, version, point.value)
        found.setdefault((point.name, _canonical(name), point.value), Candidate(info, point))
    return sorted(found.values(), key=lambda candidate: (candidate.info.name, candidate.info.distribution))


def _outvoted(candidate: Candidate, all_of: Sequence[Candidate], settings: Settings) -> bool:
    preferred = settings.plugin_distribution(candidate.info.name)
    return (
        bool(preferred)
        and _canonical(preferred) != _canonical(candidate.info.distribution)
        and any(
            other.info.name == candidate.info.name and _canonical(other.info.distribution) == _canonical(preferred)
            for other in all_of
        )
    )


def _judged(candidate: Candidate, all_of: Sequence[Candidate], settings: Settings) -> Candidate:
    info = structs.replace(candidate.info, required=settings.plugin_required(candidate.info.name))
    return Candidate(structs.replace(info, error=_objection(info, all_of, settings)), candidate.point)


def _objection(info: PluginInfo, all_of: Sequence[Candidate], settings: Settings) -> str:
    preferred = settings.plugin_distribution(info.name)
    if preferred and _canonical(preferred) != _canonical(info.distribution):
        return (
            f"plugin {info.name}: settings want it from {preferred}, but it comes from {info.distribution}; "
            f"install {preferred}, or change plugins.prefer"
        )
    brought = sorted({other.info.distribution for other in all_of if other.info.name == info.name})
    if len(brought) > 1 and not preferred:
        packages = " and ".join(brought)
        return (
            f"plugin {info.name}: {packages} both bring it; say which wins: plugins.prefer.{info.name} = {brought[0]!r}"
        )
    if settings.plugins.trust == "listed" and not _is_trusted(info.distribution, settings.plugins.trusted):
        return (
            f"plugin {info.name}: its package {info.distribution} is not listed; "
            f"add {info.distribution!r} to plugins.trusted if you trust it"
        )
    return ""


def _is_trusted(distribution: str, trusted: Iterable[str]) -> bool:
    return _canonical(distribution) in {OWN, *(_canonical(name) for name in trusted)}


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
