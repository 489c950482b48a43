"""Bombs: small inputs that would grow, or run for ever; each ends in one clear error within the limits of its tool.

The table has a row for each sort of bomb; what a tool makes of its own kinds in more detail, its own tests tell.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError, LlmspellError, ToolError
from llmspell_hookspecs.errors import OperationTimeoutError, ResourceLimitError, SecurityError
from llmspell_hookspecs.payload import payload_of
from loopback import serve
from tool_calls import lay_out, tools_settings
from waiting import PATIENCE_S

MB: Final = 1024 * 1024
ENDS: Final = (ToolError, ResourceLimitError, OperationTimeoutError, InvalidInputError, SecurityError)
LIMITS: Final = {"time_s": 20.0, "memory_bytes": 128 * MB, "output_bytes": 4 * MB}


def zip_bomb(folder: Path) -> dict[str, Any]:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(300 * MB))
    return {"operation": "extract", "path": "bomb.zip", "target_path": "out"}


def lying_zip(folder: Path) -> dict[str, Any]:
    zip_bomb(folder)
    data = (folder / "bomb.zip").read_bytes()
    (folder / "bomb.zip").write_bytes(data.replace(struct.pack("<I", 300 * MB), struct.pack("<I", 10)))
    return {"operation": "extract", "path": "bomb.zip", "target_path": "out"}


def many_members(folder: Path) -> dict[str, Any]:
    with zipfile.ZipFile(folder / "bomb.zip", "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number}", b"")
    return {"operation": "extract", "path": "bomb.zip", "target_path": "out"}


def members_that_leave(folder: Path) -> dict[str, Any]:
    with zipfile.ZipFile(folder / "bomb.zip", "w") as archive:
        archive.writestr("../../escaped.txt", b"out")
    return {"operation": "extract", "path": "bomb.zip", "target_path": "out"}


def tar_through_a_link(folder: Path) -> dict[str, Any]:
    with tarfile.open(folder / "bomb.tar", "w") as archive:
        link = tarfile.TarInfo("way")
        link.type, link.linkname = tarfile.SYMTYPE, ".."
        archive.addfile(link)
        file = tarfile.TarInfo("way/../escaped.txt")
        file.size = 3
        archive.addfile(file, io.BytesIO(b"out"))
    return {"operation": "extract", "path": "bomb.tar", "target_path": "out"}


def tar_of_zeros(folder: Path) -> dict[str, Any]:
    with tarfile.open(folder / "bomb.tar.gz", "w:gz") as archive:
        file = tarfile.TarInfo("zeros")
        file.size = 300 * MB
        archive.addfile(file, io.BytesIO(bytes(300 * MB)))
    return {"operation": "extract", "path": "bomb.tar.gz", "target_path": "out"}


def vast_image(folder: Path) -> dict[str, Any]:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(MB))) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return {"operation": "resize", "source_path": "bomb.png", "target_path": "small.png", "width": 10}


def pdf_of_zeros(folder: Path) -> dict[str, Any]:
    packed = zlib.compress(bytes(300 * MB), 9)
    stream = b"<</Length %d/Filter/FlateDecode>>\nstream\n" % len(packed) + packed + b"\nendstream"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R>>",
        stream,
    )
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, each) for number, each in enumerate(objects, 1))
    (folder / "bomb.pdf").write_bytes(b"%PDF-1.4\n" + body + b"trailer\n<</Root 1 0 R/Size 5>>\n%%EOF\n")
    return {"operation": "extract_text", "input": "bomb.pdf"}


def laughing_xml(folder: Path) -> dict[str, Any]:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><a>&e11;</a>'
    return {"operation": "parse", "input": text}


def anchored_yaml(folder: Path) -> dict[str, Any]:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return {"operation": "parse", "input": "\n".join(lines)}


def anchored_bibliography(folder: Path) -> dict[str, Any]:
    return {"input": anchored_yaml(folder)["input"], "format": "yaml"}


def sums(expression: str) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"input": expression}


def handed(**parameters: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: parameters


ENDLESS_SQL: Final = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
DEEP_GRAPHQL: Final = "{ a " * 200 + "{ b }" + "}" * 200
BACKTRACKING: Final = {"pattern": "(a+)+$", "input": "a" * 40 + "!"}

BOMBS: Final[dict[str, tuple[str, Callable[[Path], dict[str, Any]]]]] = {
    "zip": ("archive_handler", zip_bomb),
    "zip whose sizes lie": ("archive_handler", lying_zip),
    "archive members": ("archive_handler", many_members),
    "archive members that leave": ("archive_handler", members_that_leave),
    "archive links": ("archive_handler", tar_through_a_link),
    "tar": ("archive_handler", tar_of_zeros),
    "XML entities": ("xml-processor", laughing_xml),
    "XPath": (
        "xml-processor",
        handed(operation="query", input="<a>" * 200 + "<b/>" * 20_000 + "</a>" * 200, query="//a//b[count(//a//b)>0]"),
    ),
    "image dimensions": ("image_processor", vast_image),
    "PDF objects": ("pdf-processor", pdf_of_zeros),
    "YAML anchors": ("yaml-processor", anchored_yaml),
    "YAML anchors of a bibliography": ("citation-formatter", anchored_bibliography),
    "regular expression": ("regex-matcher", handed(operation="find_all", **BACKTRACKING)),
    "regular expression in a search": ("file_search", lambda folder: _searched(folder)),
    "SQL that never ends": (
        "database-connector",
        handed(operation="query", database="shop", query=ENDLESS_SQL, timeout_seconds=1),
    ),
    "SQL that grows": ("database-connector", handed(operation="query", database="shop", query="SELECT zeroblob(1e9)")),
    "template loops": (
        "template_engine",
        handed(template="{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", context={}),
    ),
    "template width": ("template_engine", handed(template="{{ '%1000000000d' | format(1) }}", context={})),
    "GraphQL depth": ("graphql_query", handed(operation="query", endpoint="http://127.0.0.1:9/", input=DEEP_GRAPHQL)),
    "script loop": ("script-runner", handed(source="while true do end", time_s=0.5)),
    "script that holds": (
        "script-runner",
        handed(source="local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end"),
    ),
    "script that prints": ("script-runner", handed(source="while true do print('flood') end")),
    "script that returns much": (
        "script-runner",
        handed(source="local t = {} for i = 1, 1e6 do t[i] = i end return t"),
    ),
    "script that matches": (
        "script-runner",
        handed(source="return ('a'):rep(3e4):find(('.-'):rep(300) .. 'b')", time_s=0.5),
    ),
    "power": ("calculator", sums("9 ^ 9 ^ 9 ^ 9 ^ 9 % 0.1 + " + "(" * 400)),
    "JSON program": ("json_processor", handed(operation="query", input=1, query="[range(1e12)] | length")),
    "JSON depth": ("json_processor", handed(operation="parse", input="[" * 200_000)),
    "pattern of a rule": (
        "data_validation",
        handed(input="a" * 40 + "!", rules={"rules": [{"type": "pattern", "pattern": "(a+)+$"}]}),
    ),
    "markup": ("markdown-converter", handed(operation="from_html", input="<div>" * 300_000)),
}  # fmt: skip


def _searched(folder: Path) -> dict[str, Any]:
    (folder / "src" / "bomb.txt").write_text(BACKTRACKING["input"])
    return {"pattern": BACKTRACKING["pattern"], "path": "src", "use_regex": True}


def settings(folder: Path, url: str = "http://127.0.0.1:9") -> Any:
    security = {
        "paths": {"read": [str(folder)], "write": [str(folder)]},
        "hosts": {"allowed": ["127.0.0.1"], "private": ["127.0.0.1"]},
    }
    tools = {**tools_settings(folder, url), **LIMITS}
    given = {"security": security, "storage": {"backend": "memory"}, "tools": tools}
    return load_settings(given, environment={}, cwd=folder)


def judged(error: LlmspellError) -> None:
    """Whether an error is one that a person can do something with."""
    assert error.code != "internal", error
    assert error.code != "process" or "perhaps out of memory" in str(error), error
    assert 0 < len(str(error)) <= 500
    assert "\n" not in str(error)
    assert ":" in str(error)
    assert "; " in str(error), f"it does not say what to do: {error}"


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_ends_in_one_clear_error_within_its_limits(tmp_path: Path, bomb: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lay_out(folder)
    name, make = BOMBS[bomb]
    parameters = make(folder)
    before = size_of(folder)
    with trio.fail_after(PATIENCE_S):
        async with Host.open(settings(folder), discover=False) as host:
            with pytest.raises(ENDS) as caught:
                await host.call(f"tool:{name}", parameters)
            assert (await host.call("tool:calculator", {"input": "1 + 1"})).result["result"] == 2

    judged(caught.value)
    assert size_of(folder) <= before + LIMITS["memory_bytes"]
    assert {path.name for path in tmp_path.iterdir()} == {"folder"}


def size_of(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("http_request", {"input": "URL"}),
        ("api-tester", {"input": "URL"}),
        ("web-fetch", {"input": "URL"}),
        ("web-scraper", {"input": "URL"}),
        ("webpage-monitor", {"input": "URL"}),
        ("webhook-caller", {"input": "URL", "payload": {}}),
        ("sitemap-crawler", {"input": "URL/sitemap.xml"}),
        ("graphql_query", {"endpoint": "URL", "input": "{ a }"}),
        ("web_search", {"input": "x"}),
        ("url-analyzer", {"input": "URL", "fetch_metadata": True}),
    ],
)
async def test_an_answer_that_unpacks_to_much_ends_in_one_clear_error_or_is_cut(
    tmp_path: Path, name: str, parameters: dict[str, Any]
) -> None:
    packed = gzip.compress(bytes(300 * MB))

    def answer(handler: Any, count: int) -> None:
        handler.reply(packed, kind="text/html", content_encoding="gzip")

    lay_out(tmp_path)
    with serve(answer) as server:
        loaded = settings(tmp_path, server.url)
        given = {
            key: value.replace("URL", server.url) if isinstance(value, str) else value
            for key, value in parameters.items()
        }
        with trio.fail_after(PATIENCE_S):
            async with Host.open(loaded, discover=False) as host:
                try:
                    result = await host.call(f"tool:{name}", given)
                except LlmspellError as error:
                    judged(error)
                else:
                    assert len(repr(payload_of(result))) < 20 * MB, "what was cut is small"
