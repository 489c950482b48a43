"""The topic script: what a script run is, and the points around it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from .context import Failure, HookContext
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "ScriptResult",
    "ScriptRun",
    "after_script_run",
    "around_script_run",
    "before_script_run",
    "script_error",
]


class ScriptRun(Struct, frozen=True):
    """A script that is to run.

    Attributes:
        source: Its text.
        language: ``lua``, ``javascript``, ``python`` ...
        name: What its errors call it, such as a path as given.
        path: Where it lies, resolved; empty if it was given as text.
        arguments: What stands behind ``--`` on the command line.
    """

    source: str
    language: str
    name: str = "script"
    path: str = ""
    arguments: tuple[str, ...] = ()


class ScriptResult(Struct, frozen=True):
    """What a script answered.

    Attributes:
        value: Its return value, plain.
    """

    value: Any = None


@hookpoint(phase=Phase.BEFORE, topic="script")
def before_script_run(context: HookContext[ScriptRun]) -> HookResult | None:
    """A script is about to run.

    When: guards and observers once for each attempt; transforms once for each that starts from the original script.
    Subject: the script.
    """


@hookpoint(phase=Phase.AROUND, topic="script")
def around_script_run(context: HookContext[ScriptRun]) -> HookResult | None:
    """A script runs.

    When: once for each attempt, around the run; an async generator with one yield.
    Subject: the script.
    """


@hookpoint(phase=Phase.AFTER, topic="script")
def after_script_run(context: HookContext[ScriptResult]) -> HookResult | None:
    """A script has ended.

    When: once for each attempt that completed, or whose result was replaced.
    Subject: its value.
    """


@hookpoint(phase=Phase.ERROR, topic="script", value=ScriptResult)
def script_error(context: HookContext[Failure]) -> HookResult | None:
    """A script has failed.

    When: once for each attempt that failed; observers also when the run was cancelled.
    Subject: the failure.
    """
