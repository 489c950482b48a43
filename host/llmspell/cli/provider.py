"""``llmspell provider``: which providers of models there are, and whether one answers.

Invariant: listing asks no network; a test is a model call through the runner, so every hook sees it.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from .group import LazyGroup
from .invocation import Invocation, global_options
from .outlet import say, write

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["provider"]


@click.group(cls=LazyGroup)
@global_options
def provider() -> None:
    """List and test the providers of models."""


@provider.command("list")
@click.option("--available", is_flag=True, help="Only those that can be asked now.")
@global_options
@click.pass_obj
def provider_list(invocation: Invocation, available: bool) -> None:
    """List the providers; the default model is marked."""
    from .output import print_json, print_rows
    from .session import with_host

    async def use(host: Host) -> list[dict[str, Any]]:
        default = _default(host)
        infos = [info for info in host.models.providers() if info.available or not available]
        rows = [{name: getattr(info, name) for name in info.__struct_fields__} for info in infos]
        return [{**row, "default": row["name"] == default} for row in rows]

    rows = with_host(use, invocation)
    if invocation.json:
        print_json(rows)
    else:
        columns = ("name", "default", "type", "available", "default_model", "base_url", "reason")
        print_rows(rows, columns, empty="there are no such providers")


def _default(host: Host) -> str:
    """The provider that is asked if none is named; nothing if there is none."""
    from llmspell_hookspecs import ComponentNotFoundError

    try:
        return host.models.resolve().partition("/")[0]
    except ComponentNotFoundError:
        return ""


@provider.command("test")
@click.argument("model", default="")
@click.option("--prompt", default="Say: ready.", show_default=True, help="What the model is asked.")
@click.option("--stream", is_flag=True, help="Ask for the answer in chunks.")
@click.option(
    "--time",
    "time_s",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that it may take.",
)
@global_options
@click.pass_obj
def provider_test(invocation: Invocation, model: str, prompt: str, stream: bool, time_s: float) -> None:
    """Ask MODEL (provider/model, or a provider; the default if left out) one question, and say how it went."""
    from .output import print_json
    from .session import with_host

    async def use(host: Host) -> dict[str, Any]:
        return await _ask(host, model, prompt, stream=stream, time_s=time_s)

    answer = with_host(use, invocation)
    if invocation.json:
        print_json(answer)
        return
    cost = "" if answer["cost_usd"] is None else f", {answer['cost_usd']:.6f} USD"
    say(f"{answer['model']}: answered in {answer['elapsed_ms']:.0f} ms{cost}")
    say(f"tokens: {answer['input_tokens']} in, {answer['output_tokens']} out; chunks: {answer['chunks']}")
    write(answer["text"] + "\n")


async def _ask(host: Host, model: str, prompt: str, *, stream: bool, time_s: float) -> dict[str, Any]:
    from llmspell_hookspecs import Message, ModelChunk, ModelRequest

    count = 0

    async def sink(chunk: ModelChunk) -> None:
        nonlocal count
        count += 1

    name = host.models.resolve(model)
    began = perf_counter()
    request = ModelRequest(name, (Message("user", prompt),))
    response = await host.models.complete(request, sink=sink if stream else None, deadline_s=time_s)
    return {
        "model": name,
        "text": response.text,
        "elapsed_ms": (perf_counter() - began) * 1000,
        "chunks": count,
        "finish_reason": response.finish_reason,
        "input_tokens": response.usage.input_tokens,
        "output_tokens": response.usage.output_tokens,
        "cost_usd": response.usage.cost_usd,
    }
