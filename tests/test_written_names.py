"""What people write for the fields of a model."""

from __future__ import annotations

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from llmspell import Host
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.parameters import written_names, written_path


class _Aliased(BaseModel):
    """Fields that people write otherwise than Python does."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: str = Field(alias="from")
    ttl_s: float = Field(default=1, validation_alias=AliasChoices("ttl", "ttl_s"))


def test_fields_are_named_by_what_people_write() -> None:
    class Outer(BaseModel):
        options: _Aliased | None = None
        class_: int = Field(default=0, alias="class")

    assert written_names(Outer) == ["options", "class"]
    assert written_names(_Aliased) == ["from", "ttl"]
    assert written_path(Outer, ("options", "from_")) == "options.from"
    assert written_path(Outer, ("options", "ttl_s")) == "options.ttl"
    assert written_path(Outer, ("options", "other", 3)) == "options.other.3"
    assert written_path(Outer, ("options", "")) == "options."
    assert written_path(Outer, ("", "from_")) == ".from_"


@pytest.mark.parametrize("name", ["from", "from_"])
async def test_an_error_of_a_tools_parameters_names_the_field_by_what_people_write(name: str) -> None:
    given = {"operation": "replace", "input": "a", "options": {name: 5}}

    async with Host.open() as host:
        with pytest.raises(InvalidInputError, match=r"parameter options\.from: ") as caught:
            await host.call("tool:text_manipulator", given)

    assert caught.value.field == "options.from"
