"""What a script says of an agent that it makes, in each of the forms that scripts know.

``{name=, model=, tools=}``, the original's ``{model={provider=, model_id=}, allowed_tools=, custom_config={...},
resource_limits={...}}``, and the builder's setters, which fill the same table.

Invariant: an unknown key is told, with the nearest one, and left out; what the original had and nobody can hold to is
said to have no effect.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.parameters import unknown_keys, without_keys

__all__ = ["kind_of", "read_agent", "read_input"]

_log = logging.getLogger("llmspell.script")
_POWERLESS: Final = ("max_memory_mb", "max_recursion_depth")
_MEDIA: Final = ("media", "image", "images", "output_modalities")
_NESTED: Final = ("custom_config", "resource_limits", "settings", "config")


def _texts(value: Any) -> Any:
    """One text stands for a list of one, and an empty table for an empty list."""
    if isinstance(value, str):
        return (value,)
    return () if isinstance(value, Mapping) and not value else value


def _spelled(*names: str) -> Any:
    return AliasChoices(*names)


class _Agent(BaseModel):
    """What an agent is made from, under every name that scripts give it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", max_length=200)
    kind: str = Field(default="llm", validation_alias=_spelled("kind", "agent_type", "type", "template"))
    description: str = ""
    model: str = Field(default="", validation_alias=_spelled("model", "provider_model"))
    provider: str = ""
    system_prompt: str = Field(default="", validation_alias=_spelled("system_prompt", "systemPrompt", "instructions"))
    tools: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        default=(), validation_alias=_spelled("tools", "allowed_tools", "allowedTools")
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, validation_alias=_spelled("max_tokens", "maxTokens"))
    max_conversation: int = Field(
        default=100, ge=0, validation_alias=_spelled("max_conversation", "max_conversation_length")
    )
    max_steps: int = Field(default=25, ge=1, validation_alias=_spelled("max_steps", "max_iterations"))
    max_tool_calls: int = Field(default=100, ge=0)
    max_parallel: int = Field(default=8, ge=1, validation_alias=_spelled("max_parallel", "max_concurrent_tools"))
    time_s: float = Field(
        default=300.0, gt=0, validation_alias=_spelled("time_s", "max_execution_time_secs", "max_execution_time")
    )
    base_url: str = ""
    api_key: SecretStr | None = None
    options: dict[str, Any] = {}
    capabilities: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()
    tags: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()
    handoffs: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        default=(), validation_alias=_spelled("handoffs", "hand_offs", "transfer_to")
    )
    handoff_carry: Literal["all", "summary", "last"] = Field(
        default="all", validation_alias=_spelled("handoff_carry", "carry")
    )


_OWN: Final[dict[Any, str]] = {
    str(alias): name
    for name, field in _Agent.model_fields.items()
    if isinstance(field.validation_alias, AliasChoices)
    for alias in field.validation_alias.choices
}
"""The field that each spelling stands for."""


def kind_of(given: Mapping[str, Any]) -> str:
    """Return which kind of agent a script's table asks for."""
    kind = next((given[key] for key in given if _OWN.get(key, key) == "kind" and given[key]), "llm")
    return kind if isinstance(kind, str) else ""


def read_agent(where: str, given: Mapping[str, Any], own: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of `AgentConfig` that a script's table asks for.

    Args:
        where: Who asks, for errors.
        given: The table.
        own: The options of the kind, which may stand in the table itself.

    Raises:
        InvalidInputError: A value does not fit.
    """
    lifted = {key: given[key] for key in given if key in own and key not in _Agent.model_fields}
    if lifted:
        options = given.get("options")
        rest = {key: value for key, value in given.items() if key not in lifted}
        given = {**rest, "options": {**lifted, **(options if isinstance(options, Mapping) else {})}}
    flat = _flattened(where, given)
    for key in _POWERLESS:
        if flat.pop(key, None) is not None:
            _log.warning("%s: %s has no effect here; leave it out", where, key)
    unknown = unknown_keys(_Agent, flat)
    for stray in unknown:
        advice = f"did you mean {stray.nearest!r}?" if stray.nearest else "leave it out"
        _log.warning("%s: an agent has no %r; %s", where, stray.dotted, advice)
    try:
        read = _Agent.model_validate(without_keys(flat, unknown))
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        known = ", ".join(_Agent.model_fields)
        message = f"{where}: {field}: {problem['msg']}; there are {known}"
        raise InvalidInputError(message, field=field) from None  # pydantic's text quotes what was given, keys included
    fields = {name: getattr(read, name) for name in read.model_fields_set if name != "provider"}
    if read.provider:
        fields["model"] = f"{read.provider}/{read.model}" if read.model else read.provider
    if not fields.get("name"):
        fields.pop("name", None)
    return fields


def _flattened(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The table under the fields' own names, with the original's inner tables laid into it; what comes last wins."""
    flat = {_OWN.get(key, key): value for key, value in given.items() if value is not None}
    model = flat.get("model")
    if isinstance(model, Mapping):
        del flat["model"]
        inner = dict(model)
        name = inner.pop("model_id", None) or inner.pop("name", None) or inner.pop("model", None) or ""
        flat |= {"model": name, **_flattened(where, inner)}
    for key in _NESTED:
        inner = flat.pop(key, None)
        if isinstance(inner, Mapping):
            flat |= _flattened(where, inner)
        elif inner not in (None, [], ()):
            raise InvalidInputError(f"{where}: {key} is a {type(inner).__name__}; give a table", field=key)
    return flat


def read_input(where: str, given: Any) -> str | dict[str, Any]:
    """Return what a script asks an agent: a text, or a table with ``text`` (``prompt``, ``input``) and parameters.

    Raises:
        InvalidInputError: There is no text in it, or there is a picture.
    """
    if isinstance(given, str):
        return given
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"{where}: the input is no text; give a text, or a table with text", field="input")
    table = dict(given)
    for key in _MEDIA:
        if table.pop(key, None):
            raise InvalidInputError(f"{where}: {key}: agents take texts only; leave it out", field=key)
    if not any(isinstance(table.get(key), str) for key in ("text", "prompt", "input")) and "messages" not in table:
        raise InvalidInputError(f"{where}: the text is missing; give {{text = ...}}", field="text")
    return table
