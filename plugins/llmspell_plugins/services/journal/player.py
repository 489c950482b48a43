"""Serves bodies from a journal, and compares what hooks answer and what leaves with what is on record.

An operation is found by the body in which it begins and by what was asked; of equal ones the first that nobody has
asked for yet. What hooks run for themselves belongs to the body around, in the record as in the replay.

Invariant: a record is served once. What is found to differ is kept in that order, and the first is never hidden by
what comes of it.

It is longer than most because serving and comparing share what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import trio
from msgspec import Struct

from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, OperationError, StorageError
from llmspell_hookspecs.operation import EndedOperation, OperationKind, RunningBody, RunningOperation
from llmspell_hookspecs.replay import Difference, Divergence, ReplayOptions, ReplayReport

from .aliases import Aliases
from .comparison import compare, differences, put, steady, without
from .content import Content, Encoder, decoded, failure_facts, plain_of
from .draws import Draws
from .failures import error_of
from .playing import LIVE, PLAYING, WITHIN
from .reading import Volume, paths_of
from .record import Written, WrittenBody
from .secrets import Secrets

__all__ = ["Player"]

_MOST: Final = 100
_ALIKE: Final = 200
"""So many equal requests below one body are looked through for the one in the same words."""
_BY_NAME: Final = frozenset({"Retry", "Cache", "Skipped", "Fork", "Continue"})
"""Answers of which only the name is compared: their delays and keys may differ."""


class _Place(Struct, eq=False):
    """An operation that runs again, and its record; None for one that is not on record."""

    record: Written | None
    index: int = -1
    attempts: int = 0
    diverged: bool = False
    is_inside: bool = False
    is_reserved: bool = False
    """Whether it was found by what it was asked for before hooks changed that: one of them has drawn something."""

    @property
    def stage(self) -> int:
        """How far it is; see `Watched`."""
        return 2 * self.attempts - self.is_inside


class Player:
    """Serves what is on record.

    Args:
        volume: The journal.
        options: How.
        secrets: What is masked in the journal, and so in what is compared with it.

    Attributes:
        volume: The journal.
        stop: Told when the replay is to end.
        leave: Told when what runs here is no replay from now on.
    """

    def __init__(self, volume: Volume, options: ReplayOptions, secrets: Secrets) -> None:
        self.volume = volume
        self.options = options
        self.stop: Callable[[], object] | None = None
        self.leave: Callable[[], object] = bool
        self._reached = False
        self._blobs = volume.blobs.get
        self._encoder = Encoder(secrets)
        self._encoder.masks = True
        self._paths = paths_of(volume.records)
        self._below: dict[tuple[str, str, str], list[int]] = {}
        known = {record.id for record in volume.records}  # not those that were cut off before they ended
        for index, record in enumerate(volume.records):
            within = record.within if record.within in known else ""
            self._below.setdefault((within, record.kind, record.component), []).append(index)
        self._check()
        self._digests = [self._digest_on_record(record) for record in volume.records]
        self._alike: dict[tuple[str, str, str, str], list[int]] = {}
        for key, indices in self._below.items():
            for index in indices:
                self._alike.setdefault((*key, self._digests[index]), []).append(index)
        self._used: set[int] = set()
        self._covered: set[str] = set()
        self._running: dict[str, _Place] = {}
        self._draws = Draws(volume.records)
        self._by_id = {record.id: record for record in volume.records}
        self._aliases = Aliases()
        self._counts = {"operations": 0, "served": 0, "live": 0, "missed": 0}
        self._found: list[Divergence] = []
        self._stopped: OperationError | None = None
        self._changes = [self._change(key, value) for key, value in options.changes.items()]

    # Serving.

    async def stand_in(self, running: RunningBody) -> Any:
        """Return what is on record of a body, or run it if it only runs other operations."""
        ref, kind = running.operation, running.kind
        if kind.sync:
            return await running.run()
        if self._stopped is not None:
            raise self._stopped
        await trio.lowlevel.checkpoint()
        place = self._running.get(ref.id)
        if place is None or (place.is_reserved and not self._is_kept(place, kind, running.subject)):
            place = self._running[ref.id] = self._place(running)
        place.is_reserved = False
        place.attempts += 1
        body = self._body(running, place)
        if body is None:
            return await self._missed(running, place)
        if self._is_live(kind, running.component.name):
            self._counts["live"] += 1
            return await self._run_live(running, place)
        if kind.composes:
            return await self._run(running, place)
        self._counts["served"] += 1
        self._cover(place)
        return self._served(running, place, body)

    def _place(self, running: RunningBody) -> _Place:
        kind, component = running.kind, running.component.name
        index = self._find(self._above(), kind, component, running.subject)
        if index is None:
            return _Place(None)
        place = _Place(self.volume.records[index], index)
        self._learn(place, running.subject)
        return place

    def _is_kept(self, place: _Place, kind: OperationKind, subject: Any) -> bool:
        """Return whether what was reserved for an operation is its record; else it is given back."""
        if self._digests[place.index] in self._digest(kind, subject):
            self._learn(place, subject)
            return True
        self._used.discard(place.index)
        return False

    def _learn(self, place: _Place, subject: Any) -> None:
        record = place.record
        if record is not None:
            self._aliases.learn(subject, lambda: plain_of(record.request, self._blobs))

    def draw(self, running: RunningOperation, name: str, make: Callable[[], Any]) -> Any:
        """Return what an operation drew when it ran first; what it did not draw then is made, the time is its end's."""
        id, subject = running.asked()
        if not id:
            return make()
        place = self._running.get(id)
        if place is None:
            asked = self._both(self._aliases.told(subject))
            component = self._aliases.told(running.address.partition(":")[2])
            index = self._draws.early(self._above(), component, asked, self._used)
            if index is None:
                return make()
            self._used.add(index)
            place = self._running[id] = _Place(self.volume.records[index], index, is_reserved=True)
        if place.record is None:
            return make()
        return self._draws.next(place.record, place.stage, name, make)

    def _above(self) -> str:
        """Return the id on record of the body that runs here; ``?`` for one that is not on record."""
        live = WITHIN.get()
        place = self._running.get(live)
        if place is None:
            return ""
        return "?" if place.record is None else place.record.id

    def _find(
        self, within: str, kind: OperationKind, component: str, subject: Any, *, ran: bool | None = None
    ) -> int | None:
        """Return which record is of an operation; of several that its kind takes for the same, that asked likewise."""
        name, records = self._aliases.told(component), self.volume.records
        found = [
            index
            for digest in dict.fromkeys(self._digest(kind, subject))
            for index in self._alike.get((within, kind.name, name, digest), ())
            if index not in self._used and (ran is None or bool(records[index].bodies) is ran)
        ]
        if not found:
            return None
        best = found[0] if len(found) == 1 else self._likewise(found[:_ALIKE], subject)
        self._used.add(best)
        return best

    def _likewise(self, found: Sequence[int], subject: Any) -> int:
        """Return which of some operations was asked in the same words, volatile ones apart; the first if none was."""
        actual, volatile = self._aliases.told(steady(subject)), getattr(type(subject), "volatile", ())
        for index in found:
            was = plain_of(self.volume.records[index].request, self._blobs)
            if isinstance(was, Mapping):
                was = {name: item for name, item in was.items() if name not in volatile}
            if was == actual:
                return index
        return found[0]

    def _body(self, running: RunningBody, place: _Place) -> WrittenBody | None:
        """Return the run of the body on record that is this one; None if it is not."""
        if place.record is None:
            return None
        bodies, number = place.record.bodies, place.attempts - 1
        if number >= len(bodies):
            return None
        if number == 0 or bodies[number].digest in self._digest(running.kind, running.subject) or self.options.ignore:
            return bodies[number]
        return None

    async def _missed(self, running: RunningBody, place: _Place) -> Any:
        self._counts["missed"] += 1
        if not place.diverged:
            place.diverged = True
            place.record, place.index = self._diverge_at(running, place)
        if self.options.on_miss == "live":
            self._counts["live"] += 1
            return await self._run_live(running, place)
        if self.options.on_miss == "stub":
            return running.kind.to_result(None)
        raise self._end(f"replay: {self._found[-1].message if self._found else 'it is not on record'}")

    def _diverge_at(self, running: RunningBody, place: _Place) -> tuple[Written | None, int]:
        """Note that a request is not on record; return the nearest one that is."""
        component = f"{running.kind.name}:{running.component.name}"
        if place.record is not None and not place.record.bodies:
            self._note("hook", place.index, component, "it runs, and was stopped before it ran in the record")
            return place.record, place.index
        if place.record is not None:
            message = f"attempt {place.attempts} is not on record: there were {len(place.record.bodies)}"
            self._note("request", place.index, component, message)
            return place.record, place.index
        actual = self._aliases.told(steady(running.subject))
        index, expected = self._nearest(running, actual)
        if index is None:
            above = self._running.get(WITHIN.get())
            path = self._paths[above.index] if above is not None and above.index >= 0 else ""
            self._found_one(
                Divergence("request", path, component, f"{component} is asked here, and was not in the record")
            )
            return None, -1
        self._used.add(index)
        found = differences(expected, actual)
        self._note("request", index, component, f"{component} is asked otherwise than in the record", found)
        return self.volume.records[index], index

    def _nearest(self, running: RunningBody, actual: Any) -> tuple[int | None, Any]:
        """Return the record below the same body that has most in common with what is asked, and its request."""
        best: tuple[float, int, Any] | None = None
        component = self._aliases.told(running.component.name)
        for index in self._below.get((self._above(), running.kind.name, component), ()):
            if index in self._used:
                continue
            expected = plain_of(self.volume.records[index].request, self._blobs)
            similarity = compare(expected, actual).similarity
            if best is None or similarity > best[0]:
                best = similarity, index, expected
        return (None, None) if best is None else best[1:]

    def _is_live(self, kind: OperationKind, component: str) -> bool:
        return kind.name in self.options.live or f"{kind.name}:{component}" in self.options.live

    async def _run(self, running: RunningBody, place: _Place) -> Any:
        token = WITHIN.set(running.operation.id)
        place.is_inside = True
        try:
            return await running.run()
        finally:
            place.is_inside = False
            WITHIN.reset(token)

    async def _run_live(self, running: RunningBody, place: _Place) -> Any:
        """Run a body, and all that it asks for, without the record."""
        self._cover(place)
        self.leave()
        token = PLAYING.set(LIVE)
        try:
            return await self._run(running, place)
        finally:
            PLAYING.reset(token)

    def _served(self, running: RunningBody, place: _Place, body: WrittenBody) -> Any:
        if body.state == "yielded":
            value = decoded(body.content, running.kind.result, self._blobs)
            return self._changed(value, running, place)
        if body.state == "raised":
            raise error_of(plain_of(body.content, self._blobs))
        record = place.record
        if record is not None and record.status == "failed":  # a deadline cut it off
            raise error_of(plain_of(record.outcome, self._blobs))
        message = "it was cut off in the record, so nobody knows what it would have yielded"
        self._note("end", place.index, f"{running.kind.name}:{running.component.name}", message)
        place.diverged = True
        raise self._end(f"replay: {message}")

    def _cover(self, place: _Place) -> None:
        """Count all that the body on record asked for as asked for."""
        if place.record is not None:
            self._covered.add(place.record.id)

    def _end(self, message: str) -> OperationError:
        error = OperationError(f"{message}; see the report of the replay")
        error.code = "diverged"
        if self.options.on_miss == "stop":
            self._stopped = error
            if self.stop is not None:
                self.stop()
        return error

    # Changes.

    def _change(self, key: str, value: Any) -> tuple[str, str, Any]:
        """Return of which operation what is served otherwise: its path, and where in its result."""
        for path in self._paths:
            if key.startswith(f"{path}/result/"):
                return path, key[len(path) + len("/result") :], value
        message = f"replay: {key!r} is in no operation on record; give PATH/result/FIELD with a path that it has"
        raise InvalidInputError(message, field="changes")

    def _check(self) -> None:
        """Refuse options that would change nothing."""
        there = {record.kind for record in self.volume.records} | {record.address for record in self.volume.records}
        for each in self.options.live:
            if each not in there:
                message = f"replay: nothing on record is {each!r}; live takes kinds and addresses that it has"
                raise InvalidInputError(message, field="live")
        for pointer in self.options.ignore:
            if not pointer.startswith("/"):
                raise InvalidInputError(f"replay: {pointer!r} is no JSON pointer; begin it with '/'", field="ignore")

    def _changed(self, value: Any, running: RunningBody, place: _Place) -> Any:
        """Return a value that is served as the options change it."""
        if not self._changes:
            return value
        import msgspec

        path = self._paths[place.index] if place.index >= 0 else ""
        for wanted, pointer, new in self._changes:
            if wanted == path:
                plain = put(msgspec.to_builtins(value), pointer, new)
                kind = running.kind.result
                value = plain if kind is object else msgspec.convert(plain, kind)
        return value

    # Comparing.

    def tap(self, ended: EndedOperation) -> None:
        """Compare an operation that has ended with its record."""
        kind, ref = ended.of, ended.operation
        if kind is None or kind.sync:
            return
        self._counts["operations"] += 1
        place = self._running.pop(ref.id, None)
        if place is None or (place.is_reserved and not self._is_kept(place, kind, ended.asked)):
            place = self._denied(ended, kind)
        record = place.record
        if record is None or (self._stopped is not None and not place.diverged and ended.status != record.status):
            return
        found = len(self._found)
        if self.options.mode == "exact" or place.diverged:
            self._compare_answers(ended, record, place, kind.before if place.diverged else "")
        exact = self.options.mode == "exact" and not self._changes
        if exact and not place.diverged and len(self._found) == found:
            self._compare_end(ended, kind, record, place)
        if place.index >= 0 and self.options.until and self._paths[place.index] == self.options.until:
            self._reached = True
            if self.stop is not None:
                self.stop()

    def _denied(self, ended: EndedOperation, kind: OperationKind) -> _Place:
        """Return the place of an operation that ended before its body."""
        within, name = self._above(), ended.component.name
        index = self._find(within, kind, name, ended.asked, ran=False)
        if index is None:
            index = self._find(within, kind, name, ended.asked)
        if index is not None:
            return _Place(self.volume.records[index], index)
        if self._stopped is None:
            component = f"{kind.name}:{ended.component.name}"
            above = self._running.get(WITHIN.get())
            path = self._paths[above.index] if above is not None and above.index >= 0 else ""
            hook = ended.answers[-1].hook if ended.answers else ""
            why = f"{component} is stopped before it runs, and is not in the record"
            self._found_one(Divergence("request", path, component, why, hook))
        return _Place(None)

    def _compare_answers(self, ended: EndedOperation, record: Written, place: _Place, only: str) -> None:
        """Name the first hook that answered otherwise; ``only`` at this point, since what comes later is ours."""
        was = [
            (each.point, each.hook, each.result, each.content) for each in record.answers if only in ("", each.point)
        ]
        now = [
            (each.point, each.hook, type(each.answer).__name__, self._encoder.encode(_fields(each.answer)))
            for each in ended.answers
            if only in ("", each.point)
        ]
        for number in range(max(len(was), len(now))):
            found: tuple[Difference, ...] = ()
            old = was[number] if number < len(was) else None
            new = now[number] if number < len(now) else None
            if old is not None and new is not None and old[:3] == new[:3]:
                found = () if old[2] in _BY_NAME or old[3] == new[3] else self._differences(old[3], new[3])
                if not found:
                    continue
            there = old or new
            point, hook = ("", "") if there is None else there[:2]
            if old is None or new is None or old[1] != new[1]:
                told = [f"{old[1]} answered {old[2]} in the record"] if old else []
                told += [f"{new[1]} answers {new[2]} now"] if new else ["nothing answers now"]
                if old is None:
                    told.append("nothing did in the record")
                message = ", ".join(told)
            else:
                message = f"{hook} answered {old[2]} in the record, and answers {new[2]} otherwise now"
            self._name_hook(place, record, hook, f"at {point}: {message}", found)
            return

    def _name_hook(
        self, place: _Place, record: Written, hook: str, message: str, found: tuple[Difference, ...]
    ) -> None:
        """Note that a hook answered otherwise: it is what the divergence that was found at its operation comes from."""
        path = self._paths[place.index] if place.index >= 0 else ""
        if place.diverged:
            for number, each in enumerate(self._found):
                if each.path == path and not each.hook:
                    merged = found or each.differences
                    self._found[number] = Divergence("hook", path, record.address, message, hook, merged)
                    return
        self._found_one(Divergence("hook", path, record.address, message, hook, tuple(found)))

    def _compare_end(self, ended: EndedOperation, kind: OperationKind, record: Written, place: _Place) -> None:
        component = record.address
        if self._is_live(kind, record.component):
            return
        if ended.status != record.status:
            message = f"it {_ended(ended.status)}, and {_ended(record.status)} in the record"
            self._note("status", place.index, component, message)
            return
        if ended.status != "completed":
            expected, actual = self._plain(record.outcome), self._aliases.told(_failure(ended.value))
            ignored: tuple[str, ...] = ("facts", "details")
        else:
            left = self._encoder.encode(ended.value)
            if record.outcome == left:
                return
            expected, actual = self._steady(record.outcome, kind), self._aliases.told(steady(ended.value))
            ignored = ()
        keep = {name: item for name, item in expected.items() if name not in ignored} if ignored else expected
        now = {name: item for name, item in actual.items() if name not in ignored} if ignored else actual
        found = differences(keep, now)
        if found:
            self._note("result", place.index, component, "what leaves differs from the record", found)

    def _differences(self, old: Content, new: Content) -> tuple[Difference, ...]:
        return differences(self._plain(old), self._aliases.told(self._plain(new)))

    def _plain(self, content: Content) -> Any:
        if content.form == "blob" and content.data not in self.volume.blobs:
            return plain_of(content, {**self.volume.blobs, **self._encoder.blobs}.get)
        try:
            return plain_of(content, self._blobs)
        except StorageError:
            return plain_of(content, self._encoder.blobs.get)

    def _steady(self, content: Content, kind: OperationKind) -> Any:
        try:
            return steady(decoded(content, kind.result, self._blobs))
        except LlmspellError:
            return self._plain(content)

    # Digests.

    def _digest(self, kind: OperationKind, subject: Any) -> tuple[str, str]:
        """Return what stands for a request, with known secrets masked and as it is: it may have told of them."""
        if self.options.ignore:
            plain = self._aliases.told(steady(subject))
            left = without(plain, self.options.ignore)
            if left != plain:
                return self._both(left)
        return self._both(self._aliases.told(kind.identity(subject)))

    def _both(self, value: Any) -> tuple[str, str]:
        self._encoder.masks = False
        plain = self._encoder.digest(value)
        self._encoder.masks = True
        return self._encoder.digest(value), plain

    def _digest_on_record(self, record: Written) -> str:
        if self.options.ignore:
            plain = plain_of(record.request, self._blobs)
            left = without(plain, self.options.ignore)
            if left != plain:
                return self._both(left)[0]
        return record.bodies[0].digest if record.bodies else record.digest

    # Telling.

    def _note(self, kind: Any, index: int, component: str, message: str, found: Sequence[Any] = ()) -> None:
        path = self._paths[index] if index >= 0 else ""
        self._found_one(Divergence(kind, path, component, message, "", tuple(found)))

    def _found_one(self, divergence: Divergence) -> None:
        if len(self._found) < _MOST:
            self._found.append(divergence)

    def report(self, skipped: Sequence[str] = (), values: Sequence[Any] = ()) -> ReplayReport:
        """Return what came of it so far."""
        left = [] if self._reached else [index for index in range(len(self._paths)) if not self._is_asked(index)]
        return ReplayReport(
            self.volume.id,
            self.options.mode,
            divergences=tuple(self._found),
            unused=tuple(self._paths[index] for index in left[:_MOST]),
            leftovers=len(left),
            skipped=tuple(skipped),
            values=tuple(values),
            **self._counts,
        )

    def skip(self, index: int) -> None:
        """Count an operation as asked for."""
        self._used.add(index)

    def _is_asked(self, index: int) -> bool:
        if index in self._used:
            return True
        record: Written | None = self.volume.records[index]
        while record is not None:
            if record.within in self._covered:
                return True
            record = self._by_id.get(record.within)
        return False

    def is_used(self, index: int) -> bool:
        """Return whether an operation on record was asked for."""
        return index in self._used

    @property
    def is_over(self) -> bool:
        """Whether it has come to a divergence, or to where it was to end."""
        return self._stopped is not None or self._reached


def _fields(answer: Any) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in answer.__struct_fields__}


def _failure(value: Any) -> dict[str, Any]:
    facts = failure_facts(value.error) if value.error is not None else {}
    return {**facts, "type": value.type, "message": value.message, "code": value.code}


def _ended(status: str) -> str:
    return {"completed": "completes", "failed": "fails", "cancelled": "is cancelled"}[status]
