"""Finding plugins by their entry points, and choosing among them, without importing one.

Metadata is read package by package: one whose metadata cannot be read, or which is left over from an installation that
failed, is named and passed over.

Invariant: only metadata is read here. What is disabled, not trusted, or brought by two packages is refused with the
reason, never imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path, PurePath
from typing import Any, Final

from msgspec import structs

from llmspell.settings import SCHEMA, PluginTable, Settings
from llmspell.version import VERSION
from llmspell_hookspecs.foreign import let_pass, text_of
from llmspell_hookspecs.groups import KINDS, PLUGINS, name_problem
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.regular import read_regular
from llmspell_hookspecs.sections import GROUP
from llmspell_hookspecs.spelling import meant, one_line

from .groups import OWN_GROUPS, Candidate, Groups

__all__ = ["OWN", "Installed", "canonical", "choose", "scan_all"]

OWN: Final = "llmspell"
"""The distribution whose plugins are built in."""
_PREFIX: Final = "llmspell."
_OPTIONAL: Final = "optional"
"""What an entry point says in brackets behind its value if it is off until settings enable it."""
_NO_SECTION: Final = (
    f"sections of the settings ({GROUP}) come from {OWN} itself, for they are read before settings can say whom to "
    f"trust; give a plugin a Settings model, which has a table of its own"
)
_VALUE: Final = re.compile(r"\s*[\w.]+\s*(:\s*[\w.]+\s*)?(\[.*\]\s*)?$")


class Installed:
    """The plugins that are installed, of every group; the metadata of all packages are read once.

    Attributes:
        problems: What is wrong with packages, or with single entry points of theirs; none of those is a candidate.
        foreign: What packages other than llmspell itself bring.
    """

    def __init__(self) -> None:
        self.problems: list[PluginInfo] = []
        found: dict[str, dict[tuple[str, str, str], Candidate]] = {}
        seen: dict[str, PurePath] = {}
        for package in self._packages():
            for candidate in self._read(package, seen):
                info = candidate.info
                each = found.setdefault(info.group, {})
                each.setdefault((info.name, canonical(info.distribution), info.module), candidate)
        self._found = {
            group: sorted(each.values(), key=lambda item: (item.info.name, item.info.distribution))
            for group, each in found.items()
        }
        self._refuse_unknown()
        infos = [candidate.info for each in self._found.values() for candidate in each]
        self.foreign = [info for info in infos if info.distribution != OWN]

    def _refuse_unknown(self) -> None:
        """Refuse groups that nobody looks into: those of components are told by the packages that bring kinds."""
        kinds = self._found.get(KINDS, ())
        makers = {canonical(candidate.info.distribution) for candidate in kinds}
        known = OWN_GROUPS | {f"{_PREFIX}{candidate.info.name}s" for candidate in kinds}
        known |= {
            group
            for group, candidates in self._found.items()
            if any(canonical(candidate.info.distribution) in makers for candidate in candidates)
        }
        for group in sorted(self._found.keys() - known):
            hint = meant(group, known, f"there are {', '.join(sorted(known))}")
            problem = _NO_SECTION if group == GROUP else f"there is no group of entry points {group!r}; {hint}"
            self.problems += [_refused(candidate.info, problem) for candidate in self._found.pop(group)]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that there are, in the order of listings."""
        return tuple(dict.fromkeys((PLUGINS, KINDS, *sorted(OWN_GROUPS | self._found.keys()))))

    def of(self, group: str) -> Sequence[Candidate]:
        """Return the plugins of a group, in order of name."""
        return self._found.get(group, ())

    def _packages(self) -> Iterator[Distribution]:
        packages: Iterator[Distribution] | None = None
        while True:
            try:
                packages = iter(distributions()) if packages is None else packages
                package = next(packages, None)
            except BaseException as error:
                let_pass(error)
                problem = _unreadable("the installed packages", "finding them failed", error)
                self.problems.append(PluginInfo("packages", "", error=problem))
                return
            if package is None:
                return
            yield package

    def _read(self, package: Distribution, seen: dict[str, PurePath]) -> list[Candidate]:
        folder = PurePath("package")
        try:
            folder = PurePath(str(getattr(package, "_path", folder)))
            known = seen.setdefault(_stem(folder), folder)
            if known.parent != folder.parent:
                return []  # another one stands before it on the path
            points = _points(package)
            if not points:
                return []
            name, version, problem = _names(package, folder)
            if known != folder:
                problem = f"{known.name} and {folder.name} stand side by side; install the package again"
            return [
                candidate
                for point in points
                if (name, point.group) != (OWN, GROUP)  # sections, which the settings themselves have read
                for candidate in self._checked(point, PluginInfo(point.name, point.group, name, version), problem)
            ]
        except BaseException as error:
            let_pass(error)
            problem = _unreadable(folder.name, "its metadata cannot be read", error)
            self.problems.append(PluginInfo(_stem(folder), "", error=problem))
            return []

    def _checked(self, point: EntryPoint, info: PluginInfo, problem: str) -> Iterator[Candidate]:
        if not problem and not point.name.strip():
            problem = f"an entry point in {point.group} has no name; ask its author to fix it"
        if not problem and info.distribution != OWN:  # the provider offline bears the name of its own switch
            section = Groups().row(point.group).section
            problem = name_problem(point.name, section, SCHEMA.keys_of(section or "plugins"))
        if not problem and not _VALUE.match(point.value):
            problem = f"its entry point {point.value!r} names no module; ask its author to fix it"
        module, _, extras = point.value.partition("[")
        info = structs.replace(info, module=module.strip(), optional=_OPTIONAL in re.findall(r"\w+", extras))
        if problem:
            self.problems.append(_refused(info, problem))
        else:
            yield Candidate(info, point)


def _refused(info: PluginInfo, problem: str) -> PluginInfo:
    name = one_line(info.name, 100)
    who = f"plugin {name} ({info.distribution})" if info.name else f"package {info.distribution}"
    return structs.replace(info, error=f"{who}: {problem}")


def scan_all(installed: Installed) -> list[PluginInfo]:
    """Return every plugin of every group, and what is wrong with packages; nothing is imported."""
    return [*(candidate.info for group in installed.groups for candidate in installed.of(group)), *installed.problems]


def choose(
    group: str, settings: Settings, installed: Installed, *, discover: bool = True, asked: str = ""
) -> list[Candidate]:
    """Return the plugins of a group that may be loaded, and those that are refused with ``info.error`` set.

    Args:
        group: The entry point group.
        settings: Say what is disabled, trusted and preferred.
        installed: What is installed.
        discover: Whether packages other than llmspell itself count.
        asked: The name of one that somebody asks for, so that it may be optional; what settings disable stays so.

    Returns:
        In order of name; disabled ones are left out, and so are those that a preference outvotes.
    """
    found = [each for each in installed.of(group) if discover or each.info.distribution == OWN]
    mentioned = settings.plugins_mentioned
    switches: dict[str, PluginTable] = {}
    wanted: dict[str, list[Candidate]] = {}
    for candidate in found:
        info = candidate.info
        optional = info.optional and info.name != asked
        enabled = not optional
        if info.name in mentioned:
            said = switches[info.name] = settings.plugin(info.name, group, optional=optional)
            enabled = bool(said.enabled)
        if enabled:
            wanted.setdefault(info.name, []).append(candidate)
    trusts_all = settings.plugins.trust == "all"
    chosen = []
    for name, rivals in wanted.items():
        about = switches.get(name)
        preferred = canonical(about.distribution) if about else ""
        winners = [each for each in rivals if canonical(each.info.distribution) == preferred] if preferred else []
        for candidate in winners or rivals:
            info = candidate.info
            error = (
                "" if trusts_all and len(rivals) == 1 and not preferred else _objection(info, rivals, settings, about)
            )
            if error or (about and about.required):
                info = structs.replace(info, required=bool(about and about.required), error=error)
            chosen.append(Candidate(info, candidate.point))
    return chosen


def _points(package: Distribution) -> list[EntryPoint]:
    """Return the entry points of a package that are ours, or would be, each once: no other group begins as ours do.

    A line that is none of any group is one without a module, so that it is refused by itself; importlib would refuse
    all lines with it.
    """
    text, file = package.read_text("entry_points.txt"), getattr(package, "_path", PurePath()) / "entry_points.txt"
    if text is None and isinstance(file, Path) and os.path.lexists(file):
        read_regular(file)  # importlib passes over what it may not open
    points, group = [], ""
    for line in map(str.strip, (text or "").splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            points.append(EntryPoint(name.strip(), value.strip(), group))
    return list(dict.fromkeys(point for point in points if point.group.startswith(_PREFIX) or not point.value))


def _names(package: Distribution, folder: PurePath) -> tuple[str, str, str]:
    """Return a package's name and version, and what is wrong with it."""
    if folder.name.startswith("~"):
        return _stem(folder), "", f"{folder} is left over from an installation that failed; remove it"
    metadata: Any = package.metadata
    name, version = ("" if metadata is None else str(metadata[key] or "").strip() for key in ("Name", "Version"))
    if not name:
        return _stem(folder), version, f"the metadata of {folder} have no name; install the package again, or remove it"
    if not version:
        return name, "", f"the metadata of its package {name} have no version; install the package again, or remove it"
    return name, version, "" if name == OWN else _unfit(package)


def _unfit(package: Distribution) -> str:
    """Return which other version of this host a package needs, so that none of it need be imported to know."""
    for needed in package.requires or ():
        if needed.lstrip()[: len(OWN)].lower() == OWN:
            from packaging.requirements import Requirement

            wanted = Requirement(needed)
            counts = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
            if canonical(wanted.name) == OWN and counts and not wanted.specifier.contains(VERSION, prereleases=True):
                return f"its package needs {OWN}{wanted.specifier}, and this is {VERSION}; install a version that fits"
    return ""


def _unreadable(name: str, what: str, error: BaseException) -> str:
    return f"package {name}: {what}: {text_of(error)}; install it again, or remove it"


def _stem(folder: PurePath) -> str:
    return canonical(folder.stem.partition("-")[0]) or folder.name


def _objection(info: PluginInfo, rivals: Sequence[Candidate], settings: Settings, said: PluginTable | None) -> str:
    """Return why a plugin is refused, of those of its name; empty if it is not."""
    preferred, source = said.distribution if said else "", info.distribution
    if preferred and canonical(preferred) != canonical(source):
        return (
            f"plugin {info.name}: settings want it from {preferred}, but it comes from {source}; "
            f"install {preferred}, or change plugins.prefer"
        )
    brought = sorted({other.info.distribution for other in rivals})
    if len(brought) > 1 and not preferred:
        packages = " and ".join(brought)
        return (
            f"plugin {info.name}: {packages} both bring it; say which wins: plugins.prefer.{info.name} = {brought[0]!r}"
        )
    modules = sorted({other.info.module for other in rivals})
    if len(modules) > 1 and len(brought) == 1:
        return f"plugin {info.name}: {source} brings it twice, as {' and '.join(modules)}; it must not"
    trusted = {OWN, *map(canonical, settings.plugins.trusted)}
    if settings.plugins.trust == "listed" and canonical(source) not in trusted:
        return (
            f"plugin {info.name}: its package {source} is not listed; add {source!r} to plugins.trusted if you trust it"
        )
    return ""


def canonical(distribution: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
