"""Whole scopes copied, moved and cleared; writes that happen together; values that are only kept in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kernel import opened, run
from llmspell import Host
from llmspell.cli.main import main
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, OperationCancelledError
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.state import StateWrite
from llmspell_hookspecs.state_scopes import StateScopes
from llmspell_hookspecs.storage import Storages
from llmspell_testing.isolation import TemporarySettings, isolate

SCOPES = st.sampled_from(["custom:a", "custom:b", "agent:x"])


async def held(host: Host, scope: str) -> dict[str, Any]:
    """Return what a scope holds."""
    return {key: await host.state.get(key, scope=scope) for key in await host.state.keys(scope)}


async def test_a_scope_is_copied_moved_and_cleared() -> None:
    async with opened() as host:
        scopes = host.get(StateScopes)
        for number in range(250):
            await host.state.set(f"k{number}", number, scope="custom:a")
        await host.state.set("k1", "there", scope="custom:b")
        all_of_it = await held(host, "custom:a")

        copied = await scopes.copy("custom:a", "custom:b", overwrite=False)
        after_copy = await held(host, "custom:b")
        moved = await scopes.move("custom:a", "custom:c")
        cleared = await scopes.clear("custom:b")

        assert (copied.items, copied.kept, moved.items, cleared.items) == (249, 1, 250, 250)
        assert after_copy == {**all_of_it, "k1": "there"}
        assert await held(host, "custom:c") == all_of_it
        assert await held(host, "custom:a") == await held(host, "custom:b") == {}
        storage = await host.get(Storages).open()
        assert [key async for key, _ in storage.scan("state-scope/")] == []


async def test_copying_writes_nothing_to_what_is_copied() -> None:
    async with opened() as host:
        await host.state.set("k", 1, scope="custom:a")

        await host.get(StateScopes).copy("custom:a", "custom:b")

        assert await host.state.entry("k", scope="custom:a") == (1, 1)


@pytest.mark.parametrize(("source", "target"), [("custom:a", "custom:a"), ("agnet:x", "custom"), ("custom:a", "")])
async def test_a_scope_that_is_none_or_the_same_is_refused(source: str, target: str) -> None:
    async with opened() as host:
        with pytest.raises(InvalidInputError):
            await host.get(StateScopes).copy(source, target)


async def test_hooks_see_each_value_and_what_one_refuses_stays_until_it_goes_on() -> None:
    refused: list[str] = []

    def refuse(context: HookContext[StateWrite]) -> Cancel | None:
        if context.subject.key == "k150" and not refused:
            refused.append(context.subject.key)
            return Cancel("not this one")
        return None

    async with opened() as host:
        scopes = host.get(StateScopes)
        for number in range(100, 300):
            await host.state.set(f"k{number}", number, scope="custom:a")
        await host.state.set("k000", 0, scope="custom:a")
        host.hooks.register("before_state_write", refuse, kind="guard", match="custom:b")

        with pytest.raises(OperationCancelledError, match="not this one"):
            await scopes.copy("custom:a", "custom:b")
        nothing = await held(host, "custom:b")
        again = await scopes.copy("custom:a", "custom:b")

        assert nothing == {}
        assert (again.items, again.resumed) == (201, False)


async def test_a_copy_that_was_broken_off_goes_on_behind_its_last_row() -> None:
    calls: list[str] = []

    def refuse(context: HookContext[StateWrite]) -> Cancel | None:
        calls.append(context.subject.key)
        return Cancel("no") if context.subject.key == "k250" and calls.count("k250") == 1 else None

    async with opened() as host:
        for number in range(100, 300):
            await host.state.set(f"k{number}", number, scope="custom:a")
        host.hooks.register("before_state_write", refuse, kind="guard", match="custom:b")
        with pytest.raises(OperationCancelledError):
            await host.get(StateScopes).copy("custom:a", "custom:b")

        again = await host.get(StateScopes).copy("custom:a", "custom:b")

        assert (again.items, again.resumed) == (100, True)
        assert calls.count("k100") == 1
        assert await held(host, "custom:b") == await held(host, "custom:a")


CHANGES = st.lists(
    st.tuples(st.just("set"), SCOPES, st.sampled_from("abc"), st.integers(0, 9))
    | st.tuples(st.sampled_from(["copy", "move"]), SCOPES, SCOPES, st.booleans())
    | st.tuples(st.just("clear"), SCOPES, st.none(), st.none()),
    max_size=12,
)


@hypothesis_settings(max_examples=40, deadline=None)
@given(CHANGES)
def test_any_row_of_changes_ends_as_with_dicts(changes: list[tuple[str, str, Any, Any]]) -> None:
    async def use() -> None:
        plain: dict[str, dict[str, Any]] = {"custom:a": {}, "custom:b": {}, "agent:x": {}}
        async with opened() as host:
            scopes = host.get(StateScopes)
            for verb, source, target, more in changes:
                if verb == "set":
                    await host.state.set(target, more, scope=source)
                    plain[source][target] = more
                elif verb == "clear":
                    await scopes.clear(source)
                    plain[source].clear()
                elif source != target:
                    await getattr(scopes, verb)(source, target, overwrite=more)
                    taken = {key: value for key, value in plain[source].items() if more or key not in plain[target]}
                    plain[target].update(taken)
                    if verb == "move":
                        plain[source] = {key: value for key, value in plain[source].items() if key not in taken}
            assert {scope: await held(host, scope) for scope in plain} == plain

    run(use)


async def test_what_is_written_in_a_transaction_is_there_at_its_end_or_not_at_all() -> None:
    async with opened() as host:
        scopes = host.get(StateScopes)
        await host.state.set("a", 1)
        with pytest.raises(ZeroDivisionError):
            async with scopes.transaction():
                await host.state.set("a", 2)
                raise ZeroDivisionError
        unchanged = await host.state.get("a")

        async with scopes.transaction():
            await host.state.set("a", 3)
            await host.state.set("b", 3)
            within = await host.state.get("b")

        assert (unchanged, within) == (1, 3)
        assert (await host.state.get("a"), await host.state.get("b")) == (3, 3)


async def test_a_transaction_whose_versions_are_gone_writes_nothing() -> None:
    async with opened() as host:
        _, version = await host.state.entry("a")
        storage = await host.get(Storages).open()

        with pytest.raises(StorageError) as caught:
            async with host.get(StateScopes).transaction():
                await host.state.set("a", 1, expect=version)
                await host.state.set("b", 1)
                await storage.write({"state:global\na": b"\x05"})

        assert caught.value.code == "conflict"
        assert (await host.state.get("a"), await host.state.get("b")) == (5, None)


async def test_ephemeral_scopes_are_kept_in_memory_only(tmp_path: Path) -> None:
    tables = {"plugins": {"disabled": ["model_retry"], "state": {"ephemeral": ["custom:tmp*"]}}}
    settings = load_settings(tables, environment={}, cwd=tmp_path)
    async with Host.open(settings, discover=False) as host:
        await host.state.set("k", "secret", scope="custom:tmp")
        await host.state.set("k", "kept", scope="custom:else")
        await host.state.set("gone", 1, scope="custom:tmp")
        await host.state.delete("gone", scope="custom:tmp")
        within = await held(host, "custom:tmp")
        await host.get(StateScopes).copy("custom:tmp", "custom:copy")
        copied = await held(host, "custom:copy")
    async with Host.open(settings, discover=False) as host:
        after = await held(host, "custom:tmp")

        assert (within, copied, after) == ({"k": "secret"}, {"k": "secret"}, {})
        assert await held(host, "custom:else") == {"k": "kept"}


async def test_a_sensitive_value_is_not_written_to_a_storage_that_is_not_encrypted() -> None:
    tables = {"plugins": {"disabled": ["model_retry"], "state": {"sensitive": ["user:*"]}}}
    async with opened(settings=tables) as host:
        with pytest.raises(StorageError, match="it is sensitive, and the storage is not encrypted"):
            await host.state.set("k", 1, scope="user:ada")
        await host.state.set("k", 1, scope="custom:else")

        assert await host.state.get("k", scope="user:ada") is None


async def test_scripts_do_it_too() -> None:
    source = """
    State.save("custom:a", "k", 1); State.save("custom:a", "l", 2)
    return {State.copy_scope("custom:a", "custom:b"), State.move_scope("custom:a", "custom:c"),
            State.clearScope("custom:b"), State.load("custom:c", "l"), #State.list_keys("custom:a")}
    """
    async with opened() as host:
        assert await host.run_source(source, "lua") == [2, 2, 2, 2, 0]


def test_people_do_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    places: TemporarySettings = isolate(tmp_path, monkeypatch)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(ended.value.code or 0), *capfd.readouterr()

    call("state", "set", "a=1", "b=2", "--scope", "custom:x")

    assert places
    assert call("state", "copy", "custom:x", "custom:y") == (0, "2 values of custom:x to custom:y copied\n", "")
    assert json.loads(call("state", "move", "custom:x", "custom:y", "--keep", "--output", "json")[1])["kept"] == 2
    code, _, err = call("state", "clear", "custom:y")
    assert (code, "nothing is deleted; say --yes" in err) == (1, True)
    assert call("state", "clear", "custom:y", "--yes") == (0, "2 values of custom:y deleted\n", "")
