"""Parameters of every tool in the box, through ``host.call``, in a folder beside which nothing may be touched.

Each tool comes up as often as every other: with its examples, its calls in `tool_calls` and some more, as they are or
with something in them made malformed, on files that are sound or damaged.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

from llmspell import Host
from llmspell.settings import load_settings
from tool_calls import CALLS, OURS, Person, filled, lay_out, site, tools_settings

from .forbidden import Forbidden
from .mutation import Mutation
from .oracle import Case, Watch
from .samples import FILES

__all__ = ["INPUTS", "make", "run"]

_CSV: Final = "name,age,joined\nAda,36,1815-12-10\nBob,x,\n"
_JSON: Final = {"a": [1, {"b": None}], "c": "x"}
_KEPT: Final = ("operation", "method", "format", "type")
_SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]}
_AS_IT_IS: Final = 0.1
_FORBIDDEN: Final = 0.15
_DAMAGED: Final = (*FILES, "photo.png", "song.wav", "photos.zip", "notes.tar.gz", "shop.db", "numbers.csl")

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
            ("validate", {"rules": {"age": "range:0-100"}}),
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
    ("file_operations", {"operation": "list_dir", "path": ".", "recursive": True}),
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


def _examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """The examples of all tools in the box, which ask the server here instead of one on the network."""
    for point in entry_points(group="llmspell.tools"):
        if point.name in OURS:
            for each in point.load().examples:
                yield point.name, _here(dict(each.parameters))


def _here(given: Any) -> Any:
    if isinstance(given, str):
        return given.replace("https://example.com", "URL").replace("example.com:443", "ADDRESS")
    if isinstance(given, dict):
        return {key: _here(value) for key, value in given.items()}
    return list(map(_here, given)) if isinstance(given, list | tuple) else given


def _operations() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The operations that each tool has."""
    for point in entry_points(group="llmspell.tools"):
        if point.name in OURS:
            operation: Mapping[str, Any] = point.load().schema().get("properties", {}).get("operation", {})
            yield point.name, tuple(operation.get("enum", ()))


INPUTS: Final[dict[str, list[dict[str, Any]]]] = {name: [dict(call) for call in calls] for name, calls in CALLS.items()}
for _name, _parameters in (*_examples(), *SOUND):
    INPUTS.setdefault(_name, []).append(_parameters)
OPERATIONS: Final = dict(_operations())


def make(draw: Mutation) -> tuple[str, Any]:
    """Return a tool and what it is given."""
    name = draw.random.choice(OURS)
    parameters = draw.random.choice(INPUTS[name])
    if OPERATIONS[name] and draw.random.random() < 0.2:
        parameters = {**parameters, "operation": draw.random.choice(OPERATIONS[name])}
    if draw.random.random() < _FORBIDDEN:
        parameters = _astray(parameters)
    made: Any = parameters
    if draw.random.random() >= _AS_IT_IS:  # else as it is: what a damaged file makes of it
        for _ in range(draw.random.randint(1, 2)):
            made = draw.leaf(made, _KEPT) if draw.random.random() < 0.75 else draw.value(made)
    return name, made


def _astray(given: Any) -> Any:
    """The parameters with a host that is not allowed."""
    if isinstance(given, str):
        return given.replace("URL", "FORBIDDEN").replace("ADDRESS", "FORBIDDEN".lower())
    if isinstance(given, dict):
        return {key: _astray(value) for key, value in given.items()}
    return list(map(_astray, given)) if isinstance(given, list) else given


def run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    """Call each, and look at what lies beside the folder."""
    beside = project.parent / "outside"
    beside.mkdir()
    (beside / "secret.txt").write_text("secret")
    files = _files(project)
    tried, answered = Counter[str](), Counter[str]()

    async def main(url: str, forbidden: Forbidden) -> None:
        loaded = load_settings(_settings(project, url), cwd=project)
        async with Host.open(loaded, plugins=[Person], discover=False) as host:
            for case in cases:
                _lay_out(project, beside, files, case.number)
                before = _seen(project)
                with watch.trying(case):
                    tried[case.value[0]] += 1  # type: ignore[index]
                    await _try(host, case, url, forbidden.url)
                    answered[case.value[0]] += 1  # type: ignore[index]
                if forbidden.reached():
                    watch.complain(case, "a host was reached that is not allowed")
                if _seen(project) != before:
                    watch.complain(case, f"something outside changed: {_seen(project) ^ before}")

    with site() as server, Forbidden() as forbidden:
        trio.run(main, server.url, forbidden)
    least, most = min(tried.values(), default=0), max(tried.values(), default=0)
    print(f"{len(tried)} of {len(OURS)} tools, each {least} to {most} times, {answered.total()} answers", flush=True)


def _settings(project: Path, url: str) -> dict[str, Any]:
    return {
        "security": {
            "paths": {"read": [str(project)], "write": [str(project)]},
            "hosts": {"allowed": ["127.0.0.1"], "private": ["127.0.0.1"]},
        },
        "tools": {"time_s": 10, **tools_settings(project, url)},
        "storage": {"backend": "memory"},
    }


async def _try(host: Host, case: Case, url: str, forbidden: str) -> None:
    given: Any = case.value
    name, parameters = given
    with suppress(RecursionError):  # what is nested so deeply holds none
        parameters = _replaced(filled(parameters, url), forbidden)
    await host.call(f"tool:{name}", parameters)


def _replaced(given: Any, forbidden: str) -> Any:
    if isinstance(given, str):
        return given.replace("FORBIDDEN", forbidden).replace("forbidden", forbidden.removeprefix("http://"))
    if isinstance(given, dict):
        return {key: _replaced(value, forbidden) for key, value in given.items()}
    return [_replaced(each, forbidden) for each in given] if isinstance(given, list) else given


def _files(project: Path) -> dict[str, bytes]:
    """What lies in the folder at the beginning of each call, by path; the folder stays empty."""
    for entry in project.iterdir():
        shutil.rmtree(entry)
    lay_out(project)
    (project / "folder").mkdir()
    (project / "folder" / "inner.txt").write_text("inner")
    (project / "old.txt").write_bytes("caf\xe9".encode("cp1252"))
    for name, content in FILES.items():
        (project / name).write_bytes(content)
    return {str(file.relative_to(project)): file.read_bytes() for file in project.rglob("*") if file.is_file()}


def _lay_out(project: Path, beside: Path, files: Mapping[str, bytes], number: int) -> None:
    """Write the files anew; every second time those that are no texts are damaged, each time otherwise."""
    for entry in project.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name, content in files.items():
        (project / name).parent.mkdir(exist_ok=True)
        damaged = number % 2 and name in _DAMAGED
        (project / name).write_bytes(Mutation(Random(f"{name}:{number}")).bytes(content) if damaged else content)
    (project / "link").symlink_to(beside)


def _seen(project: Path) -> frozenset[tuple[str, int, int]]:
    """Return the files beside the project: name, size and time of each."""
    others = [folder for folder in project.parent.iterdir() if folder != project and folder.name != "tmp"]
    files = [file for folder in others for file in (folder, *folder.rglob("*"))]
    return frozenset((str(file), file.lstat().st_size, file.lstat().st_mtime_ns) for file in files)
