"""List and test the providers of models.

Invariant: listing asks no network; a test is a model call through the runner, so every hook sees it.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs import Message, ModelChunk, ModelRequest
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.model import Models

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["provider"]


@click.group()
def provider() -> None:
    """List and test the providers of models."""


@provider.command("list")
@click.option("--available", is_flag=True, help="Only those that can be asked now.")
@click.pass_obj
def provider_list(invocation: Invocation, available: bool) -> None:
    """List the providers; the default model is marked."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        models = host.get(Models)
        default = _default(models)
        infos = [info for info in models.providers() if info.available or not available]
        rows = [{name: getattr(info, name) for name in info.__struct_fields__} for info in infos]
        return [{**row, "default": row["name"] == default} for row in rows]

    columns = ("name", "default", "type", "available", "default_model", "base_url", "reason")
    invocation.show_rows(invocation.run(use), columns, empty="there are no such providers")


def _default(models: Models) -> str:
    """The provider that is asked if none is named; nothing if there is none."""
    try:
        return models.resolve().partition("/")[0]
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
@click.pass_obj
def provider_test(invocation: Invocation, model: str, prompt: str, stream: bool, time_s: float) -> None:
    """Ask MODEL (provider/model, or a provider; the default if left out) one question, and say how it went."""

    async def use(host: CommandHost) -> dict[str, Any]:
        return await _ask(host.get(Models), model, prompt, stream=stream, time_s=time_s)

    def show(answer: dict[str, Any]) -> None:
        cost = "" if answer["cost_usd"] is None else f", {answer['cost_usd']:.6f} USD"
        invocation.say(f"{answer['model']}: answered in {answer['elapsed_ms']:.0f} ms{cost}")
        invocation.say(
            f"tokens: {answer['input_tokens']} in, {answer['output_tokens']} out; chunks: {answer['chunks']}"
        )
        invocation.write(answer["text"] + "\n")

    invocation.run(use, show=show)


async def _ask(models: Models, model: str, prompt: str, *, stream: bool, time_s: float) -> dict[str, Any]:
    count = 0

    async def sink(chunk: ModelChunk) -> None:
        nonlocal count
        count += 1

    known = [info.name for info in models.providers()]
    if model and "/" not in model and model not in known:
        raise click.UsageError(f"there is no provider {model!r}; there are {', '.join(known)}, or write provider/model")
    name = models.resolve(model)
    began = perf_counter()
    request = ModelRequest(name, (Message("user", prompt),))
    response = await models.complete(request, sink=sink if stream else None, deadline_s=time_s)
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
