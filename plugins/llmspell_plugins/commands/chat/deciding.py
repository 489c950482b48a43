"""What a run of an agent waits for, asked of whoever sits at the terminal.

Invariant: what is allowed is the call that was shown. An empty line, the end of the input and whatever is not a yes
denies it.
"""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llmspell_hookspecs.approvals import Approval, Approvals
from llmspell_hookspecs.runs import StageInfo, Verdict
from llmspell_hookspecs.workflows import Workflows

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["Decisions"]

Ask = Callable[[str], Awaitable[str | None]]
_QUESTION: Final = "allow? y(es), n(o), a(lways in this conversation), or say why not"
_INTERRUPTED: Final = "it may have run: a(gain), s(kip), or d(one)?"
_YES, _ALWAYS = frozenset({"y", "yes"}), frozenset({"a", "always"})
_NO: Final = frozenset({"", "n", "no"})
_LONGEST: Final = 2000


class Decisions:
    """Asks a person, and keeps what the person said.

    Args:
        host: Has the services.
        invocation: Shows what is asked.
        ask: Asks for one line, with a prompt; None at the end of the input.
    """

    def __init__(self, host: CommandHost, invocation: Invocation, ask: Ask) -> None:
        self._host = host
        self._invocation = invocation
        self._ask = ask
        self._always: set[tuple[str, str, str]] = set()

    async def decide(self, run_id: str, waiting: Sequence[str]) -> Mapping[str, Verdict] | None:
        """Ask about all that a run waits for, and return the verdicts on stages that were interrupted.

        Returns:
            None if it waits for something that nobody can be asked about here.
        """
        approvals = await self._host.enter(Approvals)
        asked = [each for each in await approvals.list(status="pending") if each.run_id == run_id]
        for approval in asked:
            await self._answer(approvals, approval)
        left = set(waiting) - {approval.path for approval in asked}
        verdicts: dict[str, Verdict] = {}
        if left:
            details = await (await self._host.enter(Workflows)).run_details(run_id)
            stages = () if details is None else details.stages
            for stage in stages:
                if stage.path in left and stage.status == "interrupted":
                    verdicts[stage.path] = await self._verdict(stage)
        return verdicts if asked or verdicts else None

    async def _answer(self, approvals: Approvals, asked: Approval) -> None:
        by, rule = getpass.getuser(), (asked.hook, asked.point, asked.address)
        self._invocation.note(f"{asked.address} {self._shown(asked.call)}")
        self._invocation.note(f"  {asked.hook} asks: {asked.reason}")
        if rule in self._always:
            self._invocation.note("  allowed, as you said for this conversation")
            await approvals.allow(asked.id, by=by, note="allowed for the conversation")
            return
        said = ((await self._ask(_QUESTION)) or "").strip()
        if said.lower() in _ALWAYS:
            self._always.add(rule)
        if said.lower() in _YES | _ALWAYS:
            await approvals.allow(asked.id, by=by)
        else:
            await approvals.deny(asked.id, by=by, note="" if said.lower() in _NO else said)

    async def _verdict(self, stage: StageInfo) -> Verdict:
        self._invocation.note(f"{stage.kind}:{stage.target} {self._shown(stage.input)} was interrupted")
        said = ((await self._ask(_INTERRUPTED)) or "").strip().lower()
        if said in ("a", "again"):
            return Verdict("again")
        return Verdict("done") if said in ("d", "done") else Verdict("skip")

    def _shown(self, call: Any) -> str:
        parameters = call.get("parameters", call) if isinstance(call, Mapping) else call
        text = self._invocation.to_json(parameters)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text) - _LONGEST} characters more)"
