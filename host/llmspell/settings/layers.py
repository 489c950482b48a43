"""Reads the layers and lays them over each other: default, machine, user, project, environment, command line, code.

Invariant: each value knows its origin; a layer that is not trusted is held to `tighten` before the next one is laid on
it; what a project file lists under a key that only grows (denied paths, required plugins) is added to what stands. A
key that the machine's file locks keeps its value, whoever asks.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from pydantic import ValidationError

from llmspell_hookspecs import Policy
from llmspell_hookspecs.errors import SettingsError, line_of_error
from llmspell_hookspecs.keys import flatten, join, merge, nest, shown_key, shown_value, split
from llmspell_hookspecs.masking import conceal, mask
from llmspell_hookspecs.paths import expand_root, home_folder
from llmspell_hookspecs.secret import is_secret_name
from llmspell_hookspecs.toml import parse_settings, plain_table, read_settings

from .diagnosis import diagnose
from .environment import from_environment, parse_text, suspicious
from .lock import check_locks, hold_locks
from .model import PluginTable, Settings
from .origin import DEFAULT, Origin
from .place import MACHINE_FILE, current_dir, find_project, own_folders, project_dir_of, project_file_in, user_file
from .schema import field_of, policy_of
from .tighten import Judges, OwnModels, Violation, value_at, violations
from .trust import distrust, known_before, named_places, trust

__all__ = ["LoadedSettings", "change", "is_trusted", "load_settings", "trust_project"]

TRUSTED_ORIGINS: Final = frozenset({"code", "user", "command line"})


class LoadedSettings(Struct, frozen=True):
    """The settings, and where each came from.

    Attributes:
        settings: What counts.
        origins: For each dotted key that is set, where; `origin` answers for all.
        project_dir: What relative paths are relative to.
        judges: Who judges paths and hosts by them.
        warnings: What looks wrong and is no error.
        tables: The settings as they were written, merged.
        files: The files that were read, by layer.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    project_dir: Path
    judges: Judges
    warnings: tuple[str, ...] = ()
    tables: Mapping[str, Any] = {}
    files: Mapping[str, Path] = {}

    def origin(self, key: str) -> Origin:
        """Return where a key's value came from."""
        return self.origins.get(join(split(key)), DEFAULT)


class _Layer(Struct, frozen=True):
    """One layer, before it is laid on the others."""

    name: str
    table: Mapping[str, Any]
    origins: Mapping[tuple[str, ...], Origin] = {}


class _Stack:
    """The layers so far."""

    def __init__(self, project_dir: Path, own: Sequence[str] = (), models: OwnModels | None = None) -> None:
        self._models = models
        self.project_dir = project_dir
        self.tables: dict[str, Any] = {}
        self.origins: dict[str, Origin] = {}
        self.places: dict[tuple[str, ...], Origin] = {}
        self.settings = Settings()
        self.judges = Judges.of(self.settings, project_dir, own)
        self.files: dict[str, Path] = {}
        self.warnings: list[str] = []

    def lay(self, layer: _Layer, *, follows: bool = False) -> list[Violation]:
        """Lay a layer on the others; returns what it loosens. Links are followed only where that is looked at."""
        leaves = [path for path, _ in flatten(layer.table)]
        found = {path: _nearest(layer.origins, path) or Origin(layer.name) for path in leaves}
        self.origins |= {join(path): origin for path, origin in found.items()}
        self.places |= {**layer.origins, **found}
        table = _grown(layer.table, self.settings) if layer.name == "project" else layer.table
        self.tables = merge(self.tables, _hidden(table))
        before, self.settings = (self.settings, self.judges), _validated(self.tables, self.places)
        self.judges = self.judges.by(self.settings, follows=follows)
        locate = partial(_located, found, Origin(layer.name))
        if layer.name == "machine":
            check_locks(self.settings, locate)
        else:
            hold_locks(before[0], self.settings, locate, str(self.files.get("machine", MACHINE_FILE)))
        models = self._models if layer.name == "project" else None
        return violations(before, (self.settings, self.judges), leaves, models)

    def loaded(self) -> LoadedSettings:
        """Return what counts."""
        judges = self.judges.by(self.settings, settings_files=[str(file) for file in self.files.values()])
        warnings = (*self.warnings, *_doubtful(self), *_linked(self))
        return LoadedSettings(
            self.settings, self.origins, self.project_dir, judges, warnings, self.tables, dict(self.files)
        )


def load_settings(
    overrides: Mapping[str, Any] | Literal[False] | None = None,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
    project: Path | None = None,
    machine: Path | None = None,
    command_line: Mapping[str, Any] | None = None,
    models: OwnModels | None = None,
) -> LoadedSettings:
    """Read all layers and return what counts.

    Args:
        overrides: Tables on top of everything, given in code; False for the defaults alone, and what the machine's
            file says.
        cwd: Where the search for the project file begins; the current folder if left out.
        environment: The environment; the process's if left out.
        config: A file that takes the project file's place, and is trusted since a person named it.
        project: The project's folder, named by a person: there is no search.
        machine: The machine's file; ``/etc/llmspell/llmspell.toml`` if left out.
        command_line: Values by dotted key, as text or typed.
        models: Know what the keys of plugins permit; without them a project's file changes none.

    Raises:
        SettingsError: A file cannot be read, a key or value is wrong, a locked key would be changed, or the project
            file loosens policy.
    """
    environment = os.environ if environment is None else environment
    stack, file = _begin(cwd, environment, config, project, machine, models)
    if overrides is False:
        return stack.loaded()
    _lay_file(stack, user_file(environment), "user")
    if file is not None:
        _lay_project(stack, file, environment, trusted=config is not None)
    stack.lay(_environment_layer(environment))
    stack.lay(_command_line_layer(command_line or {}))
    stack.lay(_Layer("code", plain_table(overrides or {}, "code")))
    stack.warnings += suspicious(environment)
    return stack.loaded()


def change(loaded: LoadedSettings, key: str, value: Any, origin: str) -> LoadedSettings:
    """Return the settings with one key, or one section's keys, changed at run time.

    Args:
        loaded: What stands.
        key: Its dotted path.
        value: Plain; a mapping for a section.
        origin: Who asks. ``code``, ``user`` and ``command line`` may do anything, all others only tighten.

    Raises:
        SettingsError: The key or value is wrong, it is locked, or it loosens policy and the one who asks may not.
    """
    table = plain_table(nest(split(key), value), origin)
    tables = merge(loaded.tables, _hidden(table))
    leaves = [path for path, _ in flatten(table)]
    origins = {**loaded.origins, **{join(path): Origin(origin) for path in leaves}}
    settings = _validated(tables, {path: Origin(origin) for path in leaves})
    machine = str(loaded.files.get("machine", MACHINE_FILE))
    hold_locks(loaded.settings, settings, lambda path: Origin(origin), machine)
    judges = loaded.judges.by(settings, follows=origin not in TRUSTED_ORIGINS)
    loosened = violations((loaded.settings, loaded.judges), (settings, judges), leaves)
    if loosened and origin not in TRUSTED_ORIGINS:
        raise SettingsError(
            f"{origin}: {_refused(loosened[0])}; change it in the user's settings or on the command line",
            origin=origin,
            key=join(loosened[0].path),
        )
    return msgspec.structs.replace(loaded, settings=settings, judges=judges, origins=origins, tables=tables)


def trust_project(
    file: Path,
    *,
    cwd: Path,
    environment: Mapping[str, str],
    machine: Path | None = None,
    models: OwnModels | None = None,
) -> list[str]:
    """Trust a project file as it is now, and return what it loosens, each as ``key = value``.

    Raises:
        SettingsError: A file cannot be read, a key or value is wrong or locked, or the store cannot be written.
    """
    stack, _ = _begin(cwd, environment, file, None, machine, models)
    _lay_file(stack, user_file(environment), "user")
    layer, content = _read(file, "project")
    loosened = [_assignment(violation) for violation in stack.lay(layer, follows=True)]
    trust(file, content, stack.project_dir, list(named_places(layer.table)), environment)
    return loosened


def is_trusted(file: Path, *, cwd: Path, environment: Mapping[str, str], machine: Path | None = None) -> bool:
    """Return whether a person trusted the project file as it is now.

    Raises:
        SettingsError: It cannot be read.
    """
    stack, _ = _begin(cwd, environment, file, None, machine)
    layer, content = _read(file, "project")
    return not distrust(file, content, stack.project_dir, list(named_places(layer.table)), environment)


def _begin(
    cwd: Path | None,
    environment: Mapping[str, str],
    config: Path | None,
    project: Path | None,
    machine: Path | None,
    models: OwnModels | None = None,
) -> tuple[_Stack, Path | None]:
    """The stack with the machine's layer, and the project file if there is one."""
    if project is None:
        cwd = current_dir() if cwd is None else cwd.resolve()
        file = find_project(cwd) if config is None else config
        folder = project_dir_of(file, cwd, environment)
    else:
        cwd = folder = _named_folder(project)
        file = project_file_in(folder) if config is None else config
    stack = _Stack(folder, own_folders(environment), models)
    if project is None and cwd.parent == cwd:
        stack.warnings.append(f"the folder {cwd} is no project, and nothing in it may be touched; give --project DIR")
    if home_folder() is None and not environment.get("LLMSPELL_CONFIG_HOME"):
        stack.warnings.append("nobody knows the home folder, so no user's settings are read; set HOME")
    _lay_file(stack, MACHINE_FILE if machine is None else machine, "machine")
    return stack, file


def _named_folder(project: Path) -> Path:
    try:
        folder = project.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or line_of_error(error)
        raise SettingsError(f"--project {project}: {reason}; name a folder that is there") from error
    if not folder.is_dir():
        raise SettingsError(f"--project {project}: it is no folder; name the project's folder")
    return folder


def _lay_file(stack: _Stack, file: Path, layer: str) -> None:
    """Lay a file on the others, if it is there; whatever else bears its name is an error."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:  # it may tighten, so it is not passed over
        message = (
            f"{file}: it cannot be read: {error.strerror}; allow it, or let LLMSPELL_CONFIG_HOME name another folder"
        )
        raise SettingsError(message, origin=str(file)) from error
    stack.files[layer] = file
    stack.lay(_read(file, layer)[0])


def _lay_project(stack: _Stack, file: Path, environment: Mapping[str, str], *, trusted: bool) -> None:
    stack.files["project"] = file
    layer, content = _read(file, "project")
    loosened = stack.lay(layer, follows=not trusted)
    if not loosened or trusted:
        return
    reason = distrust(file, content, stack.project_dir, list(named_places(layer.table)), environment)
    if not reason:
        return
    key = join(loosened[0].path)
    origin = stack.origins[key]
    folder = stack.project_dir if find_project(stack.project_dir) == file else file.parent
    trusting = f"run 'llmspell trust {folder}' if you trust it"
    elsewhere = f"set it in {user_file(environment)}, in the environment or with --set, or "
    raise SettingsError(
        f"{origin}: {_assignment(loosened[0])} loosens policy; {reason}; {trusting}"
        if known_before(file, environment)
        else f"{origin}: {_refused(loosened[0])}; {reason}; {elsewhere}{trusting}",
        origin=str(origin),
        key=key,
    )


def _refused(violation: Violation) -> str:
    return f"{_assignment(violation)} loosens policy, and here it may {violation.policy.value}"


def _assignment(violation: Violation) -> str:
    secret = policy_of(violation.path) is Policy.LOCKED and is_secret_name(violation.path[-1])
    return f"{shown_key(violation.path)} = {shown_value(mask(conceal(violation.new, secret=secret)))}"


def _read(file: Path, layer: str) -> tuple[_Layer, bytes]:
    """The layer in a file, and the very bytes that it was read from."""
    content = read_settings(file)
    table, lines = parse_settings(file, content)
    return _Layer(layer, table, {path: Origin(layer, str(file), line) for path, line in lines.items()}), content


def _environment_layer(environment: Mapping[str, str]) -> _Layer:
    table: dict[str, Any] = {}
    origins = {}
    for name, path, value in from_environment(environment):
        table = merge(table, plain_table(nest(path, value), name))
        origins[path] = Origin("environment", name)
    return _Layer("environment", table, origins)


def _command_line_layer(values: Mapping[str, Any]) -> _Layer:
    table: dict[str, Any] = {}
    origins = {}
    for key, value in values.items():
        path = split(key)
        read = parse_text(path, value) if isinstance(value, str) else value
        table = merge(table, plain_table(nest(path, read), f"--set {key}"))
        origins[path] = Origin("command line", f"--set {key}")
    return _Layer("command line", table, origins)


def _grown(table: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The table with what stands added to each list that only grows."""
    for path, value in flatten(table):
        stands = value_at(settings, path) if policy_of(path) is Policy.SUPERSET_ONLY else None
        if isinstance(value, list) and isinstance(stands, tuple):  # what lies below a list is for the check to refuse
            table = merge(table, nest(path, [*(item for item in stands if item not in value), *value]))
    return dict(table)


def _hidden(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the secrets of plugins hidden."""
    hidden = dict(table)
    for section in Settings.sections():
        inner = hidden.get(section)
        if isinstance(inner, Mapping):
            tables = {name: conceal(item) for name, item in inner.items() if isinstance(item, Mapping)}
            hidden[section] = {**inner, **tables}
    return hidden


def _validated(tables: Mapping[str, Any], places: Mapping[tuple[str, ...], Origin]) -> Settings:
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        raise diagnose(error, lambda path: _nearest(places, path) or DEFAULT) from None


def _located(origins: Mapping[tuple[str, ...], Origin], default: Origin, path: Sequence[str]) -> Origin:
    """The origin of the key in this layer; of any of its keys if it changes the key by another one."""
    return _nearest(origins, path) or _nearest(origins, path[:1]) or default


def _nearest(origins: Mapping[tuple[str, ...], Origin], path: Sequence[str]) -> Origin | None:
    """The origin of the key, or of the nearest table around it, or of the first key in it."""
    for length in range(len(path), 0, -1):
        if found := origins.get(tuple(path[:length])):
            return found
    return next((origin for inner, origin in origins.items() if inner[: len(path)] == tuple(path)), None)


def _doubtful(stack: _Stack) -> Iterator[str]:
    """Warnings about keys of a plugin's own that look like one of the host's, mistyped."""
    for path, _ in flatten(stack.tables):
        if len(path) == 3 and path[0] == "plugins" and field_of(path) is None:
            near = difflib.get_close_matches(path[2], PluginTable.model_fields, 1, 0.8)
            if near:
                yield f"{stack.origins[join(path)]}: {join(path)} is taken as the plugin's own; did you mean {near[0]}?"


def _linked(stack: _Stack) -> Iterator[str]:
    """Warnings about allowed folders that a link in the project would lead elsewhere, so that they are none."""
    for mode in ("read", "write"):
        key = f"security.paths.{mode}"
        for entry in stack.judges.files.linked(mode):
            target = os.path.realpath(os.path.join(stack.project_dir, expand_root(entry)))
            origin = stack.origins.get(key, DEFAULT)
            yield (
                f"{origin}: {key} names {entry!r}, which a link in the project leads to {target}, "
                "so it opens nothing; name that folder itself if you mean it"
            )
