"""The page on built-in hooks: each of its tables opens a host with that plugin; each optional plugin is on a page."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from kernel import opened

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "built-in-hooks.md").read_text()
TABLES = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]
OPTIONAL = [
    point.name
    for point in entry_points(group="llmspell.plugins")
    if point.extras and point.dist is not None and point.dist.name == "llmspell"
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: "+".join(table["plugins"]))
async def test_each_table_of_the_page_opens_a_host_with_its_plugins(table: dict[str, dict[str, object]]) -> None:
    async with opened(settings=table) as host:
        registered = {hook.plugin for hook in host.hooks.list()}

    assert host.plugins.failed == ()
    assert set(table["plugins"]) <= registered


@pytest.mark.parametrize("name", OPTIONAL)
def test_each_optional_plugin_has_a_section_or_is_enabled_on_another_page(name: str) -> None:
    pages = {page.name: page.read_text() for page in DOCS.glob("*.md")}
    enabling = [page for page, text in pages.items() if f"[plugins.{name}]" in text or f"hook enable {name}" in text]

    assert enabling
    assert enabling != ["built-in-hooks.md"] or f"\n## {name}\n" in PAGE
