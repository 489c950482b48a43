"""Command lines of every verb with words replaced, left out, doubled and moved; one in ten as a process of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from .command import run_here, run_process, spoken
from .mutation import Mutation
from .oracle import Case, Watch

__all__ = ["make", "run"]

_SETTINGS: Final = """[security.paths]
read = ["."]
write = ["."]
[security.hosts]
allowed = ["127.0.0.1"]
[storage]
backend = "memory"
[tools]
time_s = 5
"""
_SOUND: Final = tuple(
    tuple(line.split(" "))
    for line in """--help
--version
version --output json
run script.lua a -- --b
run --explain script.lua
run --set security.level=safe script.lua
run -
exec 1+1 --language lua
exec return{} --output json
exec error('x') -v
exec print(1) --set limits.depth=3 --config other.toml
repl
agent list
agent run hello --model offline/rules --offline
agent run - --tool calculator --temperature 0.5 --max-tokens 10 --max-steps 2 --time 5
agent run hello --kind basic --system be --stream
provider list --available
provider test offline/rules --prompt hi --stream --time 5
plugin list
plugin info audit
plugin enable audit --user
plugin disable model_retry --local
hook list BeforeToolExecution
hook order before_tool_execution
hook point list
hook point show tool:before_execution --output json
event tail script.lua --pattern a.* --limit 1
tool list
tool info calculator
tool invoke calculator input=1+1 operation=evaluate
tool invoke json_processor {"input":{"a":1},"query":".a"}
tool invoke text_manipulator @parameters.json
tool invoke csv_analyzer -
tool invoke file_operations operation=list path=.
state get x --scope agent:writer
state set x 1 --scope session:a
state set a=1 b=[1,2]
state list x
state delete x
config path
config show security --origin
config validate
trust
untrust --output json
tools list -vv""".splitlines()
)
_WORDS: Final = (
    "--output",
    "json",
    "--set",
    "--config",
    "-c",
    "--debugx",
    "-v",
    "-h",
    "--",
    "-",
    "a=b",
    "@",
    "@.",
    ".",
)
_GIVEN: Final = (
    b"",
    b"1 + 1\n",
    b"\xff\xfe\0",
    b'{"input": "a,b\\n1,2", "operation": "analyze"}',
    b".help\n.x\n(\n",
    b"\n" * 999,
)


def make(draw: Mutation) -> dict[str, Any]:
    """Return the words, what comes from standard input, and whether it is a process."""
    words = list(draw.random.choice(_SOUND))
    for _ in range(draw.random.choice([1, 1, 1, 2, 3])):
        _change(draw, words)
    words = [spoken(word).replace("\0", "") for word in words]  # no system takes one
    given = draw.random.choice(_GIVEN)
    return {"words": words, "given": given, "process": draw.random.random() < 0.1}


def run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    """Run each in a folder that is laid out anew."""
    for case in cases:
        made: Any = case.value
        if _waits(made["words"]):
            made = {**made, "words": [*made["words"], "--help"]}
        _lay_out(project)
        with watch.trying(case):
            (run_process if made["process"] else run_here)(case, watch, made["words"], made["given"])


def _change(draw: Mutation, words: list[str]) -> None:
    first = min(2, len(words)) if draw.random.random() < 0.8 else 0
    at = draw.random.randint(first, len(words))
    word = words[at] if at < len(words) else ""
    match draw.random.randrange(7):
        case 0:
            del words[at : at + 1]
        case 1:
            words.insert(at, draw.random.choice(_WORDS))
        case 2:
            words[at : at + 1] = [draw.odd_text()]
        case 3:
            words[at : at + 1] = [draw.text(word, most=2)]
        case 4:
            words.insert(at, word)
        case 5:
            name, mark, value = word.partition("=")
            words[at : at + 1] = [name + (mark or "=") + draw.text(value)]
        case _:
            words.append(draw.odd_text())
    if "--debug" in words:
        words.remove("--debug")


def _waits(words: list[str]) -> bool:
    """Whether it is to show events until it is interrupted: no script is named."""
    return "tail" in words and "script.lua" not in words


def _lay_out(project: Path) -> None:
    for folder in (project, project.parent / "config"):
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (project / ".git").mkdir()
    (project.parent / "config" / "llmspell.toml").write_text(_SETTINGS)
    (project / "llmspell.toml").write_text('[logging]\nlevel = "error"\n')
    (project / "other.toml").write_text("[limits]\ndepth = 4\n")
    (project / "script.lua").write_text("Event.publish('a.b', {1}) print(arg and arg[1]) return {a = 1}\n")
    (project / "parameters.json").write_text(json.dumps({"input": "x", "operation": "uppercase"}))
