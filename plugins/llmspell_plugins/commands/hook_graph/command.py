"""Show which components call which, and which hooks are asked about them, as text, DOT or Mermaid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.dependencies import DependencyGraph

__all__ = ["graph"]


@click.command()
@click.argument("script", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--format", "how", type=click.Choice(["text", "dot", "mermaid"]), default="text", help="How it is drawn.")
@click.option("--component", default="", metavar="ADDRESS", help="Only this one and its neighbours: 'tool:calculator'.")
@click.option("--all", "every", is_flag=True, help="With the components that nobody calls and no hook names, too.")
@click.option("--language", default="", help="The script's; by its ending if left out.")
@click.pass_obj
def graph(
    invocation: Invocation,
    /,
    script: Path | None,
    arguments: tuple[str, ...],
    how: str,
    component: str,
    every: bool,
    language: str,
) -> None:
    """Show which components call which, and which hooks are asked about them, in order.

    With a SCRIPT: as they are when it has run, with its agents, workflows and hooks; what stands behind -- are its
    arguments. Rings of calls are named. DOT is what Graphviz reads: llmspell hook graph --format dot | dot -Tsvg.
    """
    from .drawing import draw_dot, draw_mermaid, draw_text

    async def use(host: CommandHost) -> DependencyGraph:
        from llmspell_hookspecs.dependencies import Dependencies
        from llmspell_hookspecs.script import ScriptRun, Scripts

        dependencies = await host.enter(Dependencies)
        if script is None:
            return await dependencies.graph(every=every, component=component)
        chosen = language or _language_of(host, script)
        run = ScriptRun("", chosen, script.name, "", arguments)
        async with host.get(Scripts).console(run) as console:
            await console.load(script)
            return await dependencies.graph(every=every, component=component)

    found = invocation.run(use)
    if invocation.json:
        invocation.show(found)
        return
    draw = {"text": draw_text, "dot": draw_dot, "mermaid": draw_mermaid}[how]
    invocation.say("\n".join(draw(found)))


def _language_of(host: CommandHost, script: Path) -> str:
    from llmspell_hookspecs.kind import Registries
    from llmspell_hookspecs.services import SettingsAccess

    languages: Any = host.get(Registries).of("llmspell.languages")
    named = (name for name, language in languages.loadable() if script.suffix in language.extensions)
    return next(named, "") or str(host.get(SettingsAccess).plain("default_language"))
