"""What every command is given: the options that all of them take, before the noun or behind the verb.

Invariant: an option means the same wherever it stands; the one nearer to the end wins, and ``--set`` collects.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .signals import Signals

if TYPE_CHECKING:
    from llmspell.settings import LoadedSettings

__all__ = ["Invocation", "global_options"]

F = TypeVar("F", bound=Callable[..., Any])


class Invocation:
    """One call of the command line.

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

    def load_settings(self) -> LoadedSettings:
        """Answer the settings as this call sees them, and write their warnings.

        Raises:
            SettingsError: They are wrong.
        """
        import logging

        from llmspell.settings import load_settings

        from .log import write_log

        self.signals.arm()  # from here on plugins may be imported
        level = {0: {}, 1: {"logging.level": "info"}}.get(self.verbose, {"logging.level": "debug"})
        loaded = load_settings(config=self.config, project=self.project, command_line={**level, **self.values})
        write_log(loaded.settings)
        for warning in loaded.warnings:
            logging.getLogger("llmspell.settings").warning("%s", warning)
        return loaded

    def project_file(self) -> Path:
        """Return the project's settings file as this call sees it; where one would lie if there is none."""
        from llmspell.settings.place import current_dir, find_project, project_file_in

        if self.config is not None:
            return self.config
        folder = current_dir() if self.project is None else self.project
        found = find_project(folder) if self.project is None else project_file_in(folder)
        return found or folder / "llmspell.toml"


def _set_values(context: click.Context, _: click.Parameter, pairs: tuple[str, ...]) -> None:
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise click.BadParameter(f"{pair!r} has no '='; write it as limits.depth=8", context)
        context.ensure_object(Invocation).values[key.strip()] = value


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None or value is False or value == 0:
        return
    invocation = context.ensure_object(Invocation)
    match parameter.name:
        case "config":
            invocation.config = value
        case "project":
            invocation.project = value
        case "output":
            invocation.json = value == "json"
        case "offline":
            invocation.values["providers.offline"] = "true"
        case "log_level" | "log_format" | "log_file":
            invocation.values["logging." + parameter.name.removeprefix("log_")] = value
        case "debug":
            invocation.debug = True
        case "verbose":
            invocation.verbose += value


_PROJECT = click.option(
    "--project",
    type=click.Path(path_type=Path),
    callback=_store,
    expose_value=False,
    help="Take DIR as the project's folder, whatever the current one is.",
    metavar="DIR",
)
_OPTIONS = (
    click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        callback=_store,
        expose_value=False,
        envvar="LLMSPELL_CONFIG",
        help="Read FILE in place of the project's llmspell.toml.",
        metavar="FILE",
    ),
    _PROJECT,
    click.option(
        "--set",
        "pairs",
        multiple=True,
        callback=_set_values,
        expose_value=False,
        help="Set one setting; may be given several times.",
        metavar="KEY=VALUE",
    ),
    click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        callback=_store,
        expose_value=False,
        help="Print for people or for programs.",
    ),
    click.option(
        "--offline",
        is_flag=True,
        callback=_store,
        expose_value=False,
        help="Let the offline provider answer for every model.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error", "off"]),
        callback=_store,
        expose_value=False,
        help="The least severity that is logged.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        callback=_store,
        expose_value=False,
        help="Log lines for people, or one JSON object a line.",
    ),
    click.option(
        "--log-file",
        callback=_store,
        expose_value=False,
        help="Add the log to FILE; standard error if left out.",
        metavar="FILE",
    ),
    click.option("--debug", is_flag=True, callback=_store, expose_value=False, help="Show tracebacks."),
    click.option(
        "-v", "--verbose", count=True, callback=_store, expose_value=False, help="Say more; twice for everything."
    ),
)


def global_options(function: F) -> F:
    """Let a command take the options that all commands take, but for those whose name it has taken for its own."""
    own = {name for option in getattr(function, "__click_params__", ()) for name in option.secondary_opts}
    for option in reversed(_OPTIONS):
        if option is not _PROJECT or "--project" not in own:
            function = option(function)
    return function
