"""``llmspell agent`` and ``llmspell provider``, as people call them, against a server on loopback."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chat_server import ChatServer, break_off, fail, hang, say, use
from llmspell.cli.main import main
from llmspell_testing.isolation import TemporarySettings, isolate
from packages import install
from terminal import Terminal

Llmspell = Callable[..., tuple[int, str, str]]
KEY = "sk-of-the-command-line"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemporarySettings:
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


@pytest.fixture
def llmspell(places: TemporarySettings, server: ChatServer, capfd: pytest.CaptureFixture[str]) -> Llmspell:
    """Call the command line, whose provider ``local`` is the server; returns code, standard output and error."""
    places.write_user(
        "[plugins.model_retry]\ninitial_delay_s = 0.01\njitter = 0\n"
        "[providers.local]\ntype = 'openai_compatible'\ndefault_model = 'm'\n"
        f"base_url = '{server.url}'\napi_key = '{KEY}'\n"
    )

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_an_answer_is_printed_and_as_json_with_all_that_is_known(llmspell: Llmspell) -> None:
    assert llmspell("agent", "run", "--model", "local", "hello") == (0, "hello\n", "")
    assert llmspell("agent", "run", "--model", "local/other", "--stream", "hello") == (0, "hello\n", "")

    code, out, err = llmspell("agent", "run", "--model", "local", "--output", "json", "hello")
    assert (code, err) == (0, "")
    assert (json.loads(out)["text"], json.loads(out)["steps"]) == ("hello", 1)


def test_a_streamed_note_begins_on_a_line_of_its_own(llmspell: Llmspell, server: ChatServer) -> None:
    server.script(use(("calculator", {"input": "1 + 1"}), text="let me see"), say("it is 2"))

    code, out, err = llmspell("agent", "run", "--model", "local", "--tools", "calculator", "--stream", "1 + 1?")

    assert (code, out) == (0, "let me see\nit is 2\n")
    assert err.startswith("[calculator completed in ")


def test_a_stream_that_breaks_ends_its_line_before_the_error_is_told(llmspell: Llmspell, server: ChatServer) -> None:
    server.script(break_off(), break_off(), break_off())

    code, out, err = llmspell("agent", "run", "--model", "local", "--stream", "hello")

    assert code == 1
    pieces = out.split("\n")
    assert len(pieces) == 4
    assert pieces[3] == ""
    assert all("one two three four".startswith(piece) for piece in pieces)
    assert err.startswith("[begins anew]\n[begins anew]\nllmspell: model:local/m: ")


def test_a_failure_is_one_line_without_the_key(llmspell: Llmspell, server: ChatServer) -> None:
    server.script(*[fail(500, f"two\nlines about {KEY}")] * 3)

    code, out, err = llmspell("provider", "test", "local")

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert KEY not in err


def test_a_key_that_settings_look_for_in_vain_is_named(llmspell: Llmspell, server: ChatServer) -> None:
    elsewhere = ("--set", "providers.local.api_key=", "--set", "providers.local.api_key_env=NO_SUCH_KEY")

    code, _out, err = llmspell("provider", "test", "local", *elsewhere)

    assert (code, err.count("\n")) == (1, 1)
    assert "it has no key; set NO_SUCH_KEY" in err
    assert "set NO_SUCH_KEY" in llmspell("provider", "list", *elsewhere)[1]
    assert not server.requests


def test_a_provider_that_cannot_be_loaded_is_named_whatever_is_asked_of_it(
    llmspell: Llmspell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    install(site, "lost-parrot", name="parrot", code="raise SystemExit(3)\n", group="llmspell.providers")

    for model in ("parrot", "parrot/m"):
        code, _out, err = llmspell("provider", "test", model)
        assert code == 1
        assert "plugin parrot (lost-parrot 1.0): it cannot be imported: SystemExit: 3" in err


@pytest.mark.parametrize("how", [("agent", "run", "--model"), ("agent", "run", "--no-stream", "--model")])
def test_a_model_does_not_steer_the_terminal(tmp_path: Path, how: tuple[str, ...]) -> None:
    said = "\x1b]0;owned\x07\x1b[31mred\x9b1m"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    terminal = Terminal(*how, "offline/echo", said, folder=tmp_path, environment=environment)
    with closing(terminal):
        terminal.expect("red")
        assert terminal.wait() == 0

    assert b"\\x1b]0;owned\\x07\\x1b[31mred" in terminal.raw
    assert not set(terminal.raw.decode()) & {"\x1b", "\x07", "\x9b"}


def test_an_empty_question_is_refused(llmspell: Llmspell) -> None:
    code, out, err = llmspell("agent", "run", "  ")

    assert (code, out) == (2, "")
    assert "the question is empty; ask something" in err


@pytest.mark.parametrize(
    ("toml", "line", "told"),
    [
        ("[providers.local]\ntype = 'openai_compatible'\nbase_ulr = 'x'\n", 3, "providers.local.base_ulr"),
        ("[providers.local]\ntype = 'nobody'\n", 2, "providers.local: nothing of that name or type is installed"),
        ("[storage.sqlite]\npath = 'x'\ndurability = 'wat'\n", 3, "storage.sqlite.durability"),
        ("[plugins.model_retry]\nmax_attempts = 0\n", 2, "plugins.model_retry.max_attempts"),
        ("[tools.calculator]\nspeed = 1\n", 2, "tools.calculator.speed: this plugin takes no settings"),
    ],
)
def test_the_tables_of_plugins_are_validated_with_the_settings(
    places: TemporarySettings, capfd: pytest.CaptureFixture[str], toml: str, line: int, told: str
) -> None:
    places.write_user(toml)

    with pytest.raises(SystemExit) as ended:
        main(("config", "validate"))

    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert f"llmspell.toml:{line}: {told}" in err
    assert err.count("\n") == 1


def test_a_variables_name_is_shown_and_a_key_is_masked(
    places: TemporarySettings, capfd: pytest.CaptureFixture[str]
) -> None:
    places.write_user("[providers.local]\napi_key_env = 'MY_VARIABLE'\napi_key = 'sk-secret'\n")

    with pytest.raises(SystemExit):
        main(("config", "show", "providers"))

    out, _ = capfd.readouterr()
    assert "MY_VARIABLE" in out
    assert "sk-secret" not in out


def test_every_option_of_a_run_reaches_the_model(llmspell: Llmspell, server: ChatServer) -> None:
    options = ["--system", "Be brief.", "--temperature", "0.25", "--max-tokens", "77", "--tool", "calculator"]
    more = ["--tools", "csv_analyzer,file_operations"]

    code, _, err = llmspell("agent", "run", "--model", "local", *options, *more, "hello")

    assert (code, err) == (0, "")
    body = server.requests[0].body
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "hello"),
    ]
    assert (body["temperature"], body["max_tokens"]) == (0.25, 77)
    tools = [spec["function"]["name"] for spec in body["tools"]]
    assert tools == ["calculator", "csv_analyzer", "file_operations"]


def test_a_run_is_held_to_the_steps_and_the_time_it_is_given(llmspell: Llmspell, server: ChatServer) -> None:
    asks = 'use calculator {"input": "1 + 1"}'
    code, _, err = llmspell("agent", "run", "--model", "local", "--tools", "calculator", "--max-steps", "1", asks)
    assert code == 1
    assert "still asks for tools in answer 1, the last it may give" in err

    server.script(hang())
    code, _, err = llmspell("agent", "run", "--model", "local", "--time", "0.3", "hello")
    assert code == 1
    assert "it took longer than 0.3 s" in err


def test_the_kinds_of_agent_are_listed_and_chosen(llmspell: Llmspell) -> None:
    code, out, _ = llmspell("agent", "list", "--output", "json")
    assert code == 0
    kinds = {kind["name"]: kind["capabilities"] for kind in json.loads(out)}
    assert kinds["basic"] == ["streaming", "context"]
    assert kinds["llm"] == ["streaming", "tools", "context"]
    assert {name for name, words in kinds.items() if "composite" in words} == {*kinds} - {"basic", "llm"}
    assert "Converse with a language model" in llmspell("agent", "list")[1]

    code, out, _ = llmspell("agent", "run", "--kind", "basic", "hello")
    assert (code, out.partition(" received: ")[2]) == (0, "hello\n")


def test_only_the_providers_that_can_be_asked_are_listed_if_that_is_wanted(llmspell: Llmspell) -> None:
    _, everything, _ = llmspell("provider", "list", "--output", "json")
    _, available, _ = llmspell("provider", "list", "--available", "--output", "json")

    names = {row["name"] for row in json.loads(available)}
    assert {"local", "offline"} <= names
    assert names == {row["name"] for row in json.loads(everything) if row["available"]}
    assert "openai_compatible" not in names


def test_a_provider_is_tested_with_the_prompt_and_within_the_time_that_are_given(
    llmspell: Llmspell, server: ChatServer
) -> None:
    code, out, _ = llmspell("provider", "test", "local", "--prompt", "are you there?", "--output", "json")
    assert (code, json.loads(out)["text"]) == (0, "are you there?")

    server.script(hang())
    code, _, err = llmspell("provider", "test", "local", "--time", "0.3")
    assert code == 1
    assert "it took longer than 0.3 s" in err


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("[providers.openai]\nbase_url = 'http://evil.example/v1'\n", "providers.openai.base_url"),
        ("[providers.new]\ntype = 'openai_compatible'\n", "providers.new.type"),
        ("[storage]\nbackend = 'memory'\n", "storage.backend"),
        ("[storage.sqlite]\npath = 'elsewhere.db'\n", "storage.sqlite.path"),
        ("[agents]\nsteps = 100000\n", "agents.steps"),
        ("[plugins.model_retry]\nmax_attempts = 50\n", "plugins.model_retry.max_attempts"),
    ],
)
def test_a_projects_file_sends_no_key_elsewhere_and_loosens_nothing(
    places: TemporarySettings,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    toml: str,
    key: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    places.write_project(toml)

    with pytest.raises(SystemExit) as ended:
        main(("agent", "run", "--model", "openai", "hello"))

    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert f"llmspell.toml:2: {key} = " in err
    assert "loosens policy" in err


def test_a_projects_file_may_choose_the_default_model_and_tighten_agents(
    llmspell: Llmspell, places: TemporarySettings, server: ChatServer
) -> None:
    places.write_project("[providers]\ndefault = 'local/chosen'\n[agents]\nsteps = 1\n")

    assert llmspell("agent", "run", "hello") == (0, "hello\n", "")
    assert server.requests[0].body["model"] == "chosen"

    code, _, err = llmspell("agent", "run", "--tools", "calculator", 'use calculator {"input": "1"}')
    assert code == 1
    assert "in answer 1, the last it may give; raise max_steps (agents.steps bounds it)" in err
