"""The host's services, each a protocol that plugins ask `Services` for.

Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from .parameters import UnknownKey
from .points import HookPoint

__all__ = [
    "AsyncioThread",
    "Calls",
    "Clock",
    "FileAccess",
    "HookHandle",
    "HookInfo",
    "Hooks",
    "HttpResponse",
    "HttpStream",
    "NetworkAccess",
    "ProjectFolder",
    "SettingsAccess",
    "Tools",
]

P = ParamSpec("P")
T = TypeVar("T")


@runtime_checkable
class AsyncioThread(Protocol):
    """Runs what needs asyncio: one thread with one event loop for the host, started when first asked."""

    async def run(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an async function as a task of that loop and answer its result; its errors pass through.

        When the caller is cancelled the task is, too, and is waited for, at most 5 s.

        Raises:
            trio.ClosedResourceError: The host closes.
        """

    def stream(
        self, function: Callable[P, AsyncGenerator[T, None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AbstractAsyncContextManager[AsyncIterator[T]]:
        """Run an async generator function there, for the block; answers its items as they come.

        It is asked for the next item when the one before was taken, so a slow reader slows it. When the block is left
        it is cancelled and waited for, as with `run`.

        Raises:
            trio.ClosedResourceError: The host closes.
        """


@runtime_checkable
class Calls(Protocol):
    """Runs any component by its address, through the runner."""

    async def call(
        self, address: str, input: Any = None, /, *, deadline_s: float | None = None, apart: bool = False
    ) -> Any:
        """Run it and return its result.

        Args:
            address: ``kind:name``.
            input: What it is given.
            deadline_s: How long it may take; its own limit counts as well.
            apart: For tools: do not ask the hooks of the script around it, since what its language does on its own
                account is no call of the script's; everybody else's are asked.

        Raises:
            ComponentNotFoundError: Nothing has this address.
            OperationCancelledError: A hook cancelled it.
            OperationTimeoutError: The deadline passed.
        """


@runtime_checkable
class Clock(Protocol):
    """The time, so that tests can set it."""

    def now_s(self) -> float:
        """Answer the seconds since the epoch."""

    def monotonic_s(self) -> float:
        """Answer seconds that only grow."""


@runtime_checkable
class FileAccess(Protocol):
    """Judges paths by the rules in settings."""

    def resolve(self, path: str, mode: Literal["read", "write"], /) -> str:
        """Answer the path with every link resolved.

        Raises:
            SecurityError: It is outside what may be touched, hidden, or denied.
        """

    def roots(self, mode: Literal["read", "write"], /) -> tuple[str, ...]:
        """Answer the folders that may be touched so."""


class HttpResponse(Struct, frozen=True):
    """An answer over HTTP, read whole.

    Attributes:
        status: The status code.
        headers: Lower-case names.
        body: The bytes.
        url: Where it came from, after redirects.
        repeated: The values of each header that came more than once, which in `headers` are joined with commas.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    repeated: Mapping[str, tuple[str, ...]] = {}


class HttpStream(Protocol):
    """An answer over HTTP whose body comes piece by piece; iterate over it, or `read` it.

    Attributes:
        status: The status code; a redirect is not followed.
        headers: Lower-case names.
    """

    status: int
    headers: Mapping[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Answer the body's pieces as they come.

        Raises:
            ResourceLimitError: The body is larger than it may be.
            ToolError: The connection failed or ended early, or nothing came for too long.
        """

    async def read(self) -> bytes:
        """Answer the rest of the body.

        Raises:
            ResourceLimitError: The body is larger than it may be.
            ToolError: As when iterating.
        """


@runtime_checkable
class NetworkAccess(Protocol):
    """Judges hosts by the rules in settings, and talks HTTP to pinned addresses only."""

    async def resolve(self, url: str, /) -> tuple[str, ...]:
        """Answer the addresses of the URL's host, all of them judged.

        Raises:
            SecurityError: The scheme, port, host or one of its addresses is not allowed.
        """

    async def request(
        self,
        method: str,
        url: str,
        /,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        addresses: Sequence[str] = (),
        timeout_s: float = 30.0,
        max_bytes: int = 10 * 1024 * 1024,
    ) -> HttpResponse:
        """Send a request; each redirect is judged and pinned anew.

        Args:
            method: ``GET``, ``POST`` ...
            url: Whole, with its scheme.
            headers: To send.
            content: The body.
            addresses: What the host was pinned to; resolved here if empty.
            timeout_s: For all of it.
            max_bytes: Of the answer's body, decoded.

        Raises:
            SecurityError: The host or a redirect is not allowed.
            ResourceLimitError: The answer is larger than ``max_bytes``.
            ToolError: The connection failed.
        """

    def stream(
        self,
        method: str,
        url: str,
        /,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 120.0,
        max_bytes: int = 64 * 1024 * 1024,
        trusted: bool = False,
    ) -> AbstractAsyncContextManager[HttpStream]:
        """Send a request over a connection that is kept for the next one, and answer as soon as the head is there.

        Each new connection is judged and pinned; whoever leaves the block before the body's end closes it. Redirects
        are not followed, and no proxy or cookie is used.

        Args:
            method: ``GET``, ``POST`` ...
            url: Whole, with its scheme.
            headers: To send.
            content: The body.
            connect_timeout_s: For the connection, TLS included.
            read_timeout_s: The longest silence, before the head and between two pieces.
            max_bytes: Of the answer's body.
            trusted: The URL stands in trusted settings and is no script's: its host may be private, and need not be in
                ``security.hosts.allowed``; what is denied stays denied.

        Raises:
            InvalidInputError: The method, URL or a header cannot be sent.
            SecurityError: The host is not allowed.
            ToolError: The connection failed (``code`` ``connection``), took too long (``timeout``), or what came is no
                HTTP (``protocol``).
        """


class HookInfo(Struct, frozen=True):
    """What is known of a registered hook.

    Attributes:
        id: Unique within the host.
        name: Unique within its plugin and point.
        plugin: Who registered it.
        point: The point's name.
        kind: ``transform``, ``guard``, ``wrap`` or ``observe``.
        priority: The smaller comes first.
        language: ``python``, ``lua`` ...
        match: The pattern for component names, None for all.
        enabled: Whether it is called.
        breaker: ``closed``, ``open``, ``half_open``, or ``none`` for kinds without one.
        tags: For listing.
        calls: How often it was called.
        failures: How often it failed.
        total_ns: How long its calls took together.
        scope: The id of the script that registered it, empty for plugins.
    """

    id: str
    name: str
    plugin: str
    point: str
    kind: str
    priority: int
    language: str
    match: str | None
    enabled: bool
    breaker: str
    tags: tuple[str, ...]
    calls: int
    failures: int
    total_ns: int
    scope: str = ""


class HookHandle(Protocol):
    """A registration; dropping it does not unregister."""

    @property
    def id(self) -> str:
        """Unique within the host."""

    @property
    def point(self) -> HookPoint:
        """Where it is registered."""

    @property
    def info(self) -> HookInfo:
        """What is known of it now."""

    def unregister(self) -> bool:
        """Take it out; False if it was out already."""

    def enable(self, enabled: bool = True, /) -> None:
        """Call it, or call it no longer."""


@runtime_checkable
class Hooks(Protocol):
    """Registration at run time."""

    def register(
        self,
        point: str,
        function: Callable[..., Any],
        /,
        *,
        plugin: str = "code",
        language: str = "python",
        scope: str = "",
        **options: Any,
    ) -> HookHandle:
        """Register a hook.

        Args:
            point: Any spelling of a point, or ``custom:<name>``.
            function: Takes the context; an async generator function for a wrap.
            plugin: Who registers.
            language: What it is written in.
            scope: A script's id; its hooks go when it ends.
            options: Those of `HookOptions`.

        Raises:
            HookRegistrationError: The point is unknown, or an option is wrong.
        """

    def list(self, point: str = "") -> list[HookInfo]:
        """Answer the registered hooks, in the order in which they are called."""

    def points(self) -> Sequence[HookPoint]:
        """Answer every point there is."""

    def point(self, name: str, /) -> HookPoint:
        """Answer the point with this name or alias.

        Raises:
            HookRegistrationError: There is none; the message has the nearest three.
        """

    async def fire(self, name: str, value: Any, /) -> Any:
        """Fire ``custom:<name>`` and answer the value as the hooks leave it."""

    def unregister_scope(self, scope: str, /) -> int:
        """Take out all hooks of a script; answers how many."""


@runtime_checkable
class ProjectFolder(Protocol):
    """Where the files of the host's own lie; scripts and tools touch none of them."""

    def place(self, path: str | os.PathLike[str], /) -> Path:
        """Answer where a path of settings leads: a relative one is relative to the project's folder."""

    def data(self, name: str, /) -> Path:
        """Answer where a file of this name lies in ``.llmspell`` in the project's folder.

        That folder is made if there is none, for its owner only, and git leaves it out.

        Raises:
            StorageError: It cannot be made, or is a link.
        """


@runtime_checkable
class Tools(Protocol):
    """What tools there are; each question passes the discovery points."""

    async def discover(self, category: str = "", tag: str = "") -> tuple[Mapping[str, Any], ...]:
        """Answer what each tool that fits tells of itself."""

    def names(self) -> tuple[str, ...]:
        """Answer the canonical names, without importing anything."""

    def canonical(self, name: str, /) -> str | None:
        """Answer the canonical name for a name or alias, or None."""

    def unknown_parameters(self, name: str, parameters: Mapping[str, Any], /) -> Sequence[UnknownKey]:
        """Return the parameters that a tool does not take, each with the one that was probably meant.

        Raises:
            ComponentNotFoundError: There is no such tool.
        """

    def describe(self, name: str, /) -> Mapping[str, Any]:
        """Answer name, description, category, version, level, aliases and the parameters' JSON schema.

        Raises:
            ComponentNotFoundError: There is no such tool.
        """


@runtime_checkable
class SettingsAccess(Protocol):
    """The settings as plain values, secrets masked."""

    def plain(self, section: str = "", /) -> Any:
        """Answer a section, or all; None if there is no such section."""

    async def change(self, key: str, value: Any, /, *, origin: str = "code") -> None:
        """Change one setting, after the hooks at ``configuration_change`` agreed.

        Raises:
            SettingsError: The key or value is wrong, or the change loosens policy and the origin may not.
            OperationCancelledError: A hook refused it.
        """
