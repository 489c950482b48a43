"""Installed packages: metadata, entry points and modules with anything in them, found by commands and by a host."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .command import run_here, run_process
from .mutation import Mutation
from .oracle import Case, Watch

__all__ = ["Package", "make", "run"]

_METADATA: Final = (
    b"Metadata-Version: 2.1\nName: odd-package\nVersion: 1.0\nSummary: Odd.\nRequires-Dist: trio>=0.20\n\nText.\n"
)
_GROUPS: Final = (
    "plugins",
    "tools",
    "agents",
    "providers",
    "storage",
    "languages",
    "services",
    "globals",
    "hooks",
    "x",
)
_TARGETS: Final = (
    "odd_module",
    "odd_module:Plugin",
    "odd_module:Plugin.x",
    "odd_module:nothing",
    "absent",
    "",
    ":",
    "odd module",
    "os:getcwd",
)
_RAISED: Final = (
    *(
        "SystemExit(4)",
        "KeyboardInterrupt('own')",
        "GeneratorExit()",
        "RecursionError()",
        "MemoryError()",
        "Odd('\\x1b[2J\\n' * 99)",
    ),
    *(
        "StopIteration()",
        "UnicodeDecodeError('utf-8', b'x', 0, 1, 'y')",
        "ExceptionGroup('g', [ValueError()])",
        "OSError(2, 'x')",
    ),
    *("__import__('asyncio').CancelledError()", "ImportError()", "Untold()", "ValueError('\\ud800' + 'x' * 9999)"),
)
_VALUES: Final = (
    *(
        "None",
        "3",
        "''",
        "'x y'",
        "'\\0'",
        "'\\ud800'",
        "'x' * 9999",
        "[]",
        "{}",
        "object()",
        "print",
        "lambda *a: 1 / 0",
        "float('nan')",
    ),
    *(
        "property(lambda self: 1 / 0)",
        "type('T', (), {})",
        "Untold",
        "int",
        "...",
        "b'x'",
        "10 ** 5000",
        "Deep",
        "'\\x1b[2J'",
    ),
    *(
        "classmethod(print)",
        "staticmethod(lambda context: None)",
        "hookimpl(lambda context: 1)",
        "BaseModel",
        "Weird()",
        "Weird",
    ),
)
_NAMES: Final = (
    *(
        "name",
        "Settings",
        "required",
        "eager",
        "provides",
        "rank",
        "extensions",
        "kind",
        "category",
        "level",
        "run",
        "close",
    ),
    *(
        "info",
        "get",
        "write",
        "scan",
        "__init__",
        "__getattr__",
        "__call__",
        "__aenter__",
        "__aexit__",
        "__class__",
        "__doc__",
    ),
    *(
        "before_tool_execution",
        "after_tool_execution",
        "on_nothing",
        "system_startup",
        "tools",
        "parameters",
        "aliases",
    ),
    *(
        "__slots__",
        "__hash__",
        "__eq__",
        "__repr__",
        "__str__",
        "__module__",
        "__qualname__",
        "__dict__",
        "__llmspell__",
        "x",
    ),
)
_PRELUDE: Final = """\
from pydantic import BaseModel
from llmspell_hookspecs import *
from llmspell_hookspecs import HookContext, ToolCall, hookimpl
class Odd(Exception): pass
class Untold(Exception):
    def __str__(self): raise self
    __repr__ = __str__
class Meta(type):
    def __getattr__(cls, name): raise RuntimeError(name)
    def __instancecheck__(cls, other): raise RuntimeError('i')
class Weird(metaclass=Meta):
    def __getattr__(self, name): raise RuntimeError(name)
    def __repr__(self): return 3
    def __bool__(self): raise RuntimeError('b')
    def __eq__(self, other): raise RuntimeError('e')
Deep = []
for _ in range(5000): Deep = [Deep]
"""
_SOUND: Final = """\
from pydantic import BaseModel, Field
from llmspell_hookspecs import Cancel, HookContext, SecurityLevel, Tool, ToolCall, ToolContext, hookimpl
class OddSettings(BaseModel):
    strict: bool = Field(default=True, description="Whether.")
class Plugin(Tool[BaseModel]):
    '''Does nothing.'''
    name = "odd"
    category = "utility"
    level = SecurityLevel.SAFE
    Settings = OddSettings
    async def run(self, parameters: BaseModel, context: ToolContext) -> float:
        return 1.0
    @hookimpl(kind="transform", match="file_*", timeout_s=0.5, priority="high", before=("audit",))
    def before_tool_execution(self, context: HookContext[ToolCall]) -> Cancel | None:
        return None
"""
_BASES: Final = (
    "",
    "",
    "Tool[BaseModel]",
    "Tool",
    "Agent",
    "BaseModel",
    "Exception",
    "dict",
    "str",
    "metaclass=Meta",
    "Weird",
)
_VERBS: Final = (
    ("plugin", "list"),
    ("plugin", "doctor"),
    ("plugin", "info", "odd"),
    ("exec", "return 1"),
    ("tool", "list"),
    ("tool", "invoke", "calculator", "input=1+1"),
    ("hook", "list"),
    ("config", "validate"),
    ("provider", "list"),
    ("agent", "list"),
    ("--help",),
)


_UNHARMED: Final = ("exec", "tool", "hook", "provider", "agent", "--help")
_TAKEN: Final = ("calculator", "lua", "sqlite", "audit", "State")


@dataclass(frozen=True)
class Package:
    """A package, and what is asked about it.

    Attributes:
        metadata, entry_points, module: The contents of its files; None for a file that is not there.
        verb: The command line.
        process: Whether it runs as a process of its own.
    """

    metadata: bytes | None
    entry_points: bytes | None
    module: bytes
    verb: tuple[str, ...]
    process: bool

    @property
    def clashes(self) -> bool:
        """Whether it brings a name that is another's: then both are refused."""
        return any(name.encode() in (self.entry_points or b"") for name in _TAKEN)


def make(draw: Mutation) -> Package:
    """Return a package."""
    metadata: bytes | None = _METADATA
    points: bytes | None = _points(draw).encode("utf-8", "surrogatepass")
    module = draw.random.choice([_module(draw), _module(draw), _SOUND]).encode("utf-8", "surrogatepass")
    match draw.random.randrange(8):
        case 0:
            metadata = draw.bytes(_METADATA)
        case 1:
            points = draw.bytes(points or b"")
        case 2 | 5:
            module = draw.bytes(module)
        case 3:
            metadata = draw.random.choice(
                [None, b"", b"Name: \n\n", b"Name: " + draw.odd_text().encode("utf-8", "replace")]
            )
        case 4:
            points = draw.random.choice(
                [None, b"", b"[llmspell.plugins]", b"odd = x", b"[]\n=\n", b"[llmspell.plugins\nx=y"]
            )
        case _:
            pass
    return Package(metadata, points, module, draw.random.choice(_VERBS), draw.random.random() < 0.03)


def run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    """Install each in turn, and ask."""
    site = project.parent / "site"
    sys.path.insert(0, str(site))
    import os

    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    (project.parent / "config" / "llmspell.toml").write_text('[storage]\nbackend = "memory"\n')
    loaded = set(sys.modules)
    for case in cases:
        made: Any = case.value
        _install(site, made)
        with watch.trying(case):
            code = (run_process if made.process else run_here)(case, watch, made.verb)
            if code != 0 and made.verb[0] in _UNHARMED and not made.clashes:
                watch.complain(case, f"a package that is broken made {made.verb} end with {code}")
        for name in [name for name in set(sys.modules) - loaded if name.startswith("odd_module")]:
            del sys.modules[name]
    sys.path.remove(str(site))


def _install(site: Path, package: Package) -> None:
    shutil.rmtree(site, ignore_errors=True)
    info = site / "odd_package-1.0.dist-info"
    info.mkdir(parents=True)
    for name, content in (("METADATA", package.metadata), ("entry_points.txt", package.entry_points)):
        if content is not None:
            (info / name).write_bytes(content)
    (site / "odd_module.py").write_bytes(package.module)


def _points(draw: Mutation) -> str:
    lines = []
    for _ in range(draw.random.randint(1, 3)):
        group = draw.random.choice(_GROUPS)
        lines.append(f"[llmspell.{group}]")
        for _ in range(draw.random.randint(1, 2)):
            name = draw.random.choice(["odd", "odd", *_TAKEN, "odd name", draw.odd_text()])
            lines.append(f"{name} = {draw.random.choice(_TARGETS[:2] * 4 + _TARGETS)}")
    return "\n".join(lines) + "\n"


def _module(draw: Mutation) -> str:
    values = (f"{_name(draw, number)} = {draw.random.choice(_VALUES)}" for number in range(draw.random.randint(0, 3)))
    lines = [_PRELUDE, *values]
    lines.append(f"class Plugin({draw.random.choice(_BASES)}):\n    before = 1")
    lines.append("    name = 'odd'" if draw.random.random() < 0.7 else "    pass")
    for number in range(draw.random.randint(0, 5)):
        lines += _member(draw, _name(draw, number))
    if draw.random.random() < 0.15:
        lines.append(f"raise {draw.random.choice(_RAISED)}")
    if draw.random.random() < 0.1:
        lines.append("def __getattr__(name): raise " + draw.random.choice(_RAISED))
    return "\n".join(lines) + "\n"


def _member(draw: Mutation, name: str) -> list[str]:
    raised = draw.random.choice(_RAISED)
    match draw.random.randrange(6):
        case 0:
            return [f"    {name} = {draw.random.choice(_VALUES)}"]
        case 1:
            return ["    @property", f"    def {name}(self): raise {raised}"]
        case 2:
            return [f"    def {name}(self, *a, **k): raise {raised}"]
        case 3:
            return ["    @hookimpl", f"    def {name}(self, context): raise {raised}"]
        case 4:
            return [f"    async def {name}(self, parameters, context): return {draw.random.choice(_VALUES)}"]
        case _:
            return [f"    class {name}(BaseModel):", f"        x: int = {draw.random.choice(_VALUES)}"]


def _name(draw: Mutation, number: int) -> str:
    return draw.random.choice([*_NAMES, f"member_{number}"])
