"""What every tool must do, as a suite that the author of one inherits.

::

    class TestWeather(ToolConformance):
        plugins = [weather]
        name = "weather"

It calls the tool through a host: with its examples, and with values made by the schema of its parameters. Needs
hypothesis and pytest. Invariant: it knows a tool by its name, its schema and its examples only.
"""
# ruff: noqa: D102 - a test's name is a sentence

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import hypothesis
import pytest
import trio
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from llmspell_hookspecs import (
    Cancel,
    HookContext,
    LlmspellError,
    OperationCancelledError,
    SecurityLevel,
    ToolExample,
    ToolResult,
)
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.services import Tools
from llmspell_hookspecs.values import freeze

from .schema import values_of

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from llmspell.host import Host

    from .host_runner import HostOpener

__all__ = ["ToolConformance"]

_LONGEST = 500
_STEERS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BATCHES, _BATCH = 5, 8


class ToolConformance:
    """The tests; subclass it under a name that pytest collects, and say which tool.

    Attributes:
        plugins: Handed to the host in code; empty for a tool that an installed package brings.
        name: The tool's name.
    """

    plugins: ClassVar[Sequence[Any]] = ()
    name: ClassVar[str] = ""

    def settings(self, folder: Path) -> Mapping[str, Any]:
        """Return settings of the host on top of the suite's, such as a section of the tool's own."""
        return {}

    def _open(self, opener: HostOpener, folder: Path, **more: Any) -> AbstractAsyncContextManager[Host]:
        security = {
            "paths": {"read": [str(folder)], "write": [str(folder)]},
            "hosts": {"allowed": ["nowhere.invalid"]},
            **more,
        }
        given = {"security": security, "storage": {"backend": "memory"}, **self.settings(folder)}
        return opener(plugins=self.plugins, settings=given, discover=not self.plugins)

    async def test_it_tells_what_it_is(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            told = host.get(Tools).describe(self.name)
            found = {alias: host.get(Tools).canonical(alias) for alias in told["aliases"]}

        described = told["schema"].get("properties", {})
        assert told["description"]
        assert [name for name, field in described.items() if not field.get("description")] == []
        assert found == dict.fromkeys(told["aliases"], self.name)

    async def test_a_misspelt_parameter_is_refused_by_its_name(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            given = {**self._sound(host), "no_such_parameter": 1}
            with pytest.raises(LlmspellError) as caught:
                await host.call(f"tool:{self.name}", given)

        assert "no_such_parameter" in str(caught.value)

    async def test_its_examples_give_what_they_say(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            examples = [ToolExample(**each) for each in host.get(Tools).describe(self.name)["examples"]]
            runs = [each for each in examples if not each.needs]
            got = [(await host.call(f"tool:{self.name}", dict(each.parameters))) for each in runs]

        assert examples, f"tool {self.name} has no example; write a ToolExample"
        wrong = [
            (each.name, one.payload()) for each, one in zip(runs, got, strict=True) if not each.fits(one.payload())
        ]
        assert wrong == []
        assert [one.message for one in got if not one.success] == []

    async def test_what_hooks_are_shown_of_it_is_read_only(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        wrong: list[str] = []

        def look(context: HookContext[Any]) -> None:
            if freeze(context.subject) != context.subject:
                wrong.append(f"{context.point}: it can be changed")

        async with self._open(llmspell_open, tmp_path) as host:
            for point in ("before_tool_execution", "after_tool_execution", "tool_error"):
                host.hooks.register(point, look, kind="observe")
            await self._end(host, self._sound(host))

        assert wrong == []

    async def test_a_guard_stops_it_before_it_runs(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            host.hooks.register("before_tool_execution", lambda context: Cancel("not now"), kind="guard")
            with pytest.raises((OperationCancelledError, SecurityError)):
                await host.call(f"tool:{self.name}", self._sound(host))

    async def test_it_runs_at_its_level_and_at_none_below(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            level = SecurityLevel[host.get(Tools).describe(self.name)["level"].upper()]
            sound = self._sound(host)

        for highest in SecurityLevel:
            async with self._open(llmspell_open, tmp_path, level=highest.name.lower()) as host:
                error = await self._end(host, sound)
                refused = isinstance(error, SecurityError) and error.rule == "level"
                assert refused == (level > highest), f"at {highest.name}: {error}"

    async def test_a_deadline_ends_it(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            sound = self._sound(host)
            for deadline_s in (1e-6, 0.003):
                await self._end(host, sound, deadline_s=deadline_s)
            again = await self._end(host, sound)

        assert again is None or again.code not in ("internal", "process")

    async def test_a_cancellation_ends_it(self, llmspell_open: HostOpener, tmp_path: Path) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            sound = self._sound(host)
            for after_s in (0, 0.003):
                with trio.move_on_after(after_s):
                    await self._end(host, sound)
            again = await self._end(host, sound)

        assert again is None or again.code not in ("internal", "process")

    @hypothesis.settings(
        max_examples=_BATCHES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    @given(data=st.data())
    async def test_whatever_it_is_given_it_answers_or_refuses_in_one_line(
        self, llmspell_open: HostOpener, tmp_path: Path, data: st.DataObject
    ) -> None:
        async with self._open(llmspell_open, tmp_path) as host:
            schema = host.get(Tools).describe(self.name)["schema"]
            for parameters in data.draw(st.lists(values_of(schema), min_size=_BATCH, max_size=_BATCH)):
                error = await self._end(host, parameters, deadline_s=20)
                if error is None:
                    continue
                text = str(error)
                odd = {letter for letter in text if unicodedata.category(letter) in _STEERS}
                assert error.code != "internal", text
                assert 0 < len(text) <= _LONGEST, text
                assert not odd, ascii(text)

    def _sound(self, host: Host) -> dict[str, Any]:
        """The first example that needs nothing, or else the first."""
        told = host.get(Tools).describe(self.name)
        examples = sorted(told["examples"], key=lambda each: bool(each["needs"]))
        if not examples and told["schema"].get("required"):
            pytest.fail(f"tool {self.name} has no example to call it with; write a ToolExample", pytrace=False)
        return dict(examples[0]["parameters"]) if examples else {}

    async def _end(self, host: Host, parameters: Any, **options: Any) -> LlmspellError | None:
        """Call it, and return the error that it ended with; what is no error of the contract leaves."""
        try:
            result = await host.call(f"tool:{self.name}", parameters, **options)
        except LlmspellError as error:
            return error
        assert isinstance(result, ToolResult)
        return None
