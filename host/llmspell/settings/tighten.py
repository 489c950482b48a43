"""Holds those who are not trusted to tightening, project files and scripts; and everybody to what the machine locks.

Invariant: a locked key has the same effect after every layer and every change, by whichever key that would be changed
(``plugins.disabled`` and a plugin's ``enabled`` are one matter, and so are its name and its name with its group).
Between what stands and what would stand, nothing is permitted that was not, or the change is refused. Who judges paths
and hosts later is asked now, and the judges that were asked are those that judge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from llmspell.security import HostJudge
from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.keys import join, split
from llmspell_hookspecs.path_rules import PathJudge
from llmspell_hookspecs.policy import Policy, loosens, rule_of, words_of

from .model import PluginSettings, PluginTable, Settings
from .schema import SCHEMA, Locate

if TYPE_CHECKING:
    from .view import LoadedSettings

__all__ = ["Judges", "OwnModel", "OwnModels", "Violation", "check_locks", "hold_locks", "value_at", "violations"]

_LOCKED: Final = ("policy", "locked")


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
        files = PathJudge(settings.security.paths, str(project_dir), own=(*own, *settings.storage_paths()))
        return cls(files, HostJudge(settings.security.hosts))

    def by(self, settings: Settings, settings_files: Sequence[str] | None = None, *, follows: bool = False) -> Judges:
        """Return the judges by other settings; what is not different is kept. ``follows``: see `PathJudge`."""
        own = settings.storage_paths() or None
        rules, hosts = settings.security.paths, settings.security.hosts
        files = self.files.with_rules(rules, own=own, settings_files=settings_files, follows=follows)
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
    old: LoadedSettings, new: LoadedSettings, paths: Iterable[Sequence[str]], models: OwnModels | None = None
) -> list[Violation]:
    """Return which of these keys permit, between the two settings, what was refused."""
    found = []
    judged = [tuple(path) for path in paths]
    beyond = new.judges.exceed(old.judges) if any(path[:1] == ("security",) for path in judged) else set()
    for path in judged:
        before, after, field = value_at(old.settings, path), value_at(new.settings, path), SCHEMA.field(path)
        by_judge = path[:2] in (("security", "paths"), ("security", "hosts")) and len(path) == 3
        if models is not None and before != after and field is None and len(path) > 2:
            before, after, field = _own(old.settings, new.settings, path, models) or (before, after, None)
        policy = rule_of(field) or Policy.LOCKED
        words = () if field is None else words_of(field.annotation)
        if path in beyond if by_judge else loosens(policy, before, after, order=words):
            found.append(Violation(path, before, after, policy))
    return found


def _own(
    old: Settings, new: Settings, path: Sequence[str], models: OwnModels
) -> tuple[Any, Any, FieldInfo | None] | None:
    """Return a plugin's own key before and after, and its field; None if that is not known."""
    own = models(new, path[0], path[1]) if path[0] in SCHEMA.sections else None
    field = None if own is None else own.model.model_fields.get(path[2])
    if own is None or rule_of(field) is None:
        return None
    try:
        before, after = own.values(old, path[0]), own.values(new, path[0])
    except ValidationError:  # the plugin's loader says what is wrong with it
        return None
    return getattr(before, path[2]), getattr(after, path[2]), field


def value_at(settings: Settings, path: Sequence[str]) -> Any:
    """Return a key's value, as it counts: a plugin's switches whichever way they are set; None if it is not set."""
    if len(path) == 3 and path[0] == "plugins" and path[2] in PluginTable.model_fields:
        return getattr(settings.plugin(path[1]), path[2])
    value: Any = settings
    for name in path:
        table = dict(value) if isinstance(value, BaseModel) else value  # never an attribute that only Python knows
        value = table.get(name) if isinstance(table, dict) else None
    if value is None and len(path) == 2:  # A table that is not there says what an empty one says.
        return PluginTable() if path[0] == "plugins" else {} if path[0] in SCHEMA.sections else None
    return value


def check_locks(settings: Settings, locate: Locate) -> None:
    """Refuse a locked key that does not exist.

    Raises:
        SettingsError: There is no such key or section.
    """
    for key in settings.policy.locked:
        path = split(key)
        if not SCHEMA.is_known(path):
            near = SCHEMA.nearest(path)
            remedy = f"did you mean {near}?" if near else "see llmspell config show"
            origin = locate(_LOCKED)
            message = f"{origin}: policy.locked names {key!r}, and there is no such setting; {remedy}"
            raise SettingsError(message, origin=str(origin), key=join(_LOCKED))


def hold_locks(before: Settings, after: Settings, locate: Locate, machine: str) -> None:
    """Refuse a change to what is locked.

    Args:
        before: What stands.
        after: What would stand.
        locate: Returns where a key is asked for.
        machine: The machine's file.

    Raises:
        SettingsError: A locked key would be changed, or somebody else than the machine's file locks one.
    """
    if after.policy != before.policy:
        raise _refusal(_LOCKED, locate, f"counts in {machine} alone")
    names = before.plugin_names() | after.plugin_names() if before.policy.locked else set()
    for key in before.policy.locked:
        path = split(key)
        if _effect(before, path, names) != _effect(after, path, names):
            raise _refusal(path, locate, f"is locked by {machine}")


def _refusal(path: Sequence[str], locate: Locate, reason: str) -> SettingsError:
    origin = locate(path)
    return SettingsError(
        f"{origin}: {join(path)} {reason}, and nobody else changes it; take it out here, or ask who runs this machine",
        origin=str(origin),
        key=join(path),
    )


def _effect(settings: Settings, path: Sequence[str], names: Collection[str]) -> Any:
    """What the key does, not only what it says; of plugins, under each of the names that settings use for them."""
    value = value_at(settings, path)
    if path[0] != "plugins" or len(path) == 1:
        return value
    switches = {"disabled": "enabled", "required": "required", "prefer": "distribution"}
    if len(path) == 2 and path[1] in switches:
        return value, {name: getattr(settings.plugin(name), switches[path[1]]) for name in names}
    if path[1] in PluginSettings.model_fields:
        return value
    same = [path[1], *(name for name in names if name.partition(":")[2] == path[1])]
    return [_within(settings.plugin(name).model_dump() | settings.table("plugins", name), path[2:]) for name in same]


def _within(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
