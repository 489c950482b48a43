"""What a run of a script has been given: the globals that it may see, and its limits.

Invariant: a run within another run, however far down, has no more of either than that; where it asks for a global that
the other was not given, it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct, structs

from llmspell.operations import Frame
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.language import ScriptLimits
from llmspell_hookspecs.script import ScriptRun
from llmspell_hookspecs.spelling import told

__all__ = ["Grant", "Grants"]


class Grant(Struct, frozen=True):
    """What one run has been given.

    Attributes:
        globals: The names that it may see, None for all.
        limits: What it may use.
    """

    globals: frozenset[str] | None
    limits: ScriptLimits


class Grants:
    """What the runs that go on just now have been given, each under the id of its scope."""

    def __init__(self) -> None:
        self._given: dict[str, Grant] = {}

    @contextmanager
    def kept(self, scope: str, grant: Grant) -> Iterator[None]:
        """Keep what a run was given, for as long as the block runs."""
        self._given[scope] = grant
        try:
            yield
        finally:
            del self._given[scope]

    def grant(self, script: ScriptRun, limits: ScriptLimits, frame: Frame | None) -> Grant:
        """Return what a script is given.

        Args:
            script: Says what it asks for.
            limits: Those in settings.
            frame: Where it runs.

        Raises:
            InvalidInputError: It asks for a limit that there is not.
            SecurityError: It asks for a global that a script around it was not given.
        """
        for around in self._around(frame):
            there = structs.asdict(around.limits)
            limits = limits.tightened({name: limit for name, limit in there.items() if name != "slices" and limit})
        limits = limits.tightened(script.limits)
        most = self.globals_within(frame)
        if script.globals is None:
            return Grant(most, limits)
        wanted = frozenset(script.globals)
        beyond = sorted(wanted - most) if most is not None else ()
        if beyond:
            message = f"script {script.name}: globals: the script around it has no {told(beyond[0])}; leave it out"
            raise SecurityError(message, rule="global")
        return Grant(wanted, limits)

    def globals_within(self, frame: Frame | None) -> frozenset[str] | None:
        """Return the globals that all the runs have which a frame descends from; None if none of them has fewer."""
        most: frozenset[str] | None = None
        for around in self._around(frame):
            if around.globals is not None:
                most = around.globals if most is None else most & around.globals
        return most

    def _around(self, frame: Frame | None) -> Iterator[Grant]:
        """Return what the runs have been given that a frame descends from."""
        frames = () if frame is None else frame.upward()  # each of them: one that is apart from scripts names no scopes
        scopes = dict.fromkeys(scope for each in frames for scope in each.scopes)
        return (self._given[scope] for scope in scopes if scope in self._given)
