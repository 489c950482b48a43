"""Reads the layers and lays them over each other: default, user, project, environment, command line, code.

Invariant: each value knows its origin; a layer that is not trusted is held to `tighten` before the next one is laid on
it; what a project file lists under a key that only grows (denied paths, required plugins) is added to what stands.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from pydantic import ValidationError

from llmspell_hookspecs import SettingsError, is_secret_name, thaw

from .diagnosis import diagnose
from .environment import from_environment, parse_text, suspicious
from .key import flatten, join, nest, split
from .location import lines_of
from .model import PluginTable, Settings
from .origin import DEFAULT, Origin
from .place import find_project, project_dir_of, user_file
from .policy import Policy
from .schema import field_of, policy_of
from .secret import mask, wrap
from .tighten import Violation, value_at, violations
from .trust import is_trusted

__all__ = ["LoadedSettings", "change", "load_settings", "loosening"]

TRUSTED_ORIGINS: Final = frozenset({"code", "user", "command line"})
_PLACE = re.compile(r"at line (\d+)")


class LoadedSettings(Struct, frozen=True):
    """The settings, and where each came from.

    Attributes:
        settings: What counts.
        origins: For each dotted key that is set, where; `origin` answers for all.
        project_dir: What relative paths are relative to.
        warnings: What looks wrong and is no error.
        tables: The settings as they were written, merged.
        files: The files that were read, by layer.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    project_dir: Path
    warnings: tuple[str, ...] = ()
    tables: Mapping[str, Any] = {}
    files: Mapping[str, Path] = {}

    def origin(self, key: str) -> Origin:
        """Answer where a key's value came from."""
        return self.origins.get(join(split(key)), DEFAULT)


class _Layer(Struct, frozen=True):
    """One layer, before it is laid on the others."""

    name: str
    table: Mapping[str, Any]
    origins: Mapping[tuple[str, ...], Origin] = {}


class _Stack:
    """The layers so far."""

    def __init__(self, project_dir: Path) -> None:
        self.project_dir = project_dir
        self.tables: dict[str, Any] = {}
        self.origins: dict[str, Origin] = {}
        self.places: dict[tuple[str, ...], Origin] = {}
        self.settings = Settings()
        self.files: dict[str, Path] = {}

    def lay(self, layer: _Layer) -> list[Violation]:
        """Lay a layer on the others; answers what it loosens."""
        leaves = [path for path, _ in flatten(layer.table)]
        found = {path: _nearest(layer.origins, path) or Origin(layer.name) for path in leaves}
        self.origins |= {join(path): origin for path, origin in found.items()}
        self.places |= {**layer.origins, **found}
        table = _grown(layer.table, self.settings) if layer.name == "project" else layer.table
        self.tables = _merged(self.tables, _hidden(table))
        before, self.settings = self.settings, _validated(self.tables, self.places)
        return violations(before, self.settings, leaves, self.project_dir)


def load_settings(
    overrides: Mapping[str, Any] | Literal[False] | None = None,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
    command_line: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Read all layers and answer what counts.

    Args:
        overrides: Tables on top of everything, given in code; False for the defaults alone.
        cwd: Where the search for the project file begins; the current folder if left out.
        environment: The environment; the process's if left out.
        config: A file that takes the project file's place, and is trusted since a person named it.
        command_line: Values by dotted key, as text or typed.

    Raises:
        SettingsError: A file cannot be read, a key or value is wrong, or the project file loosens policy.
    """
    cwd = (Path.cwd() if cwd is None else cwd).resolve()
    environment = os.environ if environment is None else environment
    if overrides is False:
        return LoadedSettings(Settings(), {}, cwd)
    project = find_project(cwd) if config is None else config
    stack = _Stack(_project_dir(project, cwd))
    _lay_user(stack, user_file(environment))
    if project is not None:
        _lay_project(stack, project, environment, trusted=config is not None)
    stack.lay(_environment_layer(environment))
    stack.lay(_command_line_layer(command_line or {}))
    stack.lay(_Layer("code", thaw(overrides or {})))
    warnings = (*suspicious(environment), *_doubtful(stack))
    return LoadedSettings(stack.settings, stack.origins, stack.project_dir, warnings, stack.tables, stack.files)


def change(loaded: LoadedSettings, key: str, value: Any, origin: str) -> LoadedSettings:
    """Answer the settings with one key, or one section's keys, changed at run time.

    Args:
        loaded: What stands.
        key: Its dotted path.
        value: Plain; a mapping for a section.
        origin: Who asks. ``code``, ``user`` and ``command line`` may do anything, all others only tighten.

    Raises:
        SettingsError: The key or value is wrong, or it loosens policy and the one who asks may not.
    """
    table = nest(split(key), thaw(value))
    tables = _merged(loaded.tables, _hidden(table))
    leaves = [path for path, _ in flatten(table)]
    origins = {**loaded.origins, **{join(path): Origin(origin) for path in leaves}}
    settings = _validated(tables, {path: Origin(origin) for path in leaves})
    loosened = violations(loaded.settings, settings, leaves, loaded.project_dir)
    if loosened and origin not in TRUSTED_ORIGINS:
        raise SettingsError(
            f"{origin}: {_refused(loosened[0])}; change it in the user's settings or on the command line",
            origin=origin,
            key=join(loosened[0].path),
        )
    return msgspec.structs.replace(loaded, settings=settings, origins=origins, tables=tables)


def loosening(file: Path, *, cwd: Path, environment: Mapping[str, str]) -> list[str]:
    """Answer what a project file loosens, each as ``key = value``, so that a person sees what to trust.

    Raises:
        SettingsError: A file cannot be read, or a key or value is wrong.
    """
    stack = _Stack(_project_dir(file, cwd.resolve()))
    _lay_user(stack, user_file(environment))
    return [_assignment(violation) for violation in stack.lay(_read(file, "project")[0])]


def _lay_user(stack: _Stack, file: Path) -> None:
    if file.is_file():
        stack.files["user"] = file
        stack.lay(_read(file, "user")[0])


def _lay_project(stack: _Stack, file: Path, environment: Mapping[str, str], *, trusted: bool) -> None:
    stack.files["project"] = file
    layer, content = _read(file, "project")
    loosened = stack.lay(layer)
    if not loosened or trusted or is_trusted(file, content, environment):
        return
    key = join(loosened[0].path)
    origin = stack.origins[key]
    raise SettingsError(
        f"{origin}: {_refused(loosened[0])}; run 'llmspell trust {stack.project_dir}' if you trust this file, "
        f"or set it in {user_file(environment)}, in the environment or with --set",
        origin=str(origin),
        key=key,
    )


def _refused(violation: Violation) -> str:
    return f"{_assignment(violation)} loosens policy, and here it may {violation.policy.value}"


def _assignment(violation: Violation) -> str:
    secret = policy_of(violation.path) is Policy.LOCKED and is_secret_name(violation.path[-1])
    shown = mask(wrap(violation.new, secret=secret))
    return f"{join(violation.path)} = {shown!r}"


def _read(file: Path, layer: str) -> tuple[_Layer, bytes]:
    """The layer in a file, and the very bytes that it was read from."""
    try:
        content = file.read_bytes()
        text = content.decode()
        table = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(
            f"{file}: cannot be read: {error.strerror}; name a file that can", origin=str(file)
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: is not UTF-8; save it as UTF-8", origin=str(file)) from error
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        origin = f"{file}:{place[1]}" if place else str(file)
        raise SettingsError(f"{origin}: is no TOML: {error}; mend it", origin=origin) from error
    except (RecursionError, ValueError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "a number in it is too long"
        raise SettingsError(f"{file}: cannot be read: {reason}; mend it", origin=str(file)) from error
    return _Layer(
        layer, table, {path: Origin(layer, str(file), line) for path, line in lines_of(text).items()}
    ), content


def _environment_layer(environment: Mapping[str, str]) -> _Layer:
    table: dict[str, Any] = {}
    origins = {}
    for name, path, value in from_environment(environment):
        table = _merged(table, nest(path, value))
        origins[path] = Origin("environment", name)
    return _Layer("environment", table, origins)


def _command_line_layer(values: Mapping[str, Any]) -> _Layer:
    table: dict[str, Any] = {}
    origins = {}
    for key, value in values.items():
        path = split(key)
        table = _merged(table, nest(path, parse_text(path, value) if isinstance(value, str) else value))
        origins[path] = Origin("command line", f"--set {key}")
    return _Layer("command line", table, origins)


def _project_dir(project: Path | None, cwd: Path) -> Path:
    return cwd if project is None else project_dir_of(project, cwd)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged, all else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _grown(table: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The table with what stands added to each list that only grows."""
    for path, value in flatten(table):
        if isinstance(value, list) and policy_of(path) is Policy.SUPERSET_ONLY:
            table = _merged(table, nest(path, list(dict.fromkeys([*value_at(settings, path), *value]))))
    return dict(table)


def _hidden(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the secrets of plugins, tools and providers hidden."""
    hidden = dict(table)
    for section in ("plugins", "tools", "providers"):
        inner = hidden.get(section)
        if isinstance(inner, Mapping):
            hidden[section] = {name: wrap(item) if isinstance(item, Mapping) else item for name, item in inner.items()}
    return hidden


def _validated(tables: Mapping[str, Any], places: Mapping[tuple[str, ...], Origin]) -> Settings:
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        raise diagnose(error, lambda path: _nearest(places, path) or DEFAULT) from None


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
