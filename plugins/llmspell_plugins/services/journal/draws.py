"""What operations on record drew: the time, chance, new ids. Each is told again by stage and name, in order.

Invariant: a draw is told once. One that is not on record is made anew, but for the time: that is when the operation
ended, so that it is the same in each replay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from .record import Written

__all__ = ["Draws"]


class Draws:
    """What is left of the draws on record.

    Args:
        records: The operations on record.
    """

    def __init__(self, records: Sequence[Written]) -> None:
        self._left: dict[tuple[str, int, str], deque[Any]] = {}
        self._early: dict[tuple[str, str, str], list[int]] = {}
        known = {record.id for record in records}
        for index, record in enumerate(records):
            for each in record.draws:
                self._left[record.id, each.stage, each.name] = deque(each.values)
            if record.asked:
                within = record.within if record.within in known else ""
                self._early.setdefault((within, record.component, record.asked), []).append(index)

    def early(self, within: str, component: str, asked: Collection[str], used: Collection[int]) -> int | None:
        """Return which operation on record drew before its body, and was asked for so; None for none that is left.

        Args:
            within: The id of the body in which it began.
            component: What ran.
            asked: The digests of what it was asked for before hooks changed that.
            used: Which ones are taken.
        """
        rows = [index for each in asked for index in self._early.get((within, component, each), ())]
        return next((index for index in rows if index not in used), None)

    def next(self, record: Written, stage: int, name: str, make: Callable[[], Any]) -> Any:
        """Return what an operation drew next."""
        left = self._left.get((record.id, stage, name))
        if left:
            return left.popleft()
        if name in ("now_s", "time") and record.at_s:
            return record.at_s if name == "now_s" else int(record.at_s)
        return make()
