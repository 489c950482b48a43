"""The guard tests: what docs/design.md and the house style say of the structure, held."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Set
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import llmspell_hookspecs
from llmspell.plugins import Installed
from llmspell_hookspecs.topics import own_points

ROOT = Path(__file__).parent.parent
SOURCES = {
    "llmspell_hookspecs": "hookspecs",
    "llmspell": "host",
    "llmspell_plugins": "plugins",
    "llmspell_testing": "testing",
}
MAY_IMPORT = {
    "llmspell_hookspecs": {"llmspell_hookspecs"},
    "llmspell": {"llmspell", "llmspell_hookspecs"},
    "llmspell_plugins": {"llmspell_plugins", "llmspell_hookspecs"},
    "llmspell_testing": {"llmspell_testing", "llmspell", "llmspell_hookspecs"},
}
MAY_CATCH_ALL = {"foreign.py", "errors.py"}
HANDS_ON = ("host/llmspell/operations/runner.py",)
"""What it catches on the straight path goes on in the full course, which lets cancellations pass."""
LETS_PASS = "let_pass"
"""What whoever else catches all must call first, so that cancellations and the user's own Ctrl-C go on."""
TOP_FOLDERS = (
    "host",
    "plugins",
    "hookspecs",
    "testing",
    "contrib",
    "examples",
    "tests",
    "benchmarks",
    "docs",
    "changelog",
)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / SOURCES[package] / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


def all_modules() -> list[Path]:
    return [path for package in SOURCES for path in modules(package)]


@pytest.mark.parametrize("package", SOURCES)
def test_imports_follow_the_table_in_the_design(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(package)
        for line, name in imported(ast.parse(path.read_text()))
        if name in SOURCES and name not in MAY_IMPORT[package]
    ]

    assert wrong == []


def test_the_contract_imports_only_pluggy_msgspec_and_pydantic_beside_the_standard_library() -> None:
    import sys

    allowed = {*sys.stdlib_module_names, "pluggy", "msgspec", "pydantic", "llmspell_hookspecs"}

    foreign = {
        name
        for path in modules("llmspell_hookspecs")
        for _, name in imported(ast.parse(path.read_text()))
        if name not in allowed
    }

    assert foreign == set()


def test_example_and_contrib_packages_import_the_contract_only() -> None:
    packages = [*(ROOT / "examples" / "plugins").glob("*/src"), *(ROOT / "contrib").glob("*/src")]

    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in packages
        for path in package.rglob("*.py")
        for line, name in imported(ast.parse(path.read_text()))
        if name in ("llmspell", "llmspell_plugins")
    ]

    assert packages
    assert wrong == []


def test_every_entry_point_of_ours_loads() -> None:
    ours = [
        point
        for group in (*Installed().groups, "console_scripts", "pytest11")
        for point in entry_points(group=group)
        if point.dist is not None and point.dist.name == "llmspell"
    ]

    assert len(ours) >= 17
    assert all(point.load() is not None for point in ours)


def test_the_root_of_the_contract_shows_what_a_first_plugin_needs_and_no_point() -> None:
    root = set(llmspell_hookspecs.__all__)
    points = {point.name for point in own_points()}

    assert len(root) <= 50
    assert not root & points


def test_every_face_lists_what_it_exports_sorted_and_exports_it() -> None:
    for path in all_modules():
        tree = ast.parse(path.read_text())
        names = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        ]
        if not names:
            continue
        package = next(package for package, root in SOURCES.items() if path.is_relative_to(ROOT / root / package))
        module = ".".join(path.relative_to(ROOT / SOURCES[package]).with_suffix("").parts).removesuffix(".__init__")
        loaded = importlib.import_module(module)
        assert sorted(names[0]) == sorted(set(names[0])), module
        assert all(hasattr(loaded, name) for name in names[0]), module


def test_every_module_has_a_docstring() -> None:
    bare = [str(path.relative_to(ROOT)) for path in all_modules() if not ast.get_docstring(ast.parse(path.read_text()))]

    assert bare == []


def test_nobody_catches_base_exceptions_leaves_stubs_or_notes_to_self() -> None:
    found = []
    for path in all_modules():
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler):
                caught = "" if node.type is None else ast.unparse(node.type)
                body = "".join(ast.unparse(statement) for statement in node.body)
                if LETS_PASS in body or body.endswith("raise"):
                    continue
                if path.as_posix().endswith(HANDS_ON):
                    continue
                if (node.type is None or "BaseException" in caught) and path.name not in MAY_CATCH_ALL:
                    found.append(f"{path.name}:{node.lineno} catches {caught or 'everything'}")
            if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                found.append(f"{path.name}:{node.lineno} is a stub")
        found += [f"{path.name} has a {word}" for word in ("TO" + "DO", "FIX" + "ME", "XX" + "X ") if word in text]

    assert found == []


WRITERS = {
    "outlet.py": "the way out",
    "scope.py": "a script's output in a program that embeds the host",
    "tool_answer.py": "a pager, which is given what the way out would write",
}
"""Who may touch the process's streams; what writes a marker to a pipe of its own is a child process's main."""


def test_text_leaves_by_one_way_out() -> None:
    found = []
    for path in [path for path in all_modules() if path.name not in WRITERS]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "click.echo", "click.secho", "click.echo_via_pager") or called.startswith(
                    ("sys.stdout.write", "sys.stderr.write", "sys.__stdout__", "sys.__stderr__")
                ):
                    found.append(f"{path.name}:{node.lineno} calls {called}")

    assert found == []


def test_long_modules_say_why() -> None:
    unexplained = []
    for path in all_modules():
        text = path.read_text()
        docstring = ast.get_docstring(ast.parse(text)) or ""
        if text.count("\n") > 400 and "longer than most because" not in docstring:
            unexplained.append(str(path.relative_to(ROOT)))

    assert unexplained == []


MOST_LINES_OF_THE_HOST = 12_500
MOST_LINES_OF_A_FUNCTION = 80


def test_the_host_does_not_grow() -> None:
    lines = {path: path.read_text().count("\n") for path in modules("llmspell")}

    assert max(lines.values()) > 100
    assert sum(lines.values()) < MOST_LINES_OF_THE_HOST, "a capability is a plugin: bring it in plugins/"


def test_no_function_is_longer_than_a_reader_keeps_in_mind() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in all_modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION
    ]

    assert long == []


WALL_CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns"}
MAY_READ_A_CLOCK = {"chat_server.py", "storage_child.py", "terminal.py", "waiting.py"}
"""Where tests wait for others and give up at last."""
TRIO_NOW = "current_time" + "()"
VIRTUAL = re.compile("MockClock|virtual=True|autojump_clock|clock=")


def reads_a_clock(function: ast.AST, helpers: Set[str]) -> bool:
    """Return whether this reads a wall clock, or trio's for a length of time, itself or by a helper."""
    if VIRTUAL.search(ast.unparse(function)):
        return False
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=ast.Name(id="time"), attr=name) if name in WALL_CLOCKS:
                return True
            case ast.Name(id=name) if name in helpers or name in WALL_CLOCKS - {"time"}:
                return True
            case ast.Compare() | ast.BinOp(op=ast.Sub()) if TRIO_NOW in ast.unparse(node):
                return True
    return False


def unmarked_clocks(source: str) -> list[str]:
    """Return the tests of a module that read a clock and are not marked ``timing``."""
    tree = ast.parse(source)
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    functions = [node for body in bodies for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    helpers = {"held_beyond_idle_s"}
    while found := {
        node.name
        for node in functions
        if not node.name.startswith("test") and node.name not in helpers and reads_a_clock(node, helpers)
    }:
        helpers |= found
    return [
        node.name
        for node in functions
        if node.name.startswith("test")
        and reads_a_clock(node, helpers)
        and "timing" not in " ".join(map(ast.unparse, node.decorator_list))
    ]


def test_only_tests_that_run_alone_read_a_clock() -> None:
    files = [file for folder in ("tests", "examples", "contrib") for file in (ROOT / folder).rglob("*.py")]

    found = [
        f"{file.relative_to(ROOT)} {name}"
        for file in files
        if file.name not in MAY_READ_A_CLOCK
        for name in unmarked_clocks(file.read_text())
    ]

    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def test_a():\n    assert time.monotonic() < 1", True),
        ("def test_a():\n    began = perf_counter()", True),
        ("def test_a():\n    assert trio.current_time() - began < 1", True),
        ("def took():\n    return time.time()\nasync def test_a():\n    assert took() < 1", True),
        ("@pytest.mark.timing\ndef test_a():\n    assert time.monotonic() < 1", False),
        ("def test_a(autojump_clock):\n    assert trio.current_time() == 1", False),
        ("def test_a():\n    time.sleep(0)\n    assert time.process_time() < 1", False),
    ],
)
def test_a_test_that_reads_a_clock_is_found(source: str, found: bool) -> None:
    assert bool(unmarked_clocks(source)) == found


@pytest.mark.parametrize("folder", TOP_FOLDERS)
def test_each_top_folder_has_a_short_readme(folder: str) -> None:
    readme = ROOT / folder / "README.md"

    assert readme.is_file()
    assert len(readme.read_text().splitlines()) <= 25


def test_importing_the_packages_has_no_side_effect_on_heavy_libraries() -> None:
    import subprocess
    import sys

    code = (
        "import sys, llmspell, llmspell_hookspecs, llmspell_testing.plugin;"
        "print(sorted({'litellm', 'lupa', 'rich', 'httpx', 'trio'} & set(sys.modules)))"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


JUDGES = {"raises", "warns", "fail", "assert_fired", "assert_order", "expect", "answer", "prompt"}
"""What fails a test without a word of its own: pytest's, the recorder's, and the terminal's (see terminal.py)."""


def words(node: ast.AST) -> set[str]:
    """Every name and attribute in this piece of code."""
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    }


def idle_tests(tree: ast.AST) -> list[str]:
    """Tests without an assertion, in themselves and in the functions of their file that they name."""
    functions: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.setdefault(node.name, []).append(node)

    def judges(name: str, seen: set[str]) -> bool:
        seen.add(name)
        for node in functions[name]:
            named = words(node)
            if named & JUDGES or any(isinstance(part, ast.Assert | ast.Raise) for part in ast.walk(node)):
                return True
            if any(judges(other, seen) for other in sorted(named & functions.keys()) if other not in seen):
                return True
        return False

    return [name for name in functions if name.startswith("test_") and not judges(name, set())]


def test_every_test_can_fail() -> None:
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "examples").rglob("test_*.py")]

    idle = [f"{file.name}: {name}" for file in files for name in idle_tests(ast.parse(file.read_text()))]

    assert len(files) > 100
    assert idle == []
    assert idle_tests(ast.parse("def test_x():\n    help()\ndef help():\n    print()")) == ["test_x"]
    assert idle_tests(ast.parse("def test_x():\n    help()\ndef help():\n    assert 1")) == []
