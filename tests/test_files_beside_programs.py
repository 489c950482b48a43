"""file_operations and file-editor, each operation beside cat, stat, find, diff and others on the same files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from oracles import called, oracle

CONTENT = "one\ntwo ü\n\nthree\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files and a folder in it."""
    (folder := tmp_path / "tree").mkdir()
    (folder / "sub").mkdir()
    (folder / "a.txt").write_text(CONTENT)
    (folder / "sub" / "b.bin").write_bytes(bytes(range(256)))
    (folder / "sub" / "empty").touch()
    return folder


async def told(folder: Path, operation: str, /, **parameters: Any) -> Any:
    return (await called(folder, "file_operations", operation=operation, **parameters)).result


def shell(folder: Path, command: str, codes: tuple[int, ...] = (0,)) -> str:
    return oracle("sh", "-c", f"cd '{folder}' && {command}", codes=codes)


async def test_a_file_is_read_as_cat_reads_it(tree: Path) -> None:
    text = await told(tree, "read", path=str(tree / "a.txt"))
    data = await told(tree, "read", path=str(tree / "sub" / "b.bin"))

    assert text["input"] == shell(tree, "cat a.txt")
    assert base64.b64decode(data["input"]) == base64.b64decode(shell(tree, "base64 sub/b.bin"))


async def test_what_is_written_and_appended_is_what_cat_shows(tree: Path) -> None:
    await told(tree, "write", path=str(tree / "new.txt"), input=CONTENT)
    assert shell(tree, "cmp new.txt a.txt && cat new.txt") == CONTENT

    await told(tree, "append", path=str(tree / "new.txt"), input="more\n")
    shell(tree, "printf 'more\\n' >> a.txt")
    assert shell(tree, "cmp new.txt a.txt && tail -n 1 new.txt") == "more\n"


async def test_what_is_made_copied_moved_and_deleted_is_what_find_and_diff_see(tree: Path) -> None:
    await told(tree, "create_dir", path=str(tree / "made" / "deep"), recursive=True)
    assert shell(tree, "find made -type d") == "made\nmade/deep\n"

    await told(tree, "copy", source_path=str(tree / "sub"), target_path=str(tree / "copy"), recursive=True)
    assert shell(tree, "diff -r sub copy") == ""
    assert shell(tree, "stat -c %a sub/b.bin") == shell(tree, "stat -c %a copy/b.bin")

    before = shell(tree, "stat -c %i a.txt")
    await told(tree, "move", source_path=str(tree / "a.txt"), target_path=str(tree / "made" / "a.txt"))
    assert shell(tree, "stat -c %i made/a.txt") == before

    await told(tree, "delete", path=str(tree / "sub"), recursive=True)
    assert shell(tree, "find . | sort").split() == [
        ".",
        "./copy",
        "./copy/b.bin",
        "./copy/empty",
        "./made",
        "./made/a.txt",
        "./made/deep",
    ]


async def test_a_listing_is_that_of_find_and_what_is_told_that_of_stat(tree: Path) -> None:
    listed = await told(tree, "list_dir", path=str(tree), recursive=True)
    facts = await told(tree, "metadata", path=str(tree / "a.txt"))
    exists = [(await told(tree, "exists", path=str(tree / name)))["exists"] for name in ("a.txt", "sub", "nothing")]

    found = [line.split("|") for line in shell(tree, "find . -mindepth 1 -printf '%P|%y|%s\\n'").splitlines()]
    kinds = {"f": "file", "d": "directory"}
    expected = {path: (kinds[kind], int(size) if kind == "f" else None) for path, kind, size in found}
    got = {
        str(Path(each["path"]).relative_to(tree)): (each["type"], each["size"] if each["type"] == "file" else None)
        for each in listed["entries"]
    }
    assert got == expected
    assert facts["size"] == int(shell(tree, "stat -c %s a.txt"))
    assert exists == [
        shell(tree, f"test -e {name} && echo yes || echo no").strip() == "yes" for name in ("a.txt", "sub", "nothing")
    ]


async def test_edits_of_a_file_are_those_of_sed_and_their_undoing_is_seen_by_cmp(tree: Path) -> None:
    settings = {"security": {"paths": {"read": [str(tree)], "write": [str(tree)]}}}
    async with opened(settings=settings) as host:

        async def edit(operation: str, **given: Any) -> Any:
            return (
                await host.call("tool:file-editor", {"operation": operation, "path": str(tree / "e.txt"), **given})
            ).result

        await edit("create", new_text=CONTENT)
        assert shell(tree, "cmp e.txt a.txt && echo same") == "same\n"
        assert (await edit("view"))["content"] == shell(tree, "cat -n e.txt")

        await edit("str_replace", old_text="two ü", new_text="2")
        assert shell(tree, "cat e.txt") == shell(tree, "sed 's/two ü/2/' a.txt")
        await edit("insert", insert_line=1, new_text="next")
        assert shell(tree, "cat e.txt") == shell(tree, "sed -e 's/two ü/2/' -e '1a next' a.txt")

        await edit("undo")
        assert shell(tree, "cat e.txt") == shell(tree, "sed 's/two ü/2/' a.txt")
        await edit("undo")
        assert shell(tree, "cmp e.txt a.txt && echo same") == "same\n"


async def test_the_limits_of_a_watch_are_those_that_the_kernel_allows_or_less(tree: Path) -> None:
    told_by = (await called(tree, "file_watcher", operation="config")).result

    allowed = json.loads(oracle("cat", "/proc/sys/fs/inotify/max_user_watches"))
    assert 0 < told_by["max_folders"] <= allowed
