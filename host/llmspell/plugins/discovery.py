"""Finding plugins by their entry points, and choosing among them, without importing one.

Invariant: only metadata is read here. What is disabled, not trusted, or brought by two packages is refused with the
reason, never imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from msgspec import Struct, structs

from llmspell.settings import Settings
from llmspell_hookspecs import PluginInfo

__all__ = ["GROUPS", "OWN", "PLUGINS", "Candidate", "choose", "scan", "scan_all"]

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


def scan(group: str) -> list[PluginInfo]:
    """Answer every plugin of a group, in order of name; nothing is imported."""
    return [candidate.info for candidate in _candidates(group)]


def scan_all() -> list[PluginInfo]:
    """Answer every plugin of every group; nothing is imported."""
    return [info for group in GROUPS for info in scan(group)]


def choose(group: str, settings: Settings, *, discover: bool = True) -> list[Candidate]:
    """Answer the plugins of a group that may be loaded, and those that are refused with ``info.error`` set.

    Args:
        group: The entry point group.
        settings: Say what is disabled, trusted and preferred.
        discover: Whether packages other than llmspell itself count.

    Returns:
        In order of name; disabled ones are left out, and so are those that a preference outvotes.
    """
    wanted = [
        candidate
        for candidate in _candidates(group)
        if (discover or candidate.info.distribution == OWN) and settings.plugin_enabled(candidate.info.name)
    ]
    return [_judged(candidate, wanted, settings) for candidate in wanted if not _outvoted(candidate, wanted, settings)]


def _candidates(group: str) -> list[Candidate]:
    found: dict[tuple[str, str, str], Candidate] = {}
    for point in entry_points(group=group):
        name = version = ""
        if point.dist is not None:  # a package that is half installed has no name
            name, version = point.dist.name or "", point.dist.version or ""
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
