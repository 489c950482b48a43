"""What a third party writes against the contract passes ``mypy --strict`` as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import llmspell_hookspecs

PACKAGES = {
    "hooks": """
from pydantic import BaseModel

from llmspell_hookspecs import Calls, Cancel, Events, HookContext, Services, State, ToolCall, hookimpl
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.storage import Storages


class LimitSettings(BaseModel):
    most: int = 3


class Limit:
    Settings = LimitSettings
    required = True

    def __init__(self, settings: LimitSettings, services: Services) -> None:
        self.settings = settings
        self.clock: Clock = services.get(Clock)
        self.state = services.get(State)
        self.calls = services.get(Calls)
        self.storages = services.get(Storages)
        self.count = 0

    @hookimpl(kind="guard")
    async def before_tool_execution(self, context: HookContext[ToolCall]) -> Cancel | None:
        self.count += 1
        return Cancel(f"at {self.clock.now_s():.0f}") if self.count > self.settings.most else None


def publish(services: Services) -> None:
    services.get(Events).publish_nowait("a.b", {})
""",
    "tools": '''
from pydantic import BaseModel

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, tool


class UnitSettings(BaseModel):
    unit: str = "C"


class Parameters(BaseModel):
    city: str


class Weather(Tool[Parameters]):
    """Tell the weather."""

    name = "weather"
    level = SecurityLevel.SAFE
    Settings = UnitSettings
    settings: UnitSettings

    async def run(self, parameters: Parameters, context: ToolContext) -> str:
        return self.settings.unit + parameters.city


@tool
def add(left: int, right: int = 2) -> int:
    """Add."""
    return left + right


@tool(name="forecast", settings=UnitSettings)
async def tell(city: str, settings: UnitSettings, context: ToolContext) -> str:
    """Tell."""
    return settings.unit + city


total: int = add(1)
''',
    "commands": '''
from collections.abc import Sequence
from typing import Any

import click

from llmspell_hookspecs import State, ToolResult
from llmspell_hookspecs.commands import CommandError, CommandHost, Invocation


@click.group()
def notes() -> None:
    """Keep notes."""


@notes.command("add")
@click.argument("text")
@click.pass_obj
def add(invocation: Invocation, text: str) -> None:
    """Keep TEXT, - for standard input."""
    note = invocation.read(text)
    if not note.strip():
        raise click.UsageError("the note is empty; write something")

    async def use(host: CommandHost) -> int:
        state = await host.enter(State)
        return await state.set("note", note.strip())

    invocation.show({"version": invocation.run(use)}, "kept")


@notes.command("list")
@click.option("--output", help="A name that llmspell has, too: this one counts.", default="")
@click.argument("config", default="")
@click.pass_obj
def listed(invocation: Invocation, output: str, config: str) -> int:
    """List them."""

    async def use(host: CommandHost) -> Sequence[str]:
        return await host.get(State).keys()

    rows = [{"key": key, "output": output, "config": config} for key in invocation.run(use)]
    invocation.show_rows(rows, ("key", "output", "config"), empty="there is no note")
    return 0 if rows else 3


@notes.command("sum")
@click.argument("expression")
@click.option("--explain", is_flag=True)
@click.pass_obj
def total(invocation: Invocation, expression: str, explain: bool) -> None:
    """Sum up."""

    async def use(host: CommandHost) -> ToolResult:
        result: ToolResult = await host.call("tool:calculator", {"operation": "evaluate", "input": expression})
        return result

    def show(result: ToolResult) -> None:
        invocation.say(f"it is {result.result}")

    if not invocation.run(use, show=show, explain=explain).success:
        raise CommandError("notes sum: there is no sum; write 2 + 2")


@notes.command("burn")
@click.pass_obj
def burn(invocation: Invocation) -> None:
    """Burn them."""
    if invocation.ask("Really?") != "yes":
        raise CommandError("notes burn: nobody said yes; answer at a terminal")


def default_language(invocation: Invocation) -> Any:
    return invocation.settings("default_language")
''',
    "services": """
from collections.abc import Sequence
from typing import ClassVar, Protocol

from pydantic import BaseModel

from llmspell_hookspecs.model import ChunkSink, Endpoint
from llmspell_hookspecs import HookContext, ModelChunk, ModelRequest, ModelResponse, Modified, Provider
from llmspell_hookspecs import ProviderInfo, Services, hookimpl


class Translator(Protocol):
    def translate(self, text: str, /) -> str: ...


class DictionarySettings(BaseModel):
    words: dict[str, str] = {}


class Dictionary:
    name = "translator"
    provides = Translator
    Settings = DictionarySettings

    def __init__(self, settings: DictionarySettings, services: Services) -> None:
        self.settings = settings

    def translate(self, text: str, /) -> str:
        return self.settings.words.get(text, text)


class Echo:
    name: ClassVar[str] = "echo"
    rank: ClassVar[int | None] = None
    Settings: ClassVar[type[BaseModel]] = DictionarySettings

    def __init__(self, settings: DictionarySettings, services: Services) -> None:
        self.translator = services.get(Translator)

    def info(self) -> ProviderInfo:
        return ProviderInfo("echo", default_model="echo")

    def at(self, endpoint: Endpoint, /) -> Provider:
        return self

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        return ModelResponse(self.translator.translate(request.messages[-1].content))


@hookimpl
def model_chunk(context: HookContext[ModelChunk]) -> Modified | None:
    return None


def words(service: Translator, texts: Sequence[str]) -> list[str]:
    return [service.translate(text) for text in texts]


""",
}


def test_packages_of_third_parties_pass_mypy_strict(tmp_path: Path) -> None:
    for name, code in PACKAGES.items():
        folder = tmp_path / f"third_{name}"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "plugin.py").write_text("from __future__ import annotations\n" + code)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", *(f"third_{name}" for name in PACKAGES)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(llmspell_hookspecs.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
