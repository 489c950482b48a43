"""Where a setting's value came from."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["DEFAULT", "Origin"]


class Origin(Struct, frozen=True):
    """Where a value came from.

    Attributes:
        layer: ``default``, ``user``, ``project``, ``environment``, ``command line``, ``code`` or ``script``.
        source: The file, or the variable, or nothing.
        line: In the file, from 1; 0 if it is none.
    """

    layer: str
    source: str = ""
    line: int = 0

    def __str__(self) -> str:
        """The source and line as an editor takes them; the layer if there is no source."""
        return f"{self.source or self.layer}:{self.line}" if self.line else self.source or self.layer


DEFAULT = Origin("default")
