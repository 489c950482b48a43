"""A record of the points that fired, for assertions about what a plugin brought about.

Invariant: the recorder observes, so it changes nothing; it comes last, so it sees how each point ended. Points around a
body take no observers and are not recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from llmspell_hookspecs import HookContext, Phase, Priority, hookimpl
from llmspell_hookspecs.catalog import PointCatalog
from llmspell_hookspecs.context import ComponentRef, Outcome
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.topics import own_points

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["HookRecorder", "HookRow"]


class HookRow(Struct, frozen=True):
    """A point that fired.

    Attributes:
        point: Its name.
        component: What it fired for.
        subject: As the hooks left it.
        outcome: What was decided, or how the operation ended.
        request: At after and error points, the subject that ran.
    """

    point: str
    component: ComponentRef
    subject: Any
    outcome: Outcome | None
    request: Any


class HookRecorder:
    """A plugin that records every point of the contract from the host's start to its end.

    Attributes:
        rows: What fired, in order.
    """

    name = "recorded_hooks"

    def __init__(self) -> None:
        self.rows: list[HookRow] = []
        self._catalog = PointCatalog(own_points())

    def watch(self, host: Host, *points: str) -> None:
        """Record further points too: those that a plugin declares, and ``custom:`` ones."""
        for spelling in points:
            point = host.hooks.point(spelling)
            self._catalog.add(point)
            host.hooks.register(
                point.name, self.record, plugin=self.name, kind="observe", priority=Priority.LOWEST, name="watch"
            )

    def record(self, context: HookContext[Any]) -> None:
        """Take a row."""
        self.rows.append(HookRow(context.point, context.component, context.subject, context.outcome, context.request))

    def fired(self, point: str, *, component: str | None = None, status: str | None = None) -> list[HookRow]:
        """Return the rows of a point.

        Args:
            point: Any spelling of it.
            component: Only this component's, by name.
            status: Only those whose operation is ``running``, ``completed``, ``failed`` or ``cancelled``.

        Raises:
            HookRegistrationError: There is no such point.
        """
        name = self._name(point)
        return [
            row
            for row in self.rows
            if row.point == name
            and component in (None, row.component.name)
            and status in (None, (row.outcome or Outcome()).status)
        ]

    def assert_fired(
        self, point: str, *, component: str | None = None, status: str | None = None, times: int | None = None
    ) -> None:
        """Fail unless the point fired so often (at least once if ``times`` is left out; 0 for never)."""
        found = len(self.fired(point, component=component, status=status))
        wanted = found > 0 if times is None else found == times
        expected = "at least once" if times is None else f"{times} times"
        about = "".join(
            f", {word}={value!r}" for word, value in (("component", component), ("status", status)) if value
        )
        assert wanted, f"{self._name(point)}{about} fired {found} times, not {expected}; fired were: {self._told()}"

    def assert_order(self, points: Sequence[str]) -> None:
        """Fail unless these points fired one after the other; others may have fired between them."""
        fired = iter([row.point for row in self.rows])
        for point in points:
            name = self._name(point)
            assert name in fired, f"{name} did not fire where {list(points)} wants it; fired were: {self._told()}"

    def _name(self, spelling: str) -> str:
        return self._catalog.resolve(spelling)[0].name

    def _told(self) -> str:
        return ", ".join(f"{row.point}({row.component.name})" for row in self.rows) or "none"


def _observers(points: Iterable[HookPoint]) -> None:
    """Give the recorder a hook for each point."""
    for point in points:
        if point.phase is not Phase.AROUND:
            setattr(HookRecorder, f"record_{point.name}", _observer(point.name))


def _observer(point: str) -> Callable[[HookRecorder, HookContext[Any]], None]:
    @hookimpl(kind="observe", priority=Priority.LOWEST, specname=point, name="record")
    def record(self: HookRecorder, context: HookContext[Any]) -> None:
        self.record(context)

    return record


_observers(own_points())
