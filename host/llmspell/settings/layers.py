"""Reads the layers and lays them over each other: default, machine, user, project, environment, command line, code.

Invariant: each value knows its origin; a layer that is not trusted is held to `tighten` before the next one is laid on
it; what a project file lists under a key that only grows (denied paths, required plugins) is added to what stands. A
key that the machine's file locks keeps its value, whoever asks.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct, structs
from pydantic import ValidationError

from llmspell_hookspecs import Policy
from llmspell_hookspecs.errors import SettingsError, line_of_error
from llmspell_hookspecs.keys import flatten, join, merge, nest, shown_key, shown_value, split
from llmspell_hookspecs.masking import conceal, mask
from llmspell_hookspecs.paths import expand_root, home_folder
from llmspell_hookspecs.secret import is_secret_name
from llmspell_hookspecs.toml import parse_settings, plain_table, read_settings, text_as

from .environment import from_environment, suspicious
from .model import PluginTable, Settings
from .place import MACHINE_FILE, current_dir, find_project, own_folders, project_dir_of, project_file_in, user_file
from .schema import DEFAULT, SCHEMA, Origin, diagnose
from .tighten import Judges, OwnModels, Violation, check_locks, hold_locks, value_at, violations
from .trust import distrust, known_before, trust
from .view import LoadedSettings

__all__ = ["change", "is_trusted", "load_settings", "trust_project"]

TRUSTED_ORIGINS: Final = frozenset({"code", "user", "command line"})


class _Layer(Struct, frozen=True):
    """One layer, before it is laid on the others."""

    name: str
    table: Mapping[str, Any]
    origins: Mapping[tuple[str, ...], Origin] = {}


class _Stack(Struct):
    """The layers so far."""

    loaded: LoadedSettings
    models: OwnModels | None = None
    places: dict[tuple[str, ...], Origin] = {}
    warnings: list[str] = []

    def lay(self, layer: _Layer, *, follows: bool = False, at_start: bool = True) -> list[Violation]:
        """Lay a layer on the others; returns what it loosens. Links are followed only where that is looked at.

        Whoever changes settings later is neither the machine nor the project, whatever it calls itself.
        """
        before, name = self.loaded, layer.name if at_start else ""
        leaves = [path for path, _ in flatten(layer.table)]
        found = {path: _nearest(layer.origins, path) or Origin(layer.name) for path in leaves}
        self.places |= {**layer.origins, **found}
        table = _grown(layer.table, before.settings) if name == "project" else layer.table
        tables = merge(before.tables, _hidden(table))
        try:
            settings = Settings.model_validate(tables) if tables else before.settings
        except ValidationError as error:
            raise diagnose(error, lambda path: _nearest(self.places, path) or DEFAULT) from None
        judges = before.judges.by(settings, follows=follows)

        def locate(path: Sequence[str]) -> Origin:  # of any of the layer's keys if it changes the key by another one
            return _nearest(found, path) or _nearest(found, path[:1]) or Origin(layer.name)

        if name == "machine":
            check_locks(settings, locate)
        else:
            hold_locks(before.settings, settings, locate, str(before.files.get("machine", MACHINE_FILE)))
        origins = {**before.origins, **{join(path): origin for path, origin in found.items()}}
        self.loaded = structs.replace(before, settings=settings, origins=origins, judges=judges, tables=tables)
        return violations(before, self.loaded, leaves, self.models if name == "project" else None)

    def read(self, file: Path, layer: str) -> tuple[_Layer, bytes]:
        """Return the layer in a file, and the very bytes that it was read from."""
        self.loaded = structs.replace(self.loaded, files={**self.loaded.files, layer: file})
        content = read_settings(file)
        table, lines = parse_settings(file, content)
        return _Layer(layer, table, {path: Origin(layer, str(file), line) for path, line in lines.items()}), content

    def finished(self) -> LoadedSettings:
        """Return what counts."""
        loaded = self.loaded
        judges = loaded.judges.by(loaded.settings, settings_files=[str(file) for file in loaded.files.values()])
        loaded = structs.replace(loaded, judges=judges)
        return structs.replace(loaded, warnings=(*self.warnings, *_doubtful(loaded), *_linked(loaded)))


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
        return stack.finished()
    _lay_file(stack, user_file(environment), "user")
    if file is not None:
        _lay_project(stack, file, environment, trusted=config is not None)
    stack.lay(_layer("environment", from_environment(environment)))
    stack.lay(_layer("command line", _from_command_line(command_line or {})))
    stack.lay(_Layer("code", plain_table(overrides or {}, "code")))
    stack.warnings += suspicious(environment)
    return stack.finished()


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
    stack, trusted = _Stack(loaded), origin in TRUSTED_ORIGINS
    table = plain_table(nest(split(key), value), origin)
    loosened = stack.lay(_Layer(origin, table), follows=not trusted, at_start=False)
    if loosened and not trusted:
        raise SettingsError(
            f"{origin}: {_refused(loosened[0])}; change it in the user's settings or on the command line",
            origin=origin,
            key=join(loosened[0].path),
        )
    return stack.loaded


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
    layer, content = stack.read(file, "project")
    loosened = [_assignment(violation) for violation in stack.lay(layer, follows=True)]
    trust(file, content, stack.loaded.project_dir, layer.table, environment)
    return loosened


def is_trusted(file: Path, *, cwd: Path, environment: Mapping[str, str], machine: Path | None = None) -> bool:
    """Return whether a person trusted the project file as it is now.

    Raises:
        SettingsError: It cannot be read.
    """
    stack, _ = _begin(cwd, environment, file, None, machine)
    layer, content = stack.read(file, "project")
    return not distrust(file, content, stack.loaded.project_dir, layer.table, environment)


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
    settings = Settings.model_construct()  # nothing is set yet, so nothing is to be checked
    judges = Judges.of(settings, folder, own_folders(environment))
    stack = _Stack(LoadedSettings(settings, {}, folder, judges), models)
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
    stack.lay(stack.read(file, layer)[0])


def _lay_project(stack: _Stack, file: Path, environment: Mapping[str, str], *, trusted: bool) -> None:
    layer, content = stack.read(file, "project")
    loosened, project_dir = stack.lay(layer, follows=not trusted), stack.loaded.project_dir
    if not loosened or trusted:
        return
    reason = distrust(file, content, project_dir, layer.table, environment)
    if not reason:
        return
    key = join(loosened[0].path)
    origin = stack.loaded.origins[key]
    folder = project_dir if find_project(project_dir) == file else file.parent
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
    secret = SCHEMA.policy(violation.path) is Policy.LOCKED and is_secret_name(violation.path[-1])
    return f"{shown_key(violation.path)} = {shown_value(mask(conceal(violation.new, secret=secret)))}"


def _layer(name: str, given: Iterable[tuple[str, tuple[str, ...], Any]]) -> _Layer:
    """The layer of values that were given one by one, each with its source and its path."""
    table: dict[str, Any] = {}
    origins = {}
    for source, path, value in given:
        table = merge(table, plain_table(nest(path, value), source))
        origins[path] = Origin(name, source)
    return _Layer(name, table, origins)


def _from_command_line(values: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    for key, value in values.items():
        path = split(key)
        field, where, secret = SCHEMA.field(path), f"--set {key}", is_secret_name(path[-1])
        typed = text_as(field and field.annotation, value, where, secret=secret) if isinstance(value, str) else value
        yield where, path, typed


def _grown(table: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The table with what stands added to each list that only grows."""
    for path, value in flatten(table):
        stands = value_at(settings, path) if SCHEMA.policy(path) is Policy.SUPERSET_ONLY else None
        if isinstance(value, list) and isinstance(stands, tuple):  # what lies below a list is for the check to refuse
            table = merge(table, nest(path, [*(item for item in stands if item not in value), *value]))
    return dict(table)


def _hidden(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the secrets of plugins hidden."""
    hidden = dict(table)
    for section in SCHEMA.sections:
        inner = hidden.get(section)
        if isinstance(inner, Mapping):
            tables = {name: conceal(item) for name, item in inner.items() if isinstance(item, Mapping)}
            hidden[section] = {**inner, **tables}
    return hidden


def _nearest(origins: Mapping[tuple[str, ...], Origin], path: Sequence[str]) -> Origin | None:
    """The origin of the key, or of the nearest table around it, or of the first key in it."""
    for length in range(len(path), 0, -1):
        if found := origins.get(tuple(path[:length])):
            return found
    return next((origin for inner, origin in origins.items() if inner[: len(path)] == tuple(path)), None)


def _doubtful(loaded: LoadedSettings) -> Iterator[str]:
    """Warnings about keys of a plugin's own that look like one of the host's, mistyped."""
    for path, _ in flatten(loaded.tables):
        if len(path) == 3 and path[0] == "plugins" and SCHEMA.field(path) is None:
            near = difflib.get_close_matches(path[2], PluginTable.model_fields, 1, 0.8)
            if near:
                key = join(path)
                yield f"{loaded.origin(key)}: {key} is taken as the plugin's own; did you mean {near[0]}?"


def _linked(loaded: LoadedSettings) -> Iterator[str]:
    """Warnings about allowed folders that a link in the project would lead elsewhere, so that they are none."""
    for mode in ("read", "write"):
        key = f"security.paths.{mode}"
        for entry in loaded.judges.files.linked(mode):
            target = os.path.realpath(os.path.join(loaded.project_dir, expand_root(entry)))
            origin = loaded.origin(key)
            yield (
                f"{origin}: {key} names {entry!r}, which a link in the project leads to {target}, "
                "so it opens nothing; name that folder itself if you mean it"
            )
