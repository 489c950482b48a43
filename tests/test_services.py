"""Services and storages that plugins bring: found, constructed, opened, shared and closed by the host."""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

import pytest
import trio
from pydantic import BaseModel

from kernel import make_tool, opened, run
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Services, State, Storage, Tool, ToolContext
from llmspell_hookspecs.composites import sequential
from llmspell_hookspecs.errors import ComponentNotFoundError, PluginError, SecurityError, SettingsError, StorageError
from llmspell_hookspecs.groups import service_name
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.storage.memory import Memory

T = TypeVar("T")


@runtime_checkable
class WordList(Protocol):
    """A service of the tests' own."""

    async def words(self) -> list[str]:
        """Return words."""


class Words:
    """Implements `WordList`."""

    name: ClassVar[str] = "word_list"
    provides: ClassVar[type[Any]] = WordList

    class Settings(BaseModel):
        """What it takes."""

        words: list[str] = ["one"]

    made = 0
    closed: ClassVar[list[str]] = []

    def __init__(self, settings: Settings, services: Services) -> None:
        type(self).made += 1
        self._settings = settings
        self._services = services

    async def words(self) -> list[str]:
        """Return them, and keep how many they are."""
        await self._services.get(State).set("words", len(self._settings.words))
        return self._settings.words

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Use another service to the very end."""
        type(self).closed.append(f"{await self._services.get(State).get('words')} words")


def asking(protocol: type[Any], method: str) -> type[Tool[Any]]:
    """Return a tool that asks a service."""

    async def body(parameters: dict[str, Any], context: ToolContext) -> Any:
        return await getattr(await context.services.enter(protocol), method)()

    return make_tool("asks", body)


def asked(*plugins: Any, settings: Mapping[str, Any] | None = None, protocol: type[Any] = WordList) -> Any:
    """Open a host with these plugins and ask for the words, twice."""

    async def main() -> Any:
        async with opened(*plugins, asking(protocol, "words"), settings=settings) as host:
            first = (await host.call("tool:asks")).result
            assert (await host.call("tool:asks")).result == first
            return first

    return run(main)


# Services.


@pytest.mark.parametrize(
    ("name", "expected"),
    [("State", "state"), ("EventLog", "event_log"), ("HTTPCache", "httpcache"), ("V2Log", "v2_log")],
)
def test_a_services_entry_point_is_named_as_its_protocol(name: str, expected: str) -> None:
    assert service_name(type(name, (), {})) == expected


def test_a_service_is_made_once_when_first_asked_for_with_its_settings_and_closed_with_the_host() -> None:
    Words.made, before = 0, len(Words.closed)

    answer = asked(Words, settings={"plugins": {"word_list": {"words": ["two", "words"]}}})

    assert answer == ["two", "words"]
    assert Words.made == 1
    assert Words.closed[before:] == ["2 words"]


def test_a_service_that_nobody_asks_for_is_not_made() -> None:
    Words.made = 0

    async def main() -> None:
        async with opened(Words):
            pass

    run(main)

    assert Words.made == 0


def test_a_service_object_may_be_handed_over() -> None:
    class Settings(BaseModel):
        words: list[str] = ["mine"]

    async def main() -> Any:
        async with opened() as host:
            made = Words(Words.Settings(words=["mine"]), host._services)
            async with opened(made, asking(WordList, "words")) as other:
                return (await other.call("tool:asks")).result

    assert run(main) == ["mine"]


def test_a_service_that_nothing_brings_is_named() -> None:
    with pytest.raises(ComponentNotFoundError, match="service WordList: nothing offers it"):
        asked()


def test_a_service_that_cannot_be_constructed_is_named_and_the_host_goes_on() -> None:
    class Broken(Words):
        def __init__(self, settings: Any, services: Services) -> None:
            raise ValueError("no words today")

    async def main() -> None:
        async with opened(Broken, asking(WordList, "words")) as host:
            with pytest.raises(PluginError, match=r"plugin word_list.*no words today") as caught:
                await host.call("tool:asks")
            assert caught.value.plugin == "word_list"
            assert await host.state.get("anything") is None

    run(main)


def test_wrong_settings_of_a_service_name_the_key() -> None:
    with pytest.raises(PluginError, match=r"^plugins\.word_list\.words"):
        asked(Words, settings={"plugins": {"word_list": {"words": 3}}})


def test_a_service_that_keeps_another_protocol_of_the_same_name_is_not_handed_out() -> None:
    other = type("WordList", (Protocol,), {})

    with pytest.raises(PluginError, match="service word_list: it implements"):
        asked(Words, protocol=other)


def test_a_disabled_service_is_not_there() -> None:
    async def main() -> None:
        async with opened(settings={"plugins": {"disabled": ["state"]}}) as host:
            with pytest.raises(ComponentNotFoundError, match="service State: nothing offers it"):
                _ = host.state

    run(main)


async def test_without_the_services_of_the_box_that_a_host_asks_it_runs_and_says_what_is_missing() -> None:
    disabled = ["composites", "event_requests", "hook_switch", "plugin_switch", "processes"]
    told = r"^service \w+: nothing offers it; enable the service that does, or install one"

    async with opened(settings={"plugins": {"disabled": [f"services:{name}" for name in disabled]}}) as host:
        host.hooks.register("before_tool_execution", lambda context: None)
        with pytest.raises(ComponentNotFoundError, match=told):
            host.hooks.register("before_tool_execution", sequential(lambda context: None))
        with pytest.raises(ComponentNotFoundError, match=told):
            await host.events.request("who:is")
        with pytest.raises(ComponentNotFoundError, match=told):
            await host.call("tool:json_processor", {"operation": "query", "input": {"a": 1}, "query": ".a"})
        result = await host.call("tool:calculator", {"input": "2 + 2"})

        assert result.result["result"] == 4
        assert len(host.hooks.list("before_tool_execution")) == 1


# Storages.


class Tally(Memory):
    """A memory that counts how often it is opened and closed, and may fail or wait."""

    name = "tally"

    class Settings(BaseModel):
        """What it takes."""

        fail_first: bool = False

    log: ClassVar[list[str]] = []
    wait: ClassVar[trio.Event | None] = None

    def __init__(self, settings: Settings, services: Services | None = None) -> None:
        super().__init__()
        self._fail = settings.fail_first

    async def __aenter__(self) -> Self:
        if self.wait is not None:
            await self.wait.wait()
        if self._fail:
            self._fail = False
            raise StorageError("storage tally: not yet; try again")
        self.log.append("opened")
        return await super().__aenter__()

    async def close(self) -> None:
        self.log.append("closed")
        await super().close()


TALLY = {"storage": {"backend": "tally"}}


def test_a_storage_is_opened_once_for_all_who_ask_and_closed_after_the_host() -> None:
    Tally.log, Tally.wait = [], trio.Event()
    found: list[Storage] = []

    async def main() -> None:
        async with opened(Tally, settings=TALLY) as host:
            storages = host._services.get(Storages)

            async def ask(name: str) -> None:
                found.append(await storages.open(name))

            async with trio.open_nursery() as nursery:
                for name in ("", "tally", ""):
                    nursery.start_soon(ask, name)
                await trio.testing.wait_all_tasks_blocked()
                assert found == []
                Tally.wait.set()  # type: ignore[union-attr]
            host.hooks.register("system_shutdown", lambda context: Tally.log.append("shutdown"), kind="observe")
        with pytest.raises(StorageError, match="the host closes") as caught:
            await storages.open()
        assert caught.value.code == "closed"

    run(main)
    Tally.wait = None

    assert len({id(each) for each in found}) == 1
    assert Tally.log == ["opened", "shutdown", "closed"]


def test_a_storage_that_could_not_be_opened_is_tried_again() -> None:
    Tally.log = []

    async def main() -> None:
        async with opened(Tally, settings={"storage": {"backend": "tally", "tally": {"fail_first": True}}}) as host:
            with pytest.raises(StorageError, match="not yet"):
                await host.state.get("key")
            assert await host.state.set("key", 1) == 1

    run(main)

    assert Tally.log == ["opened", "closed"]


def test_a_cancelled_opening_leaves_the_storage_to_those_who_still_want_it_and_to_the_host() -> None:
    Tally.log, Tally.wait = [], trio.Event()

    async def main() -> None:
        async with opened(Tally, settings=TALLY) as host:
            with trio.move_on_after(0.01):
                await host.state.get("key")
            assert Tally.log == []
            Tally.wait.set()  # type: ignore[union-attr]
            assert await host.state.get("key") is None

    run(main)
    Tally.wait = None

    assert Tally.log == ["opened", "closed"]


@pytest.mark.parametrize("how", ["error", "cancelled"])
def test_a_host_that_ends_badly_closes_its_storages_after_those_who_use_them(how: str) -> None:
    Tally.log = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with opened(Tally, settings=TALLY) as host:

                async def last_words(event: Any) -> None:
                    try:
                        await trio.sleep_forever()
                    finally:
                        with trio.CancelScope(shield=True):
                            await host.state.set("last", "words")
                            Tally.log.append("written")

                await host.state.set("first", 1)
                host.events.on("go", last_words)
                host.events.publish_nowait("go")
                await trio.testing.wait_all_tasks_blocked()
                if how == "error":
                    raise LookupError("as it happens")
                scope.cancel()
                await trio.lowlevel.checkpoint()

    if how == "error":
        with pytest.raises(LookupError, match="as it happens"):
            run(main)
    else:
        run(main)

    assert Tally.log == ["opened", "written", "closed"]


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"backend": "sqlight"}, ComponentNotFoundError, r"storage 'sqlight': there is none; did you mean sqlite"),
        (
            {"sqlite": {"pth": "x"}},
            PluginError,
            r"^storage\.sqlite\.pth: there is none of this name; did you mean path\?; fix it",
        ),
        ({"sqlite": {"durability": "some"}}, PluginError, r"^storage\.sqlite\.durability: it should be one of"),
        ({"sqlite": {"path": "notes.txt"}}, StorageError, r"notes\.txt: file is not a database"),
        (
            {"backend": "memory", "memory": {"path": "x"}},
            PluginError,
            r"^storage\.memory\.path: there is none of this name",
        ),
    ],
)
def test_what_is_wrong_with_a_storage_is_one_line(
    tmp_path: Path, tables: dict[str, Any], error: type[Exception], message: str
) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, and no database; they are left as they are.\n" * 20)

    with pytest.raises(error, match=message) as caught:
        in_project(tmp_path, lambda host: host.state.get("key"), storage=tables)

    assert "\n" not in str(caught.value)
    assert (tmp_path / "notes.txt").read_text().startswith("These are notes")


def in_project(folder: Path, main: Callable[[Host], Awaitable[T]], **tables: Any) -> T:
    """Run with a host in a project's folder."""

    async def use() -> T:
        async with Host.open(load_settings(tables, environment={}, cwd=folder), discover=False) as host:
            return await main(host)

    return run(use)


def test_state_lies_in_a_folder_of_the_projects_that_is_the_owners_and_unknown_to_git(tmp_path: Path) -> None:
    in_project(tmp_path, lambda host: host.state.set("key", 1))

    folder = tmp_path / ".llmspell"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "state.db"]
    assert (folder / ".gitignore").read_text() == "*\n"


def test_nothing_is_made_before_state_is_used(tmp_path: Path) -> None:
    async def idle(host: Host) -> None:
        await host.run_source("return 1", "lua")

    in_project(tmp_path, idle)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["sqlite", "lmdb"])
def test_a_path_in_settings_is_relative_to_the_project(tmp_path: Path, backend: str) -> None:
    storage = {"backend": backend, backend: {"path": "kept/here"}}

    in_project(tmp_path, lambda host: host.state.set("key", 1), storage=storage)

    assert in_project(tmp_path, lambda host: host.state.get("key"), storage=storage) == 1
    assert (tmp_path / "kept" / "here").exists()
    assert not (tmp_path / ".llmspell").exists()


def test_a_linked_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / ".llmspell").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StorageError, match="it is a link; make it a folder"):
        in_project(tmp_path / "project", lambda host: host.state.set("key", 1))

    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("key", ["storage.backend", "storage.sqlite.path", "storage.sqlite.durability"])
def test_a_project_file_and_a_script_choose_nothing_about_storages(tmp_path: Path, key: str) -> None:
    *tables, last = key.split(".")
    (tmp_path / "llmspell.toml").write_text(f'[{".".join(tables)}]\n{last} = "normal"\n')

    with pytest.raises(SettingsError, match=f"{key} = 'normal' loosens policy"):
        load_settings({}, environment={}, cwd=tmp_path)

    (tmp_path / "llmspell.toml").unlink()
    with pytest.raises(SettingsError, match="loosens policy"):
        in_project(tmp_path, lambda host: host.settings.change(key, "normal", origin="script"))


@pytest.mark.parametrize(
    "path",
    [".llmspell/state.db", ".llmspell/.gitignore", "kept/state.db", "kept/state.db-wal", "kept/../kept/state.db-shm"],
)
@pytest.mark.parametrize("roots", [["."], [".", ".llmspell", "kept"]])
def test_no_script_and_no_tool_touches_what_a_storage_keeps(tmp_path: Path, path: str, roots: list[str]) -> None:
    rules = {"paths": {"read": roots, "write": roots}}
    storage = {"sqlite": {"path": "kept/state.db"}} if path.startswith("kept") else {}

    async def main(host: Host) -> None:
        await host.state.set("key", 1)
        for operation in ({"operation": "read"}, {"operation": "write", "input": "gone"}, {"operation": "delete"}):
            with pytest.raises(SecurityError, match="the files of llmspell itself"):
                await host.call("tool:file_operations", {"path": path, **operation})
        source = f"local file, why = io.open({path!r}, 'r') return file == nil and why or 'opened'"
        assert "the files of llmspell itself" in await host.run_source(source, "lua")
        assert await host.state.get("key") == 1

    in_project(tmp_path, main, security=rules, storage=storage)
