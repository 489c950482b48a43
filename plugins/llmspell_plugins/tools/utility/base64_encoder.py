"""The base64_encoder tool: bytes as base64 text and back, of a text, of hex digits, or of a file.

Invariant: what it decodes it would encode the same again, line breaks aside: other characters, missing padding (which
url-safe may leave out) and tails whose spare bits are set are refused. Sizes in bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmspell_hookspecs import InvalidInputError, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.tool import Access, PathAccess
from llmspell_plugins.tools.filesystem.blocking import Blocking
from llmspell_plugins.tools.filesystem.content import read_file, write_file
from llmspell_plugins.tools.filesystem.failure import explaining

__all__ = ["Base64Encoder", "Base64EncoderParameters", "Base64EncoderSettings"]

_SHORT = 65_536
_ALTERNATIVE = {"standard": None, "url-safe": b"-_"}


class Base64EncoderParameters(BaseModel):
    """What the base64_encoder takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["encode", "decode"] = Field(description="What to do.")
    variant: Literal["standard", "url-safe"] = Field(
        default="standard", description="The alphabet of RFC 4648: with + and /, or with - and _."
    )
    input: str | None = Field(default=None, description="The text to encode or decode; this or input_file.")
    input_file: str | None = Field(default=None, description="A file to encode or decode.")
    output_file: str | None = Field(default=None, description="A file that the answer is written to.")
    binary_input: bool = Field(default=False, description="encode: the input is hex digits of bytes, not a text.")

    @field_validator("variant", mode="before")
    @classmethod
    def _canonical(cls, given: Any) -> Any:
        return "url-safe" if given in ("url_safe", "urlsafe", "url") else given

    @model_validator(mode="after")
    def _complete(self) -> Base64EncoderParameters:
        if (self.input is None) == (self.input_file is None):
            raise ValueError("give either input or input_file")
        return self


class Base64EncoderSettings(BaseModel):
    """``[tools.base64_encoder]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=50 * 1024 * 1024, ge=0, description="The largest file that is read.")


class Base64Encoder(Tool[Base64EncoderParameters]):
    """Encode text, bytes or a file as base64, or decode it."""

    name = "base64_encoder"
    aliases = ("base64-encoder",)
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample("a text", {"operation": "encode", "input": "Hello, World!"}, {"output": "SGVsbG8sIFdvcmxkIQ=="}),
        ToolExample("and back", {"operation": "decode", "input": "SGVsbG8="}, {"output": "Hello", "binary": False}),
        ToolExample("a file", {"operation": "encode", "input_file": "photo.jpg"}, needs="a file photo.jpg"),
    )
    Settings: ClassVar[type[BaseModel] | None] = Base64EncoderSettings
    settings: Base64EncoderSettings

    def access(self, parameters: Base64EncoderParameters) -> Sequence[Access]:
        """Return the files."""
        read = (PathAccess("input_file"),) if parameters.input_file is not None else ()
        return (*read, PathAccess("output_file", "write")) if parameters.output_file is not None else read

    async def run(self, parameters: Base64EncoderParameters, context: ToolContext) -> ToolResult:
        """Return ``{output, variant, binary}``: bytes that are no text come as hex digits, and binary says so.

        Raises:
            InvalidInputError: The input is not what the operation takes.
            ToolError: A file cannot be read or written.
            SecurityError: The file is one that no tool writes.
            ResourceLimitError: A file is too large.
        """
        given = parameters.input_file or ""
        if parameters.output_file is not None:
            Blocking.of(context.services).check(parameters.output_file)
        if parameters.input is not None:
            context.charge(3 * len(parameters.input))
        with explaining(self.name, given):
            if parameters.input_file is None and len(parameters.input or "") <= _SHORT:
                content, binary = _work(parameters, _bytes_of(parameters))
            else:
                content, binary = await context.run_thread(self._from, parameters, context)
        if parameters.output_file is None:
            output = content.hex() if binary else content.decode("utf-8")
            result = {"output": output, "variant": parameters.variant, "binary": binary}
            return ToolResult(operation=parameters.operation, result=result)
        with explaining(self.name, parameters.output_file):
            limit = self.settings.max_file_size_bytes
            await context.run_thread(write_file, parameters.output_file, content, limit)
        result = {
            "output": parameters.output_file,
            "output_file": parameters.output_file,
            "size": len(content),
            "variant": parameters.variant,
            "binary": binary,
        }
        return ToolResult(operation=parameters.operation, result=result, message=f"wrote {len(content)} bytes")

    def _from(self, parameters: Base64EncoderParameters, context: ToolContext) -> tuple[bytes, bool]:
        if parameters.input_file is None:
            return _work(parameters, _bytes_of(parameters))
        content = read_file(parameters.input_file, self.settings.max_file_size_bytes, context.charge)
        context.charge(2 * len(content))
        return _work(parameters, content)


def _bytes_of(parameters: Base64EncoderParameters) -> bytes:
    text = parameters.input or ""
    try:
        if parameters.operation == "encode" and parameters.binary_input:
            return bytes.fromhex(text)
        return text.encode("utf-8")
    except ValueError as error:
        kind = "hex digits" if parameters.binary_input else "a text"
        message = f"base64_encoder: input: it is not {kind} ({line_of_error(error)}); check it"
        raise InvalidInputError(message, field="input") from error


def _work(parameters: Base64EncoderParameters, content: bytes) -> tuple[bytes, bool]:
    """The answer, and whether it is no text."""
    alternative = _ALTERNATIVE[parameters.variant]
    if parameters.operation == "encode":
        return base64.b64encode(content, alternative), False
    decoded = _decoded(content, alternative, parameters.variant)
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return decoded, True
    return decoded, False


def _decoded(content: bytes, alternative: bytes | None, variant: str) -> bytes:
    field = "input"
    packed = content.translate(None, b"\r\n").strip(b" \t")
    if variant == "url-safe" and b"=" not in packed:
        packed += b"=" * (-len(packed) % 4)
    try:
        if alternative is not None and (b"+" in packed or b"/" in packed):
            raise binascii.Error("it holds + or /")
        decoded = base64.b64decode(packed, alternative, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"base64_encoder: {field}: it is not {variant} base64 ({line_of_error(error)}); check it"
        raise InvalidInputError(message, field=field) from error
    if base64.b64encode(decoded, alternative) != packed:
        message = f"base64_encoder: {field}: its last characters hold bits that belong to no byte; check it"
        raise InvalidInputError(message, field=field)
    return decoded
