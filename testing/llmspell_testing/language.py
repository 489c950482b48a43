"""The conformance suite of script languages: what a script may count on in any of them, tested on yours.

::

    class TestLua(LanguageConformance):
        language = "lua"
        sources = {"a number": "return 7", ...}

`WANTED` says which sources there must be, and what each does. Needs pytest.

Invariant: it knows a language by the host and these sources only.
"""
# ruff: noqa: D102 - a test's name is a sentence

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest
import trio

from llmspell_hookspecs import (
    Cancel,
    HookContext,
    InvalidInputError,
    LlmspellError,
    OperationCancelledError,
    ToolCall,
)
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.kind import Registries
from llmspell_hookspecs.script import ScriptRun, Scripts

from .loop import loop_steps

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from llmspell.host import Host

    from .host_runner import HostOpener
    from .output import ScriptOutput

__all__ = ["LanguageConformance"]

WANTED: Final[Mapping[str, str]] = {
    "a number": "its value is 7",
    "values": "its value is {list: [1, 2.5, 'three'], text: 'ü', yes: true, within: {deep: [{}]}}, but for the {}, of "
    "which a language may make a list",
    "nothing": "it has no value",
    "says hello": "it prints hello",
    "fails": "its second line raises an error that says torn",
    "is no program": "it cannot be parsed",
    "goes on for ever": "it never ends, and calls nothing",
    "takes memory": "it takes more and more memory, and never ends",
    "calls a tool": "its value is the result of the calculator for 2 + 2, a number",
    "a tool that fails": "it calls the calculator with nothing, catches the error, and its value is the error's text",
    "waits for a tool": "it calls the tool wait, which never ends",
    "denies": "its hook at before_tool_execution cancels with the reason mine, it calls the calculator, catches the "
    "error, and its value is the error's text",
    "changes": "its hook at before_tool_execution makes the input of the calculator 3 + 4, it calls that with 1 + 1, "
    "and its value is the result",
    "hears": "it subscribes to lab.*, publishes lab.test with {n: 5}, and its value is the n that it received",
    "keeps": "it sets the state k to {n: 1}, gets it, and its value is the n",
    "arguments": "its value is its first argument",
}


class LanguageConformance:
    """The tests; subclass it under a name that pytest collects, and give the sources.

    Attributes:
        plugins: Handed to the host in code: the language, unless it is built in.
        language: Its name.
        sources: One for each of `WANTED`.
        escapes: Sources that must reach nothing outside: each fails, or its value, or the first of its values, is
            nothing.
    """

    plugins: ClassVar[Sequence[Any]] = ()
    language: ClassVar[str] = ""
    sources: ClassVar[Mapping[str, str]] = {}
    escapes: ClassVar[Sequence[str]] = ()

    def _open(self, opener: HostOpener, *more: Any, **scripts: Any) -> AbstractAsyncContextManager[Host]:
        settings = {"scripts": scripts, "storage": {"backend": "memory"}}
        return opener(plugins=[*self.plugins, *more], settings=settings)

    async def _run(self, opener: HostOpener, what: str, *more: Any, **scripts: Any) -> Any:
        async with self._open(opener, *more, **scripts) as host:
            return await host.run_source(self.sources[what], self.language, name="tried", arguments=["first"])

    def test_there_is_a_source_for_each_of_what_is_asked(self) -> None:
        missing = [f"{what}: {does}" for what, does in WANTED.items() if what not in self.sources]
        assert missing == []

    @pytest.mark.parametrize(
        ("what", "value"),
        [
            ("a number", 7),
            ("nothing", None),
            ("calls a tool", 4),
            ("changes", 7),
            ("hears", 5),
            ("keeps", 1),
            ("arguments", "first"),
        ],
    )
    async def test_a_script_has_its_value(self, llmspell_open: HostOpener, what: str, value: Any) -> None:
        assert await self._run(llmspell_open, what) == value

    async def test_values_cross_as_they_are(self, llmspell_open: HostOpener) -> None:
        value = await self._run(llmspell_open, "values")

        assert value["within"]["deep"] in ([{}], [[]])
        assert {**value, "within": None} == {"list": [1, 2.5, "three"], "text": "ü", "yes": True, "within": None}
        assert value["yes"] is True

    async def test_what_it_prints_is_written(self, llmspell_open: HostOpener, llmspell_output: ScriptOutput) -> None:
        await self._run(llmspell_open, "says hello")

        assert llmspell_output.text.strip() == "hello"

    async def test_an_error_names_the_script_and_the_line(self, llmspell_open: HostOpener) -> None:
        with pytest.raises(ScriptError, match="torn") as caught:
            await self._run(llmspell_open, "fails")

        assert (caught.value.file, caught.value.line) == ("tried", 2)
        assert "\n" not in str(caught.value)

    async def test_what_is_no_program_is_one_line(self, llmspell_open: HostOpener) -> None:
        with pytest.raises(ScriptError, match="tried") as caught:
            await self._run(llmspell_open, "is no program")

        assert "\n" not in str(caught.value)

    async def test_a_script_that_goes_on_for_ever_ends_at_its_limit(self, llmspell_open: HostOpener) -> None:
        with pytest.raises(ScriptError) as caught:
            await self._run(llmspell_open, "goes on for ever", time_s=0.2)

        assert caught.value.code == "time_limit"

    async def test_a_script_that_takes_memory_ends_at_its_limit(self, llmspell_open: HostOpener) -> None:
        with pytest.raises(ScriptError) as caught:
            await self._run(llmspell_open, "takes memory", memory_bytes=8_000_000)

        assert caught.value.code == "memory_limit"

    @pytest.mark.parametrize("what", ["goes on for ever", "waits for a tool"])
    async def test_a_script_that_is_cancelled_ends_soon(self, llmspell_open: HostOpener, what: str) -> None:
        async with self._open(llmspell_open, waiting()) as host:
            with trio.fail_after(20), trio.move_on_after(0.2) as scope:
                await host.run_source(self.sources[what], self.language)

            assert scope.cancelled_caught
            assert await host.run_source(self.sources["a number"], self.language) == 7

    async def test_a_script_that_computes_lets_others_run(self, llmspell_open: HostOpener) -> None:
        ticks = 0
        async with self._open(llmspell_open) as host, trio.open_nursery() as nursery:
            nursery.start_soon(host.run_source, self.sources["goes on for ever"], self.language)
            with loop_steps():
                for _ in range(20):
                    await trio.sleep(0.01)
                    ticks += 1
            nursery.cancel_scope.cancel()

        assert ticks == 20

    async def test_hooks_of_others_stand_around_what_it_does(self, llmspell_open: HostOpener) -> None:
        seen: list[str] = []

        def deny(context: HookContext[ToolCall]) -> Cancel:
            seen.append(context.language)
            return Cancel("not here")

        async with self._open(llmspell_open) as host:
            host.hooks.register("before_tool_execution", deny, kind="guard")
            with pytest.raises(LlmspellError, match="not here"):
                await host.run_source(self.sources["calls a tool"], self.language)

        assert seen == [self.language]

    @pytest.mark.parametrize(("what", "told"), [("denies", "mine"), ("a tool that fails", "calculator")])
    async def test_it_catches_what_fails(self, llmspell_open: HostOpener, what: str, told: str) -> None:
        assert told in str(await self._run(llmspell_open, what))

    async def test_its_hooks_end_with_it(self, llmspell_open: HostOpener) -> None:
        async with self._open(llmspell_open) as host:
            await host.run_source(self.sources["denies"], self.language)
            assert [hook for hook in host.hooks.list() if hook.language == self.language] == []
            assert await host.run_source(self.sources["calls a tool"], self.language) == 4

    async def test_a_guard_at_scripts_stops_it(self, llmspell_open: HostOpener) -> None:
        async with self._open(llmspell_open) as host:
            host.hooks.register("before_script_run", lambda context: Cancel("no scripts"), kind="guard")
            with pytest.raises(OperationCancelledError, match="no scripts"):
                await host.run_source(self.sources["a number"], self.language)

    async def test_it_withholds_what_a_script_is_not_given_or_says_that_it_cannot(
        self, llmspell_open: HostOpener
    ) -> None:
        def bare(what: str) -> ScriptRun:
            return ScriptRun(self.sources[what], self.language, "tried", globals=())

        async with self._open(llmspell_open) as host:
            scripts = host.get(Scripts)
            if not hasattr(host.get(Registries).of("llmspell.languages").get(self.language), "acting"):
                with pytest.raises(InvalidInputError, match="can withhold no globals"):
                    await scripts.run_script(bare("a number"))
            else:
                assert await scripts.run_script(bare("a number")) == 7
                with pytest.raises(ScriptError):
                    await scripts.run_script(bare("calls a tool"))

    async def test_there_is_no_way_out(self, llmspell_open: HostOpener) -> None:
        reached = []
        async with self._open(llmspell_open) as host:
            for source in self.escapes:
                try:
                    value = await host.run_source(source, self.language)
                except LlmspellError:
                    continue
                if value is not None and not (isinstance(value, tuple | list) and value[:1] in ((None,), [None])):
                    reached.append((source, value))

        assert reached == []


def waiting() -> Any:
    """Return a tool that never ends."""
    from llmspell_hookspecs import tool

    @tool
    async def wait() -> None:
        """Wait."""
        await trio.sleep_forever()

    return wait
