"""The writer of a durable run: what is noted and nobody waits for is written all the same, and soon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell_hookspecs.runs import StageInfo
from llmspell_plugins.kinds.workflow.records import Head, Records

LEASE_S = 30.0
STEPS = st.lists(
    st.tuples(st.sampled_from(["note", "note and flush", "wait"]), st.integers(0, 3)), min_size=1, max_size=12
)


class Slow:
    """A storage whose writes take a second."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes | None] = {}

    async def write(self, batch: Mapping[str, bytes | None], expect: Any = None) -> Mapping[str, int]:
        await trio.sleep(1)
        self.kept.update(batch)
        return dict.fromkeys(batch, 1)


class Noon:
    """A clock that stands still."""

    def now_s(self) -> float:
        return 0.0

    def monotonic_s(self) -> float:
        return 0.0


@settings(max_examples=150, deadline=None)
@given(tasks=st.lists(STEPS, min_size=1, max_size=3))
def test_whatever_is_noted_is_kept_within_two_writes_whoever_waits_for_it(
    tasks: list[list[tuple[str, int]]],
) -> None:
    storage = Slow()
    noted: list[str] = []

    async def note(records: Records, number: int, steps: list[tuple[str, int]]) -> None:
        for place, (step, pause) in enumerate(steps):
            if step != "wait":
                path = f"t{number}.{place}"
                records.stage(StageInfo(path, "done"))
                noted.append(path)
            if step == "note and flush":
                await records.flush()
                assert f"workflow/r/stage/{path}" in storage.kept
            await trio.sleep(pause / 2)

    async def main() -> None:
        records = Records(storage, "r", Head("w"), 1, Noon(), LEASE_S)  # type: ignore[arg-type]
        async with trio.open_nursery() as beating:
            beating.start_soon(records.beat, beating.cancel_scope)
            async with trio.open_nursery() as noting:
                for number, steps in enumerate(tasks):
                    noting.start_soon(note, records, number, steps)
            await trio.sleep(2.5)
            beating.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert {f"workflow/r/stage/{path}" for path in noted} <= set(storage.kept)


def test_a_run_that_notes_nothing_renews_its_lease_three_times_in_it() -> None:
    written: list[float] = []

    class Noting(Slow):
        async def write(self, batch: Mapping[str, bytes | None], expect: Any = None) -> Mapping[str, int]:
            written.append(trio.current_time())
            return dict.fromkeys(batch, 1)

    async def main() -> None:
        records = Records(Noting(), "r", Head("w"), 1, Noon(), LEASE_S)  # type: ignore[arg-type]
        started_s = trio.current_time()
        with trio.move_on_after(LEASE_S * 2 + 1) as scope:
            await records.beat(scope)
        written[:] = [each - started_s for each in written]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert [round(each) for each in written] == [10, 20, 30, 40, 50, 60]
