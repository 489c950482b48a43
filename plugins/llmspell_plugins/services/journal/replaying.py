"""The service Replay: runs again what a journal has on record.

A replay runs within an operation of its own, whose baggage says so, and with the session of the record. What it is
about is told by a context variable, and by the correlation of its operations for handlers of events.

Invariant: in a replay no socket is opened but by what runs live. Nothing of it is recorded.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, ClassVar, Final

import trio

from llmspell_hookspecs import Calls, InvalidInputError, LlmspellError, Services, State
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.entropy import Entropy
from llmspell_hookspecs.errors import ComponentNotFoundError, StorageError, line_of_error
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.operation import EndedOperation, Operation, OperationKind, Operations, RunningBody
from llmspell_hookspecs.replay import Comparison, Replay, ReplayOptions, ReplayReport
from llmspell_hookspecs.script import ScriptRun, Scripts
from llmspell_hookspecs.switching import HookSwitch
from llmspell_hookspecs.values import thaw

from . import hermetic
from .cassette import read_cassette
from .comparison import compare
from .content import plain_of
from .player import Player
from .playing import LIVE, PLAYING
from .reading import Volume, paths_of
from .record import Written
from .secrets import Secrets
from .service import JournalService

__all__ = ["ReplayService"]

_EXACT: Final = ReplayOptions()
_REPLAY: Final = OperationKind("replay", composes=True)
_BY_ADDRESS: Final = frozenset({"tool", "agent", "model", "workflow"})


class ReplayService:
    """Implements the contract's `Replay`."""

    name: ClassVar[str] = "replay"
    provides: ClassVar[type[Any]] = Replay

    def __init__(self, settings: None, services: Services) -> None:
        self._services = services
        self._numbers = itertools.count(1)
        self._players: dict[str, Player] = {}
        self._correlations: dict[str, str] = {}
        self._around: dict[str, int] = {}
        """The correlations of operations that a replay runs within: what else belongs to them is none of it."""

    async def run(self, id: str, options: ReplayOptions = _EXACT, /) -> ReplayReport:
        """Run the outermost operations of a journal again; see the contract's `Replay`."""
        skipped: list[str] = []
        values: list[Any] = []
        async with self.playing(id, options) as player:

            async def body(subject: Any) -> None:
                await self._run_all(player, skipped, values)

            baggage = {"replay": id}
            if player.volume.head.session:
                baggage["session"] = id
            again = Operation(_REPLAY, ComponentRef("replay", id), None, body, baggage=baggage)
            await self._services.get(Operations).execute(again)
            return player.report(skipped, values)

    async def _run_all(self, player: Player, skipped: list[str], values: list[Any]) -> None:
        records, paths = player.volume.records, paths_of(player.volume.records)
        known = {record.id for record in records}
        for index, record in enumerate(records):
            if player.is_over:
                return
            if record.within in known or player.is_used(index):
                continue
            with trio.CancelScope() as scope:
                player.stop = scope.cancel
                try:
                    values.append(thaw(await self._again(player, record)))
                except _NotAloneError as error:
                    player.skip(index)
                    skipped.append(f"{paths[index]}: {line_of_error(error)}")
                except (
                    Exception
                ) as error:  # of any class, since it is what others raise: the record tells if it differs
                    values.append({"error": line_of_error(error)})

    async def _again(self, player: Player, record: Written) -> Any:
        """Run an outermost operation again, with what it was asked before hooks changed that."""
        services, kind = self._services, record.kind
        asked = next((each.subject for each in record.answers if each.subject is not None), None)
        if asked is None or not record.answers[0].point.startswith("before_"):
            asked = record.request
        request: dict[str, Any] = plain_of(asked, player.volume.blobs.get)
        if kind == "script":
            fields = {name: request[name] for name in ScriptRun.__struct_fields__ if name in request}
            fields["arguments"] = tuple(fields.get("arguments") or ())
            return await services.get(Scripts).run_script(ScriptRun(**fields), write=_discard)
        if kind in _BY_ADDRESS:
            try:
                return await services.get(Calls).call(f"{kind}:{record.component}", _payload(kind, request))
            except ComponentNotFoundError as error:
                raise _NotAloneError(str(error)) from error
        if kind in ("state_read", "state_write", "state_delete"):
            state = await services.enter(State)
            key, scope = request["key"], request["scope"]
            if kind == "state_write":
                return await state.set(key, request["value"], scope=scope, expect=request["expect"])
            return await (state.delete(key, scope=scope) if kind == "state_delete" else state.get(key, scope=scope))
        raise _NotAloneError(f"a {kind} cannot be run again by itself; use replay.playing(...) around its code")

    @asynccontextmanager
    async def playing(self, id: str, options: ReplayOptions = _EXACT, /) -> AsyncIterator[Player]:
        """Return a block in which every operation is served; see the contract's `Replay`."""
        async with self._played(await self._volume(id), options) as player:
            yield player

    @asynccontextmanager
    async def playing_cassette(self, text: str, name: str, options: ReplayOptions = _EXACT, /) -> AsyncIterator[Player]:
        """Return a block in which every operation is served from a cassette; see the contract's `Replay`."""
        volume = await trio.to_thread.run_sync(read_cassette, text, name)
        async with self._played(volume, options) as player:
            yield player

    @asynccontextmanager
    async def _played(self, volume: Volume, options: ReplayOptions) -> AsyncIterator[Player]:
        secrets = Secrets(self._services)
        await secrets.refresh()
        id, player = volume.id, Player(volume, options, secrets)
        if options.until and options.until not in paths_of(volume.records):
            message = f"replay: {id} has no path {options.until!r}; see 'llmspell journal show {id}'"
            raise InvalidInputError(message, field="until")
        number = f"replay-{next(self._numbers)}"
        operations = self._services.get(Operations)
        player.leave = lambda: operations.carry("replay", "")
        with ExitStack() as stack:
            for pattern in options.without:
                switch = self._services.get(HookSwitch)
                if not switch.switch(pattern, False):
                    switch.switch(pattern, None)
                    message = f"replay: no hook fits {pattern!r}; see 'llmspell hook list'"
                    raise InvalidInputError(message, field="without")
                stack.callback(switch.switch, pattern, None)
            stack.callback(self._leave, self._enter())
            self._players[number] = player
            stack.callback(self._forget, number)
            stack.callback(operations.stand_in(self._stand_in))
            stack.callback(operations.tap(self._tap))
            stack.callback(self._services.get(Entropy).let(self._draw))
            token = PLAYING.set(number)
            stack.callback(PLAYING.reset, token)
            hermetic.begin()
            yield player

    def compare(self, expected: Any, actual: Any, /) -> Comparison:
        """Return what two plain values have in common; see the contract's `Replay`."""
        return compare(expected, actual)

    async def _volume(self, id: str) -> Volume:
        journal = await self._services.enter(Journal)
        if not isinstance(journal, JournalService):
            raise StorageError("replay: another plugin keeps the journal; it replays what ours has written")
        self._correlations = journal.correlations
        return await journal.whole(id)

    def _enter(self) -> str:
        """Return the correlation of the operation around, which is kept apart until `_leave`; empty for none."""
        try:
            around = self._services.get(Operations).current().correlation_id
        except LookupError:
            return ""
        self._around[around] = self._around.get(around, 0) + 1
        return around

    def _leave(self, around: str) -> None:
        if around:
            self._around[around] -= 1
            if not self._around[around]:
                del self._around[around]

    def _forget(self, number: str) -> None:
        del self._players[number]
        for correlation in [each for each, play in self._correlations.items() if play == number]:
            del self._correlations[correlation]

    def _player(self, correlation: str) -> tuple[str, Player | None]:
        """Return which replay an operation belongs to."""
        playing = PLAYING.get()
        if not playing:
            playing = self._correlations.get(correlation, "")
        elif playing in self._players and correlation not in self._around:
            self._correlations.setdefault(correlation, playing)
        return playing, self._players.get(playing)

    async def _stand_in(self, running: RunningBody) -> Any:
        if running.kind is _REPLAY:
            return await running.run()
        playing, player = self._player(running.operation.correlation_id)
        if player is None:
            return await running.run()
        if not running.operation.replayed and playing != LIVE:  # an outermost one of a block
            self._services.get(Operations).carry("replay", player.volume.id)
        token = PLAYING.set(playing)
        try:
            return await player.stand_in(running)
        finally:
            PLAYING.reset(token)

    def _draw(self, name: str, make: Callable[[], Any]) -> Any:
        if PLAYING.get() == LIVE:
            return make()
        running = self._services.get(Operations).running()
        if running is None:
            return make()
        _, player = self._player(running.ref().correlation_id)
        return make() if player is None else player.draw(running, name, make)

    def _tap(self, ended: EndedOperation) -> None:
        if ended.of is not _REPLAY:
            _, player = self._player(ended.operation.correlation_id)
            if player is not None:
                player.tap(ended)


class _NotAloneError(LlmspellError):
    """An operation cannot be run again by itself."""


def _payload(kind: str, request: dict[str, Any]) -> Any:
    """Return what a component is given, of the request on record."""
    if kind == "tool":
        return request["parameters"]
    if kind == "workflow":
        return request["input"]
    if kind == "agent":
        messages = {} if request["messages"] is None else {"messages": request["messages"]}
        return {"text": request["text"], **request["parameters"], **messages}
    return {name: value for name, value in request.items() if name != "model"}


def _discard(text: str) -> None:
    """Write nothing: it was written when it ran first."""
