"""What an emitter does: who is asked, in which order and for how long, and how the answers become one.

Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from msgspec import Struct

from .approval import Seam
from .composition import Composition
from .identity import context_identity

__all__ = ["JCS", "Binding", "Configuration", "IdentityProvider"]

JCS: Final = "jcs-sha256"


class IdentityProvider(Struct, frozen=True):
    """What gives a context its identity.

    Attributes:
        name: As records have it.
        function: Returns a text for a context.
    """

    name: str = JCS
    function: Callable[[Any], Any] = context_identity


class Binding(Struct, frozen=True):
    """An interceptor that is asked.

    Attributes:
        interceptor: Has ``intercept(context)``, sync or async.
        name: For records.
        points: Where it is asked; None for everywhere.
        timeout_s: How long it may take; None for ever.
    """

    interceptor: Any
    name: str = ""
    points: frozenset[str] | None = None
    timeout_s: float | None = 5.0


class Configuration(Struct, frozen=True):
    """What an emitter does.

    Attributes:
        bindings: Who is asked, in order. With nobody everything is denied.
        composition: How the answers become one.
        mode: ``evaluate_only`` asks and records, and hinders nothing.
        identity: None for none.
        seam: Who may lift a denial; None for nobody.
        most_records: How many records are kept.
        most_bytes: How large a context may be, as JSON.
        declaration: The version of the document that says all this, if one does.
    """

    bindings: tuple[Binding, ...] = ()
    composition: Composition = Composition()
    mode: Literal["enforce", "evaluate_only"] = "enforce"
    identity: IdentityProvider | None = IdentityProvider()
    seam: Seam | None = None
    most_records: int | None = 1000
    most_bytes: int = 1024 * 1024
    declaration: str = ""
