"""Rows of the group sessions: what a session costs, made and saved in memory; and an artifact of 10 MB, in a file.

Sessions are held beside those of google-adk's service in memory where that is installed: there a session is made with
the same name and tags as its state, and saved by an event that carries a change of its state. Their floor is a plain
dict; that of an artifact is a plain write of the same bytes, synced, with their hash.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import trio
from blake3 import blake3

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs.artifacts import ArtifactDraft, Artifacts
from llmspell_hookspecs.sessions import SessionDraft, Sessions

from .timing import OURS, Bar, Contender, Row, Run, measure

__all__ = ["measure_sessions"]

_DICT: Final = "floor: a dict, copied"
_PLAIN: Final = "floor: plain write and hash"
_ADK: Final = "google-adk"
_HALF: Final = Bar("half of google-adk", _ADK, 0.5)
_SIZE: Final = 10_000_000
_ARTIFACT: Final = Bar("2 x plain write and hash", _PLAIN, 2.0)


async def measure_sessions(rounds: int) -> Run:
    """Time the rows."""
    with TemporaryDirectory(dir=".") as folder:
        async with _opened(Path(folder), "memory") as host:
            rows, absent = _session_rows(await host.enter(Sessions))
            run = (await measure(rows, rounds)).joined(Run(absent=tuple(absent)))
        async with _opened(Path(folder), "sqlite") as host:
            row = await _artifact_row(await host.enter(Artifacts), Path(folder))
            return run.joined(await measure([row], max(1, rounds // 10)))


@asynccontextmanager
async def _opened(folder: Path, backend: str) -> AsyncIterator[Host]:
    own = {"max_artifacts": 10**9, "max_session_bytes": 10**12}
    settings = {"storage": {"backend": backend}, "plugins": {"artifacts": own}}
    async with Host.open(load_settings(settings, environment={}, cwd=folder), discover=False) as host:
        yield host


def _session_rows(sessions: Sessions) -> tuple[list[Row], list[str]]:
    """Return the rows of sessions, and the peers that are not installed."""
    kept: dict[str, Any] = {}

    def plainly() -> None:
        id = str(uuid4())
        kept[id] = {"name": "report", "tags": ["weekly"], "status": "active", "state": {}, "events": []}
        deepcopy(kept[id])

    def save_plainly() -> None:
        plainly()
        id, session = kept.popitem()
        kept[id] = deepcopy(session)

    draft = SessionDraft("report", tags=("weekly",))

    async def save() -> None:
        await sessions.save((await sessions.create(draft)).id)

    made = [Contender(_DICT, plainly), Contender(OURS, lambda: sessions.create(draft), waits=True)]
    saved = [Contender(_DICT, save_plainly), Contender(OURS, save, waits=True)]
    absent: list[str] = []
    try:
        peer = _Adk()
    except ImportError:
        absent.append(_ADK)
    else:
        made.append(Contender(_ADK, peer.create, waits=True))
        saved.append(Contender(_ADK, peer.save, waits=True))
    return [Row("session, made", made, _HALF), Row("session, made and saved", saved, _HALF)], absent


class _Adk:
    """The peer's service in memory."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from google.adk.events import Event, EventActions
            from google.adk.sessions import InMemorySessionService
        self._event, self._actions, self._sessions = Event, EventActions, InMemorySessionService()

    async def create(self) -> Any:
        state = {"name": "report", "tags": ["weekly"]}
        return await self._sessions.create_session(app_name="bench", user_id="user", state=state)

    async def save(self) -> None:
        session = await self.create()
        changed = self._event(author="user", actions=self._actions(state_delta={"status": "active"}))
        await self._sessions.append_event(session, changed)


async def _artifact_row(artifacts: Artifacts, folder: Path) -> Row:
    noise, numbers = random.Random(1).randbytes(_SIZE), count()

    def fresh() -> bytes:
        return b"%012d" % next(numbers) + noise[12:]

    def write(content: bytes) -> None:
        file = folder / "plain"
        with open(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        blake3(content).hexdigest()
        file.unlink()

    async def plainly() -> None:
        await trio.to_thread.run_sync(write, fresh())

    async def store() -> None:
        await artifacts.put(ArtifactDraft("large"), fresh())

    contenders = [Contender(_PLAIN, plainly, waits=True), Contender(OURS, store, waits=True)]
    return Row("artifact of 10 MB, stored", contenders, _ARTIFACT)
