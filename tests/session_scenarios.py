"""How the points of the topic session are made to fire: a scenario for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell import Host
from llmspell_hookspecs.sessions import SessionDraft, Sessions

if TYPE_CHECKING:
    from kernel import Bench


async def live_through(host: Host, bench: Bench) -> Any:
    """Take a session through all that may become of it."""
    sessions = await host.enter(Sessions)
    session = (await sessions.create(SessionDraft("plain"))).id
    await sessions.save(session)
    await sessions.restore(session)
    await sessions.suspend(session)
    await sessions.resume(session)
    return (await sessions.complete(session)).name


SESSION_SCENARIOS = dict.fromkeys(
    (
        "session_start",
        "session_save",
        "session_checkpoint",
        "session_restore",
        "session_suspend",
        "session_resume",
        "session_end",
    ),
    live_through,
)
