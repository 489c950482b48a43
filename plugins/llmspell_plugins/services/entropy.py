"""The service Entropy: makes what is different each time, unless somebody records it or tells it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from llmspell_hookspecs.entropy import Entropy, EntropySource

__all__ = ["EntropyService"]

T = TypeVar("T")


class EntropyService:
    """Implements the contract's `Entropy`."""

    name: ClassVar[str] = "entropy"
    provides: ClassVar[type[Any]] = Entropy

    def __init__(self) -> None:
        self._sources: tuple[tuple[EntropySource], ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether anybody records or replays what is drawn."""
        return bool(self._sources)

    def draw(self, name: str, make: Callable[[], T], /) -> T:
        """Return a value as it is made, or as it is on record; see the contract's `Entropy`."""
        sources = self._sources
        if not sources:
            return make()
        drawn: T = sources[-1][0](name, make)
        return drawn

    def let(self, source: EntropySource, /) -> Callable[[], None]:
        """Ask a source from now on; see the contract's `Entropy`."""
        row = (source,)  # of its own, so that the same function may be given twice
        self._sources = (*self._sources, row)

        def take_out() -> None:
            self._sources = tuple(each for each in self._sources if each is not row)

        return take_out
