"""What a person is shown of a call, and how often what was allowed runs, whatever the call is made of."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import tool
from llmspell_hookspecs.approvals import Approval, Approvals
from llmspell_hookspecs.errors import LlmspellError, OperationCancelledError, StorageError
from llmspell_hookspecs.results import Cancel, Retry
from llmspell_hookspecs.secret import HiddenText
from llmspell_hookspecs.values import freeze
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.services.question import shown
from llmspell_plugins.services.state_value import encode
from llmspell_plugins.storage.memory import Memory

ASK = Cancel("somebody looks first", "approval_required")
SECRET = "hunter2-of-mine"


@tool
def login(user: str, password: str) -> str:
    """Log in.

    Args:
        user: Who.
        password: Of the user.
    """
    return f"{user} came with {len(password)} letters"


def ask(host: Host, match: str = "", name: str = "ask") -> None:
    host.hooks.register("before_tool_execution", lambda context: ASK, kind="guard", match=match, name=name)


async def statuses(host: Host) -> dict[str, str]:
    return {f"{each.hook} {each.address}": each.status for each in await host.get(Approvals).list()}


async def allow_all(host: Host) -> None:
    for question in await host.get(Approvals).list(status="pending"):
        await host.get(Approvals).allow(question.id)


async def test_an_answer_that_a_body_used_stays_used_when_it_is_tried_again() -> None:
    ran: list[str] = []

    async def act(parameters: dict[str, Any], context: Any) -> Any:
        ran.append("effect")
        raise LlmspellError("it failed after its effect")

    async with opened(make_tool("risky", act)) as host:
        for name in ("first", "second"):
            ask(host, "risky", name)
        host.hooks.register("tool_error", lambda context: Retry(0, 2), match="risky")
        while not ran:
            with pytest.raises(LlmspellError):
                await host.call("tool:risky", {"name": "a"})
            after = await statuses(host)
            await allow_all(host)

    assert ran == ["effect"]
    assert after == {"code.first tool:risky": "pending", "code.second tool:risky": "consumed"}


async def test_an_answer_is_not_given_back_because_a_call_within_the_body_waits() -> None:
    ran: list[str] = []
    hosts: list[Host] = []

    async def inner(parameters: dict[str, Any], context: Any) -> Any:
        return {"result": 1}

    async def outer(parameters: dict[str, Any], context: Any) -> Any:
        ran.append("effect")
        return {"result": (await hosts[0].call("tool:inner", {"name": "i"})).result}

    tools = make_tool("outer", outer, repeatable=False), make_tool("inner", inner, repeatable=False)
    async with opened(*tools) as host:
        hosts.append(host)
        ask(host, "*er")
        for _ in range(2):
            with pytest.raises(LlmspellError):
                await host.call("tool:outer", {"name": "a"})
            after = await statuses(host)
            await allow_all(host)
        with pytest.raises(LlmspellError):
            await host.call("tool:outer", {"name": "a"})

    assert after == {"code.ask tool:outer": "consumed", "code.ask tool:inner": "pending"}
    assert ran == ["effect"]


async def test_an_answer_is_given_back_where_another_guard_asks_before_the_body() -> None:
    ran: list[str] = []

    async def act(parameters: dict[str, Any], context: Any) -> Any:
        ran.append("effect")
        return {"result": 1}

    async with opened(make_tool("risky", act)) as host:
        host.hooks.register("tool_security_check", lambda context: ASK, kind="guard", match="risky", name="check")
        for name in ("first", "second"):
            ask(host, "risky", name)
        for _ in range(3):
            with pytest.raises(OperationCancelledError):
                await host.call("tool:risky", {"name": "a"})
            await allow_all(host)
        await host.call("tool:risky", {"name": "a"})

    assert ran == ["effect"]


@pytest.mark.parametrize(
    "value",
    ["\ud800", 2**80, -(2**80), "x" * 1_100_000, {1: 2}, {1, 2}, ["y" * 400_000] * 5, list(range(300_000))],
    ids=["half a letter", "large", "small", "long", "a number as a key", "a set", "long ones", "many"],
)
async def test_whatever_is_called_with_can_be_allowed_and_runs_as_it_was(value: Any) -> None:
    seen: list[Any] = []

    async def act(parameters: dict[str, Any], context: Any) -> Any:
        seen.append(parameters["n"])
        return {"result": 1}

    async with opened(make_tool("risky", act)) as host:
        ask(host, "risky")
        with pytest.raises(OperationCancelledError, match="approval allow"):
            await host.call("tool:risky", {"n": value})
        with pytest.raises(OperationCancelledError, match="approval allow"):
            await host.call("tool:risky", {"n": "another"})
        await allow_all(host)
        await host.call("tool:risky", {"n": value})

    assert seen == [value]


async def test_a_call_with_a_secret_is_shown_masked_and_runs_with_it() -> None:
    async with opened(login) as host:
        ask(host, "login")
        for password in (SECRET, "another"):
            with pytest.raises(OperationCancelledError, match="approval allow"):
                await host.call("tool:login", {"user": "u", "password": password})
        asked = await host.get(Approvals).list()
        await allow_all(host)
        result = await host.call("tool:login", {"user": "u", "password": SECRET})

    assert len({question.id for question in asked}) == 2
    assert asked[0].call["parameters"]["user"] == "u"
    assert SECRET not in repr(asked)
    assert result.result == f"u came with {len(SECRET)} letters"


async def test_a_durable_run_that_waits_has_a_question_also_for_a_call_with_a_secret() -> None:
    async with opened(login) as host:
        ask(host, "login")
        stage = {"name": "a", "tool": "login", "input": {"user": "u", "password": SECRET}}
        handle = await host.get(Workflows).create({"name": "w", "stages": [stage]})
        paused = await handle.run(durable=True, run_id="r")
        (question,) = await host.get(Approvals).list()
        await host.get(Approvals).allow(question.id)
        output = await host.get(Workflows).resume("r")

    assert (paused.status, output.status) == ("paused", "completed")
    assert (question.run_id, question.path) == ("r", "a")


class _Full(Memory):
    """A storage in which no question can be kept."""

    name: ClassVar[str] = "full"

    async def write(self, batch: Any, /, *, expect: Any = None) -> Any:
        if any(key.startswith("approval/") for key in batch):
            raise StorageError("the disk is full; make room")
        return await super().write(batch, expect=expect)


async def test_what_cannot_be_asked_is_denied_and_says_why_and_no_run_waits_for_it() -> None:
    async with opened(login, _Full, settings={"storage": {"backend": "full"}}) as host:
        ask(host, "login")
        with pytest.raises(OperationCancelledError, match=r"looks first; nobody can be asked.*disk is full") as refused:
            await host.call("tool:login", {"user": "u", "password": SECRET})
        stage = {"name": "a", "tool": "login", "input": {"user": "u", "password": "p"}}
        handle = await host.get(Workflows).create({"name": "w", "stages": [stage]})
        with pytest.raises(OperationCancelledError, match="disk is full"):
            await handle.run(durable=True, run_id="r")
        details = await host.get(Workflows).run_details("r")

    assert refused.value.code == "denied"
    assert details is not None
    assert details.info.status == "failed"


@pytest.mark.parametrize("odd", [b"", b"\xc1", encode("x", {"id": 1}, 99), encode("x", [1], 99)])
async def test_an_odd_entry_hides_no_other_and_is_asked_anew(odd: bytes) -> None:
    storage = Memory()
    async with opened(login, storage, settings={"storage": {"backend": "memory"}}) as host:
        ask(host, "login")
        for password in ("a", "b"):
            with pytest.raises(OperationCancelledError):
                await host.call("tool:login", {"user": "u", "password": password})
        first, second = await host.get(Approvals).list()
        await host.get(Approvals).deny(first.id)
        await storage.write({f"approval/{first.id}": odd})
        listed = await host.get(Approvals).list()
        with pytest.raises(StorageError, match=f"approval {first.id}: what is stored.*; let the call be asked again"):
            await host.get(Approvals).allow(first.id)
        with pytest.raises(OperationCancelledError, match=f"approval allow {first.id}"):
            await host.call("tool:login", {"user": "u", "password": "a"})
        again = await host.get(Approvals).get(first.id)

    assert [question.id for question in listed] == [second.id]
    assert isinstance(again, Approval)
    assert again.status == "pending"


class _Raises:
    def __repr__(self) -> str:
        raise RuntimeError("no text of it")


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=20)
    | st.builds(complex)
    | st.frozensets(st.integers(), max_size=3)
    | st.just(HiddenText("****", SECRET))
)
keys = st.sampled_from(["a", "password", "\ud800", 1, "1", None])
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


@given(values)
def test_what_is_shown_can_be_kept_and_shows_no_secret(value: Any) -> None:
    found = shown(freeze({"value": value, "password": SECRET}))

    encode("question", found, 1_000_000)
    assert SECRET not in repr(found)


@given(st.lists(st.integers(0, 300_000), max_size=8), st.integers(0, 150))
def test_of_what_is_large_the_rest_is_told_of(lengths: list[int], levels: int) -> None:
    deep: Any = "end"
    for _ in range(levels):
        deep = [deep]

    found = shown(freeze({"deep": deep, "texts": ["\U0001f600" * length for length in lengths], "last": 1}))

    encode("question", found, 1_000_000)
    assert "more" in repr(found) or (found["last"], len(found["texts"])) == (1, len(lengths))


def test_what_has_no_text_of_its_own_is_named() -> None:
    (found,) = shown((_Raises(),))

    assert "_Raises" in found
