"""State through the host: values, places, versions, listings, and its hooks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import opened, run
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, Modified, OperationCancelledError, Replace, Retry
from llmspell_hookspecs.errors import ResourceLimitError, StorageError
from llmspell_hookspecs.state import StateConflict, StateRead, StateValue
from llmspell_plugins.services.state_address import address, canonical
from llmspell_plugins.services.state_value import decode, encode
from llmspell_plugins.storage.memory import Memory
from waiting import PATIENCE_S

T = TypeVar("T")
CHILD = str(Path(__file__).with_name("state_child.py"))
ATOMS = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False) | st.binary()
) | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


def with_state(main: Callable[[Host], Awaitable[T]], **options: Any) -> T:
    """Run with a host that keeps state in memory."""

    async def use() -> T:
        async with opened(**options) as host:
            return await main(host)

    return run(use)


def in_project(folder: Path, main: Callable[[Host], Awaitable[T]], **tables: Any) -> T:
    """Run with a host in a project's folder, whose state is on disk unless told otherwise."""

    async def use() -> T:
        async with Host.open(load_settings(tables, environment={}, cwd=folder), discover=False) as host:
            return await main(host)

    return run(use)


# Values.


@given(VALUES)
@settings(max_examples=200)
def test_what_is_written_comes_back_equal(value: Any) -> None:
    back = decode("state", encode("state", value, 1 << 20))

    assert back == value
    assert json.dumps(back, default=repr) == json.dumps(value, default=repr)  # True is not 1, and 1.0 is not 1


def test_values_outlive_the_host(tmp_path: Path) -> None:
    values = {"none": None, "nested": {"list": [1, 2.5, "é", {"deep": b"\x00\xff"}], "empty": {}}, "text": "", "no": 0}

    async def save(host: Host) -> None:
        for key, value in values.items():
            await host.state.set(key, value, scope="custom:kept")

    async def load(host: Host) -> Any:
        return {key: await host.state.get(key, scope="custom:kept") for key in await host.state.keys("custom:kept")}

    in_project(tmp_path, save)

    assert in_project(tmp_path, load) == values


def test_each_read_answers_a_value_of_its_own() -> None:
    async def main(host: Host) -> Any:
        given: dict[str, Any] = {"list": [1]}
        await host.state.set("key", given)
        given["list"].append(2)
        (await host.state.get("key"))["list"].append(3)
        return await host.state.get("key")

    assert with_state(main) == {"list": [1]}


def test_a_value_of_many_parts_is_kept_like_any_other() -> None:
    value = {"rows": [[number, f"{number}"] for number in range(20_000)]}

    async def main(host: Host) -> Any:
        await host.state.set("key", value)
        with pytest.raises(InvalidInputError, match="it has a object"):
            await host.state.set("other", [*range(20_000), object()])
        return await host.state.get("key")

    assert with_state(main) == value


def circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "it has a object"),
        ({1: "one"}, "it has the key 1, a int"),
        ({"deep": [{"set": {1}}]}, "it has a set"),
        (1 << 64, "more than 64 bits"),
        ("\ud800", "lone surrogate"),
        (circle(), "or holds itself"),
    ],
)
def test_what_would_not_come_back_equal_is_refused_in_one_line(value: Any, reason: str) -> None:
    async def main(host: Host) -> Any:
        with pytest.raises(InvalidInputError, match=reason) as caught:
            await host.state.set("key", value)
        assert "\n" not in str(caught.value)
        return await host.state.entry("key")

    assert with_state(main) == (None, 0)


def test_a_value_that_is_too_large_is_refused_and_a_setting_says_what_that_is() -> None:
    async def main(host: Host) -> None:
        await host.state.set("key", b"x" * 80)
        with pytest.raises(ResourceLimitError, match="keep at most 100 under one key") as caught:
            await host.state.set("key", b"x" * 200)
        assert (caught.value.resource, caught.value.limit) == ("state_bytes", 100)

    with_state(main, settings={"plugins": {"state": {"max_value_bytes": 100}}})


# Scopes and keys.


@pytest.mark.parametrize(
    "key", ["", "x" * 257, "a..b", "a\\b", "a//b", "a\0b", "a\nb", "a\rb", "__own", "$$own", "\ud800", "é" * 252]
)
def test_a_wrong_key_is_refused_in_one_line(key: str) -> None:
    for method in ("get", "entry", "delete"):
        with pytest.raises(InvalidInputError, match=r"^state key ") as caught:
            with_state(lambda host, method=method: getattr(host.state, method)(key))  # type: ignore[misc]
        assert caught.value.field == "key"
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["a", "x" * 256, "a.b/c", "a:b:c", " ", "日本", "_own", "a__b", "$x"])
@pytest.mark.parametrize("scope", ["global", "custom", "workflow", "user:a:b", "agent:x y", "hook:é", "my-scope_1.0"])
def test_what_was_saved_under_a_scope_and_key_is_found_there_and_nowhere_else(scope: str, key: str) -> None:
    async def main(host: Host) -> Any:
        await host.state.set(key, 1, scope=scope)
        return (
            await host.state.get(key, scope=scope),
            await host.state.keys(scope),
            await host.state.get(key, scope="x"),
        )

    assert with_state(main) == (1, [key], None)


@pytest.mark.parametrize(
    ("scope", "advice"),
    [
        ("sesion:1", "did you mean session:1"),
        ("global:1", "give a word, or user:<id>"),
        ("agent:", "give a word"),
        ("two words", "give a word"),
        ("", "give a word"),
        ("user:a\nb", "give a word"),
    ],
)
def test_a_wrong_scope_is_refused_with_a_hint(scope: str, advice: str) -> None:
    for call in (lambda host: host.state.get("key", scope=scope), lambda host: host.state.keys(scope)):
        with pytest.raises(InvalidInputError, match=advice) as caught:
            with_state(call)
        assert caught.value.field == "scope"


@given(
    *[st.sampled_from(["user:a", "user:a:b", "user:a:b:c", "user", "custom:a"])] * 2, *[st.text(":abé", min_size=1)] * 2
)
def test_no_two_places_share_a_storage_key(scope: str, other_scope: str, key: str, other_key: str) -> None:
    place, other = canonical(scope, key), canonical(other_scope, other_key)

    assert (address(*place) == address(*other)) == (place == other)


def test_a_key_is_the_same_however_it_is_composed_and_guards_see_the_composed_one() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"

    async def main(host: Host) -> Any:
        def guard(context: HookContext[StateRead]) -> Cancel | None:
            return Cancel("not that") if context.subject.key == composed else None

        await host.state.set(decomposed, 1)
        assert await host.state.get(composed) == 1
        host.hooks.register("before_state_read", guard, kind="guard")
        with pytest.raises(OperationCancelledError, match="not that"):
            await host.state.get(decomposed)
        host.hooks.register("before_state_read", lambda context: context.modify(key=decomposed))
        with pytest.raises(InvalidInputError, match="a hook changed it"):
            await host.state.get("other")

    with_state(main)


# Versions.


def test_versions_grow_over_deletions_and_a_write_that_expects_another_one_is_refused() -> None:
    seen: list[HookContext[StateConflict]] = []

    async def main(host: Host) -> None:
        host.hooks.register("state_conflict", seen.append, kind="observe")
        state = host.state
        first = await state.set("key", "a", expect=0)
        second = await state.set("key", "b", expect=first)
        assert 0 < first < second
        for stale in (0, first):
            with pytest.raises(StorageError, match=f"version {second} is there, not {stale}") as caught:
                await state.set("key", "lost", expect=stale)
            assert caught.value.code == "conflict"
        assert await state.entry("key") == ("b", second)
        assert await state.delete("key")
        assert await state.set("key", "c", expect=0) > second

    with_state(main)

    assert [(each.subject.expected, each.subject.version) for each in seen] == [(0, 2), (1, 2)]
    assert seen[0].component.name == "global"


@pytest.mark.parametrize("expect", [-1, True, 1.5, "1"])
def test_an_expected_version_is_a_whole_number(expect: Any) -> None:
    with pytest.raises(InvalidInputError, match="give a whole number from 0"):
        with_state(lambda host: host.state.set("key", 1, expect=expect))


@pytest.mark.parametrize("answer", [None, True, 7, {}, {"other": 1}, {"KEY": "new"}, {"KEY": 0}], ids=repr)
def test_a_storage_that_tells_no_new_version_is_named_in_one_line(answer: Any) -> None:
    class Forgetful(Memory):
        """Writes, and answers something else."""

        name = "forgetful"

        async def write(self, batch: Any, /, *, expect: Any = None) -> Any:
            written = await super().write(batch, expect=expect)
            assert written is not None
            place = next(iter(written))
            return {place: answer["KEY"]} if isinstance(answer, dict) and "KEY" in answer else answer

    async def main(host: Host) -> None:
        with pytest.raises(StorageError, match=r"storage forgetful: it wrote, and answered .*report it") as caught:
            await host.state.set("key", 1)
        assert "\n" not in str(caught.value)

    async def use() -> None:
        async with opened(Forgetful, settings={"storage": {"backend": "forgetful"}}) as host:
            await main(host)

    run(use)


def test_of_many_who_delete_at_once_one_is_told_that_it_did() -> None:
    told: list[bool] = []

    async def main(host: Host) -> None:
        await host.state.set("key", 1)

        async def delete() -> None:
            told.append(await host.state.delete("key"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(delete)

    with_state(main)

    assert sorted(told) == [False] * 9 + [True]


def test_tasks_that_compare_and_set_lose_no_update(tmp_path: Path) -> None:
    async def main(host: Host) -> Any:
        async def count() -> None:
            for _ in range(10):
                while True:
                    value, version = await host.state.entry("counter")
                    try:
                        await host.state.set("counter", (value or 0) + 1, expect=version)
                        break
                    except StorageError:
                        continue

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(count)
        return await host.state.get("counter")

    assert in_project(tmp_path, main) == 50


@pytest.mark.long
@pytest.mark.parametrize("backend", ["sqlite", "lmdb"])
def test_processes_that_count_through_state_lose_no_update(tmp_path: Path, backend: str) -> None:
    (tmp_path / "project").mkdir()
    command = [sys.executable, CHILD, str(tmp_path / "project"), backend, "150", "2"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    children = [subprocess.Popen(command, **pipes) for _ in range(2)]
    ended = [child.communicate(timeout=PATIENCE_S) for child in children]

    assert [child.returncode for child in children] == [0, 0], ended
    assert sum(int(out) for out, _ in ended) > 0, "the processes never met, so nothing was tried"
    settings = {"storage": {"backend": backend}}
    assert in_project(tmp_path / "project", lambda host: host.state.get("counter", scope="custom"), **settings) == 300


# Listings.


def test_keys_are_listed_in_order_by_prefix_and_up_to_a_limit() -> None:
    async def main(host: Host) -> Any:
        for key in ("b:2", "a", "b:1", "c"):
            await host.state.set(key, None, scope="agent:x")
        await host.state.set("b:3", None, scope="agent:xy")
        keys = host.state.keys
        return [
            await keys("agent:x"),
            await keys("agent:x", prefix="b:"),
            await keys("agent:x", limit=3),
            await keys("agent:x", limit=0),
            await keys("agents"),
        ]

    assert with_state(main) == [["a", "b:1", "b:2", "c"], ["b:1", "b:2"], ["a", "b:1", "b:2"], [], []]


def test_a_kind_with_id_and_key_in_the_key_is_the_same_place_as_the_scope_of_that_id() -> None:
    async def main(host: Host) -> Any:
        state = host.state
        await state.set("w1:step:a", 1, scope="workflow")
        await state.set("b", 2, scope="workflow:w1")
        await state.set("c", 3, scope="workflow:w2")
        await state.set("plain", 4, scope="workflow")
        return [
            await state.get("step:a", scope="workflow:w1"),
            await state.get("w1:b", scope="workflow"),
            await state.delete("w2:c", scope="workflow"),
            await state.get("c", scope="workflow:w2"),
            await state.keys("workflow"),
            await state.keys("workflow", prefix="w1:st"),
            await state.keys("workflow", prefix="w"),
            await state.keys("workflow", limit=1),
        ]

    assert with_state(main) == [
        1,
        2,
        True,
        None,
        ["plain", "w1:b", "w1:step:a"],
        ["w1:step:a"],
        ["w1:b", "w1:step:a"],
        ["plain"],
    ]


def test_a_guard_on_the_scope_of_an_id_withholds_its_keys_from_the_listing_of_its_kind() -> None:
    async def main(host: Host) -> Any:
        await host.state.set("a", 1, scope="tool:open")
        await host.state.set("b", 1, scope="tool:closed")
        host.hooks.register("BeforeStateRead", lambda context: Cancel("no"), kind="guard", match="tool:closed")
        return await host.state.keys("tool")

    assert with_state(main) == ["open:a"]


def test_a_listing_is_a_read_whose_key_is_empty_and_which_hooks_may_refuse_or_shorten() -> None:
    questions: list[StateRead] = []

    def shorten(context: HookContext[StateValue]) -> Modified:
        return Modified({"value": [key for key in context.subject.value if key != "secret"]})

    async def main(host: Host) -> None:
        await host.state.set("secret", 1)
        await host.state.set("open", 2)
        host.hooks.register("before_state_read", lambda context: questions.append(context.subject), kind="observe")
        handle = host.hooks.register("after_state_read", shorten)
        assert await host.state.keys(prefix="") == ["open"]
        handle.unregister()
        host.hooks.register("before_state_read", lambda context: Cancel("no listing"), kind="guard", match="glob*")
        with pytest.raises(OperationCancelledError, match=r"state:global: denied by .* no listing"):
            await host.state.keys()
        assert await host.state.keys("custom") == []

    with_state(main)

    assert questions[0] == StateRead("global", "", "", None)


# Hooks.


def test_what_is_answered_for_a_read_is_judged_under_the_key_that_was_asked_for() -> None:
    def replace(context: HookContext[StateRead]) -> Replace:
        return Replace({"value": "stolen", "key": "harmless", "scope": "custom"})

    def withhold(context: HookContext[StateValue]) -> Cancel | None:
        return Cancel("secret") if (context.subject.scope, context.subject.key) == ("global", "secret") else None

    async def main(host: Host) -> None:
        host.hooks.register("before_state_read", replace)
        host.hooks.register("after_state_read", withhold, kind="guard")
        assert await host.state.get("open") == "stolen"
        with pytest.raises(OperationCancelledError, match="secret"):
            await host.state.get("secret")

    with_state(main)


def test_a_write_that_expects_a_version_is_not_repeated_and_one_that_expects_none_is() -> None:
    attempts: list[int] = []

    def retry(context: HookContext[StateValue]) -> Retry | None:
        attempts.append(context.operation.attempt)
        return Retry(delay_s=0, max_attempts=2) if context.operation.attempt == 1 else None

    async def main(host: Host) -> None:
        host.hooks.register("after_state_write", retry)
        assert await host.state.set("key", 1, expect=0) == 1
        assert attempts == [1]
        attempts.clear()
        assert await host.state.set("key", 2) == 3
        assert attempts == [1, 2]

    with_state(main)


def test_hooks_get_read_only_values_and_what_they_change_is_what_is_kept() -> None:
    def mask(context: HookContext[Any]) -> Modified:
        with pytest.raises(TypeError):
            context.subject.value["token"] = "changed"
        return Modified({"value": {**context.subject.value, "token": "***"}})

    async def main(host: Host) -> Any:
        host.hooks.register("before_state_write", mask)
        await host.state.set("key", {"token": "abc", "list": [1, {"a": 2}]})
        return await host.state.get("key")

    assert with_state(main) == {"token": "***", "list": [1, {"a": 2}]}
