"""One call of the command line: the options that all commands take, and what every command is given.

Invariant: an option means the same wherever it stands, before the noun or behind the verb; the one nearer to the end
wins, and ``--set`` collects. Every listing has a table and JSON, from the same rows.
"""

from __future__ import annotations

import copy
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import outlet
from .signals import Signals

if TYPE_CHECKING:
    from llmspell.host import Host
    from llmspell.plugins import Installed
    from llmspell.settings import LoadedSettings, Settings
    from llmspell.settings.tighten import OwnModel
    from llmspell_hookspecs.commands import Unhooked
    from llmspell_hookspecs.trace import TraceRow

__all__ = ["OPTIONS", "Invocation"]

T = TypeVar("T")


class Invocation:
    """Implements the contract's `Invocation`.

    Attributes:
        config: The file that takes the project file's place.
        project: The project's folder, if a person names it.
        values: What ``--set`` gave, by key.
        json: Whether to print JSON.
        debug: Whether to show tracebacks.
        verbose: How often ``-v`` was given.
        signals: What ends it.
        beside: What stands beside the error where that is JSON.
    """

    def __init__(self, signals: Signals | None = None) -> None:
        self.signals = signals or Signals()
        self.beside: dict[str, Any] = {}
        self.config: Path | None = None
        self.project: Path | None = None
        self.values: dict[str, str] = {}
        self.json = False
        self.debug = False
        self.verbose = 0
        self._read: tuple[object, LoadedSettings] | None = None
        self._warned: set[str] = set()

    say = staticmethod(outlet.say)
    write = staticmethod(outlet.write)
    note = staticmethod(outlet.say_error)
    warn = staticmethod(outlet.warn)
    guarded = staticmethod(outlet.guarded)

    # Settings

    def load_settings(self) -> LoadedSettings:
        """Return the settings as this call sees them, and write their warnings.

        Raises:
            SettingsError: They are wrong.
        """
        import logging

        from .log import write_log

        (given, loaded), self._read = self._read or (None, None), None  # a command may change a file and look again
        if loaded is None or given != self._given():
            loaded = self._load()
        write_log(loaded.settings)
        for warning in (each for each in loaded.warnings if each not in self._warned):
            logging.getLogger("llmspell.settings").warning("%s", warning)
        self._warned.update(loaded.warnings)
        return loaded

    def settings_with(self, rest: Sequence[str]) -> Settings:
        """Return the settings as they will be when the rest of the command line is parsed, too.

        Raises:
            SettingsError: They are wrong.
        """
        looking = copy.copy(self)
        looking.values = dict(self.values)
        before = rest[: rest.index("--")] if "--" in rest else rest
        words = [word for word in before if word not in ("-h", "--help")]
        whole = click.Command("", params=[*OPTIONS], context_settings=_LENIENT, add_help_option=False)
        with suppress(click.ClickException):  # the verb's own parser tells it
            whole.make_context("", words, obj=looking)
        loaded = looking._load()
        self._read = looking._given(), loaded
        return loaded.settings

    def _load(self) -> LoadedSettings:
        from llmspell.settings import load_settings

        self.signals.arm()  # from here on plugins may be imported
        level = {0: {}, 1: {"logging.level": "info"}}.get(self.verbose, {"logging.level": "debug"})
        values = {**level, **self.values}
        return load_settings(config=self.config, project=self.project, command_line=values, models=self.own_model)

    def _given(self) -> object:
        return self.config, self.project, self.values, self.verbose

    def settings(self, section: str = "", /) -> Any:
        """Return a section of the settings, or all, as plain values; None if there is none."""
        from llmspell.settings import plain

        return plain(self.load_settings(), section)

    def project_file(self) -> Path:
        """Return the project's settings file as this call sees it; where one would lie if there is none."""
        from llmspell.settings.place import current_dir, find_project, project_file_in

        if self.config is not None:
            return self.config
        folder = current_dir() if self.project is None else self.project
        found = find_project(folder) if self.project is None else project_file_in(folder)
        return found or folder / "llmspell.toml"

    @property
    def data_dir(self) -> Path:
        """Where files of the user's own lie that belong to no project."""
        from llmspell.settings.place import data_dir

        return data_dir(os.environ)

    @cached_property
    def installed(self) -> Installed:
        """What is installed: the packages are read when it is first asked for, and once."""
        from llmspell.plugins import Installed

        return Installed()

    def own_model(self, settings: Settings, section: str, name: str) -> OwnModel | None:
        """Return who knows the keys of a plugin's table; imports that plugin."""
        from llmspell.plugins.tables import TableModels

        return TableModels(installed=self.installed)(settings, section, name)

    def unhooked(self, group: str, /) -> Unhooked | None:
        """Return what a listing needs that no plugin has a say in; None if a host is to be opened for it."""
        from llmspell.plugins.discovery import choose
        from llmspell.plugins.groups import AT_START
        from llmspell.settings import plain
        from llmspell.settings.place import HostFolder
        from llmspell_hookspecs.commands import Unhooked

        loaded, installed = self.load_settings(), self.installed
        if loaded.origins or installed.problems or any(info.group in AT_START for info in installed.foreign):
            return None
        infos = [each.info for each in choose(f"llmspell.{group}", loaded.settings, installed)]
        if any(info.error for info in infos):
            return None
        return Unhooked(infos, plain(loaded), HostFolder(loaded.project_dir).cache(""))

    # A host

    def run(
        self,
        function: Callable[[Host], Awaitable[T]],
        /,
        *,
        show: Callable[[T], object] | None = None,
        explain: bool = False,
        read_line: Callable[[], str | None] | None = None,
        on_interrupt: Callable[[], bool] | None = None,
    ) -> T:
        """Run a function with a host, and print what it returns if ``show`` says how; see the contract.

        With ``explain`` the trace follows as a table, or with JSON in the one value that there is: ``{"value": ...,
        "trace": [...]}``, and ``{"error": ..., "trace": [...]}`` if it failed.
        """
        from llmspell.host import Host
        from llmspell_hookspecs.trace import trace_rows

        from .output import print_json, print_trace
        from .run import run_cancellable

        loaded = self.load_settings()
        write = outlet.write_error if self.json else None
        trace: Sequence[TraceRow] | None = None  # as long as no host is open

        async def use() -> T:
            nonlocal trace
            opening = Host.open(loaded, trace=explain, write=write, read_line=read_line, installed=self.installed)
            async with opening as host:
                trace = host.trace
                gc.freeze()
                gc.enable()
                return await function(host)

        try:
            value = run_cancellable(use, self.signals, on_interrupt)
        except Exception:
            if explain and trace is not None:
                self.beside["trace"] = trace_rows(trace)
                if not self.json:
                    print_trace(trace)
            raise
        assert trace is not None
        if show is not None and self.json:
            print_json({"value": value, "trace": trace_rows(trace)} if explain else value)
        elif show is not None:
            show(value)
        if explain and not self.json:
            print_trace(trace)
        return value

    def on_kill(self, function: Callable[[], object], /) -> None:
        """Call a function before the process ends at once."""
        self.signals.last = function

    # Reading and writing

    def read(self, argument: str, /) -> str:
        """Return the text that an argument stands for: ``-`` is standard input, ``@FILE`` a file."""
        from llmspell_hookspecs.regular import MOST_BYTES, read_regular

        if argument == "-":
            text = sys.stdin.read(MOST_BYTES + 1)
            if len(text) > MOST_BYTES:
                raise click.UsageError(f"standard input: it is longer than {MOST_BYTES} characters; pipe in less")
            return text
        if not argument.startswith("@"):
            return argument
        file = argument[1:]
        try:
            return read_regular(file).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{file}: it is not UTF-8; save it as UTF-8") from error
        except OSError as error:
            message = f"{file}: it cannot be read: {error.strerror}; name a file that can, or give - and pipe it in"
            raise click.UsageError(message) from error

    def ask(self, question: str, /) -> str | None:
        """Ask whoever sits at the terminal for one line; None at the end of the input, or if nobody does."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        outlet.write_error(outlet.one_line(question) + " ")
        return sys.stdin.readline(_LINE_CHARACTERS).rstrip(os.linesep) or None

    def show(self, value: Any, /, *lines: str) -> None:
        """Print a value as JSON if that is wanted, else these lines, else the value for people."""
        if lines and not self.json:  # without what prints values, which takes longer to import than to print
            self.say("\n".join(lines))
            return
        from .output import print_json, print_value

        if self.json:
            print_json(value)
        else:
            print_value(value)

    def show_rows(
        self, rows: Sequence[Mapping[str, Any]], /, columns: Iterable[str], *, empty: str = "there are none"
    ) -> None:
        """Print rows as JSON if that is wanted, else as a table."""
        from .output import print_json, print_rows

        if self.json:
            print_json(rows)
        else:
            print_rows(rows, tuple(columns), empty=empty)

    def to_json(self, value: Any, /) -> str:
        """Return a value as JSON of one line."""
        from llmspell_hookspecs.any_json import to_json

        return to_json(value)

    def report(self, error: BaseException, /) -> BaseException:
        """Write what went wrong to standard error, and return it out of its groups."""
        from .failure import NOBODY_READS, report, single

        if report(error, self, answer=False) == NOBODY_READS:
            raise BrokenPipeError
        return single(error)


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if not value:
        return
    invocation = context.ensure_object(Invocation)
    name = str(parameter.name).removeprefix(_OURS)
    match name:
        case "set":
            for pair in value:
                key, sign, text = pair.partition("=")
                if not sign:
                    raise click.BadParameter(f"{pair!r} has no '='; write it as limits.depth=8", context)
                invocation.values[key.strip()] = text
        case "output":
            invocation.json = value == "json"
        case "offline":
            invocation.values["providers.offline"] = "true"
        case "log_level" | "log_format" | "log_file":
            invocation.values["logging." + name.removeprefix("log_")] = value
        case "verbose":
            invocation.verbose += value
        case _:
            setattr(invocation, name, value)


def _option(*names: str, help: str, **rest: Any) -> click.Option:
    """An option under a name of its own: an argument or option of a third party may be called as ours is."""
    own = _OURS + names[-1].lstrip("-").replace("-", "_")
    return click.Option([*names, own], callback=_store, expose_value=False, help=help, **rest)


_OURS = "llmspell_"
_LINE_CHARACTERS = 64 * 1024
_PATH = click.Path(path_type=Path)
_LENIENT: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True}
_LEVELS = ("debug", "info", "warning", "error", "off")
OPTIONS = (
    _option(
        "-c",
        "--config",
        type=_PATH,
        envvar="LLMSPELL_CONFIG",
        metavar="FILE",
        help="Read FILE in place of the project's llmspell.toml.",
    ),
    _option(
        "--project",
        type=_PATH,
        metavar="DIR",
        help="Take DIR as the project's folder, whatever the current one is.",
    ),
    _option("--set", multiple=True, metavar="KEY=VALUE", help="Set one setting; may be given several times."),
    _option("--output", type=click.Choice(["text", "json"]), help="Print for people or for programs."),
    _option("--offline", is_flag=True, help="Let the offline provider answer for every model."),
    _option("--log-level", type=click.Choice(_LEVELS), help="The least severity that is logged."),
    _option(
        "--log-format", type=click.Choice(["text", "json"]), help="Log lines for people, or one JSON object a line."
    ),
    _option("--log-file", metavar="FILE", help="Add the log to FILE; standard error if left out."),
    _option("--debug", is_flag=True, help="Show tracebacks."),
    _option("-v", "--verbose", count=True, help="Say more; twice for everything."),
)
"""What every command takes."""
