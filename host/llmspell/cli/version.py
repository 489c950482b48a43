"""``llmspell version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from .invocation import Invocation, global_options
from .outlet import say

__all__ = ["version"]


@click.command()
@global_options
@click.pass_obj
def version(invocation: Invocation) -> None:
    """Print the version of llmspell and of what it stands on."""
    found = {name: metadata.version(name) for name in ("llmspell", "trio", "pluggy", "pydantic", "msgspec", "lupa")}
    found["python"] = platform.python_version()
    if invocation.json:
        from .output import print_json

        print_json(found)
    else:
        say("\n".join(f"{name} {number}" for name, number in found.items()))
