"""The names of tools: each that the original has had, in each spelling, means the same tool everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs.services import Tools

NAMES = {
    # ours, and as the original registered it in v0.7.0: what its metadata said, and how it is called since
    "base64_encoder": ("base64-encoder",),
    "calculator": (),
    "data_validation": ("data-validation-tool", "data-validator"),
    "date_time_handler": ("datetime-handler",),
    "diff_calculator": ("diff-calculator",),
    "hash_calculator": ("hash-calculator",),
    "template_engine": ("template-engine-tool", "template-creator"),
    "text_manipulator": ("text-manipulator",),
    "uuid_generator": ("uuid-generator",),
    "citation-formatter": (),
    "csv_analyzer": ("csv-analyzer-tool", "csv-analyzer"),
    "json_processor": ("json-processor-tool", "json-processor"),
    "graph-builder": (),
    "pdf-processor": (),
    "graphql_query": ("graphql-query-tool", "graphql-query"),
    "http_request": ("http-request-tool", "http-requester"),
    "archive_handler": ("archive-handler-tool", "archive-handler"),
    "file_converter": ("file-converter",),
    "file_operations": ("file-operations-tool", "file-operations"),
    "file_search": ("file-search",),
    "file_watcher": ("file-watcher",),
    "environment_reader": ("environment-reader", "environment-manager"),
    "process_executor": ("process-executor",),
    "service_checker": ("service-checker",),
    "system_monitor": ("system-monitor",),
    "audio_processor": ("audio-processor",),
    "image_processor": ("image-processor",),
    "video_processor": ("video-processor",),
    "web_search": ("web-search-tool", "web-searcher"),
    "url-analyzer": (),
    "web-scraper": (),
    "api-tester": (),
    "webhook-caller": (),
    "webpage-monitor": (),
    "sitemap-crawler": (),
    "email-sender": ("email_sender",),
    "database-connector": ("database_connector",),
    "regex-matcher": (),
    "xml-processor": (),
    "tool-state": (),
}
METHODS = ("list", "get", "invoke", "execute", "exists", "categories", "discover", "executeAsync", "getByName")


def spelled() -> Iterator[tuple[str, str]]:
    for name, others in NAMES.items():
        for each in (name, *others):
            bare = each.removesuffix("-tool")
            for spelling in (each, bare, f"{bare}-tool"):
                yield spelling.replace("_", "-"), name
                yield spelling.replace("-", "_"), name


async def test_every_name_of_the_original_in_every_spelling_is_its_tool() -> None:
    async with opened() as host:
        tools = host.get(Tools)

        found = {spelling: tools.canonical(spelling) for spelling, _ in spelled()}

    assert found == dict(spelled())


async def test_scripts_find_and_call_tools_by_every_name() -> None:
    names = ", ".join(f"'{spelling}'" for spelling, _ in spelled())
    script = f"""
        local missing = {{}}
        for _, name in ipairs({{{names}}}) do
            if not (Tool.exists(name) and Tool.get(name) and Tool[name]) then missing[#missing + 1] = name end
        end
        return table.concat(missing, ", ")
    """
    async with opened() as host:
        assert await host.run_source(script, "lua") == ""
        methods = await host.run_source(f"return type({'), type('.join(f'Tool.{name}' for name in METHODS)})", "lua")

    assert list(methods) == ["function"] * len(METHODS)


@pytest.mark.parametrize(
    ("name", "parameters", "result"),
    [
        ("datetime-handler", {"operation": "info", "input": "2024-02-29T12:00:00Z"}, {"operation": "info"}),
        ("environment_manager", {"operation": "list"}, {"operation": "list"}),
        ("data_validator", {"input": 1, "rules": {"rules": [{"type": "required"}]}}, {"success": True}),
        ("calculator-tool", {"input": "1+1"}, {"success": True}),
    ],
)
async def test_a_call_by_another_name_is_a_call_of_the_tool(name: str, parameters: Any, result: dict[str, Any]) -> None:
    async with opened() as host:
        answer = await host.call(f"tool:{name}", parameters)

    assert {key: getattr(answer, key) for key in result} == result
