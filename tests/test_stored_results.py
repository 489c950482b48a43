"""Results that hooks ask to keep beyond their host: real SQLite, by a second host; and what never gets there."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import trio
from pydantic import BaseModel, SecretStr

from kernel import make_plugin, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Cancel, Message, ModelRequest, OperationCancelledError, Storage, ToolContext
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.services.result_store import StoredResults
from llmspell_plugins.storage.sqlite import SQLite
from scripted_model import ScriptedModel, says
from waiting import PATIENCE_S

NOW_S, DAY_S = 1.8e9, 86_400.0


class Counted:
    """A tool that counts its calls, and answers what it is told to."""

    def __init__(self, answer: Any = None, fails: bool = False) -> None:
        self.calls = 0
        self.answer = answer
        self.fails = fails
        self.tool = make_tool("counted", self.run)

    async def run(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        self.calls += 1
        if self.fails:
            raise OSError("it broke")
        return self.calls if self.answer is None else self.answer


@asynccontextmanager
async def storing(folder: Path, *plugins: Any, **rule: Any) -> AsyncIterator[Host]:
    """Open a host that keeps what `counted` answers in a database in this folder."""
    store = rule.pop("store", {})
    settings = {
        "storage": {"backend": "sqlite", "sqlite": {"path": str(folder / "kept.db")}},
        "plugins": {
            "caching": {"enabled": True, "rules": [{"match": "tool:counted", "persist": True, **rule}]},
            "result_store": store,
        },
    }
    async with opened(SQLite, StoredResults, *plugins, settings=settings) as host:
        yield host


async def answers(folder: Path, counted: Counted, *calls: dict[str, Any], plugins: Any = (), **rule: Any) -> list[Any]:
    """Return what a host of its own answers to these calls."""
    async with storing(folder, counted.tool, *plugins, **rule) as host:
        return [(await host.call("tool:counted", call)).result for call in calls]


async def written(folder: Path) -> bytes:
    """Return all that is stored, and under what, and look that something else could be."""
    async with opened(SQLite, settings={"storage": {"sqlite": {"path": str(folder / "kept.db")}}}) as host:
        storage = await host.get(Storages).open("sqlite")
        return b"".join([place.encode() + entry.value async for place, entry in storage.scan("result:")])


async def test_a_second_host_serves_what_the_first_one_kept(tmp_path: Path) -> None:
    counted, other = Counted(), Counted()

    first = await answers(tmp_path, counted, {"n": 1, "m": 2}, {"n": 2})
    second = await answers(tmp_path, other, {"m": 2, "n": 1}, {"n": 2}, {"n": 3})

    assert first == [1, 2]
    assert second == [1, 2, 1]
    assert (counted.calls, other.calls) == (2, 1)


async def test_what_no_rule_keeps_beyond_the_host_is_not_written(tmp_path: Path) -> None:
    await answers(tmp_path, Counted(), {}, persist=False)

    assert await written(tmp_path) == b""


async def test_time_goes_on_while_no_host_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    for later_s in (0.0, 50.0, 99.0, 101.0, 102.0, 202.0, -DAY_S):
        monkeypatch.setattr(time, "time", lambda later_s=later_s: NOW_S + later_s)
        counted = Counted(answer=f"at {later_s:g}")
        found += await answers(tmp_path, counted, {}, ttl_s=100)

    assert found == ["at 0", "at 0", "at 0", "at 101", "at 101", "at 202", "at 202"]


@pytest.mark.parametrize(("stale", "expected"), [(True, "old"), (False, None)])
async def test_what_is_old_is_served_on_an_error_only_if_the_rule_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: bool, expected: str | None
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW_S)
    await answers(tmp_path, Counted(answer="old"), {}, ttl_s=100)
    monkeypatch.setattr(time, "time", lambda: NOW_S + DAY_S)
    found = None

    async with storing(tmp_path, Counted(fails=True).tool, ttl_s=100, stale_on_error=stale) as host:
        with trio.CancelScope():
            try:
                found = (await host.call("tool:counted", {})).result
            except Exception as error:
                assert "it broke" in str(error)

    assert found == expected


async def test_what_a_guard_withholds_is_not_written_and_what_is_served_is_judged(tmp_path: Path) -> None:
    verdicts = iter([Cancel("not this one"), None, Cancel("nor this"), None])
    guard = make_plugin("policy", ("after_tool_execution", lambda _: next(verdicts), {"kind": "guard"}))
    counted, found = Counted(), []

    for _ in range(4):
        try:
            found += await answers(tmp_path, counted, {}, plugins=[guard])
        except OperationCancelledError:
            found.append("denied")

    assert found == ["denied", 2, "denied", 2]
    assert counted.calls == 2


@pytest.mark.parametrize(
    "answer",
    [
        {"api_key": "hunter2"},
        {"deep": [{"credentials": {"user": "x", "word": "hunter2"}}]},
        {"model": {"password": b"hunter2"}},
        SecretStr("hunter2"),
    ],
    ids=["a text", "what lies below", "bytes", "a type for secrets"],
)
async def test_a_value_that_holds_a_secret_stays_in_memory(tmp_path: Path, answer: Any) -> None:
    counted = Counted(answer)

    async with storing(tmp_path, counted.tool) as host:
        first = await host.call("tool:counted", {})
        assert (await host.call("tool:counted", {})).result == first.result

    assert counted.calls == 1
    assert await written(tmp_path) == b""


@pytest.mark.parametrize(
    "call",
    [{"api_key": "hunter2"}, {"url": "https://me:hunter2@example.org/"}, {"url": "http://example.org/?token=hunter2"}],
)
async def test_of_a_call_that_holds_a_secret_nothing_is_written(tmp_path: Path, call: dict[str, Any]) -> None:
    counted = Counted()

    assert await answers(tmp_path, counted, call, call) == [1, 1]
    assert await written(tmp_path) == b""


async def test_keys_tell_nothing_of_the_call(tmp_path: Path) -> None:
    await answers(tmp_path, Counted(answer="the answer"), {"question": "of what"})

    kept = await written(tmp_path)

    assert b"the answer" in kept
    assert b"question" not in kept and b"of what" not in kept and b"counted" not in kept


@pytest.mark.parametrize(
    "answer",
    [{"point": (1, 2)}, {"big": 1 << 70}, {1, 2}, {"lone": "\ud800"}, complex(1, 2)],
    ids=["a tuple", "a large number", "a set", "a lone surrogate", "a complex number"],
)
async def test_a_value_that_would_not_come_back_as_it_is_stays_in_memory(tmp_path: Path, answer: Any) -> None:
    counted, other = Counted(answer), Counted("another")

    assert await answers(tmp_path, counted, {}, {}) == [answer, answer]
    assert counted.calls == 1
    assert await answers(tmp_path, other, {}) == ["another"]


async def test_a_value_comes_back_equal_and_of_its_types(tmp_path: Path) -> None:
    answer: dict[str, Any] = {"list": [1, 2.0, None, True, "é", b"\x00\xff"], "empty": {}, "nested": [[{}, 2**64 - 1]]}

    await answers(tmp_path, Counted(answer), {})
    (found,) = await answers(tmp_path, Counted("another"), {})

    assert found == answer
    assert [type(item) for item in found["list"]] == [type(item) for item in answer["list"]]


async def test_a_models_answer_is_served_to_later_hosts(tmp_path: Path) -> None:
    first, second = ScriptedModel(says("once")), ScriptedModel(says("again"))
    texts = []

    for model in (first, second):
        async with storing(tmp_path, model, match="model:scripted/*", any_temperature=True) as host:
            request = ModelRequest("scripted/play", (Message("user", "say it"),))
            texts.append((await host.models.complete(request)).text)

    assert texts == ["once", "once"]
    assert not second.requests


async def test_many_who_ask_at_once_look_into_the_storage_once(tmp_path: Path) -> None:
    await answers(tmp_path, Counted(), {})
    counted, found, asked = Counted(), [], []

    class Watched(StoredResults):
        async def find(self, key: str, kind: type, /) -> Any:
            asked.append(key)
            return await super().find(key, kind)

    async def call(host: Host) -> None:
        found.append((await host.call("tool:counted", {})).result)

    settings = {
        "storage": {"backend": "sqlite", "sqlite": {"path": str(tmp_path / "kept.db")}},
        "plugins": {"caching": {"enabled": True, "rules": [{"match": "tool:counted", "persist": True}]}},
    }
    async with opened(SQLite, Watched, counted.tool, settings=settings) as host, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(call, host)

    assert found == [1] * 50
    assert (len(asked), counted.calls) == (1, 0)


class Broken:
    """A storage that opens and then does nothing that it should."""

    name: ClassVar[str] = "sqlite"
    hangs: ClassVar[bool] = False
    asked: ClassVar[int] = 0

    class Settings(BaseModel):
        """What it takes."""

        path: str = ""

    def __init__(self, settings: Settings, services: Any) -> None:
        type(self).asked = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def close(self) -> None:
        return None

    async def get(self, key: str, /) -> Any:
        if key.startswith("restore/"):  # whether it is being restored is no question of the store of results
            return None
        return await self.fail()

    async def write(self, batch: Any, /, *, expect: Any = None) -> Any:
        return await self.fail()

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[Any]:
        return _nothing()

    async def fail(self) -> Any:
        type(self).asked += 1
        if self.hangs:
            await trio.sleep_forever()
        raise OSError("the disk is gone")


async def _nothing() -> AsyncIterator[Any]:
    return
    yield


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
def test_a_storage_that_does_not_work_is_told_once_and_felt_as_a_miss(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "hangs", hangs)
    counted = Counted()
    settings = {
        "storage": {"backend": "sqlite"},
        "hooks": {"final_s": 5},
        "plugins": {"caching": {"enabled": True, "rules": [{"match": "tool:counted", "persist": True}]}},
    }

    async def main() -> tuple[list[Any], list[str]]:
        async with opened(Broken, StoredResults, counted.tool, settings=settings) as host:
            found = [(await host.call("tool:counted", {"n": n})).result for n in (1, 2, 1, 3)]
            return found, [str(problem) for problem in host.problems]

    found, (problem,) = run(main, virtual=True)

    assert found == [1, 2, 1, 3]
    assert Broken.asked == 1
    assert "store of results" in problem and ("5 s" if hangs else "the disk is gone") in problem


async def test_without_the_service_the_memory_serves_alone_and_that_is_told_once() -> None:
    counted = Counted()
    caching = {"enabled": True, "rules": [{"match": "tool:counted", "persist": True}]}
    settings = {"plugins": {"caching": caching, "disabled": ["result_store"]}}

    async with opened(counted.tool, settings=settings) as host:
        found = [(await host.call("tool:counted", {"n": n})).result for n in (1, 2, 1)]
        problems = [str(problem) for problem in host.problems]

    assert found == [1, 2, 1]
    assert len(problems) == 1 and "ResultStore" in problems[0]


async def test_bytes_that_are_none_of_ours_are_a_miss_and_are_written_anew(tmp_path: Path) -> None:
    await answers(tmp_path, Counted(answer="first"), {})
    async with opened(SQLite, settings={"storage": {"sqlite": {"path": str(tmp_path / "kept.db")}}}) as host:
        storage: Storage = await host.get(Storages).open("sqlite")
        (place,) = [place async for place, _ in storage.scan("result:")]
        await storage.write({place: os.urandom(50)})

    second = await answers(tmp_path, Counted(answer="second"), {})
    third = await answers(tmp_path, Counted(answer="third"), {})

    assert (second, third) == (["second"], ["second"])


async def test_what_expires_first_goes_first_when_there_is_too_much(tmp_path: Path) -> None:
    counted = Counted("x" * 1000)
    store = {"max_bytes": 65_536}
    async with storing(tmp_path, counted.tool, store=store) as host:
        for n in range(200):
            await host.call("tool:counted", {"n": n})

    async with storing(tmp_path, counted.tool, store=store) as host:
        storage = await host.get(Storages).open("sqlite")
        await host.call("tool:counted", {"n": 199})
        kept: Sequence[int] = range(200)
        with trio.fail_after(PATIENCE_S):
            while len(kept) > 64:
                await trio.sleep(0)
                kept = [len(entry.value) async for _, entry in storage.scan("result:")]
        calls = counted.calls
        await host.call("tool:counted", {"n": 0})

    assert len(kept) >= 50
    assert calls == 200
    assert counted.calls == 201
