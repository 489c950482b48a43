"""What a script language is, and the language-neutral script interface that it reflects on.

The interface is written once, as `ScriptObject` classes with documented methods. A language adapter turns them into
tables, objects or whatever its language has.

Invariant: only plain values, script functions and script objects cross; never a Python object. One slice of a runtime
at a time. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Final, Protocol, TypeVar, runtime_checkable

from msgspec import Struct, structs

from .context import HookContext
from .errors import InvalidInputError
from .plugin import Services
from .results import HookResult
from .script import ScriptRun
from .spelling import told

__all__ = [
    "HookAdapter",
    "InteractiveLanguage",
    "Language",
    "LanguageSession",
    "ScriptFunction",
    "ScriptGlobal",
    "ScriptInterface",
    "ScriptLimits",
    "ScriptMethod",
    "ScriptObject",
    "ScriptScope",
    "script_method",
    "script_methods",
]

F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "llmspell_script_method"


class ScriptLimits(Struct, frozen=True):
    """What a script may use.

    Attributes:
        memory_bytes: Of its runtime.
        instructions: Of its runtime, in all; 0 for no limit.
        time_s: Of processor time in its runtime; waiting for the host does not count.
        callback_s: For one slice of a callback.
        slices: ``thread`` or ``loop``.
        value_items: How many values may be handed to the host at once, those in tables counted.
        value_bytes: How many bytes of text.
    """

    memory_bytes: int = 50_000_000
    instructions: int = 0
    time_s: float = 30.0
    callback_s: float = 0.02
    slices: str = "thread"
    value_items: int = 10_000
    value_bytes: int = 4 * 1024 * 1024

    def tightened(self, limits: Mapping[str, float]) -> ScriptLimits:
        """Return them with those of the given ones that are tighter.

        Raises:
            InvalidInputError: One of them is none that a run may have tighter, or no number above 0.
        """
        tighter: dict[str, float] = {}
        for name, limit in limits.items():
            if name not in _TIGHTER:
                message = f"limits: {told(name)} is none; the limits are {', '.join(_TIGHTER)}"
                raise InvalidInputError(message, field="limits")
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
                raise InvalidInputError(f"limits.{name}: {told(limit)} is no number above 0; give one", field=name)
            own = getattr(self, name)
            if limit < own or not own:
                tighter[name] = limit if name.endswith("_s") else max(int(limit), 1)
        return structs.replace(self, **tighter)


_TIGHTER: Final = tuple(name for name in ScriptLimits.__struct_fields__ if name != "slices")


class ScriptMethod(Struct, frozen=True):
    """How a method is offered.

    Attributes:
        function: The method's name in Python.
        names: Every spelling that scripts may use.
        pure: It neither waits nor touches the host, so it runs inside the slice, on whatever thread.
        lenient: What cannot cross in its arguments (a table within itself, a key that is no text) is marked, not
            refused.
    """

    function: str
    names: tuple[str, ...]
    pure: bool = False
    lenient: bool = False


def script_method(*aliases: str, name: str = "", pure: bool = False, lenient: bool = False) -> Callable[[F], F]:
    """Offer the method below to scripts under its name and these aliases, each in snake case and in camel case.

    Args:
        aliases: Further spellings.
        name: The spelling, where it is no Python name (``end``, ``print``).
        pure: See `ScriptMethod`.
        lenient: See `ScriptMethod`.
    """

    def mark(function: F) -> F:
        spelled = (name or function.__name__, *aliases)
        names = tuple(dict.fromkeys(each for word in spelled for each in (word, _camel(word))))
        setattr(function, _ATTRIBUTE, ScriptMethod(function.__name__, names, pure, lenient))
        return function

    return mark


def _camel(name: str) -> str:
    if name.startswith("_"):
        return name
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def script_methods(of: type) -> dict[str, ScriptMethod]:
    """Return every spelling of every method that a class offers to scripts."""
    offered: dict[str, ScriptMethod] = {}
    for attribute in dir(of):
        method = getattr(getattr(of, attribute, None), _ATTRIBUTE, None)
        if isinstance(method, ScriptMethod):
            offered.update(dict.fromkeys(method.names, method))
    return offered


class ScriptObject:
    """A host object that scripts may hold: its marked methods, and the fields it names.

    A method's arguments are plain values, `ScriptFunction` and `ScriptObject`; so is its answer (tuples for several
    answers). Methods may be async. Whatever they raise becomes an error of the script's language.
    """

    def script_fields(self) -> Mapping[str, Any]:
        """Return the constant fields; they are read once."""
        return {}

    def script_lookup(self, name: str) -> Any:
        """Return a field that is made on demand (``Tool.calculator``), or None. Must neither wait nor fail."""
        return None

    def script_text(self) -> str:
        """Return what ``tostring`` says of it."""
        return type(self).__name__


@runtime_checkable
class ScriptFunction(Protocol):
    """A function of the script, callable from the host while the script lives."""

    async def __call__(self, *arguments: Any) -> Any:
        """Run it and return what it returns, plain; a tuple for several answers."""


class ScriptScope(Protocol):
    """One run of a script, as its globals see it."""

    @property
    def id(self) -> str:
        """Unique within the host."""

    @property
    def language(self) -> str:
        """The language's name."""

    @property
    def script(self) -> ScriptRun:
        """What runs."""

    @property
    def adapter(self) -> HookAdapter:
        """How this language's hooks take contexts and give results."""

    @property
    def stack(self) -> Callable[[], Sequence[Mapping[str, Any]]] | None:
        """Returns the script's call stack, innermost first, if the language tells it; a language sets it.

        Each frame has ``function``, ``file`` and ``line``. It is called within a slice of the script.
        """

    @stack.setter
    def stack(self, tell: Callable[[], Sequence[Mapping[str, Any]]] | None) -> None: ...

    def write(self, text: str, /) -> None:
        """Write to the script's output; callable on any thread."""

    def read_line(self) -> str | None:
        """Return the next line of the script's input, without its end; None at the end. Blocks."""

    def on_end(self, callback: Callable[[], Awaitable[None]], /) -> None:
        """Await this when a whole script has come to its end without a failure, while its functions may be called."""

    async def end(self) -> None:
        """Await what `on_end` was given; a language calls it before it lets go of a script that did not fail."""

    def on_close(self, callback: Callable[[], Awaitable[None] | None], /) -> None:
        """Call this, sync or async, when the script ends; it has a few seconds, also when the script is cancelled."""


class ScriptGlobal(ScriptObject):
    """A global of the script interface, one object for each run; an entry point in ``llmspell.globals``.

    If the class has a pydantic model ``Settings``, ``[plugins.NAME]`` is held to it when the plugin loads; a global
    reads its values by ``Settings.model_validate(services.settings(NAME))``.

    Attributes:
        name: The global's name in scripts.
    """

    name: ClassVar[str]

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        self.services = services
        self.scope = scope

    def script_globals(self) -> Mapping[str, Any]:
        """Return the names that scripts see and what stands under them: this object, or plain values (``ARGS``)."""
        return {self.name: self}


class ScriptInterface(Protocol):
    """What a language adapter is given for one run."""

    @property
    def scope(self) -> ScriptScope:
        """The run."""

    @property
    def services(self) -> Services:
        """What the adapter may use of the host."""

    @property
    def limits(self) -> ScriptLimits:
        """What the script may use."""

    @property
    def globals(self) -> Mapping[str, Any]:
        """The globals by name: script objects and plain values."""

    @property
    def granted(self) -> frozenset[str] | None:
        """The names that the script may see of what the language itself brings and acts by; None for all."""

    async def call(self, target: ScriptObject, method: str, arguments: Sequence[Any], /) -> Any:
        """Call a method of a script object as a script does.

        Raises:
            InvalidInputError: There is no such method, or the arguments do not fit.
        """

    def call_pure(self, target: ScriptObject, method: str, arguments: Sequence[Any], /) -> Any:
        """Call a pure method, on whatever thread."""


class HookAdapter(Protocol):
    """How a language's hooks take contexts and give results; the original's HookAdapter."""

    def adapt_context(self, context: HookContext[Any], /) -> Any:
        """Return the context as a plain value."""

    def adapt_result(self, value: Any, context: HookContext[Any], /) -> HookResult | None:
        """Return the result that a hook's return value stands for.

        Raises:
            InvalidInputError: It stands for none.
        """


@runtime_checkable
class Language(Protocol):
    """A script language; an entry point in ``llmspell.languages``.

    One may have a set of words ``reaching``: with none of them in its source, a script reaches no global but those
    that its source names (Lua: ``_G``, ``load`` ...), and of the host's own globals the others are not made for it.
    Without such a set all are made for every script.

    One may have a set of names ``acting``: what it brings itself by which a script acts beyond its own run (Lua:
    ``io``, ``os`` ...). Of those a script sees what `ScriptInterface.granted` names. Without such a set it runs no
    script that is to have fewer globals than there are.

    Attributes:
        name: ``lua`` ...
        extensions: Of its files, such as ``(".lua",)``.
        hook_adapter: How its hooks take contexts and give results.
    """

    name: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]]
    hook_adapter: HookAdapter

    async def run(self, script: ScriptRun, interface: ScriptInterface, /) -> Any:
        """Run a script to its end and return its value, plain.

        Raises:
            ScriptError: It failed, or a limit ended it.
        """


class LanguageSession(Protocol):
    """A runtime that lives on from chunk to chunk: what one leaves in globals is there for the next.

    Hooks, subscriptions and functions of a session live until it ends. The limits on time and instructions count for
    each chunk anew.
    """

    async def evaluate(self, source: str, name: str, /) -> Any:
        """Run a chunk and return its value, an expression's too; plain, a tuple for several.

        What cannot cross in its value is marked, not refused. A chunk that is cancelled ends; the session does not.

        Args:
            source: Its text.
            name: What its errors call it.

        Raises:
            ScriptError: It failed, or a limit ended it; with the code ``ended`` if the session is over.
        """

    async def is_incomplete(self, source: str, /) -> bool:
        """Return whether the text ends too early to be a chunk, so that another line may complete it."""

    async def complete(self, text: str, /) -> Sequence[str]:
        """Return what the end of the text may become, sorted: ``print(Tool.inv`` may end with ``Tool.invoke``.

        Nothing of the script's runs for it.
        """

    async def globals(self) -> Mapping[str, str]:
        """Return the names that chunks see, sorted, each with the type of what stands there."""


@runtime_checkable
class InteractiveLanguage(Language, Protocol):
    """A language that offers sessions, too."""

    def session(self, script: ScriptRun, interface: ScriptInterface, /) -> AbstractAsyncContextManager[LanguageSession]:
        """Open a session for the block; it is closed when the block is left, also on cancellation.

        Args:
            script: What the globals are told of it: name and arguments; its source is empty.
            interface: The globals and limits.
        """
