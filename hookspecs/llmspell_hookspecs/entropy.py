"""What is different each time: the time, chance, new ids. A journal keeps it, and a replay tells it again.

Whoever asks for such a value on behalf of an operation draws it here, so that the operation runs again as it ran. The
clock of the host does so by itself; see `Clock.now_s`.

Invariant: while nobody records and nothing is replayed a value is made, and no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

__all__ = ["Entropy", "EntropySource"]

T = TypeVar("T")
EntropySource: TypeAlias = Callable[[str, Callable[[], Any]], Any]
"""Returns what is drawn, given its name and what makes it."""


@runtime_checkable
class Entropy(Protocol):
    """Draws what is different each time, for the operation that runs."""

    @property
    def is_kept(self) -> bool:
        """Whether anybody records or replays what is drawn from now on."""

    def draw(self, name: str, make: Callable[[], T], /) -> T:
        """Return a value as it is made, or in a replay as it is on record; may be called on any thread.

        Args:
            name: What it is, such as ``now_s``: values are told again by name, in the order in which an operation
                drew them.
            make: Makes it: texts, numbers, truth values, None, or bytes.
        """

    def let(self, source: EntropySource, /) -> Callable[[], None]:
        """Ask a source for what is drawn, until what this returns is called; the one that came last is asked."""
