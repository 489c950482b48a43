"""``llmspell version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from .invocation import Invocation

__all__ = ["version"]


@click.command()
@click.pass_obj
def version(invocation: Invocation) -> None:
    """Print the version of llmspell and of what it stands on."""
    found = {name: metadata.version(name) for name in ("llmspell", "trio", "pluggy", "pydantic", "msgspec", "lupa")}
    found["python"] = platform.python_version()
    invocation.show(found, *(f"{name} {number}" for name, number in found.items()))
