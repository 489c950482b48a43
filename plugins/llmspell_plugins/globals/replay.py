"""The global Replay: run again what is on record of this script, and compare values.

A script may replay runs of scripts of its own file's name, and the session that it runs in; other people's runs hold
what they asked and were answered.

Invariant: a mode, a modification or a configuration does what it says, or is refused. Durations in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import trio

from llmspell_hookspecs import InvalidInputError, ScriptGlobal, script_method
from llmspell_hookspecs.errors import OperationTimeoutError, SecurityError
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.language import ScriptObject
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.replay import Comparison, Replay, ReplayOptions, ReplayReport
from llmspell_hookspecs.values import thaw

__all__ = ["ReplayGlobal"]

_MODES: Final = ("exact", "modified")
_TIMEOUT_S: Final = 30.0


class ReplayMode(ScriptObject):
    """How something runs again."""

    def __init__(self, name: str) -> None:
        self._name = name

    @script_method(pure=True)
    def name(self) -> str:
        """Return ``exact`` or ``modified``."""
        return self._name

    def script_text(self) -> str:
        """Return its name."""
        return self._name


class ReplayModification(ScriptObject):
    """What is served otherwise than it is on record."""

    def __init__(self, path: str, value: Any, *, enabled: bool = True) -> None:
        self.path, self.value, self.enabled = path, value, enabled

    @script_method(pure=True)
    def get_path(self) -> str:
        """Return where."""
        return self.path

    @script_method(pure=True)
    def get_value(self) -> Any:
        """Return what."""
        return self.value

    @script_method(pure=True)
    def is_enabled(self) -> bool:
        """Return whether it counts."""
        return self.enabled

    @script_method(pure=True)
    def set_enabled(self, enabled: bool) -> None:
        """Let it count, or not."""
        self.enabled = enabled


class ReplayConfig(ScriptObject):
    """How `Replay.run` runs something again."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.timeout_s = _TIMEOUT_S
        self.stops = True
        self.modifications: list[ReplayModification] = []

    @script_method(pure=True)
    def get_mode(self) -> str:
        """Return ``exact`` or ``modified``."""
        return self.mode

    @script_method(pure=True)
    def should_compare_results(self) -> bool:
        """Return whether what leaves is compared with the record: in mode exact."""
        return self.mode == "exact"

    @script_method(pure=True)
    def get_timeout_seconds(self) -> float:
        """Return how long it may take."""
        return self.timeout_s

    @script_method(pure=True)
    def set_timeout_seconds(self, time_s: float) -> None:
        """Let it take so long."""
        if not 0 < time_s <= 3600:
            raise InvalidInputError(f"Replay: a timeout of {time_s:g} s; give 0 to 3600", field="timeout_seconds")
        self.timeout_s = float(time_s)

    @script_method(pure=True)
    def should_stop_on_error(self) -> bool:
        """Return whether it ends at the first request that is not on record."""
        return self.stops

    @script_method(pure=True)
    def set_stop_on_error(self, stops: bool) -> None:
        """Let it end there, or answer such requests with nothing."""
        self.stops = stops

    @script_method(pure=True)
    def get_modifications(self) -> list[ReplayModification]:
        """Return what is served otherwise."""
        return list(self.modifications)

    @script_method(pure=True)
    def add_modification(self, path: str, value: Any, enabled: bool = True) -> None:
        """Serve a value otherwise.

        Args:
            path: ``PATH/result/FIELD``, with the path that ``llmspell journal show`` tells.
            value: What is served.
            enabled: Whether it counts.
        """
        self.modifications.append(_modification(path, value, enabled=enabled))


class ReplayComparator(ScriptObject):
    """Compares values."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    @script_method()
    def compare_json(self, expected: Any, actual: Any) -> dict[str, Any]:
        """Return what two values have in common: ``identical``, ``similarity_score``, ``summary``, ``differences``."""
        return _told(self._replay.compare(expected, actual))


class ReplayModes(ScriptObject):
    """The modes there are."""

    def script_fields(self) -> Mapping[str, Any]:
        """Return them."""
        return {name: ReplayMode(name) for name in _MODES}


class ReplayGlobal(ScriptGlobal):
    """Run again what is on record of this script, and compare values."""

    name: ClassVar[str] = "Replay"

    def script_fields(self) -> Mapping[str, Any]:
        """Return the modes."""
        return {"modes": ReplayModes()}

    @script_method()
    def create_config(self, mode: Any = None) -> ReplayConfig:
        """Return how something runs again, in mode exact if none is given."""
        name = mode.name() if isinstance(mode, ReplayMode) else mode
        if name not in (None, *_MODES):
            message = f"Replay.create_config: there is no mode {name!r}; there are {' and '.join(_MODES)}"
            raise InvalidInputError(message, field="mode")
        return ReplayConfig(name or "exact")

    @script_method()
    def create_modification(self, path: str, value: Any, enabled: bool = True) -> ReplayModification:
        """Return what is served otherwise; give it to a configuration by `add_modification`."""
        return _modification(path, value, enabled=enabled)

    @script_method()
    async def create_comparator(self) -> ReplayComparator:
        """Return what compares values."""
        return ReplayComparator(await self.services.enter(Replay))

    @script_method()
    async def list(self) -> list[dict[str, Any]]:
        """Return what this script may run again, the newest first: ``id``, ``component``, ``records``, ``ended``."""
        journal = await self.services.enter(Journal)
        return [
            {"id": run.id, "component": run.component, "records": run.records, "ended": run.ended_s}
            for run in await journal.runs()
            if self._may(run.id, run.component, session=run.session)
        ]

    @script_method()
    async def run(self, id: str, config: Any = None) -> dict[str, Any]:
        """Run something again and return what came of it.

        Args:
            id: As `list` has it.
            config: Of `create_config`; mode exact if none is given.

        Raises:
            SecurityError: It is none of this script's.
            OperationTimeoutError: It took too long.
        """
        journal = await self.services.enter(Journal)
        runs = {run.id: run for run in await journal.runs(1_000_000)}
        run = runs.get(id)
        if run is None or not self._may(id, run.component, session=run.session):
            message = f"Replay.run: {id} is no run of this script, nor the session that it runs in; see Replay.list"
            raise SecurityError(message, rule="replay")
        if self.services.get(Operations).current().replayed:
            raise InvalidInputError("Replay.run: this is a replay already; leave it out of what runs again", field="id")
        config = config if isinstance(config, ReplayConfig) else ReplayConfig("exact")
        options = ReplayOptions(
            mode=config.mode,
            changes={each.path: each.value for each in config.modifications if each.enabled},
            on_miss="stop" if config.stops else "stub",
        )
        replay = await self.services.enter(Replay)
        with trio.move_on_after(config.timeout_s) as scope:
            return _report(await replay.run(id, options))
        if scope.cancelled_caught:
            message = f"Replay.run: {id} took longer than {config.timeout_s:g} s; see set_timeout_seconds"
            raise OperationTimeoutError(message, limit_s=config.timeout_s)
        return {}

    def _may(self, id: str, component: str, *, session: bool) -> bool:
        if session:
            return self.services.get(Operations).current().session_id == id
        return component == f"script:{os.path.basename(self.scope.script.name)}"


def _modification(path: str, value: Any, *, enabled: bool) -> ReplayModification:
    if not path.startswith("/") or "/result" not in path:
        message = f"Replay: {path!r} is no place; give PATH/result/FIELD, as 'llmspell journal show' tells the path"
        raise InvalidInputError(message, field="path")
    return ReplayModification(path, thaw(value), enabled=enabled)


def _told(found: Comparison) -> dict[str, Any]:
    rows = [
        {"path": each.pointer, "description": f"{each.expected!r} -> {each.actual!r}"} for each in found.differences
    ]
    summary = "the values are equal" if found.identical else f"{len(rows)} differences"
    told: dict[str, Any] = {
        "identical": found.identical,
        "similarity_score": found.similarity,
        "summary": summary,
    }
    return told if found.identical else {**told, "differences": rows}


def _report(report: ReplayReport) -> dict[str, Any]:
    first = report.first
    return {
        "id": report.id,
        "mode": report.mode,
        "identical": report.identical,
        "operations": report.operations,
        "served": report.served,
        "missed": report.missed,
        "leftovers": report.leftovers,
        "divergences": len(report.divergences),
        "first": None
        if first is None
        else {"path": first.path, "component": first.component, "message": first.message, "hook": first.hook or None},
        "values": list(report.values),
    }
