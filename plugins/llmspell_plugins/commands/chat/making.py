"""The options of commands that make an agent, and what it is made from by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

__all__ = ["fields_of", "takes_agent"]

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS: Final = (
    click.option("--model", default="", help="provider/model; the default model if left out.", metavar="MODEL"),
    click.option("--tool", "tools", multiple=True, help="A tool that it may use; may be given several times."),
    click.option(
        "--tools", "tool_list", default="", help="Tools that it may use, with commas between.", metavar="NAMES"
    ),
    click.option("--system", default="", help="What the model is told before the question.", metavar="TEXT"),
    click.option("--temperature", type=click.FloatRange(0, 2), help="The model's temperature."),
    click.option("--max-tokens", type=click.IntRange(1), help="How long one answer of the model may be."),
    click.option("--max-steps", type=click.IntRange(1), help="How often the model may be asked in one run."),
    click.option("--time", "time_s", type=click.FloatRange(0, min_open=True), help="Seconds that a run may take."),
)


def takes_agent(function: F) -> F:
    """Give a command the options that an agent is made by; `fields_of` reads them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def fields_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return what an agent is made from, of what was given; what was left out is not there."""
    given = {name: value for name, value in options.items() if value not in (None, "", ())}
    listed = [name.strip() for name in given.pop("tool_list", "").split(",")]
    tools = (*given.pop("tools", ()), *(name for name in listed if name))
    if tools:
        given["tools"] = tools
    if "system" in given:
        given["system_prompt"] = given.pop("system")
    return given
