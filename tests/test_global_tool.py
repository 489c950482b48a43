from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    InvalidInputError,
    OperationCancelledError,
    Replace,
    Tool,
    ToolContext,
    ToolError,
    ToolResult,
)
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_plugins.globals.tool_schema import parameters_of
from puppet import Body, Puppet, Script


class Inner(BaseModel):
    """Options."""

    deep: bool = False


class ShelfParameters(BaseModel):
    operation: Literal["list", "read", "break", "refuse"] = Field(default="list", description="What to do.")
    text: str | None = None
    count: int = Field(description="How many.")
    options: Inner = Inner()


class Shelf(Tool[ShelfParameters]):
    """Keep books.

    Not shown.
    """

    name = "shelf"
    aliases = ("book-shelf",)
    category = "library"
    version = "1.2.0"

    async def run(self, parameters: ShelfParameters, context: ToolContext) -> Any:
        match parameters.operation:
            case "read":
                return ToolResult(operation="read", result={"size": 3}, text=parameters.text, metadata={"count": 1})
            case "break":
                raise ToolError("shelf: it fell; put it up again", code="broken", details={"at": 1})
            case "refuse":
                return ToolResult(operation="refuse", success=False, error={"message": "no"}, message="not today")
        return {"books": ["a"] * parameters.count}


class NoParameters(BaseModel):
    pass


class Plain(Tool[NoParameters]):
    """Return the number 5."""

    name = "plain"

    async def run(self, parameters: NoParameters, context: ToolContext) -> Any:
        return 5


async def run_script(body: Body) -> Any:
    async with Host.open(False, plugins=[Puppet(main=body), Shelf, Plain], discover=False) as host:
        return await host.run_source("main", "puppet")


async def shelf(**parameters: Any) -> Any:
    return await run_script(lambda script: script("Tool.invoke", "shelf", {"count": 1, **parameters}))


async def test_the_envelope_lies_at_the_top_with_text_and_data_beside() -> None:
    answer = await shelf(count=2)

    assert answer["success"] is True
    assert answer["result"] == answer["data"] == {"books": ["a", "a"]}
    assert isinstance(answer["result"]["books"], list)
    assert '"books"' in answer["text"]
    assert answer["_raw_text"] == answer["text"]


async def test_raw_text_is_the_text_and_the_result_the_data() -> None:
    answer = await shelf(operation="read", text="three")

    assert (answer["text"], answer["_raw_text"], answer["data"]) == ("three", "three", {"size": 3})
    assert (answer["operation"], answer["metadata"]["count"]) == ("read", 1)
    assert answer["metadata"]["execution_time_ms"] > 0


async def test_text_that_is_json_is_parsed_as_data() -> None:
    assert (await shelf(operation="read", text=' [{"a": null}]'))["data"] == [{"a": None}]
    assert (await shelf(operation="read", text="{broken"))["data"] == {"size": 3}


async def test_an_answer_without_success_is_no_error() -> None:
    answer = await shelf(operation="refuse")

    assert (answer["success"], answer["error"], answer["message"]) == (False, {"message": "no"}, "not today")


async def test_a_failure_says_that_the_tool_failed_and_keeps_its_code() -> None:
    with pytest.raises(ToolError, match=r"^Tool execution failed: shelf: it fell") as caught:
        await shelf(operation="break")

    assert (caught.value.code, caught.value.details) == ("broken", {"at": 1})


async def test_wrong_parameters_and_unknown_tools_are_failures_too() -> None:
    with pytest.raises(ToolError, match=r"^Tool execution failed: .*count"):
        await shelf(count="many")
    with pytest.raises(ToolError, match=r"^Tool execution failed: .*nosuch") as caught:
        await run_script(lambda script: script("Tool.execute", "nosuch"))
    assert caught.value.code == ComponentNotFoundError.code


async def test_a_denied_call_names_hook_point_and_reason() -> None:
    with pytest.raises(OperationCancelledError) as caught:
        async with Host.open(False, plugins=[(puppet := Puppet()), Shelf], discover=False) as host:
            host.hooks.register(
                "BeforeToolExecution", lambda context: Cancel("closed today"), kind="guard", name="door"
            )
            puppet.bodies["main"] = lambda script: script("Tool.invoke", "shelf", {"count": 1})
            await host.run_source("main", "puppet")

    message = str(caught.value)
    assert message.startswith("Tool execution failed: shelf was denied by hook ")
    assert message.endswith("door at before_tool_execution: closed today")
    assert (caught.value.code, caught.value.reason) == ("denied", "closed today")


async def test_a_replaced_answer_has_the_same_shape() -> None:
    async with Host.open(False, plugins=[(puppet := Puppet()), Plain], discover=False) as host:
        host.hooks.register("BeforeToolExecution", lambda context: Replace(7))
        puppet.bodies["main"] = lambda script: script("Tool.invoke", "plain")
        answer = await host.run_source("main", "puppet")

    assert (answer["result"], answer["data"], answer["success"]) == (7, 7, True)


@pytest.mark.parametrize("method", ["invoke", "execute", "executeAsync", "execute_async", "call"])
async def test_a_tool_is_run_under_every_spelling(method: str) -> None:
    async def body(script: Script) -> Any:
        handle = script.interface.globals["Tool"].script_lookup("plain")
        by_name = await script(f"Tool.{method}", "plain")
        by_handle = await script.of(handle, method, {})
        return by_name["result"], by_handle["result"]

    assert await run_script(body) == (5, 5)


async def test_tools_are_listed_as_tables_that_read_as_their_names() -> None:
    entries = await run_script(lambda script: script("Tool.list"))

    told = {entry.script_text(): entry.script_fields() for entry in entries}
    assert {"plain", "shelf"} <= set(told)
    assert told["shelf"]["name"] == "shelf"
    assert (told["shelf"]["description"], told["shelf"]["version"]) == ("Keep books.", "1.2.0")


async def test_a_listing_can_be_written_as_json() -> None:
    async def body(script: Script) -> Any:
        return await script("JSON.stringify", await script("Tool.list"))

    assert '"name":"plain"' in await run_script(body)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (({"category": "library"},), ["shelf"]),
        (("library",), ["shelf"]),
        (({"tag": "number 5"},), ["plain"]),
        (({"category": "nothing"},), []),
        (("", "Keep books"), ["shelf"]),
    ],
)
async def test_tools_are_found_by_category_and_tag(filters: tuple[Any, ...], names: list[str]) -> None:
    found = await run_script(lambda script: script("Tool.discover", *filters))

    assert sorted(entry.script_text() for entry in found) == names


async def test_a_filter_that_there_is_not_is_named_and_nothing_is_listed() -> None:
    with pytest.raises(
        InvalidInputError, match=r"Tool\.discover: there is no option 'catgory'; did you mean 'category'"
    ):
        await run_script(lambda script: script("Tool.discover", {"catgory": "library"}))


async def test_categories_and_existence() -> None:
    async def body(script: Script) -> Any:
        exists = [await script("Tool.exists", name) for name in ("shelf", "book-shelf", "nosuch")]
        return exists, await script("Tool.categories")

    exists, categories = await run_script(body)

    assert exists == [True, True, False]
    assert {"library", "utility"} <= set(categories)
    assert categories == sorted(set(categories))


async def test_a_tool_tells_its_schema() -> None:
    async def body(script: Script) -> Any:
        handle = await script("Tool.get", "book-shelf")
        fields = {name: handle.script_lookup(name) for name in ("description", "version", "schema", "nothing")}
        return handle.script_fields(), fields, await script.of(handle, "getSchema"), await script("Tool.get", "nosuch")

    own, fields, schema, missing = await run_script(body)

    assert own == {"name": "shelf"}
    assert (fields["description"], fields["version"], fields["nothing"]) == ("Keep books.", "1.2.0", None)
    assert fields["schema"] == schema
    assert (schema["name"], missing) == ("shelf", None)
    by_name = {parameter["name"]: parameter for parameter in schema["parameters"]}
    assert by_name["count"] == {"name": "count", "type": "integer", "description": "How many.", "required": True}
    assert by_name["operation"]["default"] == "list"
    assert by_name["operation"]["enum"] == ["list", "read", "break", "refuse"]
    assert by_name["text"]["type"] == "string"
    assert by_name["options"]["type"] == "object"
    assert schema["json_schema"]["required"] == ["count"]


def test_a_schema_without_properties_has_no_parameters() -> None:
    assert parameters_of({}) == []
    assert parameters_of({"properties": {"any": {}}}) == [
        {"name": "any", "type": "any", "description": "", "required": False}
    ]


async def test_a_name_that_is_no_tool_looks_up_to_nothing() -> None:
    async def body(script: Script) -> Any:
        return script.interface.globals["Tool"].script_lookup("nosuch")

    assert await run_script(body) is None


async def test_a_parameter_that_a_tool_does_not_take_is_told_once_with_the_nearest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(script: Script) -> Any:
        answers = [
            await script("Tool.invoke", "shelf", {"count": 1, "operatoin": "x", "options": {"deep": True, "wide": 1}})
            for _ in range(2)
        ]
        return [answer["result"] for answer in answers]

    assert await run_script(body) == [{"books": ["a"]}] * 2
    assert [message for message in caplog.messages if "takes no" in message] == [
        "script: tool shelf takes no 'operatoin'; did you mean 'operation'?",
        "script: tool shelf takes no 'options.wide'; leave it out",
    ]


async def test_everybody_but_a_script_is_refused_a_parameter_that_a_tool_does_not_take() -> None:
    async with Host.open(settings=False) as host:
        with pytest.raises(InvalidInputError, match="precission"):
            await host.call("tool:calculator", {"operation": "evaluate", "input": "1", "precission": 3})
