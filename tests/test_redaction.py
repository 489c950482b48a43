"""A hook changes a failure: it stays one, and nothing of what it said is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel import Bench, make_tool, opened
from llmspell_hookspecs import Cancel, InvalidInputError, Modified, Replace, Retry, ToolError
from llmspell_hookspecs.errors import ProviderError, ScriptError, SecurityError

SECRET = "ann@example.org"
ERROR = "tool_error"


class Odd(Exception):
    """It takes two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one, two)
        self.one = one


ERRORS: list[Callable[[], Exception]] = [
    lambda: ToolError(f"no {SECRET}", code="none", details={"who": SECRET}),
    lambda: ProviderError(f"no {SECRET}", status=429),
    lambda: ScriptError(f"no {SECRET}", trace=SECRET),
    lambda: SecurityError(f"no {SECRET}", rule="path"),
    lambda: InvalidInputError(f"no {SECRET}", field="x"),
    lambda: ValueError(SECRET),
    lambda: KeyError(SECRET),
    lambda: OSError(2, "none", SECRET),
    lambda: UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "odd"),
    lambda: Odd(SECRET, SECRET),
    lambda: ExceptionGroup(SECRET, [ValueError(SECRET)]),
]


def reachable(error: BaseException) -> list[Any]:
    """Return all that leads on from an error."""
    seen: list[Any] = []
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop()
        if any(each is other for other in seen):
            continue
        seen.append(each)
        if isinstance(each, BaseException):
            waiting += [each.__cause__, each.__context__, *each.args, *vars(each).values()]
            waiting += [getattr(each, "__notes__", None)]
        elif isinstance(each, list | tuple):
            waiting += each
    return seen


@pytest.mark.parametrize("number", range(len(ERRORS)))
async def test_one_line_takes_a_text_out_of_an_error_of_any_class(number: int) -> None:
    async def body(*_: Any) -> None:
        try:
            raise RuntimeError(SECRET)
        except RuntimeError:
            error = ERRORS[number]()
            error.add_note(SECRET)
            raise error from LookupError(SECRET)

    told: list[Any] = []
    async with opened(make_tool("leaky", body)) as host:
        with pytest.raises(Exception) as plain:
            await host.call("tool:leaky")
        host.hooks.register(ERROR, lambda context: Modified({"message": "withheld"}))
        host.hooks.register(ERROR, lambda context: told.append(context.subject), priority="low")
        host.hooks.register(ERROR, lambda context: told.append(context.outcome.error), kind="observe")
        with pytest.raises(type(plain.value)) as failure:
            await host.call("tool:leaky")

    for error in (failure.value, *(each.error for each in told)):
        assert SECRET not in " ".join(map(repr, reachable(error)))
        assert "withheld" in str(error)
    assert all(each.message.startswith("withheld") for each in told) and len(told) == 2


@pytest.mark.parametrize("value", ["text", {"text": "new"}, 3, None, {"message": 3}])
async def test_a_change_that_is_no_failure_is_refused_and_points_to_replace(value: Any) -> None:
    bench = Bench()

    async def body(*_: Any) -> None:
        raise ToolError("broken")

    async with opened(*bench.plugins, make_tool("broken", body)) as host:
        host.hooks.register(ERROR, lambda context: Modified(value))
        with pytest.raises(InvalidInputError):
            await host.call("tool:broken")


async def test_a_changed_failure_may_still_be_denied_retried_or_replaced() -> None:
    async def body(*_: Any) -> None:
        raise ToolError(SECRET)

    for answer in (Cancel("no"), Retry(0, 2), Replace({"text": "recovered"})):
        async with opened(make_tool("leaky", body, repeatable=True)) as host:
            host.hooks.register(ERROR, lambda context: Modified({"message": "withheld"}))
            host.hooks.register(ERROR, lambda context, answer=answer: answer, priority="low")
            if isinstance(answer, Replace):
                assert (await host.call("tool:leaky")).text == "recovered"
            else:
                with pytest.raises(ToolError, match="withheld") as failure:
                    await host.call("tool:leaky")
                assert SECRET not in " ".join(map(repr, reachable(failure.value)))
