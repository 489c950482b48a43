"""diff_calculator: held against diff, patch and jsonpatch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import opened
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import OperationTimeoutError, ResourceLimitError, SecurityError
from llmspell_plugins.tools.utility.diff_calculator import DiffCalculator
from llmspell_plugins.tools.utility.differences import apply_patch, difference
from tool_caller import call
from tool_host import ask, oracle, settings_of

OLD = "one\ntwo\nthree\n" + "same\n" * 20 + "four\nfive"
NEW = "one\n2\nthree\n" + "same\n" * 20 + "four\nfive\nsix\n"
LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "- x\n", "+ y\n", "\\ z\n", "@@ -1 +1 @@\n"]), max_size=9)
TEXTS = st.builds(lambda lines, last: "".join(lines) + last, LINES, st.sampled_from(["", "end", "a"]))


@pytest.mark.parametrize(("form", "flag"), [("unified", "-u"), ("context", "-c")])
def test_a_difference_is_what_patch_makes_the_new_text_of(tmp_path: Path, form: str, flag: str) -> None:
    (tmp_path / "old").write_text(OLD)

    result = call(DiffCalculator, old_text=OLD, new_text=NEW, format=form).result
    oracle("patch", flag, "old", given=result["diff"], folder=tmp_path)

    assert (tmp_path / "old").read_text() == NEW
    assert result["type"] == "text"
    assert result["stats"] == {"old_lines": 25, "new_lines": 26, "added": 3, "removed": 2}


def test_the_hunks_of_a_small_change_are_those_of_diff(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(OLD)
    (tmp_path / "new").write_text(NEW)
    told = oracle("diff", "-u", "old", "new", folder=tmp_path, ok=(1,)).decode()

    result = call(DiffCalculator, old_text=OLD, new_text=NEW).result

    assert result["diff"].splitlines()[2:] == told.splitlines()[2:]


def test_a_patch_of_diff_is_applied(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(OLD)
    (tmp_path / "new").write_text(NEW)
    patch = oracle("diff", "-u", "old", "new", folder=tmp_path, ok=(1,)).decode()

    result = call(DiffCalculator, operation="apply", old_text=OLD, patch=patch).result

    assert result == {"text": NEW, "hunks": 2}


@given(TEXTS, TEXTS, st.integers(0, 4))
def test_every_difference_leads_from_one_text_to_the_other(old: str, new: str, around: int) -> None:
    diff, stats = difference(old, new, "unified", around)

    if old == new:
        assert (diff, stats["added"], stats["removed"]) == ("", 0, 0)
    else:
        assert apply_patch(old, diff)[0] == new


def test_inline_shows_all_lines_and_simple_only_the_changes() -> None:
    inline = call(DiffCalculator, old_text="a\nb\n", new_text="a\nc\n", format="inline").result["diff"]
    simple = call(DiffCalculator, old_text="a\nb\n", new_text="a\nc\n", format="simple").result["diff"]

    assert inline == "  a\n- b\n+ c\n"
    assert simple == "- b\n+ c\n"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a/b", "m~n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "a/b", "m~n", ""]), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_the_json_patch_leads_from_one_value_to_the_other(old: Any, new: Any) -> None:
    patch = call(DiffCalculator, type="json", old_json=old, new_json=new).result["patch"]

    assert jsonpatch.apply_patch(old, patch) == new


def test_what_differs_in_json_is_told_by_its_place() -> None:
    old = {"gone": 1, "kept": [1, 2], "changed": {"x": True}}
    new = {"kept": [1, 2, 3], "changed": {"x": 1}, "new": None}

    result = call(DiffCalculator, type="json", old_json=old, new_json=new).result

    assert result["diff"] == {
        "added": {"/kept/2": 3, "/new": None},
        "removed": {"/gone": 1},
        "modified": {"/changed/x": {"old": True, "new": 1}},
        "unchanged": ["/kept/0", "/kept/1"],
    }
    assert result["summary"] == {"added": 2, "removed": 1, "modified": 1, "unchanged": 2}


async def test_files_are_compared(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1]}')
    (tmp_path / "b.json").write_text('{"a": []}')

    files = {"old_file": f"{tmp_path}/a.json", "new_file": f"{tmp_path}/b.json"}
    of_json = (await ask(DiffCalculator, tmp_path, type="json", **files)).result
    of_text = (await ask(DiffCalculator, tmp_path, **files, format="simple")).result

    assert of_json["diff"]["removed"] == {"/a/0": 1}
    assert of_text["diff"] == '- {"a": [1]}\n+ {"a": []}\n'


@pytest.mark.parametrize(
    "patch",
    [
        "",
        "no patch",
        "@@ -1,2 +1,2 @@\n one\n-three\n+3\n",
        "@@ -1,2 +1,2 @@\n one\n",
        "@@ -999999999 +1 @@\n-one\n+1\n",
        "@@ -1 +1 @@\n-one\n+1\n@@ -1 +1 @@\n-one\n+1\n",
        "@@ -1 +1 @@\n-one\n+1\n--- b\n+++ b\n@@ -1 +1 @@\n-one\n+1\n",
        "@@ -1 +1 @@\n-one\n+1\n+extra\n",
    ],
)
def test_a_patch_that_does_not_fit_is_refused_whole(patch: str) -> None:
    with pytest.raises(InvalidInputError, match="patch: "):
        call(DiffCalculator, operation="apply", old_text="one\ntwo\n", patch=patch)


async def test_links_and_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SecurityError):
        await ask(DiffCalculator, tmp_path, old_file=f"{tmp_path}/link", new_text="")
    with pytest.raises(InvalidInputError, match="no UTF-8 text"):
        await ask(DiffCalculator, tmp_path, old_file=f"{tmp_path}/bytes", new_text="")
    with pytest.raises(InvalidInputError, match="either old_text or old_file"):
        await ask(DiffCalculator, tmp_path, new_text="")


async def test_texts_that_take_for_ever_to_compare_end_at_the_deadline(tmp_path: Path) -> None:
    old = "".join(f"{number % 2}\n" for number in range(20_000))
    new = "".join(f"{number % 3 % 2}\n" for number in range(20_000))

    async with opened(DiffCalculator, settings=settings_of(tmp_path)) as host:
        with pytest.raises(OperationTimeoutError):
            await host.call("tool:diff_calculator", {"old_text": old, "new_text": new}, deadline_s=0.5)


async def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x" * 11)

    with pytest.raises(ResourceLimitError, match="above the limit of 10"):
        await ask(DiffCalculator, tmp_path, {"max_file_size_bytes": 10}, old_file=f"{tmp_path}/a", new_text="")
