"""The conformance suite of component kinds: what the one path promises for every kind, tested on yours.

::

    class TestDeploy(KindConformance):
        plugins = (DeployKind, Folder)
        address = "deploy:Folder"
        before, after, error = "before_deploy", "after_deploy", "deploy_error"

        def given(self) -> Any:
            return {"version": "1.0"}

Needs pytest. Invariant: it knows a kind by the host, its address and its points only.
"""
# ruff: noqa: D102 - a test's name is a sentence

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import trio

from llmspell_hookspecs import (
    Cancel,
    HookContext,
    HookResult,
    InvalidInputError,
    OperationCancelledError,
    Redirect,
    Replace,
    Retry,
)
from llmspell_hookspecs.errors import (
    ComponentNotFoundError,
    DepthLimitError,
    OperationTimeoutError,
    PluginRequiredError,
)
from llmspell_hookspecs.values import freeze, restore

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from llmspell.host import Host

    from .host_runner import HostOpener

__all__ = ["KindConformance"]


class KindConformance:
    """The tests; subclass it under a name that pytest collects, and say what to call.

    Attributes:
        plugins: Handed to the host in code: the kind, and a component of it.
        address: A component that completes soon with what `given` returns, as often as it is called.
        before: The point before it.
        after: The point after it; empty for none.
        error: The point at its failure; empty for none.
        unknown: A name that no component has.
        slow: The address and input of one that waits for longer than a second; None if there is none.
    """

    plugins: ClassVar[Sequence[Any]] = ()
    address: ClassVar[str] = ""
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""
    error: ClassVar[str] = ""
    unknown: ClassVar[str] = "nobody_here"
    slow: ClassVar[tuple[str, Any] | None] = None

    def given(self) -> Any:
        """Return what the component is given."""
        return None

    def settings(self, folder: Path) -> Mapping[str, Any]:
        """Return the settings of the host; the folder is empty, and the test's own."""
        return {}

    def _open(self, opener: HostOpener, folder: Path, **more: Any) -> AbstractAsyncContextManager[Host]:
        return opener(plugins=self.plugins, settings={**self.settings(folder), **more})

    async def test_a_call_passes_the_points_around_it_in_order(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        seen: list[tuple[str, str, int]] = []

        def note(context: HookContext[Any]) -> None:
            seen.append((context.point, context.component.name, context.operation.attempt))

        async with self._open(llmspell_open, tmp_path) as host:
            for point in filter(None, (self.before, self.after, self.error)):
                host.hooks.register(point, note)
            await host.call(self.address, self.given())

        name = self.address.partition(":")[2]
        assert seen == [(point, name, 1) for point in (self.before, self.after) if point]

    async def test_what_hooks_are_shown_is_read_only_and_fits_the_points(
        self, llmspell_open: HostOpener, tmp_path: Path
    ) -> None:
        wrong: list[str] = []
        async with self._open(llmspell_open, tmp_path) as host:

            def look(context: HookContext[Any]) -> None:
                point = host.hooks.point(context.point)
                if not isinstance(context.subject, point.subject):
                    wrong.append(f"{point.name}: {type(context.subject).__name__}")
                if freeze(context.subject) != context.subject:
                    wrong.append(f"{point.name}: it can be changed")

            for point in filter(None, (self.before, self.after)):
                host.hooks.register(point, look)
            await host.call(self.address, self.given())

        assert wrong == []

    async def test_what_leaves_can_be_shown_and_comes_back_as_it_was(
        self, llmspell_open: HostOpener, tmp_path: Path
    ) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            result = await host.call(self.address, self.given())

        assert restore(freeze(result)) == result

    async def test_a_guard_stops_it_before_it_runs(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        late: list[str] = []
        async with self._open(llmspell_open, tmp_path) as host:
            host.hooks.register(self.before, lambda context: Cancel("no"), kind="guard")
            for point in filter(None, (self.after, self.error)):
                host.hooks.register(point, lambda context: late.append(context.point))
            with pytest.raises(OperationCancelledError, match="no"):
                await host.call(self.address, self.given())

        assert late == []

    async def test_a_hook_answers_in_its_place(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            result = await host.call(self.address, self.given())
            host.hooks.register(self.before, lambda context: Replace(result))
            assert await host.call(self.address, self.given()) == result

    async def test_a_hook_lets_it_begin_again(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        attempts: list[int] = []

        def again(context: HookContext[Any]) -> HookResult | None:
            attempts.append(context.operation.attempt)
            return Retry(max_attempts=2) if len(attempts) == 1 else None

        async with self._open(llmspell_open, tmp_path) as host:
            host.hooks.register(self.before, again)
            await host.call(self.address, self.given())

        assert attempts == [1, 2]

    async def test_a_redirect_that_leads_back_to_it_ends(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            host.hooks.register(self.before, lambda context: Redirect(self.address))
            with pytest.raises(DepthLimitError):
                await host.call(self.address, self.given())

    async def test_a_name_that_there_is_not_is_named(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        kind = self.address.partition(":")[0]
        async with self._open(llmspell_open, tmp_path) as host:
            with pytest.raises((ComponentNotFoundError, InvalidInputError), match="nobody_here"):
                await host.call(f"{kind}:{self.unknown}", self.given())

    async def test_nothing_runs_while_a_required_plugin_is_missing(
        self, llmspell_open: HostOpener, tmp_path: Path
    ) -> None:
        async with self._open(llmspell_open, tmp_path, plugins={"required": ["nobody_here"]}) as host:
            with pytest.raises(PluginRequiredError):
                await host.call(self.address, self.given())

    async def test_its_deadline_ends_it(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        if self.slow is None:
            pytest.skip("nothing of it waits")
        address, given = self.slow
        async with self._open(llmspell_open, tmp_path) as host:
            with pytest.raises(OperationTimeoutError):
                await host.call(address, given, deadline_s=0.05)

    async def test_its_callers_cancellation_ends_it_once(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        if self.slow is None or not self.error:
            pytest.skip("nothing of it waits, or nobody is told of it")
        address, given = self.slow
        ends: list[str] = []

        def note(context: HookContext[Any]) -> None:
            ends.append("" if context.outcome is None else context.outcome.status)

        async with self._open(llmspell_open, tmp_path) as host:
            host.hooks.register(self.error, note, kind="observe")
            with trio.move_on_after(0.05) as scope:
                await host.call(address, given)

        assert scope.cancelled_caught
        assert ends == ["cancelled"]
