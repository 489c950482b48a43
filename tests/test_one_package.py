"""One third party's package that brings a kind, a service, a verb and a global, and touches no file of the host's."""

from __future__ import annotations

import ast
import re
from importlib.metadata import entry_points
from pathlib import Path

import llmspell_hookspecs
from packages import install, llmspell

HOST = Path(__file__).parent.parent / "host"
NAMED_BY_DESIGN = {"Agents", "Models", "State", "Tools"}

BELLS = '''
import sys
from typing import Any, ClassVar, Protocol, runtime_checkable
import click
import trio
from msgspec import Struct
from llmspell_hookspecs import Calls, HookContext, HookResult, Phase, ScriptGlobal, hookpoint, script_method
from llmspell_hookspecs.kind import ComponentGroup, ComponentKind, Registries
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.operation import OperationKind, Operations

class Ring(Struct, frozen=True):
    bell: str
    count: int

@hookpoint(phase=Phase.BEFORE, topic="bell")
def before_ring(context: HookContext[Ring]) -> HookResult | None:
    """A bell is about to ring."""

@runtime_checkable
class Tower(Protocol):
    def strike(self, count: int) -> int: ...

class TowerService:
    name, provides = "tower", Tower
    def __init__(self, settings, services):
        self.struck = 0
    def strike(self, count):
        self.struck += count
        return self.struck
    async def __aenter__(self):
        print("the tower opens", file=sys.stderr)
        return self
    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep_forever()
    async def __aexit__(self, *error):
        print("the tower closes", file=sys.stderr)

class Tenor:
    name = "tenor"
    tone = "C"

class BellKind(ComponentKind):
    name = "bell"
    group = ComponentGroup("llmspell.bells", "bell", lambda item: hasattr(item, "tone"))
    points = sys.modules[__name__]
    ringing = OperationKind("bell", before="before_ring", result=Ring, payload=lambda ring: ring.count)
    def __init__(self, settings, services):
        self.bells = services.get(Registries).of("llmspell.bells")
        self.operations, self.services = services.get(Operations), services
    async def run(self, name, input, options, /):
        bell = await self.bells.enter(name)
        tower = await self.services.enter(Tower)
        async def body(ring):
            await trio.lowlevel.checkpoint()
            return Ring(f"{ring.bell} in {bell.tone}", tower.strike(ring.count))
        ref = ComponentRef("bell", name, f"bell:{name}")
        return await self.operations.execute(options.operation(self.ringing, ref, Ring(name, input), body))

class Bells(ScriptGlobal):
    name = "Bells"
    @script_method()
    async def ring(self, bell: str, count: int) -> Any:
        rung = await self.services.get(Calls).call(f"bell:{bell}", count)
        return f"{rung.bell}: {rung.count}"

@click.command()
@click.argument("bell")
@click.pass_obj
def ring(invocation, bell):
    """Ring a bell twice, the second time by a script."""
    async def use(host):
        first = await host.call(f"bell:{bell}", 2)
        second = await host.run_source(f"return Bells.ring('{bell}', 3)")
        return [f"{first.bell}: {first.count}", second]
    invocation.run(use, show=lambda lines: invocation.say("\\n".join(lines)))
'''
POINTS = """
[llmspell.kinds]
bell = acme_bells_module:BellKind
[llmspell.bells]
tenor = acme_bells_module:Tenor
[llmspell.services]
tower = acme_bells_module:TowerService
[llmspell.globals]
Bells = acme_bells_module:Bells
[llmspell.commands]
ring = acme_bells_module:ring
"""


def test_one_package_brings_a_kind_a_service_a_verb_and_a_global_that_use_each_other(tmp_path: Path) -> None:
    install(tmp_path, "acme-bells", name="bell", code=BELLS)
    (tmp_path / "acme_bells-1.0.dist-info" / "entry_points.txt").write_text(POINTS)

    rung = llmspell(tmp_path, "ring", "tenor")
    by_script = llmspell(tmp_path, "exec", "return Bells.ring('tenor', 4)")
    at_points = llmspell(tmp_path, "hook", "point", "list", "--topic", "bell")

    assert (rung.returncode, rung.stdout) == (0, "tenor in C: 2\ntenor in C: 5\n")
    assert rung.stderr == "the tower opens\nthe tower closes\n"
    assert by_script.stdout == "tenor in C: 4\n"
    assert "before_ring" in at_points.stdout


def test_the_host_wires_no_kind_by_name() -> None:
    kinds = {point.name for point in entry_points(group="llmspell.kinds")} | {"provider", "state"}
    named = re.compile(rf"({'|'.join(sorted(kinds))})(:.*)?|llmspell\.({'|'.join(sorted(kinds))})s")
    wrong = []
    for path in sorted(HOST.rglob("*.py")):
        tree, place = ast.parse(path.read_text()), path.relative_to(HOST / "llmspell").as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and named.fullmatch(node.value):
                wrong.append(f"{place}:{node.lineno} names {node.value!r}")
            if isinstance(node, ast.ImportFrom) and node.module == "llmspell_hookspecs":
                taken = {
                    each.name for each in node.names if _topic(each.name) in kinds | {f"{kind}s" for kind in kinds}
                }
                taken -= NAMED_BY_DESIGN if place == "host.py" else set()
                wrong += [f"{place}:{node.lineno} imports {name}" for name in sorted(taken)]

    assert {"agent", "model", "tool"} <= kinds
    assert wrong == []


def _topic(name: str) -> str:
    """Return the module of the contract that something of its face comes from."""
    return str(getattr(getattr(llmspell_hookspecs, name), "__module__", "")).rpartition(".")[2]
