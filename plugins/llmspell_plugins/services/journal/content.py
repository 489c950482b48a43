"""Values as they stand in a journal: MessagePack, and back into the type that asks for them.

What is larger than 1 KiB is a blob, stored once in its journal under its hash. A model's request names its messages and
tools by their hashes, so that a conversation of n turns takes n messages, not n squared.

Invariant: what comes back has its keys in the order in which they were; what stands for a request (`Encoder.digest`) is
the same whatever their order. A text that hooks are shown masked is masked here, and so is what is known to be a
secret. What has no bytes is told in words, marked as such, and is never served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
from blake3 import blake3
from msgspec import Struct, structs

from llmspell_hookspecs.any_json import to_json
from llmspell_hookspecs.errors import LlmspellError, StorageError, text_of_error
from llmspell_hookspecs.masking import MASK
from llmspell_hookspecs.model import Message, ModelRequest, ToolSpec
from llmspell_hookspecs.secret import hide
from llmspell_hookspecs.values import FrozenMapping, FrozenObject, freeze, thaw

from .secrets import Secrets

__all__ = ["Blobs", "Content", "Encoder", "decoded", "failure_facts", "plain_of", "shape_of"]

Blobs = Callable[[bytes], bytes | None]
"""Returns what is stored under a hash; None for nothing."""
_INLINE_BYTES: Final = 1024
_MEMO: Final = 8192
_DEEPEST: Final = 60
_NO_BYTES: Final = (TypeError, ValueError, OverflowError, RecursionError)
_TAG: Final = re.compile(rb"\[REDACTED:\w+:\w+\]")
_pack: Final = msgspec.msgpack.Encoder().encode


class Content(Struct, frozen=True, array_like=True):
    """A value on record.

    Attributes:
        form: ``value``; ``blob`` if ``data`` is the hash of one; ``model`` for a model's request, whose ``parts`` are
            the hashes of its messages and of its tools; ``words`` for what has no bytes; ``shape`` for its shape alone.
        data: The bytes.
        parts: The hashes of what it consists of.
    """

    form: Literal["value", "blob", "model", "words", "shape"]
    data: bytes
    parts: tuple[tuple[bytes, ...], tuple[bytes, ...]] = ((), ())

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The blobs that it needs."""
        return (self.data,) if self.form == "blob" else (*self.parts[0], *self.parts[1])

    @property
    def is_whole(self) -> bool:
        """Whether the value can be had again."""
        return self.form not in ("words", "shape")


class Encoder:
    """Encodes the values of one journal.

    Args:
        secrets: Those that are known; learns of others as they come by.
        clean: Takes out of a value what is not to be recorded; None for nothing.
        shape: Whether nothing but shapes is recorded.

    Attributes:
        blobs: What is to be stored since it was last emptied, by hash.
        known: The hashes of what is stored.
        masks: Whether known secrets are masked. Whoever finds that none of them is in what was encoded need not.
    """

    def __init__(self, secrets: Secrets, clean: Callable[[Any], Any] | None = None, *, shape: bool = False) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.known: set[bytes] = set()
        self.masks = False
        self._secrets = secrets
        self._clean = clean
        self._shape = shape
        self._memo: dict[int, tuple[Any, bytes]] = {}
        self._encode = msgspec.msgpack.Encoder(enc_hook=self._plain).encode
        self._sort = msgspec.msgpack.Encoder(enc_hook=self._plain, order="deterministic").encode

    @property
    def is_full(self) -> bool:
        """Whether values are recorded as they are."""
        return self._clean is None and not self._shape

    def encode(self, value: Any, about: Any = None) -> Content:
        """Return a value as it is recorded.

        Args:
            value: The value.
            about: What it was answered about, or what it came of.
        """
        sensitive = self._secrets.is_sensitive(value) or self._secrets.is_sensitive(about)
        if self._shape or sensitive:
            self._secrets.learn(value)
            with suppress(*_NO_BYTES):
                self._encode(value)  # learns of the secrets within
            return Content("shape", self.masked(_pack(shape_of(value, 1 if sensitive else _DEEPEST))))
        if type(value) is ModelRequest:
            return self._request(value)
        if self._clean is not None:
            value = self._clean(value)
        try:
            data = self._encode(value)
        except _NO_BYTES:
            return Content("words", self._in_words(value))
        if self.masks:
            data = self.masked(data)
        return Content("value", data) if len(data) <= _INLINE_BYTES else Content("blob", self._kept(data))

    def digest(self, value: Any) -> str:
        """Return what stands for what was asked, 16 hex digits: the same for equal values, whatever secrets they hold.

        It is made of what is recorded, so that nothing of the rest can be guessed from it.
        """
        if self._shape or self._secrets.is_sensitive(value):
            value = shape_of(value)
        elif self._clean is not None:
            value = self._clean(value)
        try:
            data = self._sort(value)
        except _NO_BYTES:
            data = self._in_words(value)
        else:
            if self.masks:
                data = self.masked(data, self._sort)
        if self._clean is not None:
            data = _TAG.sub(rb"[REDACTED]", data)  # they are of this process
        return blake3(data).hexdigest(8)

    def masked(self, data: bytes, pack: Callable[[Any], bytes] = _pack) -> bytes:
        """Return packed bytes with the secrets in them masked."""
        return pack(self._secrets.masked(msgspec.msgpack.decode(data))) if self._secrets.are_in(data) else data

    def text(self, text: str) -> str:
        """Return a text as it is recorded beside values."""
        masked: str = self._secrets.masked(text) if self.masks else text
        return masked

    def drop(self) -> None:
        """Forget what was encoded since `blobs` was last emptied."""
        self.known.difference_update(self.blobs)
        self.blobs = {}

    def _in_words(self, value: Any) -> bytes:
        words = to_json(_hidden(value))
        return (self._secrets.masked(words) if self.masks else words).encode(errors="replace")

    def _request(self, request: ModelRequest) -> Content:
        try:
            messages = tuple([self._part(message) for message in request.messages])
            tools = tuple([self._part(tool) for tool in request.tools])
            rest = structs.asdict(request)
            del rest["messages"], rest["tools"]
            data = self._encode(rest if self._clean is None else self._clean(rest))
            return Content("model", self.masked(data) if self.masks else data, (messages, tools))
        except _NO_BYTES:
            return Content("words", self._in_words(request if self._clean is None else self._clean(request)))

    def _part(self, part: Any) -> bytes:
        """Return the hash of a message or a tool; known ones are told by their identity, since they never change."""
        known = self._memo.get(id(part))
        if known is not None and known[1] in self.known:
            return known[1]
        data = self._encode(part if self._clean is None else self._clean(part))
        hashed = self._kept(self.masked(data) if self.masks else data)
        if len(self._memo) >= _MEMO:
            self._memo.clear()
        self._memo[id(part)] = part, hashed
        return hashed

    def _kept(self, data: bytes) -> bytes:
        hashed = blake3(data).digest()
        if hashed not in self.known:
            self.blobs[hashed] = data
            self.known.add(hashed)
        return hashed

    def _plain(self, value: Any) -> Any:
        """Return what MessagePack has no form for as what it has one for."""
        kind = type(value)
        if kind is MappingProxyType:
            return value.copy()
        if kind is FrozenObject or kind is FrozenMapping:
            return dict(value.items())
        if isinstance(value, str):  # a masked one as hooks see it
            self._secrets.learn(value)
            return str.__str__(value)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, BaseException):
            return failure_facts(value)
        if hasattr(value, "get_secret_value"):
            self._secrets.learn(value)
            return MASK
        raise TypeError(f"a {kind.__name__} has no bytes")


def decoded(content: Content, kind: type, blobs: Blobs) -> Any:
    """Return the value of a content, as this type.

    Raises:
        StorageError: It is not whole, lacks a blob, or is of another type.
    """
    if not content.is_whole:
        raise StorageError('only its shape or its words are on record; record with journal.content = "full"')
    try:
        if content.form == "model":
            messages = tuple(_part(hashed, Message, blobs) for hashed in content.parts[0])
            tools = tuple(_part(hashed, ToolSpec, blobs) for hashed in content.parts[1])
            fields = msgspec.msgpack.decode(content.data)
            return msgspec.convert({**fields, "messages": messages, "tools": tools}, ModelRequest)
        data = _blob(content.data, blobs) if content.form == "blob" else content.data
        return msgspec.msgpack.decode(data, type=Any if kind is object else kind)
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        raise StorageError("what is on record is of another type by now; record anew") from error


def plain_of(content: Content, blobs: Blobs) -> Any:
    """Return the value of a content as plain values, for people and programs.

    Raises:
        StorageError: It lacks a blob, or cannot be read.
    """
    if content.form == "words":
        return content.data.decode(errors="replace")
    try:
        if content.form == "model":
            messages, tools = ([msgspec.msgpack.decode(_blob(each, blobs)) for each in part] for part in content.parts)
            return {**msgspec.msgpack.decode(content.data), "messages": messages, "tools": tools}
        return msgspec.msgpack.decode(_blob(content.data, blobs) if content.form == "blob" else content.data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise StorageError("it is no MessagePack; run 'llmspell journal verify'") from error


def failure_facts(error: BaseException) -> dict[str, Any]:
    """Return what of an error is recorded: its class, its text, its code and the plain facts that it carries."""
    facts = {}
    if isinstance(error, LlmspellError):
        facts = {
            name: value
            for name, value in vars(error).items()
            if isinstance(value, str | int | float | bool | None) and not name.startswith("_")
        }
    code = facts.get("code", getattr(type(error), "code", "error"))
    return {
        "type": type(error).__name__,
        "message": text_of_error(error),
        "code": code if isinstance(code, str) else "error",
        "details": thaw(_frozen(getattr(error, "details", None))),
        "facts": facts,
    }


def shape_of(value: Any, depth: int = _DEEPEST) -> Any:
    """Return of which types a value is made, and how large they are, in words."""
    if isinstance(value, Struct):
        return {name: shape_of(getattr(value, name), depth - 1) for name in value.__struct_fields__}
    if isinstance(value, str | bytes):
        return f"{'text' if isinstance(value, str) else 'bytes'} of {len(value)}"
    if isinstance(value, Mapping) and depth > 0:
        return {str(key): shape_of(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth > 0:
        return [shape_of(item, depth - 1) for item in value[:100]]
    return type(value).__name__


def _part(hashed: bytes, kind: type, blobs: Blobs) -> Any:
    return msgspec.msgpack.decode(_blob(hashed, blobs), type=kind)


def _blob(hashed: bytes, blobs: Blobs) -> bytes:
    data = blobs(hashed)
    if data is None:
        raise StorageError(f"its content {hashed.hex()[:16]} is missing; run 'llmspell journal verify'")
    return data


def _hidden(value: Any) -> Any:
    return hide(_frozen(value))


def _frozen(value: Any) -> Any:
    try:
        return freeze(value)
    except LlmspellError:
        return f"<a {type(value).__name__}>"
