"""Which project files may loosen policy: those whose folder and content a person has trusted.

Kept in the user's data folder as JSON: the resolved folder, and the blake3 hash of the project file as it was.

Invariant: a file that changed is not trusted until a person trusts it again.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from llmspell_hookspecs import SettingsError

from .place import data_dir

__all__ = ["is_trusted", "trust", "untrust"]


def is_trusted(file: Path, content: bytes, environment: Mapping[str, str]) -> bool:
    """Answer whether a person has trusted this project file with this content."""
    return _read(_store(environment)).get(_name(file)) == _hash(content)


def trust(file: Path, environment: Mapping[str, str]) -> None:
    """Trust a project file as it is now.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}; trust a file that is there") from error
    store = _store(environment)
    _write(store, {**_read(store), _name(file): _hash(content)})


def untrust(file: Path, environment: Mapping[str, str]) -> bool:
    """Trust it no longer; False if it was not trusted."""
    store = _store(environment)
    known = _read(store)
    if known.pop(_name(file), None) is None:
        return False
    _write(store, known)
    return True


def _store(environment: Mapping[str, str]) -> Path:
    return data_dir(environment) / "trusted.json"


def _name(file: Path) -> str:
    """The file's own place, not what a link leads to: whoever links to a trusted file is not trusted for it."""
    return str(file.parent.resolve() / file.name)


def _hash(content: bytes) -> str:
    from blake3 import blake3

    return blake3(content).hexdigest()


def _read(store: Path) -> dict[str, str]:
    try:
        known = json.loads(store.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{store}: cannot be read: {error}; mend it, or delete it and trust again") from error
    return known if isinstance(known, dict) else {}


def _write(store: Path, known: Mapping[str, str]) -> None:
    """Replace the store as a whole, so that a crash leaves the old one."""
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=store.parent, prefix=store.name)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(known, stream, indent=2, sort_keys=True)
    os.replace(temporary, store)
