"""A session as plain values: for programs, and as the file that stays when it goes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import trio
from msgspec import structs

from llmspell_hookspecs.regular import replace_regular
from llmspell_hookspecs.storage import Storage
from llmspell_plugins.services.state_value import decode

from .checkpoint import read_checkpoints, scope_of
from .records import read_head

__all__ = ["exported", "keep_file"]

_ROW = 64


async def exported(storage: Storage, id: str, now_s: float) -> dict[str, Any]:
    """Return all that is kept of a session."""
    head, _ = await read_head(storage, id)
    prefix = scope_of(id)
    state: dict[str, Any] = {}
    async for key, entry in storage.scan(prefix, limit=sys.maxsize):
        state[key[len(prefix) :]] = decode(f"session {id} {key[len(prefix) :]!r:.80}", entry.value)
        if len(state) % _ROW == 0:
            await trio.lowlevel.checkpoint()
    checkpoints = [structs.asdict(each.info(id, number)) for number, each in await read_checkpoints(storage, id)]
    info = structs.asdict(head.info(id, now_s))
    return {"session": {**info, "tags": [*head.tags]}, "state": state, "checkpoints": checkpoints}


async def keep_file(folder: Path, id: str, whole: dict[str, Any]) -> None:
    """Write a session to a file of its own, whole or not at all."""
    await trio.to_thread.run_sync(_write, folder, id, whole)


def _write(folder: Path, id: str, whole: dict[str, Any]) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"{id}.json"
    replace_regular(file, json.dumps(whole, default=_text, ensure_ascii=False).encode())
    for place in (file, folder):  # the session is deleted next
        opened = os.open(place, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _text(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
