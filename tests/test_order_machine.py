"""Hooks that come and go in any order: who is called when is what a naive reading of their options says."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from llmspell.hooks import Hook
from llmspell_hookspecs.errors import HookOrderError
from llmspell_hookspecs.marker import hook_options
from llmspell_hookspecs.order import Lineup
from llmspell_hookspecs.topics import own_points

POINT = next(point for point in own_points() if point.name == "before_tool_execution")
NAMES = st.sampled_from([f"h{number}" for number in range(6)] + ["p", "q", "p.h1", "nobody"])


def naive(hooks: list[Hook]) -> list[int] | None:
    """Return the order: each time the first by priority and number that waits for nobody; None for a cycle."""
    words = {hook: {hook.name, hook.plugin, f"{hook.plugin}.{hook.name}"} for hook in hooks}
    pairs = {
        (one, other)
        for one in hooks
        for other in hooks
        if one is not other and (words[other] & set(one.options.before) or words[one] & set(other.options.after))
    }
    left, order = list(hooks), list[int]()
    while left:
        free = [hook for hook in left if not any(later is hook and first in left for first, later in pairs)]
        if not free:
            return None
        chosen = min(free, key=lambda hook: (hook.options.priority, hook.sequence))
        left.remove(chosen)
        order.append(chosen.sequence)
    return order


class OrderMachine(RuleBasedStateMachine):
    """A lineup beside a list."""

    hooks = Bundle("hooks")

    def __init__(self) -> None:
        super().__init__()
        self.lineup: Lineup[Hook] = Lineup()
        self.there: list[Hook] = []
        self.numbers = 0

    @rule(
        target=hooks,
        name=st.integers(0, 5),
        plugin=st.sampled_from("pq"),
        priority=st.integers(-2, 2),
        before=st.lists(NAMES, max_size=2),
        after=st.lists(NAMES, max_size=2),
    )
    def add(self, name: int, plugin: str, priority: int, before: list[str], after: list[str]) -> Any:
        """Take one in; one that closes a cycle is refused, and the others stand as they stood."""
        self.numbers += 1
        options = hook_options(name=f"h{name}", priority=priority, before=before, after=after)
        hook = Hook(POINT, lambda context: None, options, sequence=self.numbers, plugin=plugin)
        hook.name = f"h{name}"
        try:
            self.lineup.add(hook)
        except HookOrderError:
            assert naive([*self.there, hook]) is None
            return None
        self.there.append(hook)
        return hook

    @rule(hook=consumes(hooks))
    def remove(self, hook: Any) -> None:
        """Take one out."""
        if hook is not None:
            self.lineup.remove(hook)
            self.there.remove(hook)

    @invariant()
    def the_order_is_that_of_a_naive_reading(self) -> None:
        assert [hook.sequence for hook in self.lineup] == naive(self.there)


TestOrder = OrderMachine.TestCase
