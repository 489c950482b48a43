"""Situations that users of other projects' tools reported, tried on ours: in each, the answer is the true one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs.errors import SecurityError
from loopback import serve
from tool_host import settings_of

CHINESE = "你好世界你好世界"
PAGES: dict[str, tuple[bytes, str]] = {
    "/meta": (f'<meta charset="gbk"><p>{CHINESE}</p>'.encode("gbk"), "text/html"),
    "/header": (f"<p>{CHINESE}</p>".encode("gbk"), "text/html; charset=gbk"),
    "/text": (CHINESE.encode("gbk"), "text/plain; charset=gbk"),
    "/equiv": (
        '<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS"><p>阿部 寛</p>'.encode("shift_jis"),
        "text/html",
    ),
}


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """Return where the pages are."""
    with serve(lambda handler, _: handler.reply(PAGES[handler.path][0], kind=PAGES[handler.path][1])) as server:
        yield server.url


async def told(folder: Path, name: str, tools: Any = None, **given: Any) -> Any:
    hosts = {"allowed": ["127.0.0.1"], "private": ["127.0.0.1"]}
    settings = settings_of(folder, security={"hosts": hosts}, tools=tools or {})
    async with opened(settings=settings) as host:
        return (await host.call(f"tool:{name}", given)).result


async def test_a_folder_whose_name_begins_like_an_allowed_one_is_another(tmp_path: Path) -> None:
    """As in zcaceres/markdownify-mcp, issue 123."""
    share, beside = tmp_path / "share", tmp_path / "share-secret"
    share.mkdir()
    beside.mkdir()
    (beside / "loot.md").write_text("loot")

    with pytest.raises(SecurityError, match="outside what may be read"):
        await told(share, "file_operations", operation="read", path=str(beside / "loot.md"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\r\nb\r\nc\r\n", b"x\r\ny\r\nz\r\nc\r\n"),
        (b"a\nb\nc\n", b"x\ny\nz\nc\n"),
        (b"a\r\nb\r\nc", b"x\r\ny\r\nz\r\nc"),
        (b"\xef\xbb\xbfa\r\nb\r\nc\r\n", b"\xef\xbb\xbfx\r\ny\r\nz\r\nc\r\n"),
    ],
    ids=["of Windows", "of Unix", "no end", "a mark of order"],
)
async def test_an_edit_keeps_the_ends_of_lines_and_all_that_it_is_not_about(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    """As in MoonshotAI/kimi-cli, issue 2191, and boringstack-xyz/tsforge, issue 24."""
    file = tmp_path / "code.txt"
    file.write_bytes(before)

    await told(tmp_path, "file-editor", operation="str_replace", path=str(file), old_str="a\nb", new_str="x\ny\nz")

    assert file.read_bytes() == after


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig", "utf-8"])
async def test_a_table_is_read_whatever_common_encoding_it_has(tmp_path: Path, encoding: str) -> None:
    """As in langchain-ai/langchain, issues 13444 and 7479."""
    (tmp_path / "table.csv").write_bytes("name,city\nJosé,São Paulo\n”Zoë”,Zürich\n".encode(encoding))

    rows = await told(
        tmp_path, "csv_analyzer", operation="convert", path=str(tmp_path / "table.csv"), options={"format": "json"}
    )

    assert rows == [{"name": "José", "city": "São Paulo"}, {"name": "”Zoë”", "city": "Zürich"}]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *((name, path) for name in ("web-scraper", "webpage-monitor") for path in ("/meta", "/header", "/equiv")),
        *((name, path) for name in ("http_request", "api-tester") for path in ("/header", "/text")),
        *(("web-fetch", path) for path in PAGES),
    ],
)
async def test_a_page_is_read_in_the_encoding_that_it_or_its_server_names(
    tmp_path: Path, pages: str, name: str, path: str
) -> None:
    """As in use-agent-os/agent-os, issue 2557, anomalyco/opencode, 45902, and google-gemini/gemini-cli, 27980."""
    result = await told(tmp_path, name, input=f"{pages}{path}")

    assert ("阿部 寛" if path == "/equiv" else CHINESE) in str(result)


async def test_what_a_database_holds_and_json_has_not_is_told_all_the_same(tmp_path: Path) -> None:
    """As in agno-agi/agno, pull request 976, and ansible-collections/ansible.mysql, issue 783."""
    with closing(sqlite3.connect(tmp_path / "odd.db")) as database:
        database.execute("CREATE TABLE odd (bytes BLOB, day DATE, endless REAL, wide INTEGER)")
        database.execute("INSERT INTO odd VALUES (x'ff00', '2024-02-29', 9e999, 9223372036854775807)")
        database.commit()
    tools = {"database-connector": {"connections": {"odd": {"kind": "sqlite", "path": str(tmp_path / "odd.db")}}}}

    found = await told(
        tmp_path, "database-connector", tools, operation="query", database="odd", query="SELECT * FROM odd"
    )

    row = {"bytes": {"base64": "/wA="}, "day": "2024-02-29", "endless": "inf", "wide": 9223372036854775807}
    assert found["rows"] == [row]
