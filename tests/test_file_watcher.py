"""file_watcher: real changes of real files, held against inotifywait; and how changes of one file become one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import OperationTimeoutError, ResourceLimitError, SecurityError
from llmspell_plugins.tools.filesystem.changes import Change, Changes
from llmspell_plugins.tools.filesystem.file_watcher import FileWatcher
from tool_host import ask, settings_of
from waiting import until

LAST = "last.end"
"""A file whose change is told as the last; what came before it and was not told was left out."""


def watched() -> set[int]:
    """The numbers of the files that this process watches, as the kernel tells."""
    found: set[int] = set()
    for entry in os.listdir("/proc/self/fdinfo"):
        with suppress(OSError):
            for line in Path("/proc/self/fdinfo", entry).read_text().splitlines():
                if line.startswith("inotify "):
                    found.add(int(line.split("ino:")[1].split()[0], 16))
    return found


async def seen(
    folder: Path, act: Callable[[], object], settings: dict[str, Any] | None = None, /, **parameters: Any
) -> ToolResult:
    """What the tool tells of what is done while it watches; the folder is watched before it is done."""
    number = (Path(parameters["path"]) if "path" in parameters else folder).stat().st_ino
    if Path(parameters.get("path", folder)).is_file():
        number = Path(parameters["path"]).parent.stat().st_ino
    results: list[ToolResult] = []

    async def call() -> None:
        given = {"path": str(folder), "debounce_ms": 0, "timeout_seconds": 60, **parameters}
        results.append(await ask(FileWatcher, folder, settings or {}, **given))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.to_thread.run_sync(until, lambda: number in watched(), "the folder to be watched")
        await trio.to_thread.run_sync(act)
    return results[0]


def told(result: ToolResult, folder: Path) -> list[tuple[str, ...]]:
    def short(path: str) -> str:
        return path.removeprefix(f"{folder}/")

    return [
        (event["event_type"], *([short(event["old_path"])] if "old_path" in event else []), short(event["path"]))
        for event in result.result["events"]
    ]


async def test_what_happens_to_files_and_folders_is_told_in_its_order(tmp_path: Path) -> None:
    def act() -> None:
        (tmp_path / "a.txt").touch()
        (tmp_path / "a.txt").rename(tmp_path / "b.txt")
        (tmp_path / "b.txt").unlink()
        (tmp_path / "sub").mkdir()

    result = await seen(tmp_path, act, events=["created", "renamed", "deleted"], max_events=4)

    assert told(result, tmp_path) == [
        ("created", "a.txt"),
        ("renamed", "a.txt", "b.txt"),
        ("deleted", "b.txt"),
        ("created", "sub"),
    ]
    assert result.result["event_count"] == 4
    assert not result.result["timed_out"]
    assert [event["is_directory"] for event in result.result["events"]] == [False, False, False, True]


async def test_it_sees_what_inotifywait_sees(tmp_path: Path, tmp_path_factory: Any) -> None:
    if shutil.which("inotifywait") is None:
        pytest.skip("inotifywait is not installed; .ci/run installs it")
    (tmp_path / "sub").mkdir()
    names = {"CREATE": "created", "MODIFY": "modified", "DELETE": "deleted", "MOVED_FROM": "", "MOVED_TO": "renamed"}
    command = ["inotifywait", "-m", "-r", "-q", "--format", "%w%f %e", "-e", "create,modify,delete,move", str(tmp_path)]

    def act() -> None:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            until(lambda: inode in _watched_by(other.pid), "inotifywait to watch")
            (tmp_path / "sub" / "new.txt").write_text("one")
            (tmp_path / "sub" / "new.txt").rename(tmp_path / "moved.txt")
            (tmp_path / "moved.txt").unlink()
            (tmp_path / LAST).mkdir()
            for line in other.stdout:
                lines.append(line.strip())
                if LAST in line:
                    break
            other.send_signal(signal.SIGTERM)

    lines: list[str] = []
    inode = (tmp_path / "sub").stat().st_ino
    result = await seen(tmp_path, act, max_events=5)

    expected = []
    for line in lines:
        path, _, event = line.rpartition(" ")
        kind = names[event.split(",")[0]]
        if kind:
            expected.append((kind, path.removeprefix(f"{tmp_path}/")))
    assert [(one[0], one[-1]) for one in told(result, tmp_path)] == expected


def _watched_by(process: int) -> set[int]:
    found: set[int] = set()
    for entry in os.listdir(f"/proc/{process}/fdinfo"):
        for line in Path(f"/proc/{process}/fdinfo", entry).read_text().splitlines():
            if line.startswith("inotify "):
                found.add(int(line.split("ino:")[1].split()[0], 16))
    return found


async def test_folders_that_are_made_later_are_watched_too(tmp_path: Path) -> None:
    def act() -> None:
        (tmp_path / "one" / "two").mkdir(parents=True)
        (tmp_path / "one" / "two" / "deep.txt").write_text("x")

    result = await seen(tmp_path, act, pattern="*.txt", events=["created"], max_events=1)

    assert told(result, tmp_path) == [("created", "one/two/deep.txt")]


@pytest.mark.parametrize("debounce_ms", [0, 300])
async def test_many_nested_folders_made_at_once_are_all_watched(tmp_path: Path, debounce_ms: int) -> None:
    """One made within one just made is found twice by watchdog, whose warning of it would end its thread here."""
    names = [f"{number}/two/three/four/five/six/deep.txt" for number in range(200)]

    def act() -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text("x")

    result = await seen(
        tmp_path, act, pattern="*.txt", events=["created"], max_events=len(names), debounce_ms=debounce_ms
    )

    assert sorted(told(result, tmp_path)) == sorted(("created", name) for name in names)


async def test_what_is_made_again_is_told_again(tmp_path: Path) -> None:
    def act() -> None:
        (tmp_path / "a").touch()
        (tmp_path / "a").unlink()
        (tmp_path / "a").touch()
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "a").touch()
        (tmp_path / "b").rename(tmp_path / "a")
        (tmp_path / "b").touch()

    result = await seen(tmp_path, act, events=["created", "deleted", "renamed"], max_events=7)

    assert told(result, tmp_path) == [
        ("created", "a"),
        ("deleted", "a"),
        ("created", "a"),
        ("renamed", "a", "b"),
        ("created", "a"),
        ("renamed", "b", "a"),
        ("created", "b"),
    ]


async def test_only_the_folder_itself_is_watched_if_asked(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()

    def act() -> None:
        (tmp_path / "sub" / "inner.txt").write_text("x")
        (tmp_path / LAST).mkdir()

    result = await seen(tmp_path, act, recursive=False, max_events=1)

    assert told(result, tmp_path) == [("created", LAST)]


@pytest.mark.parametrize(("pattern", "wanted"), [("*.py", ["a.py", "sub/b.py"]), ("sub/*", ["sub/b.py", "sub/c.txt"])])
async def test_only_what_fits_the_pattern_is_told(tmp_path: Path, pattern: str, wanted: list[str]) -> None:
    (tmp_path / "sub").mkdir()

    def act() -> None:
        for name in ("a.py", "d.txt", "sub/b.py", "sub/c.txt"):
            (tmp_path / name).touch()

    result = await seen(tmp_path, act, pattern=pattern, events=["created"], max_events=2)

    assert told(result, tmp_path) == [("created", name) for name in wanted]


async def test_a_file_is_watched_also_when_another_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("old")

    def act() -> None:
        (tmp_path / "other").write_text("new")
        (tmp_path / "other").replace(tmp_path / "settings.toml")
        (tmp_path / "settings.toml").unlink()

    result = await seen(tmp_path, act, path=str(tmp_path / "settings.toml"), max_events=2)

    assert told(result, tmp_path) == [("created", "settings.toml"), ("deleted", "settings.toml")]


async def test_several_folders_are_watched_at_once(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    def act() -> None:
        until(lambda: second.stat().st_ino in watched(), "the second to be watched")
        (first / "a").mkdir()
        (second / "b").mkdir()

    result = await seen(tmp_path, act, path=str(first), input=[str(second)], max_events=2)

    assert sorted(told(result, tmp_path)) == [("created", "first/a"), ("created", "second/b")]
    assert result.result["paths"] == [str(first), str(second)]


async def test_changes_of_one_file_that_follow_closely_are_told_as_one(tmp_path: Path) -> None:
    def act() -> None:
        for number in range(20):
            (tmp_path / "a.txt").write_text(f"{number}" * 100)
        (tmp_path / "gone.txt").write_text("x")
        (tmp_path / "gone.txt").unlink()
        (tmp_path / "a.txt").rename(tmp_path / "b.txt")

    result = await seen(tmp_path, act, debounce_ms=3000, max_events=1)

    assert told(result, tmp_path) == [("created", "b.txt")]


async def test_when_time_is_up_what_was_seen_is_told(tmp_path: Path) -> None:
    result = await seen(
        tmp_path, (tmp_path / "a").mkdir, timeout_seconds=60, timeout_ms=4000, debounce_ms=60_000, max_events=9
    )

    assert told(result, tmp_path) == [("created", "a")]
    assert result.result["timed_out"]


async def test_what_may_not_be_read_is_as_if_it_had_not_happened(tmp_path: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (tmp_path / ".git").mkdir()

    def act() -> None:
        (tmp_path / ".hidden").write_text("x")
        (tmp_path / ".git" / "index").write_text("x")
        (tmp_path / "link").symlink_to(outside)
        (outside / "secret.txt").write_text("x")
        (tmp_path / "out").symlink_to("/etc/passwd")
        (tmp_path / "shown").touch()
        (tmp_path / "shown").rename(tmp_path / ".put away")
        (tmp_path / ".put away").rename(tmp_path / "back")
        (tmp_path / LAST).mkdir()

    result = await seen(tmp_path, act, events=["created", "deleted", "renamed"], max_events=4)

    assert told(result, tmp_path) == [
        ("created", "shown"),
        ("deleted", "shown"),
        ("created", "back"),
        ("created", LAST),
    ]


@pytest.mark.parametrize("field", ["path", "input"])
async def test_places_outside_are_refused(tmp_path: Path, field: str) -> None:
    given = {"path": "/etc"} if field == "path" else {"path": str(tmp_path), "input": ["/etc"]}

    with pytest.raises(SecurityError):
        await ask(FileWatcher, tmp_path, **given)


async def test_a_tool_that_is_cut_off_leaves_no_thread_and_no_watch(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with opened(FileWatcher, settings=settings_of(tmp_path)) as host, trio.open_nursery() as nursery:
        nursery.start_soon(host.call, "tool:file_watcher", {"path": str(tmp_path)})
        await trio.to_thread.run_sync(until, lambda: tmp_path.stat().st_ino in watched(), "the folder to be watched")
        nursery.cancel_scope.cancel()

    assert tmp_path.stat().st_ino not in watched()
    left = {thread.name for thread in set(threading.enumerate()) - before if "Inotify" in type(thread).__name__}
    assert left == set()


async def test_a_deadline_of_the_call_ends_it(tmp_path: Path) -> None:
    async with opened(FileWatcher, settings=settings_of(tmp_path)) as host:
        with pytest.raises(OperationTimeoutError):
            await host.call("tool:file_watcher", {"path": str(tmp_path)}, deadline_s=0.2)

    assert tmp_path.stat().st_ino not in watched()


async def test_a_storm_of_changes_is_counted_and_not_held(tmp_path: Path) -> None:
    def act() -> None:
        for number in range(400):
            (tmp_path / f"{number}").mkdir()

    result = await seen(
        tmp_path, act, {"max_waiting": 10}, debounce_ms=60_000, timeout_ms=6000, max_events=1000, recursive=False
    )

    assert result.result["event_count"] == 10
    assert result.result["left_out"] == 390


async def test_too_many_folders_are_refused(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()

    with pytest.raises(ResourceLimitError, match="more than 5 folders"):
        await ask(FileWatcher, tmp_path, {"max_folders": 5}, path=str(tmp_path))


async def test_the_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    result = await ask(FileWatcher, tmp_path, {"max_events": 7, "max_timeout_s": 2}, operation="config")

    assert (result.result["max_events"], result.result["max_timeout_seconds"]) == (7, 2.0)


async def test_what_is_not_there_or_not_named_is_told(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no such file") as caught:
        await ask(FileWatcher, tmp_path, path=str(tmp_path / "absent"))
    with pytest.raises(InvalidInputError, match="watch needs path"):
        await ask(FileWatcher, tmp_path, operation="watch")

    assert caught.value.code == "not_found"


async def test_the_first_of_input_is_the_path_if_there_is_no_other(tmp_path: Path) -> None:
    result = await ask(FileWatcher, tmp_path, input=[str(tmp_path)], timeout_ms=1)

    assert result.result["paths"] == [str(tmp_path)]
    assert result.result["events"] == []


def joined(*changes: Change) -> list[tuple[str, str, str]]:
    held = Changes(1.0)
    for number, change in enumerate(changes):
        held.add(change, number * 0.5)
    return [(each.kind, each.old_path, each.path) for each in held.take(float("inf"))]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([("created", "a"), ("modified", "a")], [("created", "", "a")]),
        ([("created", "a"), ("deleted", "a")], []),
        ([("modified", "a"), ("deleted", "a")], [("deleted", "", "a")]),
        ([("deleted", "a"), ("created", "a")], [("modified", "", "a")]),
        ([("modified", "a"), ("renamed", "b", "a")], [("renamed", "a", "b")]),
        ([("renamed", "b", "a"), ("renamed", "c", "b")], [("renamed", "a", "b"), ("renamed", "b", "c")]),
        ([("renamed", "b", "a"), ("deleted", "b")], [("renamed", "a", "b"), ("deleted", "", "b")]),
        ([("renamed", "b", "a"), ("modified", "b")], [("renamed", "a", "b")]),
        ([("created", "t"), ("renamed", "a", "t")], [("created", "", "a")]),
    ],
)
def test_two_changes_of_one_file_are_told_as_what_they_are_together(
    changes: list[tuple[str, ...]], told: list[tuple[str, str, str]]
) -> None:
    made = [Change(kind, path, old) for kind, path, old in ((*change, "")[:3] for change in changes)]
    assert joined(*made) == told


def test_a_change_waits_until_its_file_is_quiet() -> None:
    held = Changes(1.0)
    held.add(Change("created", "a"), 0.0)
    held.add(Change("created", "b"), 0.5)
    held.add(Change("modified", "a"), 0.9)

    taken = [[each.path for each in held.take(now_s)] for now_s in (1.4, 1.5, 1.8, 1.9)]

    assert taken == [[], ["b"], [], ["a"]]
    assert held.due_s() == float("inf")


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "delete", "rename"]), st.sampled_from("abc"), st.sampled_from("abc"))
)


@given(present=st.sets(st.sampled_from("abc")), steps=STEPS)
def test_what_is_told_makes_of_the_folder_what_it_became(present: set[str], steps: list[tuple[str, str, str]]) -> None:
    held, there = Changes(1.0), set(present)
    for kind, name, other in steps:
        if kind == "write":
            held.add(Change("modified" if name in there else "created", name), 0.0)
            there.add(name)
        elif name in there and kind == "delete":
            held.add(Change("deleted", name), 0.0)
            there.remove(name)
        elif name in there and name != other:
            held.add(Change("renamed", other, name), 0.0)
            there = (there - {name}) | {other}

    replayed = set(present)
    for change in held.take(float("inf")):
        replayed -= {change.old_path} if change.kind == "renamed" else {change.path}
        replayed |= set() if change.kind == "deleted" else {change.path}
    assert replayed == there
