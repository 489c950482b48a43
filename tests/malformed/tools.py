"""Parameters of every tool in the box, through ``host.call``, in a folder beside which nothing may be touched."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_testing.canned import CannedServer

from .forbidden import Forbidden
from .mutation import Mutation
from .oracle import Case, Watch
from .samples import FILES, file_for

__all__ = ["make", "run"]

_CSV: Final = "name,age,joined\nAda,36,1815-12-10\nBob,x,\n"
_JSON: Final = {"a": [1, {"b": None}], "c": "x"}
_BY_EXAMPLE: Final = 0.6
_KEPT: Final = ("operation", "method", "format", "type")
_SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]}

SOUND: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("calculator", {"operation": "evaluate", "input": "2 * sqrt(x) + max(1, y) ** 2", "variables": {"x": 4, "y": 2}}),
    ("calculator", {"operation": "validate", "input": "sum([1, 2, 3]) > 4 and not false"}),
    ("calculator", {"operation": "functions"}),
    *(
        ("csv_analyzer", {"operation": operation, "input": _CSV, "options": options})
        for operation, options in (
            ("analyze", {"delimiter": ",", "has_headers": True, "null_values": ["x"]}),
            ("convert", {"format": "json"}),
            ("convert", {"format": "markdown"}),
            ("convert", {"format": "parquet"}),
            ("convert", {"format": "xlsx"}),
            ("filter", {"filter": "age > 30 and name == 'Ada'"}),
            ("transform", {"add_columns": {"z": "age"}, "rename_columns": {"name": "n"}}),
            ("validate", {"rules": {"age": {"type": "integer", "min": 0}}}),
            ("sample", {"size": 1, "method": "random", "seed": 3}),
        )
    ),
    ("csv_analyzer", {"operation": "analyze", "path": "table.csv", "options": {"encoding": "utf-8"}}),
    ("file_operations", {"operation": "read", "path": "notes.txt"}),
    ("file_operations", {"operation": "write", "path": "new/notes.txt", "input": "hello", "encoding": "utf-8"}),
    ("file_operations", {"operation": "append", "path": "notes.txt", "input": "more"}),
    ("file_operations", {"operation": "delete", "path": "folder", "recursive": True}),
    ("file_operations", {"operation": "copy", "source_path": "notes.txt", "target_path": "copy.txt"}),
    ("file_operations", {"operation": "move", "source_path": "folder", "target_path": "moved", "recursive": True}),
    ("file_operations", {"operation": "list", "path": ".", "recursive": True}),
    ("file_operations", {"operation": "metadata", "path": "table.csv"}),
    ("file_operations", {"operation": "create_dir", "path": "a/b/c", "recursive": True}),
    ("file_operations", {"operation": "read", "path": "link/secret.txt"}),
    ("http_request", {"input": "URL/x?y=1", "method": "POST", "headers": {"X-A": "b"}, "body": {"a": [1]}}),
    ("http_request", {"input": "URL/", "auth": {"type": "basic", "username": "u", "password": "no secret at all"}}),
    ("http_request", {"input": "URL/", "method": "GET", "retry": {"max_attempts": 1}}),
    ("http_request", {"input": "FORBIDDEN/"}),
    ("json_processor", {"operation": "query", "input": _JSON, "query": ".a[1].b // .c | ascii_downcase"}),
    ("json_processor", {"operation": "validate", "input": '{"a": []}', "schema": _SCHEMA}),
    ("json_processor", {"operation": "stream", "input": '{"a": 1}\n{"a": 2}\n', "query": ".a"}),
    ("json_processor", {"operation": "parse", "input": '[1, 2.5e3, "\\u00e4", null]'}),
    *(
        ("text_manipulator", {"input": "The quick brown  fox\njumps", "operation": operation, "options": options})
        for operation, options in (
            ("uppercase", {}),
            ("title_case", {}),
            ("reverse", {}),
            ("replace", {"from": "quick", "to": "slow"}),
            ("substring", {"start": 2, "end": 9}),
            ("split", {"delimiter": " "}),
            ("truncate", {"max_length": 5}),
            ("indent", {"spaces": 2}),
            ("wrap", {"width": 10}),
            ("snake_case", {}),
        )
    ),
    ("text_manipulator", {"input": ["a", "b"], "operation": "join", "options": {"delimiter": ", "}}),
)


def _examples() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """The examples of all tools in the box, each with the operations that the tool has."""
    for point in sorted(entry_points(group="llmspell.tools"), key=lambda point: point.name):
        if point.dist is not None and point.dist.name == "llmspell":
            kind = point.load()
            operation: Mapping[str, Any] = kind.schema().get("properties", {}).get("operation", {})
            for each in kind.examples:
                yield kind.name, dict(each.parameters), tuple(operation.get("enum", ()))


EXAMPLES: Final = tuple(_examples())


def make(draw: Mutation) -> tuple[str, Any]:
    """Return a tool and what it is given."""
    if draw.random.random() < _BY_EXAMPLE:
        name, parameters, operations = draw.random.choice(EXAMPLES)
        if operations and draw.random.random() < 0.5:
            parameters = {**parameters, "operation": draw.random.choice(operations)}
        if draw.random.random() < 0.2:  # as it is: what a damaged file makes of it
            return name, parameters
    else:
        name, parameters = draw.random.choice(SOUND)
    made: Any = parameters
    for _ in range(draw.random.randint(1, 2)):
        made = draw.leaf(made, _KEPT) if draw.random.random() < 0.75 else draw.value(made)
    return name, made


def run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    """Call each, and look at what lies beside the folder."""
    settings = {
        "security": {
            "paths": {"read": [str(project)], "write": [str(project)]},
            "hosts": {"allowed": ["127.0.0.1"], "private": ["127.0.0.1"]},
        },
        "tools": {"time_s": 10},
        "storage": {"backend": "memory"},
    }
    beside = project.parent / "outside"
    beside.mkdir()
    (beside / "secret.txt").write_text("secret")

    async def main(server: CannedServer, forbidden: Forbidden) -> None:
        loaded = load_settings(settings, cwd=project)
        async with Host.open(loaded, discover=False) as host:
            for case in cases:
                _lay_out(project, beside, case.number)
                before = _seen(project)
                with watch.trying(case):
                    await _try(host, case, server.url, forbidden.url)
                if forbidden.reached():
                    watch.complain(case, "a host was reached that is not allowed")
                if _seen(project) != before:
                    watch.complain(case, f"something outside changed: {_seen(project) ^ before}")

    with CannedServer((200, "application/json", b'{"ok": true}')) as server, Forbidden() as forbidden:
        trio.run(main, server, forbidden)


async def _try(host: Host, case: Case, url: str, forbidden: str) -> None:
    given: Any = case.value
    name, parameters = given
    if isinstance(parameters, dict) and isinstance(parameters.get("input"), str):
        parameters = {**parameters, "input": parameters["input"].replace("URL", url).replace("FORBIDDEN", forbidden)}
    await host.call(f"tool:{name}", parameters)


def _lay_out(project: Path, beside: Path, number: int) -> None:
    _lay_out_texts(project, beside)
    for name in FILES:
        (project / name).write_bytes(file_for(name, number))


def _lay_out_texts(project: Path, beside: Path) -> None:
    if (project / "folder" / "inner.txt").exists() and len(list(project.iterdir())) == _FILES:
        return
    for entry in project.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (project / "folder").mkdir()
    (project / "folder" / "inner.txt").write_text("inner")
    (project / "notes.txt").write_text("notes")
    (project / "table.csv").write_text(_CSV)
    (project / "link").symlink_to(beside)


_FILES: Final = 4 + len(FILES)


def _seen(project: Path) -> frozenset[tuple[str, int, int]]:
    """Return the files beside the project: name, size and time of each."""
    others = [folder for folder in project.parent.iterdir() if folder != project and folder.name != "tmp"]
    files = [file for folder in others for file in (folder, *folder.rglob("*"))]
    return frozenset((str(file), file.lstat().st_size, file.lstat().st_mtime_ns) for file in files)
