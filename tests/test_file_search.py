"""file_search: held against grep and ripgrep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import OperationTimeoutError, ResourceLimitError, SecurityError
from llmspell_plugins.tools.filesystem.file_search import FileSearch
from tool_host import ask, oracle, settings_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files, in folders, with what is to be found in some of them."""
    for name, text in {
        "a.py": "import os\n# needle one\nx = 1\n",
        "b.txt": "Needle two, needle three\r\nüber needle\n",
        "sub/c.py": "nothing\nneedle42",
        "sub/deep/d.md": "a needle\n" * 3,
        "node_modules/e.py": "needle\n",
        ".hidden.py": "needle\n",
    }.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode())
    return tmp_path


async def told(folder: Path, **parameters: Any) -> Any:
    return (await ask(FileSearch, folder, **{"path": str(folder), **parameters})).result


def places(result: Any) -> list[str]:
    return sorted({f"{each['file_path']}:{each['line_number']}" for each in result["matches"]})


@pytest.mark.parametrize(
    ("parameters", "flags"),
    [
        ({"pattern": "needle"}, ["-F", "needle"]),
        ({"pattern": "needle", "case_sensitive": False}, ["-iF", "needle"]),
        ({"pattern": r"needle\d+|^x\b", "use_regex": True}, ["-P", r"needle\d+|^x\b"]),
        ({"pattern": "needle.", "use_regex": False}, ["-F", "needle."]),
        ({"pattern": "needle", "include_extensions": ["py"]}, ["-F", "needle", "--include=*.py"]),
        ({"pattern": "needle", "exclude_extensions": [".md"]}, ["-F", "needle", "--exclude=*.md"]),
    ],
)
async def test_the_lines_found_are_those_of_grep(folder: Path, parameters: Any, flags: list[str]) -> None:
    result = await told(folder, recursive=True, **parameters)

    printed = oracle("grep", "-rn", *flags, str(folder), "--exclude-dir=node_modules", ok=(0, 1)).decode().splitlines()
    printed = [line for line in printed if ".hidden" not in line]
    assert places(result) == sorted({":".join(line.split(":")[:2]) for line in printed})


async def test_each_match_is_told_as_ripgrep_tells_it(folder: Path) -> None:
    result = await told(folder, pattern="needle", recursive=True)

    printed = oracle("rg", "--no-ignore", "-g", "!node_modules", "--vimgrep", "needle", str(folder)).decode()
    # ripgrep counts columns in bytes
    expected = sorted(line.split(":")[1:3] for line in printed.splitlines() if "b.txt" not in line)
    found = [each for each in result["matches"] if "b.txt" not in each["file_path"]]
    assert sorted([str(each["line_number"]), str(each["column_number"])] for each in found) == expected
    assert result["summary"]["total_matches"] == len(printed.splitlines())


async def test_a_match_has_the_lines_around(folder: Path) -> None:
    result = await told(folder, pattern="needle", context_lines=1, path=f"{folder}/a.py")

    assert result["matches"] == [
        {
            "file_path": f"{folder}/a.py",
            "line_number": 2,
            "column_number": 3,
            "line_content": "# needle one",
            "matched_text": "needle",
            "context_before": ["import os"],
            "context_after": ["x = 1"],
        }
    ]


async def test_only_the_folder_itself_is_searched_unless_asked(folder: Path) -> None:
    flat = await told(folder, pattern="needle")
    shallow = await told(folder, pattern="needle", recursive=True, max_depth=1)

    assert {Path(each["file_path"]).name for each in flat["matches"]} == {"a.py", "b.txt"}
    assert {Path(each["file_path"]).name for each in shallow["matches"]} == {"a.py", "b.txt", "c.py"}
    assert flat["summary"]["has_matches"]


async def test_matches_are_bounded_by_file_and_in_all(folder: Path) -> None:
    each = await told(folder, pattern="needle", recursive=True, max_matches_per_file=1)
    every = (await ask(FileSearch, folder, {"max_matches": 2}, pattern="needle", path=str(folder))).result

    assert len(each["matches"]) == 4
    assert (len(every["matches"]), every["summary"]["truncated"]) == (2, True)


async def test_what_is_no_text_or_too_large_is_skipped_and_told(folder: Path) -> None:
    (folder / "bytes.bin").write_bytes(b"\x00needle")
    (folder / "large.txt").write_bytes(b"needle" * 100)

    result = await told(folder, pattern="needle", max_file_size=500)

    reasons = {Path(each["path"]).name: each["reason"] for each in result["skipped_files"]}
    assert reasons == {"bytes.bin": "no text", "large.txt": "larger than 500 bytes"}
    assert result["summary"]["files_skipped"] == 2


async def test_links_are_not_followed_and_places_outside_are_refused(folder: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("needle secret\n")
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    (folder / "linked").symlink_to(outside)
    (folder / "loop").symlink_to(folder)

    result = await told(folder, pattern="needle", recursive=True)

    assert not any("secret" in each["line_content"] for each in result["matches"])
    assert len(places(result)) == 7
    with pytest.raises(SecurityError):
        await told(folder, pattern="x", path=str(outside))
    with pytest.raises(ToolError, match="no such file"):
        await told(folder, pattern="x", path=f"{folder}/none")


async def test_a_catastrophic_pattern_ends_at_the_deadline(folder: Path) -> None:
    (folder / "a.txt").write_text("a" * 5000 + "b")

    async with opened(FileSearch, settings=settings_of(folder)) as host:
        with pytest.raises(OperationTimeoutError):
            given = {"pattern": "(a|a)*$", "use_regex": True, "path": f"{folder}/a.txt"}
            await host.call("tool:file_search", given, deadline_s=0.5)


async def test_a_wrong_pattern_and_too_many_files_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="no regular expression"):
        await told(folder, pattern="(", use_regex=True)
    with pytest.raises(ResourceLimitError, match="more than 3 items"):
        await ask(FileSearch, folder, {"max_items": 3}, pattern="x", path=str(folder), recursive=True)
