"""A durable run of an agent in a process of its own, which may be killed: ``FOLDER RUN_ID STEPS``; prints its answer.

Each step of its model asks for three tools. A tool writes a line as it begins and one as it ends, each on disk before
it goes on. If the run is there already it is taken up; what was under way and may not run twice is said to run again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import trio

from kernel import make_tool, opened
from llmspell_hookspecs import ModelRequest, ModelResponse, ToolContext
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.workflows import Workflows
from scripted_model import ScriptedModel, asks, says

TOOLS = ("again", "once", "other")


def _line(folder: Path, text: str) -> None:
    descriptor = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, f"{text}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def main(folder: Path, run_id: str, steps: int) -> None:
    """Begin the run, or go on with it."""

    async def work(parameters: dict[str, Any], context: ToolContext) -> str:
        name = parameters["name"]
        _line(folder, f"begin {name}")
        await trio.sleep(0.002)
        _line(folder, f"end {name}")
        return f"{name} is done"

    def model(request: ModelRequest) -> ModelResponse:
        step = 1 + sum(message.role == "assistant" for message in request.messages)
        _line(folder, f"model {step}")
        if step > steps:
            answered = [message.content for message in request.messages if message.role == "tool"]
            return says(f"{len(answered)} tools: {answered[-1]}")
        return asks(*((tool, {"name": f"{step}.{tool}"}) for tool in TOOLS))

    tools = [make_tool(name, work, repeatable=name == "again") for name in TOOLS]
    settings = {"storage": {"backend": "sqlite", "sqlite": {"path": str(folder / "kept.db")}}}
    async with opened(*tools, ScriptedModel(model), settings=settings) as host:
        agent = await host.agents.create(name="worker", model="scripted/play", tools=TOOLS, durable=True)
        workflows = await host.enter(Workflows)
        details = await workflows.run_details(run_id)
        if details is None:
            output = await agent.run("work", run_id=run_id)
        else:
            output = await agent.go_on(run_id, take_over=True)
            while output.finish_reason == "paused":
                found = await workflows.run_details(run_id)
                assert found is not None
                undecided = [stage for stage in found.stages if stage.status == "interrupted"]
                verdicts = {stage.path: Verdict("again") for stage in undecided}
                for stage in undecided:
                    _line(folder, f"again {stage.path}")
                output = await agent.go_on(run_id, verdicts=verdicts, take_over=True)
        print(output.text, len(agent.conversation), flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
