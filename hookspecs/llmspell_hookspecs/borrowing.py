"""What a script may say of a plugin of hooks that it enables for its own operations.

Such an instance stands with the script's own hooks: outside of all guards, asked about that script's operations only,
and gone with it. It adds to what holds for the script, so what trusted settings say stays as it is. The class of each
built-in plugin says what a script may set by ``borrowing``.

Invariant: what reaches beyond the script (files, ports, the storage, other scripts) is never a script's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from .errors import InvalidInputError, SecurityError

__all__ = ["Borrowing", "borrowed_settings"]

_MOST: Final = 100
"""How many entries a list may have: each is looked at in every operation."""


class Borrowing(Struct, frozen=True):
    """How a script may enable a plugin.

    Attributes:
        keys: The settings that it may give.
        fixed: What holds for it in any case.
        withheld: For settings that are lists of tables, the keys in them that it may not give.
        refused: Why it may not enable it at all, for a reason of security; empty if it may.
    """

    keys: frozenset[str] = frozenset()
    fixed: Mapping[str, Any] = {}
    withheld: Mapping[str, frozenset[str]] = {}
    refused: str = ""


def borrowed_settings(borrowing: Borrowing, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings of an instance that a script enables.

    Args:
        borrowing: What it may say.
        given: What it says.
        where: How errors begin.

    Raises:
        SecurityError: It may not say this, or not enable the plugin.
        InvalidInputError: A list is too long.
    """
    if borrowing.refused:
        raise SecurityError(f"{where}: {borrowing.refused}; enable it in the settings", rule="builtin")
    for key, value in given.items():
        if key not in borrowing.keys:
            known = ", ".join(sorted(borrowing.keys)) or "none"
            message = f"{where}: {str(key)[:80]!r} is no setting that a script may give; there are {known}"
            raise SecurityError(message, rule="builtin")
        if isinstance(value, list | tuple | Mapping) and len(value) > _MOST:
            message = f"{where}: {key} has {len(value)} entries; give {_MOST} at most"
            raise InvalidInputError(message, field=key)
        for entry in value if isinstance(value, list | tuple) else ():
            beyond = borrowing.withheld.get(key, frozenset()).intersection(entry if isinstance(entry, Mapping) else ())
            if beyond:
                message = f"{where}: {key}.{min(beyond)} reaches beyond the script; leave it out"
                raise SecurityError(message, rule="builtin")
    return {**given, **borrowing.fixed}
