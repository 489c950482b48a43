"""Component kinds: what stands before the colon of an address (``deploy:web``) is a plugin.

A kind is a class in the group ``llmspell.kinds``. It says in which group its components are found, declares the points
around them, and makes an operation of each call, which the host's one runner runs. Durations in seconds.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from math import isnan
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from msgspec import Struct
from pydantic import BaseModel

from .context import ComponentRef
from .errors import InvalidInputError
from .operation import Operation, OperationKind
from .plugin import PluginInfo
from .spelling import told

__all__ = ["CallOptions", "ComponentGroup", "ComponentKind", "Declared", "Registries", "Registry"]

T_co = TypeVar("T_co", covariant=True)
Made = TypeVar("Made")


class CallOptions(Struct, frozen=True):
    """How a call is made.

    Attributes:
        deadline_s: How long it may take; the component's own limit counts as well.
        hops: How often it was redirected so far.
        started: Told once the call is past its guards, or has ended.
        scope: The script on whose behalf a hook of its own asks; empty for whoever is trusted.
        apart: Whether the hooks of the script around it are not asked; tools alone heed it.
        lenient: Whether parameters that a tool does not take are left out instead of refused.
        key: What stands for the call if it is made again; see `ToolContext`. Empty for one of its own.

    Raises:
        InvalidInputError: The deadline is no number of seconds.
    """

    deadline_s: float | None = None
    hops: int = 0
    started: Callable[[], None] | None = None
    scope: str = ""
    apart: bool = False
    lenient: bool = False
    key: str = ""

    def __post_init__(self) -> None:
        """Check the deadline: compared with others, what is no number would end nothing."""
        if self.deadline_s is not None and not _is_time(self.deadline_s):
            message = f"deadline_s is {told(self.deadline_s)}; give a number of seconds"
            raise InvalidInputError(message, field="deadline_s")

    def operation(
        self,
        kind: OperationKind,
        component: ComponentRef,
        subject: Any,
        body: Callable[[Any], Awaitable[Any]],
        *,
        time_s: float | None = None,
        **more: Any,
    ) -> Operation:
        """Return the operation of a call that is made so.

        Args:
            kind: Its kind.
            component: What runs.
            subject: What it is asked to do, a struct of the type that the point before it carries.
            body: Does it, given the approved subject.
            time_s: The component's own limit; the shorter one counts.
            more: Further fields of `Operation`.
        """
        limit_s = self.deadline_s
        if limit_s is None or (time_s is not None and time_s < limit_s):
            limit_s = time_s
        return Operation(
            kind,
            component,
            subject,
            body,
            deadline_s=limit_s,
            hops=self.hops,
            started=self.started,
            **more,
        )


def _is_time(given: Any) -> bool:
    try:
        return isinstance(given, int | float) and not isinstance(given, bool) and not isnan(given)
    except OverflowError:
        return False


def _nothing_wrong(item: Any, name: str) -> str:
    return ""


class ComponentGroup(Struct, frozen=True):
    """A group of entry points: the plugins of one sort.

    Attributes:
        name: Of the group: ``llmspell.tools``.
        word: What one of them is called, for people.
        is_one: Whether something that was handed over in code belongs here.
        section: Where the settings of its plugins stand: each has a table ``[section.NAME]``; empty if they
            take none.
        problem: Returns what is wrong with a plugin, given it and its name; an empty text if nothing is.
        constructed: Whether the host constructs it with ``(settings, services)`` when it is loaded.
        typed: Whether a table may be for another plugin than the one of its name, which its ``type`` names.
        topic: The topic whose points are asked about these plugins and no others; empty if others come, too.
        besides: Which others its points are asked about all the same.
    """

    name: str
    word: str
    is_one: Callable[[Any], bool]
    section: str = "plugins"
    problem: Callable[[Any, str], str] = _nothing_wrong
    constructed: bool = True
    typed: bool = False
    topic: str = ""
    besides: tuple[str, ...] = ()


class Declared(Struct, frozen=True):
    """A part of a component, as that was made.

    Attributes:
        address: What it calls; empty if that is code of its own.
        place: What the part is called, if it has a name: a stage of a workflow.
    """

    address: str = ""
    place: str = ""


class ComponentKind(abc.ABC):
    """A kind of component; its class is the plugin, constructed with ``(settings, services)`` as the host starts.

    Attributes:
        name: What stands before the colon.
        group: Where its components are found; None if they are not plugins.
        provides: The protocol that the kind itself implements as a service; None for none.
        points: What declares its hook points: a module or a class.
        Settings: The pydantic model of ``[plugins.NAME]``, each field with its `Policy`; None if it takes none.
    """

    name: ClassVar[str]
    group: ClassVar[ComponentGroup | None] = None
    provides: ClassVar[type[Any] | None] = None
    points: ClassVar[object] = None
    Settings: ClassVar[type[BaseModel] | None] = None

    @abc.abstractmethod
    async def run(self, name: str, input: Any, options: CallOptions, /) -> Any:
        """Run the component of this name and return its result.

        Args:
            name: What stands behind the colon.
            input: What it is given.
            options: How; `CallOptions.operation` makes the operation for `Operations.execute`.

        Raises:
            ComponentNotFoundError: There is none.
        """

    def declared(self) -> Mapping[str, Iterable[Declared]] | None:
        """Return what each of its components says that it calls, by name; None if it cannot list them.

        For `Dependencies`, which asks the kinds that are services. Nothing may be imported for it; what is answered is
        gone through in a thread.
        """
        return None


class Registry(Protocol[T_co]):
    """The plugins of one group, loaded by name on first use."""

    def names(self) -> tuple[str, ...]:
        """Return all names, in order, without importing anything."""

    def info(self, name: str, /) -> PluginInfo:
        """Return what is known of one."""

    def get(self, name: str, /) -> T_co:
        """Return the plugin of this name, loaded if need be; `enter` also opens it.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded, or is refused.
        """

    async def enter(self, name: str, /) -> T_co:
        """Return the plugin of this name, loaded and opened if need be; raises as `get` does."""

    def is_open(self, made: Any, /) -> bool:
        """Return whether a plugin that `enter` has returned may be used as it is."""

    def make(self, name: str, type_name: str, /) -> T_co:
        """Return a plugin constructed anew with the settings of a name, from the entry point that `type_name` names."""

    async def open(self, made: Any, /) -> None:
        """Enter the lifespan of what `make` has returned, if it has one that is not entered.

        Raises:
            PluginError: It cannot be opened.
        """

    async def build(self, construct: Callable[[], Made], /, name: str = "") -> Made:
        """Return what a plugin constructs for one use, with what its constructor asks of the services opened.

        Args:
            construct: Makes it.
            name: The plugin's. If it is given, the lifespan of what is made is entered too; whoever asked ends it by
                `leave`, or else the host does as it closes.

        Raises:
            PluginError: It cannot be opened, or what it needs cannot.
        """

    async def leave(self, made: Any, /) -> None:
        """End the lifespan of what `open` or `build` entered; of what has none there is nothing to end."""

    @property
    def closing(self) -> bool:
        """Whether nothing is opened any more, since the host closes."""

    def loadable(self) -> Iterator[tuple[str, T_co]]:
        """Yield those that load, by name; of each that does not it is said once why not."""

    def tell(self, name: str, error: Exception, /) -> None:
        """Say once why one is passed over."""

    def missing(self, name: str, /) -> Exception:
        """Return the error for a name that is not here, with the nearest ones."""


@runtime_checkable
class Registries(Protocol):
    """The plugins of each group, for the kind whose group it is."""

    def of(self, group: str, /) -> Registry[Any]:
        """Return the plugins of a group; none if nothing brings any."""
