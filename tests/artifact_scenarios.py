"""How the points of the topic artifact are made to fire: a scenario for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell import Host
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.artifacts import ArtifactDraft, Artifacts

if TYPE_CHECKING:
    from kernel import Bench


async def live_through(host: Host, bench: Bench) -> Any:
    """Take an artifact through all that may become of it, and return its description."""
    artifacts = await host.enter(Artifacts)
    first = await artifacts.put(ArtifactDraft("first", mime_type="text/plain", description="plain"), "one")
    second = await artifacts.put(ArtifactDraft("second", parent=first.id, description="plain"), b"two")
    await artifacts.read("host", second.id.sequence)
    changed = await artifacts.modify("host", first.id.sequence, tags=("a",))
    await artifacts.delete("host", second.id.sequence)
    return changed.description


async def store_what_is_none(host: Host, bench: Bench) -> Any:
    """Store what is not of the kind that it is said to be."""
    artifacts = await host.enter(Artifacts)
    try:
        await artifacts.put(ArtifactDraft("broken", mime_type="application/json"), "{")
    except InvalidInputError:
        return "plain"


ARTIFACT_SCENARIOS = {
    **dict.fromkeys(
        (
            "before_artifact_create",
            "after_artifact_create",
            "before_artifact_modify",
            "after_artifact_modify",
            "before_artifact_delete",
            "after_artifact_delete",
            "artifact_validated",
            "artifact_accessed",
            "artifact_derived",
        ),
        live_through,
    ),
    "artifact_validation_failed": store_what_is_none,
}
