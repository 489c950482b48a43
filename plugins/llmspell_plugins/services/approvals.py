"""The service Approvals: what guards want persons asked about, kept in the configured storage.

It hears of every guard's Cancel with the code ``approval_required``. If a person has allowed the call it lifts that
verdict, having written first that this is used up; else it keeps the question.

Invariant: what was allowed is let pass once, whoever asks at the same time: the change from allowed to consumed is
written only if nobody else has written it. An answer that was used is given back only where another guard stops the
same attempt before its body begins: what began has had its effect. What cannot be asked is denied, and says why.
"""

from __future__ import annotations

import builtins
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias

import msgspec
import trio
from blake3 import blake3
from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs.approvals import APPROVAL_REQUIRED, Approval, Approvals
from llmspell_hookspecs.context import HookContext
from llmspell_hookspecs.errors import InvalidInputError, StorageError
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.payload import lasting_of
from llmspell_hookspecs.plugin import Services
from llmspell_hookspecs.points import Phase
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.services import Clock, Hooks
from llmspell_hookspecs.storage import Storage, Storages
from llmspell_hookspecs.values import canonical
from llmspell_plugins.services.question import shown
from llmspell_plugins.services.state_value import decode, encode

__all__ = ["ApprovalService", "ApprovalSettings"]

_MAX_BYTES: Final = 1_000_000
_PREFIX: Final = "approval/"
_PATIENCE_S: Final = 0.002
"""Longer than a storage may miss what another process wrote."""
_REMEMBERED: Final = 1000
_ASKED: Final = frozenset({Phase.BEFORE, Phase.CHECK, Phase.DECISION})
"""The phases in which something is still to run."""
_IDS: Final = frozenset("0123456789abcdef")
_LONGEST: Final = 2000
"""Of a guard's reason, in characters."""


_Attempt: TypeAlias = tuple[str, int, str, str]
"""An operation's id, which attempt of it, and of what."""


class ApprovalSettings(BaseModel):
    """What ``approvals`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_s: float = Field(default=604_800.0, gt=0, description="How long after it was asked an answer counts.")


class ApprovalService:
    """Implements the contract's `Approvals`."""

    name: ClassVar[str] = "approvals"
    provides: ClassVar[type[Any]] = Approvals
    Settings: ClassVar[type[ApprovalSettings]] = ApprovalSettings

    def __init__(self, settings: ApprovalSettings, services: Services) -> None:
        self._time_s, self._services = settings.time_s, services
        self._opened: Storage | None = None
        self._used: OrderedDict[_Attempt, builtins.list[str]] = OrderedDict()

    async def list(self, *, status: str = "") -> Sequence[Approval]:
        """Return what is kept, in order of when it was asked."""
        found = []
        async for key, entry in (await self._storage()).scan(_PREFIX, limit=sys.maxsize):
            try:
                approval = _decoded(key.removeprefix(_PREFIX), entry.value)
            except StorageError as error:  # one odd entry hides no other
                self._services.get(Operations).problem(error)
                continue
            if not status or approval.status == status:
                found.append(approval)
        return sorted(found, key=lambda approval: approval.asked_s)

    async def get(self, id: str, /) -> Approval | None:
        """Return what is kept under an id, or None."""
        return (await self._read(_checked(id)))[0]

    async def allow(self, id: str, /, *, by: str = "", note: str = "") -> Approval:
        """Let the call pass once, when it is made again."""
        return await self._decide(id, "allowed", by, note)

    async def deny(self, id: str, /, *, by: str = "", note: str = "") -> Approval:
        """Refuse the call for good."""
        return await self._decide(id, "denied", by, note)

    async def reopen(self, id: str, /, *, by: str = "", note: str = "") -> Approval:
        """Take an answer back, so that the question is open again."""
        return await self._decide(id, "pending", by, note)

    async def _decide(self, id: str, status: Literal["allowed", "denied", "pending"], by: str, note: str) -> Approval:
        while True:
            found, version = await self._read(_checked(id))
            if found is None:
                raise InvalidInputError(
                    f"approval {id}: there is none; 'llmspell approval list' shows what is asked", field="id"
                )
            now_s = self._services.get(Clock).now_s()
            problem = _undecidable(found, status, now_s)
            if problem:
                raise InvalidInputError(f"approval {id}: {problem}", field="id")
            decided = structs.replace(found, status=status, decided_s=now_s, by=by, note=note)
            if await self._write(decided, version):
                return decided
            await trio.sleep(_PATIENCE_S)

    # What guards want.

    async def appeal(self, hook: str, cancel: Cancel, context: HookContext[Any], /) -> Cancel | None:
        """Lift a guard's verdict if a person has allowed exactly this; else keep the question."""
        if cancel.code != APPROVAL_REQUIRED or _phase(self._services.get(Hooks), context.point) not in _ASKED:
            return cancel
        asked = await self._services.get(Operations).beside(context.subject, self._question, hook, cancel, context)
        while True:
            found, version = await self._kept(asked.id)
            if found is not None and found.expires_s >= asked.asked_s:
                if found.status == "denied":
                    by = f" by {found.by}" if found.by else ""
                    return Cancel(f"{cancel.reason}: denied{by}{': ' if found.note else ''}{found.note}")
                if found.status == "allowed":
                    if await self._write(structs.replace(found, status="consumed"), version):
                        self._remember(context, asked.id)
                        return None
                    await trio.sleep(_PATIENCE_S)
                    continue
                if found.status == "pending":
                    break
            if await self._write(asked, version):
                break
            await trio.sleep(_PATIENCE_S)
        await self._give_back(context)
        told = f"{cancel.reason}; 'llmspell approval allow {asked.id}' lets it pass, once"
        return Cancel(told, APPROVAL_REQUIRED)

    def _question(self, hook: str, cancel: Cancel, context: HookContext[Any]) -> Approval:
        """Return what is asked, under the hash of all that the guard saw of the call, but for what is new each time."""
        component, baggage = context.component, context.operation.baggage
        address = f"{component.kind}:{component.name}"
        run_id, path = baggage.get("workflow_run", ""), baggage.get("workflow_path", "")
        lasting = lasting_of(context.subject)
        seen = canonical((context.point, hook, address, run_id, path, context.operation.session_id, lasting))
        id = blake3(seen).hexdigest(16)
        now_s = self._services.get(Clock).now_s()
        reason = shown(cancel.reason[:_LONGEST])
        times = now_s, now_s + self._time_s
        call, path = shown(context.subject), shown(path)
        return Approval(id, "pending", address, context.point, hook, reason, call, run_id, path, *times)

    def _remember(self, context: HookContext[Any], id: str) -> None:
        if not self._precedes(context):
            return
        self._used.setdefault(_attempt_of(context), []).append(id)
        while len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)

    async def _give_back(self, context: HookContext[Any]) -> None:
        """Let what was allowed be allowed still, where another guard has stopped the same attempt before its body."""
        if not self._precedes(context):
            return
        for id in self._used.pop(_attempt_of(context), ()):
            found, version = await self._read(id)
            if found is not None and found.status == "consumed":
                await self._write(structs.replace(found, status="allowed"), version)

    def _precedes(self, context: HookContext[Any]) -> bool:
        """Whether the body of the attempt cannot have begun where a guard stands; all that tools ask comes before."""
        point = self._services.get(Hooks).point(context.point)
        return point.phase is Phase.BEFORE or point.topic == "tool"

    # The storage.

    async def _storage(self) -> Storage:
        if self._opened is None:
            self._opened = await self._services.get(Storages).open()
        return self._opened

    async def _read(self, id: str) -> tuple[Approval | None, int]:
        entry = await (await self._storage()).get(f"{_PREFIX}{id}")
        return (None, 0) if entry is None else (_decoded(id, entry.value), entry.version)

    async def _kept(self, id: str) -> tuple[Approval | None, int]:
        """Return what is kept under an id; what is none of ours there is no answer, and is written over."""
        entry = await (await self._storage()).get(f"{_PREFIX}{id}")
        if entry is None:
            return None, 0
        try:
            return _decoded(id, entry.value), entry.version
        except StorageError:
            return None, entry.version

    async def _write(self, approval: Approval, version: int) -> bool:
        key = f"{_PREFIX}{approval.id}"
        encoded = encode(f"approval {approval.id}", structs.asdict(approval), _MAX_BYTES)
        storage = await self._storage()
        with trio.CancelScope(shield=True):  # whoever is cut off in the middle would not know whether it is used up
            written = await storage.write({key: encoded}, expect={key: version})
        return written is not None


def _decoded(place: str, encoded: bytes) -> Approval:
    try:
        return msgspec.convert(decode(f"approval {place}", encoded), Approval)
    except (msgspec.ValidationError, StorageError) as error:
        message = f"approval {place}: what is stored there is none of ours; let the call be asked again"
        raise StorageError(message) from error


def _attempt_of(context: HookContext[Any]) -> _Attempt:
    operation, component = context.operation, context.component
    return operation.id, operation.attempt, component.kind, component.name


def _checked(id: str) -> str:
    if len(id) != 32 or not _IDS.issuperset(id):
        raise InvalidInputError(f"approval {id!r:.60}: it is no id; 'llmspell approval list' shows them", field="id")
    return id


def _undecidable(found: Approval, status: str, now_s: float) -> str:
    """Return why a question cannot be answered so, an empty text if it can."""
    if found.status == "consumed":
        return "it was allowed and is used up; make the call again, which asks again"
    if found.expires_s < now_s:
        return "its time is over; make the call again, which asks again"
    if status == "pending":
        return "it is open; answer it" if found.status == "pending" else ""
    if found.status == "pending":
        return ""
    return f"it is {found.status}; 'llmspell approval reopen {found.id}' takes that back"


def _phase(hooks: Hooks, point: str) -> Phase:
    return hooks.point(point).phase
