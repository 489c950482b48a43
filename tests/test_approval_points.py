"""What a person has allowed passes when it is asked again, at each point where a guard may ask for a person."""

from __future__ import annotations

import pytest

from kernel import ALL_POINTS, MORE_PLUGINS, SCENARIOS, SETTINGS, Bench, opened
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.errors import LlmspellError
from llmspell_hookspecs.points import HookPoint, Phase
from llmspell_hookspecs.results import Cancel

ASK = Cancel("somebody looks first", "approval_required")
PHASES = (Phase.BEFORE, Phase.CHECK, Phase.DECISION)
ASKED = [point for point in ALL_POINTS if point.phase in PHASES and "Cancel" in point.accepts]


@pytest.mark.parametrize("point", ASKED, ids=[point.name for point in ASKED])
async def test_what_was_allowed_passes_when_the_same_is_asked_again(point: HookPoint) -> None:
    asked, refusals = await rounds(point)

    if point.sync_only:
        assert asked[0] == set()
        assert "where hooks may not wait nobody can be asked, so it is denied" in refusals[0]
    else:
        assert asked[0] != set()
        assert not asked[0] & asked[1]


async def rounds(point: HookPoint) -> tuple[list[set[str]], list[str]]:
    """Do the same twice, and allow in between what is asked; returns the questions and the refusals of each round."""
    bench = Bench()
    plugins = [*bench.plugins, *MORE_PLUGINS.get(point.name, ())]
    asked: list[set[str]] = []
    refusals: list[str] = []
    async with opened(*plugins, settings=SETTINGS.get(point.name)) as host:
        host.hooks.register(point.name, lambda context: ASK, kind="guard", name="ask")
        approvals = host.get(Approvals)
        for _ in range(2):
            try:
                await SCENARIOS[point.name](host, bench)
                refusals.append("")
            except LlmspellError as error:
                refusals.append(str(error))
            asked.append({each.id for each in await approvals.list(status="pending")})
            for id in asked[-1]:
                await approvals.allow(id)
    return asked, refusals
