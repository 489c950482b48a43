"""Settings files of project and user, environment variables, and values of the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import trio

from llmspell import Host
from llmspell.settings import Settings, load_settings
from llmspell_hookspecs import LlmspellError

from .mutation import Mutation
from .oracle import Case, Watch, faults_of_message

__all__ = ["make", "run"]

SOUND: Final = (
    '[plugins]\ndisabled = ["audit"]\nrequired = []\n[plugins.audit]\npath = "audit.jsonl"\n',
    '[security]\nlevel = "restricted"\n[security.paths]\nread = ["."]\nwrite = ["out"]\ndenied = ["*.key"]\n',
    '[security.hosts]\nallowed = ["*.example.org", "10.0.0.0/8"]\ndenied = ["a.example.org"]\nallow_private = false\n',
    "[limits]\ndepth = 8\nhops = 2\noperation_time_s = 2.5\n[scripts]\nmemory_bytes = 1_000_000\ntime_s = 0.5\n",
    '[providers]\ndefault = "offline/rules"\n[providers.mine]\ntype = "openai_compatible"\n'
    'base_url = "http://127.0.0.1:1/v1"\napi_key = "sk-x"\n',
    '[hooks]\ndisabled = ["audit.*"]\nbreaker = "production"\ntimeout_s = 1.0\n[logging]\nlevel = "info"\n',
    '[storage]\nbackend = "memory"\n[events]\nsource_rate = 10.0\ntap = false\n[agents]\ncount = 3\n',
    "[tools]\ntime_s = 3\nmemory_bytes = 10_000\n[tools.http_request]\n[performance]\nslow_operation_ms = 5\n",
)
_LIKELY: Final[tuple[Any, ...]] = (
    [],
    ["*"],
    ["a", "b"],
    1,
    2.5,
    "x",
    True,
    {},
    {"a": "b"},
    "safe",
    "off",
    ["."],
    ["10.0.0.0/8"],
    "lua",
)
_VARIABLES: Final = (
    "LLMSPELL_SECURITY__LEVEL",
    "LLMSPELL_LIMITS__DEPTH",
    "LLMSPELL_PLUGINS__DISABLED",
    "LLMSPELL_HOOKS__TIMEOUT_S",
    "LLMSPELL_STORAGE__BACKEND",
    "LLMSPELL_PROVIDERS__MINE__API_KEY",
    "LLMSPELL_SECURITY_LEVEL",
    "LLMSPELL_CONFIG_HOME",
    "LLMSPELL_DATA_HOME",
    "OPENAI_API_KEY",
)


def _keys(model: type[Any], above: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(above + name)
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            keys += _keys(field.annotation, f"{above}{name}.")
    return keys


_KEYS: Final = tuple(_keys(Settings))


def make(draw: Mutation) -> dict[str, Any]:
    """Return the bytes of both files, variables and options."""
    made: dict[str, Any] = {"project": b"", "user": b"", "environment": {}, "options": {}}
    for _ in range(draw.random.randint(1, 2)):
        place = draw.random.choice(["project", "project", "user", "user", "environment", "options"])
        if place == "environment":
            name = draw.random.choice(_VARIABLES)
            name = draw.text(name) if draw.random.random() < 0.4 else name
            made[place][name.replace("\0", "").replace("=", "") or "X"] = draw.odd_text().replace("\0", "")
        elif place == "options":
            key = draw.random.choice(_KEYS)
            made[place][draw.text(key) if draw.random.random() < 0.3 else key] = draw.odd()
        else:
            made[place] = draw.some((2, lambda: _mutated(draw)), (3, lambda: _assigned(draw)))
    return made


def run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    """Read each as the host does, and open a host with what was taken."""
    user = project.parent / "config" / "llmspell.toml"

    async def main() -> None:
        for case in cases:
            with watch.trying(case):
                await _try(case, watch, project, user)

    trio.run(main)


async def _try(case: Case, watch: Watch, project: Path, user: Path) -> None:
    made: Any = case.value
    (project / "llmspell.toml").write_bytes(made["project"])
    user.write_bytes(made["user"])
    environment = {"LLMSPELL_CONFIG_HOME": str(user.parent), **made["environment"]}
    loaded = load_settings(cwd=project, environment=environment, command_line=made["options"])
    for warning in loaded.warnings:
        for fault in faults_of_message(warning):
            watch.complain(case, f"warning: {fault}")
    if case.number % 4 == 0:
        async with Host.open(loaded, discover=False) as host:
            try:
                await host.call("tool:calculator", {"input": "1 + 1"})
            except LlmspellError as error:
                for fault in faults_of_message(str(error)):
                    watch.complain(case, f"{type(error).__name__}: {fault}")


def _mutated(draw: Mutation) -> bytes:
    return draw.bytes("".join(draw.random.sample(SOUND, 2)).encode())


def _assigned(draw: Mutation) -> bytes:
    """Some keys with values that TOML can write."""
    lines = []
    for _ in range(draw.random.choice([1, 1, 2])):
        key = draw.random.choice(_KEYS)
        if draw.random.random() < 0.2:
            key += "." + json.dumps(draw.odd_text())
        value = draw.some((1, draw.odd), (3, lambda: draw.leaf(draw.random.choice(_LIKELY))))
        lines.append(f"{key} = {_toml(value, 0)}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def _toml(value: Any, depth: int) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return hex(value)[:2000] if value > 10**20 else str(value) if value > -(10**20) else "-1" + "0" * 5000
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list | tuple) and depth < 200:
        return f"[{', '.join(_toml(item, depth + 1) for item in value)}]"
    if isinstance(value, dict) and depth < 200:
        inner = (f"{json.dumps(str(key))} = {_toml(item, depth + 1)}" for key, item in value.items())
        return f"{{{', '.join(inner)}}}"
    return json.dumps(str(value), ensure_ascii=False) if not isinstance(value, list | dict) else "1979-05-27"
