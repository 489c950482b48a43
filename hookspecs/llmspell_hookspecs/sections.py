"""Sections of the settings, such as ``[limits]`` and ``[tools]``: pydantic models, each field with its `Policy`.

Those that plugins of the box use are theirs: an entry point in ``llmspell.settings`` is named as the section is, or
``events.tap`` if it brings a key of a section that there is. Other packages' plugins have ``[plugins.NAME]``: sections
are read before settings can say whose code may be imported, so an entry point of another package there is refused.

Invariant: frozen; no switch passes for a number, and no secret in a table of a plugin is shown. What checks a section
is built when it is first given values, for most runs give none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from .foreign import survive_first_model
from .masking import conceal

__all__ = ["GROUP", "Names", "Section", "TableSection"]

GROUP: Final = "llmspell.settings"
"""The group of entry points that bring sections."""
survive_first_model()
Names: TypeAlias = Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=1000)]
"""What a list in settings holds."""


class _Typed(BaseModel):
    model_config = ConfigDict(defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for a number, which pydantic takes for 1 and 0."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError("should be a number, neither true nor false")
        return value


class Section(_Typed):
    """A section of fixed keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TableSection(_Typed):
    """A section that holds also tables of plugins: ``[tools.NAME]``.

    Attributes:
        typed: Whether a table may be for another plugin than the one of its name, which its ``type`` names.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, dict[str, Any]] = Field(init=False)
    typed: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _hide_secrets(cls, value: Any) -> Any:
        return {key: conceal(item) for key, item in value.items()} if isinstance(value, Mapping) else value
