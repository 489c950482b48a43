"""Which project files may loosen policy: those that a person has trusted, as they were.

Kept in the user's data folder as JSON: for each project file its blake3 hash, and of the file itself and of each place
that it names where it led, what it was and whose.

Invariant: a file that changed, or that names a place which leads elsewhere since, is not trusted until a person trusts
it again. A store that an older version wrote trusts nothing, since it does not say what the places were.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from llmspell_hookspecs.errors import SettingsError, line_of_error
from llmspell_hookspecs.keys import flatten
from llmspell_hookspecs.paths import expand_root, state_of, told_state
from llmspell_hookspecs.regular import read_regular, replace_regular

from .place import data_dir
from .schema import SCHEMA

__all__ = ["distrust", "known_before", "trust", "untrust"]

_OF_PLACES: Final = ("path", "file", "dir", "folder", "directory", "root", "socket", "database", "log")


def distrust(
    file: Path, content: bytes, project_dir: Path, table: Mapping[str, Any], environment: Mapping[str, str]
) -> str:
    """Return why a project file with this content is not trusted; empty if a person trusted it, and all is as it was.

    Args:
        file: The project file.
        content: What was read from it.
        project_dir: What the places are relative to.
        table: The settings in it, which name places.
        environment: Says where the store is.
    """
    known = _read(_store(environment)).get(_name(file))
    if known is None:
        return "nobody trusted this file"
    if not isinstance(known, dict) or not isinstance(known.get("places"), dict):
        return "it was trusted by an older version, which did not keep what its paths led to"
    if known.get("hash") != _hash(content):
        return "the file has changed since it was trusted"
    for name, now in _places(file, project_dir, table).items():
        then = known["places"].get(name)
        if then != now:
            what = str(file) if name == "" else repr(name)
            return f"{what} was {told_state(then)} when this file was trusted, and is {told_state(now)} now"
    return ""


def trust(
    file: Path, content: bytes, project_dir: Path, table: Mapping[str, Any], environment: Mapping[str, str]
) -> None:
    """Trust a project file as it is now; the arguments are those of `distrust`.

    Raises:
        SettingsError: The store cannot be read or written.
    """
    store = _store(environment)
    entry = {"hash": _hash(content), "places": _places(file, project_dir, table)}
    _write(store, {**_read(store), _name(file): entry})


def known_before(file: Path, environment: Mapping[str, str]) -> bool:
    """Return whether a person has trusted the file at some time."""
    return _name(file) in _read(_store(environment))


def untrust(file: Path, environment: Mapping[str, str]) -> bool:
    """Trust it no longer; False if it was not trusted."""
    store = _store(environment)
    known = _read(store)
    if known.pop(_name(file), None) is None:
        return False
    _write(store, known)
    return True


def _named(table: Mapping[str, Any]) -> Iterator[str]:
    """What settings name as files and folders: allowed folders, and what plugins keep under such keys."""
    for path, value in flatten(table):
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        if path[:2] == ("security", "paths"):
            yield from texts if path[-1] != "denied" else ()
        elif path[0] in SCHEMA.sections and len(path) > 2:
            key = path[-1].lower()
            yield from (
                text
                for text in texts
                if text.startswith((".", "~", "/"))
                or ("/" in text and "://" not in text)
                or any(word in key for word in _OF_PLACES)
            )


def _places(file: Path, project_dir: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """What each place is now; the project file itself stands under no name."""
    texts = [text for text in dict.fromkeys(_named(table)) if "\0" not in text and len(text) < 4096]
    places = {text: os.path.join(project_dir, expand_root(text)) for text in texts}
    return {"": state_of(os.path.join(file.parent.resolve(), file.name))} | {
        text: state_of(place) for text, place in places.items()
    }


def _store(environment: Mapping[str, str]) -> Path:
    return data_dir(environment) / "trusted.json"


def _name(file: Path) -> str:
    """The file's own place, not what a link leads to: whoever links to a trusted file is not trusted for it."""
    return str(file.parent.resolve() / file.name)


def _hash(content: bytes) -> str:
    from blake3 import blake3

    return blake3(content).hexdigest()


def _read(store: Path) -> dict[str, Any]:
    try:
        known = json.loads(read_regular(store).removeprefix(b"\xef\xbb\xbf"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"{store}: it cannot be read: {line_of_error(error)}; fix it, or delete it and trust again"
        ) from error
    return known if isinstance(known, dict) else {}


def _write(store: Path, known: Mapping[str, Any]) -> None:
    """Replace the store as a whole, so that a crash leaves the old one."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_regular(store, json.dumps(known, indent=2, sort_keys=True).encode())
    except OSError as error:
        message = f"{store}: it cannot be written: {error.strerror}; allow it, or name a folder in LLMSPELL_DATA_HOME"
        raise SettingsError(message) from error
