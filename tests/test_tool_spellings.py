"""An error of a tool names its parameter as the caller wrote it, whichever of its spellings that is."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, Field

from kernel import opened
from llmspell_hookspecs import InvalidInputError, LlmspellError, Tool
from llmspell_hookspecs.parameters import as_given
from tool_calls import CALLS, OURS


def tool_of(name: str) -> type[Tool[Any]]:
    [point] = [each for each in entry_points(group="llmspell.tools") if each.name == name]
    kind = point.load()
    return type(getattr(kind, "llmspell_tool", kind)())


def spelled() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Each spelling of each parameter that has several, beside the rest of a sound call; the value fits none."""
    for name in OURS:
        for field in tool_of(name).parameters.model_fields.values():
            alias = field.validation_alias
            names = [each for each in alias.choices if isinstance(each, str)] if isinstance(alias, AliasChoices) else []
            for spelling in names if len(names) > 1 else ():
                others = {key: value for key, value in CALLS[name][0].items() if key not in names}
                yield name, spelling, names[0] if spelling != names[0] else "", {**others, spelling: [[{}]]}


EACH = list(spelled())


@pytest.mark.parametrize(
    ("name", "spelling", "first", "given"), EACH, ids=[f"{name}-{spelling}" for name, spelling, _, _ in EACH]
)
async def test_what_does_not_fit_is_told_by_the_name_that_was_given(
    name: str, spelling: str, first: str, given: dict[str, Any]
) -> None:
    async with opened() as host:
        try:
            await host.call(f"tool:{name}", given)
        except InvalidInputError as error:
            told = str(error).partition(";")[0]
            assert not first or f"parameter {first}:" not in told
            if error.field in (spelling, first):
                assert error.field == spelling
                assert f"parameter {spelling}: " in told
        except LlmspellError as error:
            assert not first or f": {first}: " not in str(error)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("image_processor", {"file_path": "a.txt"}, "image_processor: file_path: that is no image"),
        ("image_processor", {"source_path": "a.txt"}, "image_processor: source_path: that is no image"),
        (
            "image_processor",
            {"source_path": "a.txt", "file_path": "b"},
            "file_path: it means the same as source_path, ",
        ),
        ("audio_processor", {"file_path": "a.txt"}, "audio_processor: file_path: that is no sound"),
        ("video_processor", {"source_path": "a.txt"}, "video_processor: source_path: that is no video"),
        ("template_engine", {"template": "{% if %}"}, "template_engine: template: "),
        ("template_engine", {"input": "{% if %}"}, "template_engine: input: "),
        ("xml-processor", {"operation": "query", "input": "<a/>", "xpath": "//["}, "xml-processor: xpath: "),
        ("process_executor", {"command": "no/bare"}, "process_executor: command: "),
        (
            "json_processor",
            {"input": 1, "query": "]"},
            "json_processor: query: ",
        ),
    ],
)
async def test_what_a_tool_finds_wrong_is_told_by_the_name_that_was_given(
    tmp_path: Path, name: str, given: dict[str, Any], told: str
) -> None:
    if name == "video_processor":
        pytest.importorskip("av")
    (tmp_path / "a.txt").write_text("no picture")
    paths = {"read": [str(tmp_path)], "write": [str(tmp_path)]}
    given = {key: str(tmp_path / value) if key.endswith("_path") else value for key, value in given.items()}

    async with opened(settings={"security": {"paths": paths}}) as host:
        with pytest.raises(LlmspellError) as caught:
            await host.call(f"tool:{name}", given)

    assert told in str(caught.value)


class Spelled(BaseModel):
    """A parameter of three names, one of none but its own, and one of another."""

    source: str = Field(default="", validation_alias=AliasChoices("source", "input", "code"))
    schema_: str = Field(default="", validation_alias="schema")
    plain: str = ""


@pytest.mark.parametrize(
    ("given", "field", "spelling"),
    [
        ({"code": 1}, "source", "code"),
        ({"code": 1}, "input", "code"),
        ({"source": 1, "code": 1}, "source", "source"),
        ({}, "source", "source"),
        ({"schema": 1}, "schema", "schema"),
        ({"plain": 1}, "plain", "plain"),
        ({"code": 1}, "nothing", "nothing"),
    ],
)
def test_a_field_is_named_by_the_spelling_that_was_given(given: dict[str, Any], field: str, spelling: str) -> None:
    assert as_given(Spelled, given, field) == spelling
