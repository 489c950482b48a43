"""The second level of what hooks asked to keep: a service's, asked for no longer than a hook may take.

Invariant: nothing that it does, or fails to do, is felt by an operation but as a miss. What fails is told once, until
it works again, and is left alone for a while. Durations in seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, TypeVar

import trio

from llmspell_hookspecs.errors import StorageError, text_of_error
from llmspell_hookspecs.foreign import let_pass
from llmspell_hookspecs.result_store import ResultStore

__all__ = ["SecondLevel"]

T = TypeVar("T")
_REST_S: Final = 30.0


class SecondLevel:
    """The service `ResultStore`, if there is one.

    Args:
        problem: Told why it does not work.

    Attributes:
        enter: Returns the service; None where there are no services.
    """

    def __init__(self, problem: Callable[[Exception], None]) -> None:
        self.enter: Callable[[], Awaitable[ResultStore]] | None = None
        self._problem = problem
        self._rests_until_s = -inf
        self._works = True

    async def ask(self, question: Callable[[ResultStore], Awaitable[T]], limit_s: float) -> T | None:
        """Return what the store answers; None if it does not."""
        if self.enter is None or trio.current_time() < self._rests_until_s:
            return None
        try:
            with trio.fail_after(limit_s):
                answer = await question(await self.enter())
        except trio.TooSlowError:
            why = f"it took longer than {limit_s:g} s"
        except BaseException as error:
            let_pass(error)
            why = text_of_error(error)
        else:
            self._works = True
            return answer
        self._rests_until_s = trio.current_time() + _REST_S
        if self._works:
            self._works = False
            self._problem(StorageError(f"the store of results: {why}; until it works they stay in memory alone"))
        return None
