"""What a line of the plugin logging tells: no secret, nothing that steers a terminal, of a large value a part."""

from __future__ import annotations

import enum
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kernel import make_tool, opened
from listening_log import DENIES, ECHO, Watched, echo, logged, rows
from llmspell_hookspecs import HookContext, Phase
from llmspell_hookspecs.context import ComponentRef, Metadata, OperationRef
from llmspell_hookspecs.errors import OperationCancelledError, ToolError
from llmspell_plugins.hooks.logging import LoggingSettings
from llmspell_plugins.hooks.logging.line import LineMaker
from llmspell_plugins.hooks.logging.record import Record, Rows
from llmspell_plugins.hooks.security.secrets import Redactor
from llmspell_plugins.hooks.shown import cut_bytes
from waiting import PATIENCE_S

TOKEN = "ghp_" + "a1B2c3D4e5" * 4
FOREIGN = "\x1b[31mred\x07 \u202egnp\u2066 line\nfeed \x9b2J \udc80 \u2028 end"
REDACTOR = Redactor()


def record_of(value: Any, **more: Any) -> Record:
    """Return a record as a hook at a notice makes it."""
    where = ComponentRef("tool", more.pop("name", "echo")), OperationRef("o-1", "c-1")
    return Record(0.0, "info", Phase.NOTICE, HookContext("some_notice", value, *where, Metadata(), **more))


def line_of(value: Any, form: Any = "json", **settings: Any) -> str:
    made = LoggingSettings(**settings)
    redactor = REDACTOR if made.content == "redacted" else None
    return LineMaker(Rows(made, redactor), form, made.line_bytes).line(record_of(value)).decode()


async def test_secrets_are_taken_out_of_arguments_results_and_errors_however_deep(tmp_path: Path) -> None:
    nested = {"deep": [{"header": f"Bearer {TOKEN}"}, {TOKEN: 1}], "password": "hunter2", "n": {"secret": {"x": "abc"}}}
    url = "postgres://me:hunter2@host/db?token=hunter2"
    async with opened(ECHO, Watched, settings=logged(tmp_path, level="trace")) as host:
        await host.call("tool:echo", {"given": nested, "answer": {"found": nested, "url": url}})
        with pytest.raises(ToolError):
            await host.call("tool:echo", {"fail": f"cannot use {TOKEN} at {url}"})
        await host.state.set("login/api_token", "hunter2")
        host.events.publish_nowait("it.happened", {"token": TOKEN, "text": TOKEN})
        host.events.publish_nowait(f"it.{TOKEN}")

    text = (tmp_path / "it.log").read_text()
    assert "[REDACTED:github_token:" in text
    for secret in (TOKEN, TOKEN[:12], "hunter2", '"abc"'):
        assert secret not in text
    assert rows(tmp_path, "after_state_write")


async def test_without_content_neither_arguments_nor_results_nor_texts_of_errors_are_told(tmp_path: Path) -> None:
    tools = ECHO, make_tool("denied", echo)
    async with opened(*tools, DENIES, Watched, settings=logged(tmp_path, level="trace", content="none")) as host:
        await host.call("tool:echo", {"text": "some words"})
        for name, given in (("echo", {"fail": "some words"}), ("denied", {"text": "some words"})):
            with pytest.raises((ToolError, OperationCancelledError)):
                await host.call(f"tool:{name}", given)

    text = (tmp_path / "it.log").read_text()
    assert "some words" not in text
    assert "not today" not in text
    assert rows(tmp_path, "tool_error")[0]["error"] == {"type": "ToolError", "code": "broken"}


async def test_full_content_is_what_hooks_see(tmp_path: Path) -> None:
    async with opened(ECHO, Watched, settings=logged(tmp_path, content="full")) as host:
        await host.call("tool:echo", {"text": TOKEN, "api_key": "hunter2"})

    (row,) = rows(tmp_path, "after_tool_execution")
    assert row["request"]["parameters"]["text"] == TOKEN
    assert "hunter2" not in json.dumps(row["request"]), "the host hides that from every hook"


async def test_what_the_plugin_security_put_in_a_secrets_place_stays(tmp_path: Path) -> None:
    settings = logged(tmp_path)
    settings["plugins"]["security"] = {"enabled": True}
    async with opened(ECHO, Watched, settings=settings) as host:
        answer = await host.call("tool:echo", {"text": TOKEN})

    (row,) = rows(tmp_path, "after_tool_execution")
    assert row["request"]["parameters"]["text"] == row["result"]["result"]["text"] == answer.result["text"]
    assert answer.result["text"].startswith("[REDACTED:")


async def test_without_the_library_that_finds_secrets_it_is_left_out_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    async with opened(ECHO, Watched, settings=logged(tmp_path)) as host:
        (failed,) = [info for info in host.plugins.infos if info.error]
        await host.call("tool:echo", {})
    async with opened(ECHO, Watched, settings=logged(tmp_path, content="none")) as host:
        assert not [info for info in host.plugins.infos if info.error]

    assert """pip install 'llmspell[logging]', or set content = "none\"""" in failed.error


@given(st.integers(0, 4200), st.sampled_from([" ", "\n", "(", "'", "ä "]), st.sampled_from([512, 2000, 4096]))
def test_no_cut_leaves_half_a_secret(before: int, between: str, line_bytes: int) -> None:
    text = ("word " * 1000)[:before] + between + TOKEN + between + "https://me:hunter2secret@host/" + "tail " * 1000

    line = line_of({"text": text}, line_bytes=line_bytes)

    assert len(line.encode()) <= line_bytes
    shown = json.loads(line)["subject"]["text"]
    assert "ghp_" not in shown
    assert "hunter" not in shown


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(FOREIGN),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.frozensets(st.text())
    ),
    max_leaves=30,
)


@given(VALUES, st.sampled_from(["json", "console"]), st.sampled_from(["none", "redacted", "full"]))
def test_whatever_is_told_is_one_printable_line_that_json_can_read(value: Any, form: str, content: str) -> None:
    line = line_of(value, form, content=content, line_bytes=512)

    assert len(line.encode()) <= 512
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    if form == "json":
        json.loads(line)


class Colour(enum.Enum):
    RED = 1


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        return 1


class RudeMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1 << 80, "1208925819614629174706176"),
        (1 << 70_000, "a number of 70001 bits"),
        (float("nan"), "nan"),
        (b"abc", "3 bytes"),
        (Decimal("1.50"), "1.50"),
        (Colour.RED, "Colour.RED"),
        (Rude(), "a Rude"),
        ({Rude(): 1}, {"a Rude": 1}),
        ({1: {2: (3, "x")}}, {"1": {"2": [3, "x"]}}),
        ("x" * 10_000_000, None),
        (list(range(1_000_000)), None),
        (RudeMapping(), "(left out)"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_value_of_any_type_is_told_and_a_large_one_in_part(value: Any, told: Any) -> None:
    shown = json.loads(line_of({"it": value} if not isinstance(value, RudeMapping) else value))["subject"]

    if told is None:
        assert "..." in json.dumps(shown)
    else:
        assert shown == (told if told == "(left out)" else {"it": told})


def test_a_line_whose_names_alone_are_too_long_tells_the_least() -> None:
    maker = LineMaker(Rows(LoggingSettings(), None), "json", 512)
    names = ComponentRef("tool", "\U0001f600" * 200), OperationRef("o-1", "\x1b" * 200, session_id="\x1b" * 200)

    row = json.loads(maker.line(Record(0.0, "info", Phase.NOTICE, HookContext("p" * 5000, {}, *names, Metadata()))))

    assert row == {"time": "1970-01-01T00:00:00.000000Z", "level": "info", "point": "p" * 100, "subject": "(left out)"}


def test_a_value_in_a_circle_and_one_nested_without_end_are_told_in_part() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]

    for value in (circle, deep):
        assert "..." in line_of(value)


@given(st.text(), st.integers(3, 40))
def test_a_cut_is_valid_and_never_longer(text: str, most: int) -> None:
    cut = cut_bytes(text, most)

    assert len(cut.encode()) <= most
    assert text.encode(errors="backslashreplace").startswith(cut.removesuffix("...").encode())


async def test_the_console_shows_people_a_line_without_what_steers_their_terminal(tmp_path: Path) -> None:
    settings = logged(tmp_path, format="console", include=["tool:*"])
    async with opened(ECHO, Watched, settings=settings) as host:
        await host.call("tool:echo", {"text": FOREIGN})
        with pytest.raises(ToolError):
            await host.call("tool:echo", {"fail": FOREIGN})

    done, failed = (tmp_path / "it.log").read_text().split("\n")[:-1]
    assert " info    after_tool_execution tool:echo completed " in done
    assert " ms operation=" in done
    assert " error   tool_error tool:echo failed " in failed
    assert "it.log" not in done
    for line in (done, failed):
        assert line.isprintable()
        assert "\\u001b[31mred" in line


def test_each_line_is_read_by_jq(tmp_path: Path) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed, so that only Python's json has read the lines")

    async def run() -> None:
        async with opened(ECHO, Watched, settings=logged(tmp_path, level="trace")) as host:
            for value in (FOREIGN, 1.5, 1 << 80, [None, {"a": {"b": "ä" * 5000}}], "x" * 10_000, float("inf")):
                await host.call("tool:echo", {"value": value})

    trio.run(run)
    command = ["jq", "-c", ".", str(tmp_path / "it.log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["point"] for line in done.stdout.split("\n")[:-1]] == [
        row["point"] for row in rows(tmp_path)
    ]
