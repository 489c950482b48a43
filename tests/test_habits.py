"""The habits hold: the tables of docs/design.md are the code's, and fragments make release notes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmspell_hookspecs.marker import HookKind
from llmspell_hookspecs.points import ACCEPTED
from llmspell_hookspecs.results import RESULT_TYPES

ROOT = Path(__file__).parent.parent
DESIGN = (ROOT / "docs" / "design.md").read_text()


def section(title: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, without the heads of the tables."""
    text = re.split(r"^#+ ", DESIGN.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def first_words(title: str) -> list[str]:
    return [row[0].strip("`") for row in section(title)]


def folders(place: str) -> list[str]:
    """Return the folders that hold something of the repository; Python's own leavings are not."""
    found = (path for path in (ROOT / place).iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    kept = (
        path for path in found if not path.name.endswith(".egg-info") and path.name not in ("build", "dist", "site")
    )
    return sorted(
        f"{path.name}/" for path in kept if any(file.is_file() and ".pyc" not in file.name for file in path.rglob("*"))
    )


def test_the_phases_of_the_design_accept_what_the_contract_says() -> None:
    rows = {row[0].strip("`"): row[1] for row in section("The nine results") if len(row) == 2}

    told = {name: set() if cell.startswith("nothing") else set(cell.split(", ")) for name, cell in rows.items()}

    assert told == {phase.value: set(accepted) for phase, accepted in ACCEPTED.items()}


def test_the_design_tells_of_the_nine_results_and_the_four_kinds() -> None:
    results = [row[0].strip("`") for row in section("The nine results") if len(row) == 4]

    assert results == [result.__name__ for result in RESULT_TYPES]
    assert first_words("The four kinds of hook") == [kind.value for kind in HookKind]


@pytest.mark.parametrize(
    ("title", "place"),
    [
        ("The rooms", "."),
        ("Rooms of host/llmspell", "host/llmspell"),
        ("Rooms of plugins/llmspell_plugins", "plugins/llmspell_plugins"),
    ],
)
def test_the_rooms_of_the_design_are_the_tree(title: str, place: str) -> None:
    assert sorted(first_words(title)) == folders(place), f"docs/design.md, {title}: name what {place} holds"


def test_the_documents_name_no_document_outside_the_repository() -> None:
    names = "DESIGN" + ".md", "HOUSE-" + "STYLE", "/work/" + "shared"
    files = [
        path
        for folder in (
            "host",
            "hookspecs",
            "plugins",
            "docs",
            "tests",
            "benchmarks",
            "examples",
            "contrib",
            "changelog",
        )
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".lua", ".toml", ".jinja")
    ]

    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*files, *ROOT.glob("*.md"), *ROOT.glob("*.cfg"), *ROOT.glob("*.toml"), *ROOT.glob("*.ini")]
        for name in names
        if name in path.read_text()
    ]

    assert found == []


FRAGMENT = re.compile(r"\d+(\.[a-z0-9-]+)?\.(added|changed|fixed|removed)\.md")


def test_each_fragment_is_one_sentence_under_a_known_name() -> None:
    fragments = [path for path in (ROOT / "changelog").iterdir() if path.suffix == ".md" and path.name != "README.md"]

    wrong = [path.name for path in fragments if not FRAGMENT.fullmatch(path.name)]
    empty = [path.name for path in fragments if not re.search(r"[.?!`)]\s*$", path.read_text())]

    assert (wrong, empty) == ([], [])


def towncrier(*arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("towncrier", reason="towncrier comes with the extra test")
    command = [sys.executable, "-m", "towncrier", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_next_release_notes_can_be_built_and_hold_each_fragment_once() -> None:
    sentences = [path.read_text().split()[:6] for path in (ROOT / "changelog").glob("[0-9]*.md")]

    done = towncrier("build", "--draft", "--version", "0.0.0")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n- ") == len(sentences)
    assert all(" ".join(words) in " ".join(done.stdout.split()) for words in sentences)


def test_each_file_that_a_readme_says_to_read_is_there() -> None:
    missing: list[str] = []
    for readme in (ROOT / name for name in ("README.md", *(f"{path.name}/README.md" for path in ROOT.iterdir()))):
        if not readme.is_file():
            continue
        places = [ROOT, readme.parent, *readme.parent.glob("llmspell*")]
        missing += [
            f"{readme.relative_to(ROOT)}: {named}"
            for named in re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", readme.read_text())
            if not any((place / named).is_file() for place in places)
        ]

    assert missing == []
