"""The topic commands: what a verb of the command line is given, so that it needs nothing of the host's own.

A verb is an entry point in ``llmspell.commands`` that names a click command or group; ``hook.graph`` is the verb
``graph`` of the noun ``hook``. The host imports it when it is typed and gives it, and whatever stands below it, the
options that all commands take (``--output``, ``--project``, ``--set``, ``--debug`` ...), but for those whose names it
has taken for its own. Its functions ask for the `Invocation` with ``click.pass_obj``::

    @click.command()
    @click.argument("expression")
    @click.pass_obj
    def sum(invocation: Invocation, expression: str) -> None:
        async def use(host: CommandHost) -> ToolResult:
            return await host.call("tool:calculator", {"operation": "evaluate", "input": expression})

        invocation.run(use, show=lambda result: invocation.say(f"it is {result.result}"))

Invariant: whatever a verb raises is one line on standard error and one of these exit codes, 0 if nothing is raised: 1
for an operation that failed or was denied, and for a `CommandError`; 2 for click's ``UsageError``, wrong settings and
names that there are none of; 129, 130 and 143 for signals; 141 if nobody reads the output. What a command function
returns is its exit code if it is a number.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

from msgspec import Struct

from .errors import CommandError
from .plugin import PluginInfo

__all__ = ["CommandError", "CommandHost", "Invocation", "Unhooked"]

T = TypeVar("T")


class CommandHost(Protocol):
    """The host that a verb's function is run with: its services by protocol, and any component by its address."""

    def get(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol; one of a plugin's must be open, as `enter` makes it.

        Raises:
            ComponentNotFoundError: No plugin offers it.
            PluginError: It cannot be loaded, or is not open yet.
        """

    async def enter(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol, opened if need be; raises as `get` does."""

    async def call(self, address: str, input: Any = None, /, *, deadline_s: float | None = None) -> Any:
        """Run a component and return its result; see `Calls`."""


class Unhooked(Struct, frozen=True):
    """What a listing needs that no plugin has a say in.

    Attributes:
        plugins: Those of a group that a host would use, in order of name; none has been imported.
        settings: All settings, plain.
        cache_dir: Where the user's files lie that can be made again, as `ProjectFolder.cache` has it.
    """

    plugins: Sequence[PluginInfo]
    settings: Mapping[str, Any]
    cache_dir: Path


class Invocation(Protocol):
    """One call of the command line.

    A text for people may hold anything: what would steer a terminal is spelled out.
    """

    @property
    def json(self) -> bool:
        """Whether ``--output json`` is wanted: standard output then holds one JSON value, or one on each line."""

    @property
    def data_dir(self) -> Path:
        """Where files of the user's own lie that belong to no project; it may be missing."""

    def run(
        self,
        function: Callable[[CommandHost], Awaitable[T]],
        /,
        *,
        show: Callable[[T], object] | None = None,
        explain: bool = False,
        read_line: Callable[[], str | None] | None = None,
        on_interrupt: Callable[[], bool] | None = None,
    ) -> T:
        """Open a host with this call's settings, run an async function with it, close it, return what was returned.

        The first Ctrl-C, SIGTERM or SIGHUP cancels the function and waits for it; the second ends the process.

        Args:
            function: What to run.
            show: Prints what was returned for people; with ``--output json`` it is printed as JSON in place of that.
                Nothing is printed if this is left out.
            explain: Whether to print which hooks fired, too, also when the function failed.
            read_line: Where scripts read lines from, None at the end; standard input if left out. May block.
            on_interrupt: Returns whether it has dealt with a Ctrl-C, so that nothing is cancelled.
        """

    def unhooked(self, group: str, /) -> Unhooked | None:
        """Return what a listing of a group's plugins needs, if none but llmspell's own would be loaded to list them.

        To open a host takes longer than most listings. None where one is to be opened: a setting is set, a package
        brings hooks, services or kinds of component, or there is something to tell of a package or plugin.

        Raises:
            SettingsError: They are wrong.
        """

    def settings(self, section: str = "", /) -> Any:
        """Return a section of this call's settings, or all, as plain values with secrets masked; None if there is none.

        Raises:
            SettingsError: They are wrong.
        """

    def read(self, argument: str, /) -> str:
        """Return the text that an argument stands for: standard input for ``-``, a file for ``@FILE``, else itself.

        What cannot be read, is no UTF-8, or is larger than 64 MiB is wrong usage: one line, and the exit code 2.
        """

    def ask(self, question: str, /) -> str | None:
        """Ask whoever sits at the terminal for one line; None at the end of the input, and without a terminal."""

    def show(self, value: Any, /, *lines: str) -> None:
        """Print a value: as JSON if that is wanted, else these lines, else a text as it is and all else as JSON."""

    def show_rows(
        self, rows: Sequence[Mapping[str, Any]], /, columns: Iterable[str], *, empty: str = "there are none"
    ) -> None:
        """Print rows: as JSON if that is wanted, else as a table of these columns but for those without content."""

    def to_json(self, value: Any, /) -> str:
        """Return any value as JSON of one line; what JSON has no word for as text."""

    def say(self, text: str = "", /) -> None:
        """Write a line, or several, for people to standard output."""

    def write(self, text: str, /) -> None:
        """Write a text to standard output, now: as it is where no terminal is."""

    def note(self, text: str, /) -> None:
        """Write a line, or several, to standard error."""

    def warn(self, message: str, /) -> None:
        """Write a warning on one line to standard error."""

    def report(self, error: BaseException, /) -> BaseException:
        """Write what went wrong to standard error, as if the command ended with it, and return it out of its groups.

        Raises:
            BrokenPipeError: Nobody reads the output; let it pass.
        """

    def guarded(self, stream: TextIO, /) -> TextIO:
        """Return a stream that spells out what would steer a terminal: for a library's streams that others write to."""

    def on_kill(self, function: Callable[[], object], /) -> None:
        """Call a function before the process ends at once, at the second signal: gives back a terminal."""
