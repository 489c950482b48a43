"""What is known of durable runs of workflows: for whoever lists, resumes, cancels or deletes them.

Times in seconds since the epoch, durations in milliseconds where a name ends in ``_ms``.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

__all__ = ["RunDetails", "RunInfo", "StageInfo", "Verdict"]


class Verdict(Struct, frozen=True):
    """What a person says of a stage that was interrupted.

    Attributes:
        action: ``again`` runs it, ``skip`` leaves it out, ``done`` takes it for completed.
        output: What it yielded, if it is done.
    """

    action: Literal["again", "skip", "done"]
    output: Any = None


class RunInfo(Struct, frozen=True):
    """A durable run.

    Attributes:
        run_id: Its id.
        name: The workflow's.
        status: ``running``, ``paused``, ``compensating``, ``cancelled``, ``failed``; or, ended for good, ``completed``,
            ``partial``, ``compensated``, ``compensation_failed``.
        live: Whether somebody runs it now, as far as its lease tells.
        fence: How often it was taken up.
        stages: How many stages ended.
        began_s: When it began.
        changed_s: When something of it was written last.
        error: Why it did not complete.
        waiting: The paths of the stages that wait for a person.
    """

    run_id: str
    name: str
    status: str = "running"
    live: bool = False
    fence: int = 1
    stages: int = 0
    began_s: float = 0.0
    changed_s: float = 0.0
    error: str = ""
    waiting: tuple[str, ...] = ()


class StageInfo(Struct, frozen=True):
    """What is kept of a stage.

    Attributes:
        path: Where in the run.
        status: ``intent`` while it is under way, ``done``, ``failed``, ``skipped``, ``interrupted``, ``waiting``.
        kind: ``tool`` ... or ``function``.
        target: The name of what runs.
        input: What it was given, where somebody may have to decide about it.
        output: What it yielded.
        error: Why it did not complete.
        elapsed_ms: How long it took.
        attempts: How often it ran.
        sequence: Which of the run's stages it was, in the order in which they ended.
        key: What stands for it wherever its effect must happen once.
        began: Whether what it runs was begun when it came to wait.
    """

    path: str
    status: str
    kind: str = ""
    target: str = ""
    input: Any = None
    output: Any = None
    error: str = ""
    elapsed_ms: float = 0.0
    attempts: int = 0
    sequence: int = 0
    key: str = ""
    began: bool = False


class RunDetails(Struct, frozen=True):
    """A durable run with its stages.

    Attributes:
        info: What is known of it.
        pattern: What orders its stages.
        input: What it was given.
        output: What it yielded.
        stages: What is kept of its stages, in the order of their ends, those under way last.
    """

    info: RunInfo
    pattern: str = ""
    input: Any = None
    output: Any = None
    stages: tuple[StageInfo, ...] = ()
