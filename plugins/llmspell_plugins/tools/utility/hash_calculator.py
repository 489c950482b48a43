"""The hash_calculator tool: the hash of a text or a file, or whether it is the expected one.

Invariant: a file is read piece by piece, so its size costs time and no memory; hashes are compared in constant time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmspell_hookspecs import InvalidInputError, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, PathAccess
from llmspell_plugins.tools.filesystem.content import pieces
from llmspell_plugins.tools.filesystem.failure import explaining

__all__ = ["HashCalculator", "HashCalculatorParameters", "HashCalculatorSettings"]

_SHORT = 65_536
_HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


class HashCalculatorParameters(BaseModel):
    """What the hash_calculator takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["hash", "verify"] = Field(description="Tell the hash, or whether it is expected_hash.")
    algorithm: Literal[
        "md5",
        "sha1",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
        "sha3_224",
        "sha3_256",
        "sha3_384",
        "sha3_512",
        "blake2b",
        "blake2s",
        "blake3",
    ] = Field(default="sha256", description="Which hash; md5 and sha1 protect nothing, they only compare.")
    input_type: Literal["string", "file"] = Field(
        default="string", description="Whether input or file is hashed; a file alone needs no word."
    )
    input: str | None = Field(default=None, description="The text to hash, as UTF-8.")
    file: str | None = Field(default=None, description="The file to hash.")
    format: Literal["hex", "base64"] = Field(default="hex", description="How the hash is written.")
    expected_hash: str | None = Field(default=None, description="verify: what it should be.")
    expected_format: Literal["hex", "base64"] = Field(default="hex", description="verify: how that is written.")

    @field_validator("algorithm", mode="before")
    @classmethod
    def _canonical(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        name = given.lower().replace("-", "_")
        return name if name.startswith("sha3") else name.replace("_", "")

    @model_validator(mode="before")
    @classmethod
    def _of_file(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("file") is not None and given.get("input") is None:
            return {"input_type": "file", **given}
        return given

    @model_validator(mode="after")
    def _complete(self) -> HashCalculatorParameters:
        if self.input_type == "file" and self.file is None:
            raise ValueError("input_type file needs file")
        if self.input_type == "string" and self.input is None:
            raise ValueError("give input, or file with input_type file")
        if self.operation == "verify" and self.expected_hash is None:
            raise ValueError("verify needs expected_hash")
        return self


class HashCalculatorSettings(BaseModel):
    """``[tools.hash_calculator]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_size_bytes: int = Field(default=10 * 1024**3, ge=0, description="The largest file that is read.")


class HashCalculator(Tool[HashCalculatorParameters]):
    """Hash a text or a file, or verify its hash: MD5, SHA-1, SHA-2, SHA-3, BLAKE2, BLAKE3."""

    name = "hash_calculator"
    aliases = ("hash-calculator",)
    category = "utility"
    level = SecurityLevel.RESTRICTED
    repeatable = True
    examples = (
        ToolExample("a text", {"operation": "hash", "input": "hello"}, {"algorithm": "sha256", "hash": _HELLO}),
        ToolExample("a check", {"operation": "verify", "input": "x", "expected_hash": _HELLO}, {"verified": False}),
        ToolExample("a file", {"operation": "hash", "file": "a.iso", "algorithm": "blake3"}, needs="a file a.iso"),
    )
    Settings: ClassVar[type[BaseModel] | None] = HashCalculatorSettings
    settings: HashCalculatorSettings

    def access(self, parameters: HashCalculatorParameters) -> Sequence[Access]:
        """Return the file."""
        return (PathAccess("file"),) if parameters.input_type == "file" else ()

    async def run(self, parameters: HashCalculatorParameters, context: ToolContext) -> ToolResult:
        """Return ``{algorithm, hash, format}``, or ``{verified, algorithm, expected, actual}``.

        Raises:
            InvalidInputError: The text or the expected hash cannot be one.
            ToolError: The file cannot be read.
            ResourceLimitError: The file is too large.
        """
        with explaining(self.name, parameters.file or ""):
            if parameters.input_type == "string" and len(parameters.input or "") <= _SHORT:
                actual = self._digest(parameters)
            else:
                actual = await context.run_thread(self._digest, parameters)
        algorithm = parameters.algorithm
        if parameters.operation == "hash":
            shown = _written(actual, parameters.format)
            result: dict[str, Any] = {"algorithm": algorithm, "hash": shown, "format": parameters.format}
            return ToolResult(operation="hash", result=result)
        expected = _expected(parameters)
        verified = hmac.compare_digest(expected, actual)
        form = parameters.expected_format
        result = {
            "verified": verified,
            "algorithm": algorithm,
            "expected": parameters.expected_hash,
            "actual": _written(actual, form),
        }
        message = "the hash is the expected one" if verified else "the hash is another one"
        return ToolResult(operation="verify", result=result, message=message)

    def _digest(self, parameters: HashCalculatorParameters) -> bytes:
        digest: Any = (
            blake3() if parameters.algorithm == "blake3" else hashlib.new(parameters.algorithm, usedforsecurity=False)
        )
        if parameters.input_type == "file":
            for piece in pieces(parameters.file or "", self.settings.max_file_size_bytes):
                digest.update(piece)
        else:
            digest.update(_encoded(parameters.input or ""))
        answer: bytes = digest.digest()
        return answer


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        message = "hash_calculator: input: it is no text that UTF-8 can hold; hash a file instead"
        raise InvalidInputError(message, field="input") from error


def _written(digest: bytes, form: str) -> str:
    return digest.hex() if form == "hex" else base64.b64encode(digest).decode("ascii")


def _expected(parameters: HashCalculatorParameters) -> bytes:
    text, form = (parameters.expected_hash or "").strip(), parameters.expected_format
    try:
        return bytes.fromhex(text) if form == "hex" else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"hash_calculator: expected_hash: {text!r:.80} is not {form}; set expected_format"
        raise InvalidInputError(message, field="expected_hash") from error
