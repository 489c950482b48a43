"""How deployments are reached from scripts (``Deploy.run``) and from the command line (``llmspell deploy``)."""

from __future__ import annotations

from typing import Any, ClassVar

import click

from llmspell_hookspecs import Calls, ScriptGlobal, script_method
from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["DeployGlobal", "deploy"]


class DeployGlobal(ScriptGlobal):
    """Deploy from a script."""

    name: ClassVar[str] = "Deploy"

    @script_method()
    async def run(self, target: str, version: str) -> dict[str, Any]:
        """Deploy a version to a target and return where it lies."""
        done = await self.services.get(Calls).call(f"deploy:{target}", {"version": version})
        return {"target": done.target, "version": done.version, "place": done.place}


@click.command()
@click.argument("target")
@click.argument("version")
@click.pass_obj
def deploy(invocation: Invocation, target: str, version: str) -> None:
    """Deploy VERSION to TARGET."""

    async def use(host: CommandHost) -> Any:
        return await host.call(f"deploy:{target}", {"version": version})

    invocation.run(use, show=lambda done: invocation.say(done.place))
