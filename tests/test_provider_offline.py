"""The offline provider: what its rules understand, what it says, and an agent that works with it on real files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kernel import make_plugin, opened, run
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, InvalidInputError, Message, ModelChunk, ModelRequest, ModelResponse
from llmspell_hookspecs.errors import ProviderError
from llmspell_hookspecs.model import Endpoint, ToolSpec, ToolUse
from llmspell_hookspecs.values import thaw
from llmspell_plugins.providers.offline import Offline, provider
from llmspell_plugins.providers.offline.asking import tool_uses
from waiting import PATIENCE_S, processor_s

NAMES = ("calculator", "csv_analyzer", "file_operations", "text_manipulator")
TOOLS = tuple(ToolSpec(name) for name in NAMES)


def told(*messages: Message, tools: tuple[ToolSpec, ...] = TOOLS, model: str = "offline/rules", **fields: Any) -> Any:
    async def main() -> ModelResponse:
        async with opened() as host:
            return await host.models.complete(ModelRequest(model, messages, tools, **fields))

    return run(main)


def uses(text: str, tools: tuple[ToolSpec, ...] = TOOLS) -> list[tuple[str, dict[str, Any]]]:
    response = told(Message("user", text), tools=tools)
    assert response.finish_reason == ("tool_use" if response.tool_uses else "stop")
    return [(use.name, thaw(use.parameters)) for use in response.tool_uses]


def evaluated(expression: str) -> tuple[str, dict[str, Any]]:
    return "calculator", {"operation": "evaluate", "input": expression}


def on_file(operation: str, path: str, **more: str) -> tuple[str, dict[str, Any]]:
    return "file_operations", {"operation": operation, "path": path, **more}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what is 2 + 2?", [evaluated("2 + 2")]),
        ("Calculate 3 * (4 + 5) - sqrt(16).", [evaluated("3 * (4 + 5) - sqrt(16)")]),
        ("how much is 12 divided by 4", [evaluated("12 / 4")]),
        ("what is 10/4, and 7*6?", [evaluated("10/4"), evaluated("7*6")]),
        ("we met on 2025-01-02 at 10.0.0.1 with version 1.2.3-4", []),
        ("I have 3 apples - or maybe 4", []),
        ('use calculator {"input": "1 + 1"}', [("calculator", {"input": "1 + 1"})]),
        ('please call text_manipulator with {"operation": "uppercase",\n "input": "x"} now',
         [("text_manipulator", {"operation": "uppercase", "input": "x"})]),
        ("text_manipulator(operation=uppercase, input='a, b', deep=[1, true], on=true)",
         [("text_manipulator", {"operation": "uppercase", "input": "a, b", "deep": [1, True], "on": True})]),
        ("file_operations(operation='write', path='a.txt', input='b (c)')",
         [on_file("write", "a.txt", input="b (c)")]),
        ("use calculator", [("calculator", {})]),
        ('use calculator {"input": "1"}\nuse calculator {"input": "2"}\nuse text_manipulator {}',
         [("calculator", {"input": "1"}), ("calculator", {"input": "2"}), ("text_manipulator", {})]),
        ("read data/a.txt", [on_file("read", "data/a.txt")]),
        ("Show me the file `notes.md`.", [on_file("read", "notes.md")]),
        ("list the files in src/x", [on_file("list_dir", "src/x")]),
        ("list data", [on_file("list_dir", "data")]),
        ("list files", [on_file("list_dir", ".")]),
        ("please list all things I like", []),
        ("delete old/report.txt, please", [on_file("delete", "old/report.txt")]),
        ('write "read b.txt" to out/x.txt', [on_file("write", "out/x.txt", input="read b.txt")]),
        ("read a.txt, then delete b.txt", [on_file("read", "a.txt"), on_file("delete", "b.txt")]),
        ("summarise data/sales.csv", [("csv_analyzer", {"operation": "analyze", "input": "data/sales.csv"})]),
        ("Analyze the file sales.csv!", [("csv_analyzer", {"operation": "analyze", "input": "sales.csv"})]),
        ("summarize notes.md", [on_file("read", "notes.md")]),
        ("read it.", []),
        ("hello", []),
    ],
)  # fmt: skip
def test_what_the_rules_understand(text: str, expected: list[Any]) -> None:
    assert uses(text) == expected


def test_only_tools_that_were_offered_are_used() -> None:
    for text in ("what is 2 + 2?", "read a.txt", "summarise a.csv", "calculator(input=1)"):
        assert uses(text, tools=()) == []
    assert uses("summarise a.csv", tools=(ToolSpec("file_operations"),)) == []


def test_a_tool_that_was_not_offered_is_said_to_be_missing() -> None:
    response = told(Message("user", 'use wizard {"spell": 1}'))

    assert "no tool wizard" in response.text
    assert "calculator" in response.text


def test_parameters_that_are_no_json_are_said_to_be_so() -> None:
    [use] = told(Message("user", "use calculator {input: 1}")).tool_uses

    assert dict(use.parameters) == {}
    assert "no JSON" in use.problem


def test_no_two_tool_uses_of_a_conversation_have_one_id() -> None:
    first = told(Message("user", "what is 1 + 1 and 2 + 2?"))
    answers = [Message("tool", "2", tool_use_id=use.id, name=use.name) for use in first.tool_uses]
    asked = Message("assistant", tool_uses=tuple(first.tool_uses))

    second = told(Message("user", "what is 1 + 1 and 2 + 2?"), asked, *answers, Message("user", "and 3 + 3?"))

    assert [use.id for use in (*first.tool_uses, *second.tool_uses)] == ["call_0", "call_1", "call_2"]


def after_results(*results: tuple[str, str]) -> str:
    made = tuple(ToolUse(f"call_{number}", name) for number, (name, _) in enumerate(results))
    answers = [
        Message("tool", content, tool_use_id=use.id, name=use.name)
        for use, (_, content) in zip(made, results, strict=True)
    ]
    response = told(Message("user", "do it"), Message("assistant", tool_uses=made), *answers)
    assert not response.tool_uses
    return str(response.text)


def test_results_are_told_in_plain_words() -> None:
    text = after_results(
        ("calculator", '{"input":"2 + 2","result":4.0,"result_type":"float"}'),
        ("file_operations", "the content\nof a file"),
        ("file_operations", "denied: this host deletes nothing"),
        ("text_manipulator", "error: it has no such operation"),
    )

    assert text == (
        "2 + 2 = 4.\n"
        "file_operations answered: the content\nof a file\n"
        "file_operations was denied: this host deletes nothing. I go on without it.\n"
        "text_manipulator failed: it has no such operation"
    )


def test_it_says_that_it_is_no_model_and_how_it_is_used() -> None:
    assert "I am no model" in told(Message("user", "write me a poem")).text
    assert '"write me a poem"' in told(Message("user", "write me\na poem")).text
    text = told(Message("user", "help!")).text
    for word in ("no model", "calculator", "use NAME", "read FILE", "csv_analyzer", "OPENAI_API_KEY"):
        assert word in text


def test_echo_answers_what_it_is_told() -> None:
    response = told(Message("system", "be brief"), Message("user", "what is 2 + 2?"), model="offline/echo")

    assert (response.text, list(response.tool_uses)) == ("what is 2 + 2?", [])


def test_it_stops_where_it_is_told_to() -> None:
    message = Message("user", "one two three four")

    cut = told(message, model="offline/echo", max_tokens=2)
    stopped = told(message, model="offline/echo", stop=("three", "four"))

    assert (cut.text, cut.finish_reason) == ("one two", "length")
    assert (stopped.text, stopped.finish_reason) == ("one two ", "stop")


def test_words_are_counted_and_cost_nothing() -> None:
    usage = told(Message("system", "be brief"), Message("user", "one two three"), model="offline/echo").usage

    assert (usage.input_tokens, usage.output_tokens, usage.cost_usd) == (5, 3, 0)


@given(text=st.text(max_size=200))
def test_a_stream_adds_up_to_the_answer_whatever_is_said(text: str) -> None:
    async def main() -> None:
        pieces: list[ModelChunk] = []

        async def sink(chunk: ModelChunk) -> None:
            pieces.append(chunk)

        for model in ("rules", "echo"):
            pieces.clear()
            request = ModelRequest(f"offline/{model}", (Message("user", text),), TOOLS)
            streamed = await Offline().complete(model, request, sink)
            assert streamed == await Offline().complete(model, request, None)
            assert "".join(piece.text for piece in pieces) == streamed.text
            assert tuple(piece.tool_use for piece in pieces if piece.kind == "tool_use") == streamed.tool_uses
            assert [piece.index for piece in pieces] == list(range(len(pieces)))

    trio.run(main)


@pytest.mark.parametrize(
    "piece",
    ["(", " ", "1 ", "write ", "write a to ", "a-", "use x {", "[", "read ", "list ", "a(", "f(a=", "1+", "'", '"'],
)
def test_no_text_holds_it_up(piece: str) -> None:
    text = piece * (20_000 // len(piece))

    assert processor_s(lambda: tool_uses(text, TOOLS, 0)) < 0.2


def test_it_has_no_other_models_and_no_endpoint() -> None:
    with pytest.raises(ProviderError, match="offline/rules"):
        told(Message("user", "hi"), model="offline/gpt-4")

    async def main() -> None:
        async with opened() as host:
            endpoint = Endpoint("https://example.com/v1")
            await host.models.complete(ModelRequest("offline/rules", (Message("user", "hi"),)), endpoint=endpoint)

    with pytest.raises(InvalidInputError, match="base_url"):
        run(main)


def test_an_agent_works_on_real_files_with_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")

    def deny(context: Any) -> Any:
        deletes = context.subject.parameters.get("operation") == "delete"
        return Cancel("this host deletes nothing") if deletes else None

    guard = make_plugin("guard", ("before_tool_execution", deny, {"kind": "guard"}))

    async def main() -> list[str]:
        loaded = load_settings({}, environment={}, cwd=tmp_path)
        async with Host.open(loaded, plugins=[guard], discover=False) as host:
            agent = await host.agents.create(name="helper", model="offline/rules", tools=list(NAMES))
            asked = ("what is 6 * 7?", "read notes.txt and delete notes.txt", "hello")
            return [(await agent.run(text)).text for text in asked]

    product, files, hello = run(main)

    assert product == "6 * 7 = 42."
    assert files == (
        "file_operations answered: buy milk\nfile_operations was denied: this host deletes nothing. I go on without it."
    )
    assert "no model" in hello
    assert (tmp_path / "notes.txt").read_text() == "buy milk"


SCRIPT = """
local told = {}
local function ask(options)
  options.tools = {"calculator"}
  local agent = Agent.create(options)
  told[#told + 1] = agent:execute("what is 6 * 7?").text
end
ask({model = "openai/gpt-4o"})
ask({provider_model = "anthropic/claude-opus-4-5", api_key = "sk-mine"})
ask({model = "gpt-4o", base_url = "http://nowhere.invalid/v1"})
ask({model = "no_such_provider/model"})
ask({model = {provider = "openai", model_id = "gpt-4o"}})
ask({provider = "litellm", model = "mistral/large"})
ask({})
Hook.register("BeforeModelCall", function() return {type = "redirect", target = "model:groq/openai/gpt-oss-20b"} end,
  {match = "openai/*"})
ask({model = "openai/o3"})
return table.concat(told, "|")
"""


def test_with_providers_offline_each_model_is_answered_offline_whatever_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> Any:
        async with opened(settings={"providers": {"offline": True, "openai": {"api_key": "sk-x"}}}) as host:
            return await host.run_source(SCRIPT)

    assert run(main) == "|".join(["6 * 7 = 42."] * 8)
    assert [record.getMessage() for record in caplog.records if record.name == "llmspell.models"] == [
        "model:openai/gpt-4o: the offline provider answers, for every model (providers.offline)"
    ]


def test_with_providers_offline_each_provider_is_there_and_its_own_two_models_differ() -> None:
    async def main() -> Any:
        async with opened(settings={"providers": {"offline": True, "default": "openai/gpt-4o"}}) as host:
            asked = [Message("user", "hello")]
            texts = [
                (await host.models.complete(ModelRequest(model, tuple(asked)))).text
                for model in ("offline/echo", "openai/echo", "offline/other")
            ]
            return texts, host.models.resolve(), {info.available for info in host.models.providers()}

    texts, default, available = run(main)
    assert texts[0] == "hello"
    assert [text.startswith("I am no model") for text in texts[1:]] == [True, True]
    assert default == "openai/gpt-4o"
    assert available == {True}


def test_a_script_may_switch_models_off_and_not_on_again() -> None:
    script = """
    Config.set("providers.offline", true)
    local text = Agent.create({model = "openai/gpt-4o"}):execute("hello").text
    local fine, problem = pcall(Config.set, "providers.offline", false)
    return {text, fine, tostring(problem)}
    """

    async def main() -> Any:
        async with opened() as host:
            return await host.run_source(script)

    text, fine, problem = run(main)
    assert text.startswith("I am no model")
    assert fine is False
    assert "only be switched on" in problem


@pytest.mark.parametrize("verb", [["exec"], ["repl"], ["agent", "run"]])
def test_every_verb_that_asks_models_takes_offline(llmspell_settings: Any, verb: list[str]) -> None:
    code = 'return Agent.create({model = "openai/gpt-4o"}):execute("hello").text'
    given = {"exec": [code], "repl": [], "agent": ["--model", "openai/gpt-4o", "hello"]}[verb[0]]
    done = subprocess.run(
        [sys.executable, "-m", "llmspell", *verb, "--offline", *given],
        input=f"{code}\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert done.returncode == 0, done.stderr
    assert "I am no model" in done.stdout
    assert done.stderr.count("the offline provider answers") == 1


@given(st.text("ab \n", max_size=60), st.none() | st.integers(1, 20))
def test_words_are_counted_and_cut_as_if_all_were_read_at_once(text: str, most: int | None) -> None:
    words = re.findall(r"\s*\S+\s*\Z|\s*\S+|\s+", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provider, "_PIECE", 4)
        response = told(Message("user", text), model="offline/echo", max_tokens=most)

    assert response.text == "".join(words[:most])
    assert response.finish_reason == ("length" if most is not None and len(words) > most else "stop")
    assert response.usage.input_tokens == len(text.split())
    assert response.usage.output_tokens == len(response.text.split())
