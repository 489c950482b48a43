"""The uuid_generator tool: UUIDs of RFC 9562, and the ids that people make of them.

Invariant: what it draws comes from the system's source of randomness, and version 1 tells a random node, never this
machine's network address.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import InvalidInputError, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult

__all__ = ["UuidGenerator", "UuidGeneratorParameters"]

_NAMESPACES = {
    "dns": uuid.NAMESPACE_DNS,
    "url": uuid.NAMESPACE_URL,
    "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}
_SHAPE = re.compile(
    r"(?:urn:uuid:)?(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}",
    re.ASCII | re.IGNORECASE,
)
_DNS_EXAMPLE = "cfbff0d1-9375-5685-968c-48ce8b15ae17"
_MULTICAST = 1 << 40


class UuidGeneratorParameters(BaseModel):
    """What the uuid_generator takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["generate", "component_id", "deterministic", "custom", "validate"] = Field(
        default="generate",
        description="A UUID, an id with a prefix, one that a name always gives, one with parts, a check.",
    )
    version: Literal["v1", "v4", "v5", "v7"] = Field(
        default="v4", description="generate: by time, random, by name, or sortable by time."
    )
    format: Literal["standard", "hyphenated", "simple", "urn", "braced"] = Field(
        default="standard", description="How a UUID is written; standard is hyphenated."
    )
    namespace: str | None = Field(
        default=None, description="v5 and deterministic: dns, url, oid, x500, or a UUID; dns if left out there."
    )
    name: str | None = Field(default=None, max_length=100_000, description="v5 and deterministic: the name.")
    prefix: str | None = Field(default=None, max_length=200, description="component_id, custom: the beginning.")
    suffix: str | None = Field(default=None, max_length=200, description="custom: the end.")
    timestamp: bool = Field(default=False, description="custom: hold the time, as seconds since the epoch.")
    short: bool = Field(default=False, description="component_id and custom: 8 digits, which may meet twice.")
    uuid: str | None = Field(
        default=None,
        max_length=200,
        validation_alias=AliasChoices("uuid", "input"),
        description="validate: the text; also called input.",
    )

    @model_validator(mode="after")
    def _complete(self) -> UuidGeneratorParameters:
        needs = {"component_id": "prefix", "deterministic": "name", "validate": "uuid"}.get(self.operation)
        if self.operation == "generate" and self.version == "v5":
            needs = "name"
            if self.namespace is None:
                raise ValueError("v5 needs namespace and name")
        if needs and getattr(self, needs) is None:
            raise ValueError(f"{self.operation} needs {needs}")
        return self


class UuidGenerator(Tool[UuidGeneratorParameters]):
    """Make a UUID, an id of a component, an id that a name always gives, or check a UUID."""

    name = "uuid_generator"
    aliases = ("uuid-generator",)
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample("a random one", {"operation": "generate"}, {"version": "v4", "format": "standard"}),
        ToolExample("of a name", {"operation": "deterministic", "name": "example.com"}, {"id": _DNS_EXAMPLE}),
        ToolExample("a check", {"operation": "validate", "uuid": "not-one"}, {"valid": False}),
    )

    async def run(self, parameters: UuidGeneratorParameters, context: ToolContext) -> ToolResult:
        """Return ``{uuid, version, format}``, ``{id, ...}``, or ``{valid, uuid, version, variant}``.

        Raises:
            InvalidInputError: The namespace is none, or the name no text.
        """
        answer = {
            "generate": _generate,
            "component_id": _component_id,
            "deterministic": _deterministic,
            "custom": _custom,
            "validate": _validate,
        }[parameters.operation](parameters)
        return ToolResult(operation=parameters.operation, result=answer)


def _generate(parameters: UuidGeneratorParameters) -> dict[str, Any]:
    match parameters.version:
        case "v1":
            made = uuid.uuid1(node=secrets.randbits(48) | _MULTICAST)
        case "v5":
            made = _named(parameters)
        case "v7":
            made = _by_time(time.time_ns() // 1_000_000)
        case _:
            made = uuid.uuid4()
    return {"uuid": _written(made, parameters.format), "version": parameters.version, "format": parameters.format}


def _by_time(now_ms: int) -> uuid.UUID:
    """Version 7 of RFC 9562: 48 bits of milliseconds, then 74 random ones."""
    number = (now_ms & (1 << 48) - 1) << 80 | 7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=number)


def _component_id(parameters: UuidGeneratorParameters) -> dict[str, Any]:
    drawn = uuid.uuid4()
    tail = drawn.hex[:8] if parameters.short else _written(drawn, parameters.format)
    return {"id": f"{parameters.prefix}_{tail}", "prefix": parameters.prefix, "short": parameters.short}


def _deterministic(parameters: UuidGeneratorParameters) -> dict[str, Any]:
    made = _written(_named(parameters), parameters.format)
    return {"id": made, "namespace": parameters.namespace or "dns", "name": parameters.name}


def _custom(parameters: UuidGeneratorParameters) -> dict[str, Any]:
    drawn = uuid.uuid4()
    now = str(int(time.time())) if parameters.timestamp else None
    middle = drawn.hex[:8] if parameters.short else _written(drawn, parameters.format)
    made = "_".join(part for part in (parameters.prefix, now, middle, parameters.suffix) if part)
    return {
        "id": made,
        "prefix": parameters.prefix,
        "suffix": parameters.suffix,
        "timestamp": parameters.timestamp,
        "short": parameters.short,
    }


def _validate(parameters: UuidGeneratorParameters) -> dict[str, Any]:
    text = (parameters.uuid or "").strip()
    if not _SHAPE.fullmatch(text):
        return {
            "valid": False,
            "uuid": text,
            "error": "it is not 32 hex digits, plain, with hyphens, as URN or in braces",
        }
    read = uuid.UUID(text)
    version = f"v{read.version}" if read.version else "nil" if read.int == 0 else None
    variant = {uuid.RFC_4122: "rfc4122", uuid.RESERVED_NCS: "ncs", uuid.RESERVED_MICROSOFT: "microsoft"}
    return {"valid": True, "uuid": str(read), "version": version, "variant": variant.get(read.variant, "future")}


def _named(parameters: UuidGeneratorParameters) -> uuid.UUID:
    given = parameters.namespace or "dns"
    space = _NAMESPACES.get(given.lower())
    if space is None:
        if not _SHAPE.fullmatch(given):
            message = f"uuid_generator: namespace: {given!r:.80} is none; take dns, url, oid, x500, or a UUID"
            raise InvalidInputError(message, field="namespace")
        space = uuid.UUID(given)
    try:
        return uuid.uuid5(space, parameters.name or "")
    except UnicodeEncodeError as error:
        message = "uuid_generator: name: it is no text that UTF-8 can hold; give another"
        raise InvalidInputError(message, field="name") from error


def _written(made: uuid.UUID, form: str) -> str:
    if form == "simple":
        return made.hex
    if form == "urn":
        return made.urn
    return f"{{{made}}}" if form == "braced" else str(made)
