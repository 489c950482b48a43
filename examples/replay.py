"""A run that is recorded, runs again from its record, and runs again without one of its hooks.

Run it with ``python examples/replay.py``; it needs no key and no network. The tool answers otherwise each time, so
what comes out the same the second time comes from the record. What the hook was good for the third run tells.
"""

from __future__ import annotations

import random

import trio

from llmspell import Host
from llmspell_hookspecs import HookContext, Modified, ToolCall
from llmspell_hookspecs.function import tool
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.replay import Replay, ReplayOptions, ReplayReport

SCRIPT = """
local sum = 0
for _, town in ipairs({"Oslo", "Rome"}) do
  sum = sum + Tool.invoke("thermometer", {town = town}).result.degrees
end
return sum
"""
asked = 0


@tool
async def thermometer(town: str, unit: str = "fahrenheit") -> dict[str, float]:
    """Tell how warm it is."""
    global asked
    asked += 1
    return {"degrees": random.uniform(-20, 40)}  # noqa: S311 - it is no secret


def in_celsius(context: HookContext[ToolCall]) -> Modified:
    """Ask for degrees that this example's readers know."""
    return context.modify(parameters={**context.subject.parameters, "unit": "celsius"})


def tell(report: ReplayReport) -> None:
    """Print what came of a replay."""
    print("  as on record:", report.identical)
    if report.first is not None:
        print(f"  first at {report.first.component}: {report.first.message}")
        for each in report.first.differences:
            print(f"    {each.pointer}: {each.expected} -> {each.actual}")


async def main() -> None:
    """Record a run, and run it again twice."""
    settings = {"journal": {"record": "all"}, "storage": {"backend": "memory"}}
    async with Host.open(settings, plugins=[thermometer], discover=False) as host:
        host.hooks.register("BeforeToolExecution", in_celsius, match="thermometer", name="in_celsius")
        value = await host.run_source(SCRIPT, language="lua")
        journal, replay = host.get(Journal), await host.enter(Replay)
        (run,) = await journal.runs()
        print(f"recorded {run.records} operations; the thermometer was asked {asked} times")

        report = await replay.run(run.id)
        print(f"again: the same sum is {report.values == (value,)}; it was asked {asked} times")
        tell(report)

        print("without the hook:")
        tell(await replay.run(run.id, ReplayOptions(without=("code.in_celsius",))))


if __name__ == "__main__":
    trio.run(main)
