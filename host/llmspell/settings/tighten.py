"""Holds those who are not trusted to tightening: project files and scripts.

Invariant: between what stands and what would stand, nothing is permitted that was not, or the change is refused. Who
judges paths and hosts later is asked now, and the judges that were asked are those that judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from llmspell.security import HostJudge, HostRules, PathJudge, PathRules
from llmspell_hookspecs.policy import Policy, loosens, rule_of, words_of

from .model import PluginTable, Settings
from .schema import field_of, order_of, policy_of

__all__ = ["Judges", "OwnModel", "OwnModels", "Violation", "value_at", "violations"]


class Judges(Struct, frozen=True):
    """Who judges by the settings.

    Attributes:
        files: Judges paths.
        hosts: Judges hosts.
    """

    files: PathJudge
    hosts: HostJudge

    @classmethod
    def of(cls, settings: Settings, project_dir: Path, own: Sequence[str] = ()) -> Judges:
        """Return the judges by these settings; ``own`` is where the host's own files lie."""
        files = PathJudge(_path_rules(settings), str(project_dir), own=(*own, *settings.storage_paths()))
        return cls(files, HostJudge(_host_rules(settings)))

    def by(self, settings: Settings, settings_files: Sequence[str] | None = None, *, follows: bool = False) -> Judges:
        """Return the judges by other settings; what is not different is kept. ``follows``: see `PathJudge`."""
        own = settings.storage_paths() or None
        rules = _path_rules(settings)
        files = self.files.with_rules(rules, own=own, settings_files=settings_files, follows=follows)
        hosts = _host_rules(settings)
        return Judges(files, self.hosts if hosts == self.hosts.rules else self.hosts.with_rules(hosts))

    def exceed(self, others: Judges) -> set[tuple[str, ...]]:
        """Return the keys by which these judges permit, or may permit, what the others refuse."""
        return {
            *(("security", "paths", name) for name in self.files.exceeds(others.files)),
            *(("security", "hosts", name) for name in self.hosts.exceeds(others.hosts)),
        }


class OwnModel(Struct, frozen=True):
    """Who knows the keys of a plugin's table.

    Attributes:
        model: The plugin's Settings.
        name: The plugin's name.
        group: Its entry point group.
    """

    model: type[BaseModel]
    name: str
    group: str

    def values(self, settings: Settings, section: str) -> BaseModel:
        """Return the plugin's settings as they would be handed to it."""
        table = settings.table(section, self.name, self.group)
        return self.model.model_validate({key: item for key, item in table.items() if key in self.model.model_fields})


OwnModels = Callable[[Settings, str, str], OwnModel | None]
"""Returns, for a section and the name of a table in it, who knows its keys; None if nobody says what they permit."""


class Violation(Struct, frozen=True):
    """A change that loosens policy.

    Attributes:
        path: The key.
        old: What stands.
        new: What was asked for.
        policy: The key's rule.
    """

    path: tuple[str, ...]
    old: Any
    new: Any
    policy: Policy


def violations(
    old: tuple[Settings, Judges],
    new: tuple[Settings, Judges],
    paths: Iterable[Sequence[str]],
    models: OwnModels | None = None,
) -> list[Violation]:
    """Return which of these keys permit, between the two settings, what was refused."""
    found = []
    judged = [tuple(path) for path in paths]
    beyond = new[1].exceed(old[1]) if any(path[:1] == ("security",) for path in judged) else set()
    for path in judged:
        before, after, policy = value_at(old[0], path), value_at(new[0], path), policy_of(path)
        order = order_of(path)
        by_judge = path[:2] in (("security", "paths"), ("security", "hosts")) and len(path) == 3
        if models is not None and before != after and field_of(path) is None and len(path) > 2:
            before, after, policy, order = _own(old[0], new[0], path, models) or (before, after, policy, order)
        if path in beyond if by_judge else loosens(policy, before, after, order=order):
            found.append(Violation(path, before, after, policy))
    return found


def _own(
    old: Settings, new: Settings, path: Sequence[str], models: OwnModels
) -> tuple[Any, Any, Policy, tuple[str, ...]] | None:
    """Return a plugin's own key before and after, with its rule and its words; None if that is not known."""
    own = models(new, path[0], path[1]) if path[0] in Settings.sections() else None
    field = None if own is None else own.model.model_fields.get(path[2])
    rule = rule_of(field)
    if own is None or field is None or rule is None:
        return None
    try:
        before, after = own.values(old, path[0]), own.values(new, path[0])
    except ValidationError:  # the plugin's loader says what is wrong with it
        return None
    return getattr(before, path[2]), getattr(after, path[2]), rule, words_of(field.annotation)


def _path_rules(settings: Settings) -> PathRules:
    paths = settings.security.paths
    return PathRules(paths.read, paths.write, paths.denied)


def _host_rules(settings: Settings) -> HostRules:
    hosts = settings.security.hosts
    return HostRules(hosts.allowed, hosts.denied, hosts.allow_private, hosts.private)


def value_at(settings: Settings, path: Sequence[str]) -> Any:
    """Return a key's value, as it counts: a plugin's switches whichever way they are set; None if it is not set."""
    if len(path) == 3 and path[0] == "plugins" and path[2] in PluginTable.model_fields:
        return getattr(settings.plugin(path[1]), path[2])
    value: Any = settings
    for name in path:
        value = _item(value, name)
    if value is None and len(path) == 2:  # A table that is not there says what an empty one says.
        return PluginTable() if path[0] == "plugins" else {} if path[0] in Settings.sections() else None
    return value


def _item(value: Any, name: str) -> Any:
    """A key of a section or table; never an attribute that only Python knows."""
    if isinstance(value, BaseModel):
        return dict(value).get(name)
    return value.get(name) if isinstance(value, dict) else None
