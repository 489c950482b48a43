"""A guard that wants a person asked, and a workflow that waits for the answer.

Run it with ``python examples/approval.py``; it needs no key and no network. What is allowed is exactly the call that
was shown, once: another amount is another question. In place of the code here a person may type
``llmspell approval list`` and ``llmspell approval allow ID``, in another process and on another day.
"""

from __future__ import annotations

import os
import tempfile

import trio
from pydantic import BaseModel

from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, Tool, ToolCall, ToolContext
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.workflows import Workflows

PAY = {
    "name": "pay",
    "stages": [
        {"name": "sum", "tool": "calculator", "input": {"operation": "evaluate", "input": "{{input.price}} * 3"}},
        {"name": "transfer", "tool": "transfer", "input": {"amount": "{{step:sum:output.result}}"}},
    ],
}


class Transferring(BaseModel):
    """What the tool takes."""

    amount: float


class Transfer(Tool[Transferring]):
    """Send money."""

    name = "transfer"

    async def run(self, parameters: Transferring, context: ToolContext) -> str:
        """Say that it was sent."""
        print(f"  sent {parameters.amount:g}")
        return f"sent {parameters.amount:g}"


def large(context: HookContext[ToolCall]) -> Cancel | None:
    """Want a person asked about more than ten."""
    if context.subject.parameters["amount"] > 10:
        return Cancel("it is a large amount", "approval_required")
    return None


async def main() -> None:
    """Run it, answer, and go on."""
    async with Host.open(plugins=[Transfer]) as host:
        host.hooks.register("before_tool_execution", large, kind="guard", match="transfer")
        workflow = await host.get(Workflows).create(PAY)
        paused = await workflow.run({"price": 14}, run_id="pay-1", durable=True)
        print(f"the run is {paused.status}")
        approvals = host.get(Approvals)
        for question in await approvals.list(status="pending"):
            print(f"  {question.address} {question.call['parameters']}: {question.reason}")
            await approvals.allow(question.id, by="Ada")
        output = await host.get(Workflows).resume("pay-1")
        print(f"the run is {output.status}: {output.output}")
        again = await workflow.run({"price": 14}, run_id="pay-2", durable=True)
        print(f"the next run is {again.status}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        trio.run(main)
        os.chdir("/")
