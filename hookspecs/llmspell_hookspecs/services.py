"""The host's services, each a protocol that plugins ask `Services` for.

Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, runtime_checkable

from msgspec import Struct

from .components import SecurityLevel
from .context import HookContext
from .parameters import UnknownKey
from .points import HookPoint
from .results import Cancel

__all__ = [
    "Appeal",
    "AsyncioThread",
    "Calls",
    "Clock",
    "FileAccess",
    "HookHandle",
    "HookInfo",
    "Hooks",
    "Levels",
    "Processes",
    "ProjectFolder",
    "SettingsAccess",
    "Tools",
]

Appeal: TypeAlias = Callable[[str, Cancel, HookContext[Any]], Awaitable[Cancel | None]]
P = ParamSpec("P")
T = TypeVar("T")


@runtime_checkable
class AsyncioThread(Protocol):
    """Runs what needs asyncio: one thread with one event loop for the host, started when first asked."""

    async def run(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an async function as a task of that loop and return its result; its errors pass through.

        When the caller is cancelled the task is, too, and is waited for, at most 5 s.

        Raises:
            trio.ClosedResourceError: The host closes.
        """

    def stream(
        self, function: Callable[P, AsyncGenerator[T, None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AbstractAsyncContextManager[AsyncIterator[T]]:
        """Run an async generator function there, for the block; returns its items as they come.

        It is asked for the next item when the one before was taken, so a slow reader slows it. When the block is left
        it is cancelled and waited for, as with `run`.

        Raises:
            trio.ClosedResourceError: The host closes.
        """


@runtime_checkable
class Calls(Protocol):
    """Runs any component by its address, through the runner."""

    async def call(
        self,
        address: str,
        input: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        apart: bool = False,
        lenient: bool = False,
        key: str = "",
    ) -> Any:
        """Run it and return its result.

        Args:
            address: ``kind:name``.
            input: What it is given.
            deadline_s: How long it may take; its own limit counts as well.
            apart: For tools: do not ask the hooks of the script around it, since what its language does on its own
                account is no call of the script's; everybody else's are asked.
            lenient: For tools: leave out the parameters that the tool does not take, instead of refusing the call; see
                `Tools.unknown_parameters`.
            key: What stands for this call if it is made again; see `ToolContext`. Empty for one of its own.

        Raises:
            ComponentNotFoundError: Nothing has this address.
            OperationCancelledError: A hook cancelled it.
            OperationTimeoutError: The deadline passed.
        """


@runtime_checkable
class Clock(Protocol):
    """The time, so that tests can set it."""

    def now_s(self) -> float:
        """Return the seconds since the epoch; in a replay, those that the operation was told when it ran first."""

    def monotonic_s(self) -> float:
        """Return seconds that only grow."""


@runtime_checkable
class FileAccess(Protocol):
    """Judges paths by the rules in settings."""

    def resolve(self, path: str, mode: Literal["read", "write"], /) -> str:
        """Return the path with every link resolved.

        Raises:
            SecurityError: It is outside what may be touched, hidden, or denied.
        """

    def roots(self, mode: Literal["read", "write"], /) -> tuple[str, ...]:
        """Return the folders that may be touched so."""


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
        within: The composite that asks it, as ``plugin.hook``; empty if it is asked by itself.
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
    within: str = ""


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
            function: Takes the context; an async generator function for a wrap; or a composite, see `composites`.
            plugin: Who registers.
            language: What it is written in.
            scope: A script's id; its hooks go when it ends.
            options: Those of `HookOptions`.

        Raises:
            HookRegistrationError: The point is unknown, or an option is wrong.
        """

    def list(self, point: str = "") -> list[HookInfo]:
        """Return the registered hooks, in the order in which they are called."""

    def points(self) -> Sequence[HookPoint]:
        """Return every point there is."""

    def point(self, name: str, /) -> HookPoint:
        """Return the point with this name or alias.

        Raises:
            HookRegistrationError: There is none; the message has the nearest three.
        """

    async def fire(self, name: str, value: Any, /) -> Any:
        """Fire ``custom:<name>`` and return the value as the hooks leave it."""

    def appeal(self, function: Appeal, /) -> Callable[[], None]:
        """Ask a function about each Cancel of a guard whose code is ``approval_required``.

        It is given the guard's name, the Cancel and the context that the guard was given. It lifts this one verdict,
        this time, by returning None; a Cancel that it returns stands in its place. If it fails the verdict stands.

        Returns:
            What takes it out.
        """

    def unregister_scope(self, scope: str, /) -> int:
        """Take out all hooks of a script; returns how many."""


@runtime_checkable
class Levels(Protocol):
    """Judges how much a component may touch, by the settings as they are now."""

    def check(self, component: str, level: SecurityLevel, /) -> None:
        """Refuse a component whose level is above the highest that runs here.

        Args:
            component: Its address, for the message.
            level: What it may touch.

        Raises:
            SecurityError: Its level is too high.
        """


@runtime_checkable
class Processes(Protocol):
    """Runs functions in child processes that are held to limits and end with whoever waits for them."""

    async def run(
        self,
        function: Callable[..., Any],
        /,
        *arguments: Any,
        memory_bytes: int = 256 * 1024 * 1024,
        output_bytes: int = 64 * 1024 * 1024,
        work_s: float | None = None,
    ) -> Any:
        """Run a module-level function and return what it returns; a cancellation kills the child.

        Args:
            function: Importable in the child by its module and name.
            arguments: Picklable.
            memory_bytes: How much it may allocate beyond its module and arguments.
            output_bytes: How large its answer may be, pickled.
            work_s: How long it may work, in seconds, counted from when the child begins with it; then the child is
                killed. What comes before (a free child, its start, the function's module) is bounded apart.

        Raises:
            InvalidInputError: The function or an argument cannot be pickled.
            ResourceLimitError: It ran out of memory, or its answer is too large.
            ToolError: ``timeout``, it worked longer than that; the child ended without an answer, or the host closes.
            Exception: Whatever the function raised.
        """


@runtime_checkable
class ProjectFolder(Protocol):
    """Where the files of the host's own lie; scripts and tools touch none of them."""

    def place(self, path: str | os.PathLike[str], /) -> Path:
        """Return where a path of settings leads: a relative one is relative to the project's folder."""

    def data(self, name: str, /) -> Path:
        """Return where a file of this name lies in ``.llmspell`` in the project's folder.

        That folder is made if there is none, for its owner only, and git leaves it out. Where it may not be made
        (no right to write, a file system that is read-only) the place is told all the same: who only reads finds
        nothing there, and who writes is refused by the system.

        Raises:
            StorageError: It is a link, or cannot be made for another reason, such as a full disk.
        """

    def runtime(self) -> Path:
        """Return where the user's running processes meet: a folder closed to others, which may be missing."""

    def cache(self, name: str, /) -> Path:
        """Return where a file of this name lies that can be made again, for all projects of the user.

        Its folder may be missing, may be read-only, and is shared by all processes and versions: what is found there
        is checked, and what cannot be written is done without.
        """


@runtime_checkable
class Tools(Protocol):
    """What tools there are; each question passes the discovery points."""

    async def discover(self, category: str = "", tag: str = "") -> tuple[Mapping[str, Any], ...]:
        """Return what each tool that fits tells of itself."""

    def names(self) -> tuple[str, ...]:
        """Return the canonical names, without importing anything."""

    def canonical(self, name: str, /) -> str | None:
        """Return the canonical name for a name or alias, or None."""

    def unknown_parameters(self, name: str, parameters: Mapping[str, Any], /) -> Sequence[UnknownKey]:
        """Return the parameters that a tool does not take, each with the one that was probably meant.

        Raises:
            ComponentNotFoundError: There is no such tool.
        """

    def describe(self, name: str, /) -> Mapping[str, Any]:
        """Return what a tool tells of itself.

        That is its name, description, category, version, level, aliases, examples, whether it is repeatable, its
        effects and the parameters' JSON schema.

        Raises:
            ComponentNotFoundError: There is no such tool.
        """


@runtime_checkable
class SettingsAccess(Protocol):
    """The settings as plain values, secrets masked."""

    def plain(self, section: str = "", /) -> Any:
        """Return a section, or all; None if there is no such section."""

    def section(self, name: str, /) -> Any:
        """Return a section as its pydantic model, frozen; another object after each change of the settings.

        A component kind reads its own so, at each call: what is looked up once is not what is set now.
        """

    async def change(self, key: str, value: Any, /, *, origin: str = "code") -> None:
        """Change one setting, after the hooks at ``configuration_change`` agreed.

        Raises:
            SettingsError: The key or value is wrong, or the change loosens policy and the origin may not.
            OperationCancelledError: A hook refused it.
        """
