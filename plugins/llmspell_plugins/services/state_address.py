r"""Where state lies: rules of scopes and keys, and the storage's key for both.

A storage key is ``state:<scope>\n<key>``: a line break is in neither, so no two places share one.

The original keeps what belongs to a workflow, agent or tool under ``<kind>`` and ``<id>:<key>``; that is another
spelling of the scope ``<kind>:<id>`` and the key, so both reach the same value.

Invariant: what `canonical` answers is unchanged by a second time; guards see that, and the body takes nothing else.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from typing import Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.storage import MAX_KEY_BYTES

__all__ = ["SCOPES", "address", "canonical", "check_scope", "prefix_of"]

SCOPES: Final = ("global", "user", "session", "agent", "tool", "workflow", "hook", "custom")
"""The kinds of scope; all but the first have an id."""
_MOST: Final = 256
_WORD: Final = re.compile(r"[\w.-]+")
_LINES: Final = re.compile(r"[\0\r\n]")
_REFUSED: Final = ("..", "\\", "//", "\0", "\r", "\n")
_BEGINNINGS: Final = ("__", "$$")


@functools.lru_cache(maxsize=4096)
def canonical(scope: str, key: str) -> tuple[str, str]:
    """Return scope and key, composed as in Unicode's NFC and checked.

    Raises:
        InvalidInputError: One of them is wrong.
    """
    scope, key = _composed("scope", scope), _composed("key", key)
    if scope in SCOPES[1:]:
        id, _, rest = key.partition(":")
        scope, key = (f"{scope}:{id}", rest) if id and rest else (scope, key)
    check_scope(scope)
    if not 0 < len(key) <= _MOST:
        raise _wrong("key", key, f"it has {len(key)} characters; give 1 to {_MOST}")
    for text in _REFUSED:
        if text in key:
            raise _wrong("key", key, f"it holds {text!r}; take that out")
    if key.startswith(_BEGINNINGS):
        raise _wrong("key", key, f"it begins with {key[:2]!r}, which is the host's own; begin with another sign")
    size_bytes = len(_joined(scope, key).encode())
    if size_bytes > MAX_KEY_BYTES:
        raise _wrong("key", key, f"with its scope it has {size_bytes} bytes in UTF-8; give at most {MAX_KEY_BYTES}")
    return scope, key


@functools.lru_cache(maxsize=4096)
def address(scope: str, key: str) -> str:
    """Return the storage's key.

    Raises:
        InvalidInputError: Scope or key is wrong, or not composed: a hook changed it.
    """
    if canonical(scope, key) != (scope, key):
        raise _wrong("key", key, "a hook changed it, and it is not composed; compose it as in Unicode's NFC")
    return _joined(scope, key)


def check_scope(scope: str) -> None:
    """Check a scope.

    Raises:
        InvalidInputError: It is none.
    """
    kind, colon, id = scope.partition(":")
    if not colon and _WORD.fullmatch(scope) and len(scope) <= _MOST:
        return
    if colon and kind in SCOPES[1:] and 0 < len(id) <= _MOST and not _LINES.search(id):
        return
    near = difflib.get_close_matches(kind, SCOPES[1:], 1)
    advice = f"did you mean {near[0]}:{id or '<id>'}?" if near and near[0] != kind else f"give a word, or {_FORMS}"
    raise _wrong("scope", scope, f"it is none; {advice}")


def prefix_of(scope: str, prefix: str) -> str:
    """Return what the storage's keys of a scope begin with.

    Raises:
        InvalidInputError: The scope or prefix is wrong.
    """
    check_scope(scope)
    return _joined(scope, _composed("prefix", prefix))


_FORMS: Final = ", ".join(f"{kind}:<id>" for kind in SCOPES[1:])


def _joined(scope: str, key: str) -> str:
    return f"state:{scope}\n{key}"


def _composed(field: str, text: str) -> str:
    if not isinstance(text, str):
        raise InvalidInputError(f"state {field} {text!r}: it is a {type(text).__name__}; give a text", field=field)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _wrong(field, text, "it has a lone surrogate; take it out") from None
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _wrong(field: str, text: str, reason: str) -> InvalidInputError:
    shown = repr(text if len(text) <= 40 else text[:40] + "...")
    return InvalidInputError(f"state {field} {shown}: {reason}", field=field)
