"""Asking models, in a host: names, hooks at every point, streams that say what the response says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from kernel import make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    HookContext,
    InvalidInputError,
    Message,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    Modified,
    OperationCancelledError,
    ProviderInfo,
    Redirect,
    Replace,
    Retry,
    ToolContext,
)
from llmspell_hookspecs.errors import ComponentNotFoundError, OperationTimeoutError, PluginError, ProviderError
from llmspell_hookspecs.model import ChunkSink, Endpoint, ToolUse
from scripted_model import WAITS, Broken, ScriptedModel, asks, says

HELLO = ModelRequest("scripted/play", (Message("user", "hello"),))
UNAVAILABLE = ProviderError("scripted: it is overloaded", code="unavailable", status=503, retryable=True)


def in_host(main: Callable[[Host], Awaitable[Any]], *plugins: Any, **options: Any) -> Any:
    async def opening() -> Any:
        async with opened(*plugins, **options) as host:
            return await main(host)

    return run(opening, virtual=options.pop("virtual", False))


async def stream(host: Host, request: ModelRequest = HELLO) -> tuple[list[ModelChunk], ModelResponse]:
    """Ask, and return the chunks and the response."""
    chunks: list[ModelChunk] = []

    async def sink(chunk: ModelChunk) -> None:
        chunks.append(chunk)

    return chunks, await host.models.complete(request, sink=sink)


def told(chunks: list[ModelChunk]) -> str:
    """Return what somebody who follows the stream has read in the end."""
    text = ""
    for chunk in chunks:
        text = "" if chunk.kind == "restart" else text + chunk.text
    return text


# Names.


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("", "scripted/play"),
        ("scripted", "scripted/play"),
        ("scripted/", "scripted/play"),
        ("scripted/other", "scripted/other"),
        ("scripted/a/b", "scripted/a/b"),
        ("other", "scripted/other"),
    ],
)
def test_a_model_is_found_by_every_way_of_naming_it(written: str, asked: str) -> None:
    model = ScriptedModel(says("hi"))

    async def main(host: Host) -> str:
        await host.models.complete(ModelRequest(written, HELLO.messages))
        return host.models.resolve(written)

    settings = {"providers": {"default": "scripted/play"}}
    assert in_host(main, model, settings=settings) == asked
    assert model.requests[0].model == asked


def test_a_bare_model_belongs_to_the_provider_that_lists_it_the_default_one_first() -> None:
    class Listing(ScriptedModel):
        name = "listing"

        def info(self) -> ProviderInfo:
            return ProviderInfo("", default_model="own", models=("own", "play-two"))

    async def main(host: Host) -> list[str]:
        return [host.models.resolve(name) for name in ("play-two", "own", "gpt-4o-mini", "rules", "unheard-of")]

    found = in_host(
        main, ScriptedModel(says("hi")), Listing(says("hi")), settings={"providers": {"default": "scripted"}}
    )

    assert found == ["listing/play-two", "listing/own", "openai/gpt-4o-mini", "offline/rules", "scripted/unheard-of"]


def test_an_unknown_provider_is_an_error_that_names_the_nearest() -> None:
    async def main(host: Host) -> None:
        await host.models.complete(ModelRequest("scriptd/play"))

    with pytest.raises(ComponentNotFoundError, match="did you mean scripted"):
        in_host(main, ScriptedModel(says("hi")))


def test_a_table_names_a_provider_of_another_type_and_a_wrong_type_is_told() -> None:
    model = ScriptedModel(says("hi"))
    settings = {"providers": {"mine": {"type": "scripted"}, "broken": {"type": "scriptd"}}}

    async def main(host: Host) -> Any:
        infos = {info.name: info for info in host.models.providers()}
        await host.models.complete(ModelRequest("mine/play", HELLO.messages))
        with pytest.raises(ComponentNotFoundError, match="did you mean scripted"):
            await host.models.complete(ModelRequest("broken/play"))
        return infos

    infos = in_host(main, model, settings=settings)

    assert (infos["mine"].type, infos["mine"].available) == ("scripted", True)
    assert not infos["broken"].available
    assert "scriptd" in infos["broken"].reason


def test_the_settings_of_a_provider_are_checked_when_it_is_made() -> None:
    from pydantic import BaseModel, ConfigDict

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

    class Picky(ScriptedModel):
        name = "picky"
        Settings = Strict

        def __init__(self, settings: Any, services: Any) -> None:
            super().__init__(says("hi"))

    async def main(host: Host) -> None:
        await host.models.complete(ModelRequest("picky/play"))

    with pytest.raises(PluginError, match=r"providers\.picky\.base_ulr: "):
        in_host(main, Picky, settings={"providers": {"picky": {"base_ulr": "x"}}})


def test_a_model_is_asked_by_its_address_too() -> None:
    model = ScriptedModel(says("hi"))

    async def main(host: Host) -> list[str]:
        texts = ["a text", {"input": "a table"}, {"messages": [{"role": "user", "content": "whole"}]}]
        return [(await host.call("model:scripted/play", text)).text for text in texts]

    assert in_host(main, model) == ["hi"] * 3
    assert [request.messages[-1].content for request in model.requests] == ["a text", "a table", "whole"]


def test_what_no_request_has_is_refused_by_name() -> None:
    async def main(host: Host) -> None:
        await host.call("model:scripted/play", {"input": "x", "temprature": 1})

    with pytest.raises(InvalidInputError, match="temprature"):
        in_host(main, ScriptedModel(says("hi")))


# Hooks.


def test_a_hook_that_renames_the_model_is_told_to_redirect() -> None:
    async def main(host: Host) -> None:
        host.hooks.register("before_model_call", lambda context: context.modify(model="scripted/other"))
        await host.models.complete(HELLO)

    with pytest.raises(InvalidInputError, match="answer Redirect instead"):
        in_host(main, ScriptedModel(says("hi")))


def test_a_redirect_at_failure_is_the_fallback_with_the_same_conversation() -> None:
    failing, spare = ScriptedModel(UNAVAILABLE), ScriptedModel(says("spare"))
    spare.name = "spare"  # type: ignore[misc]

    async def main(host: Host) -> str:
        host.hooks.register("model_error", lambda context: Redirect("model:spare/play"), match="scripted/*")
        return (await host.models.complete(HELLO)).text

    assert in_host(main, failing, spare) == "spare"
    assert spare.requests[0].messages == HELLO.messages
    assert spare.requests[0].model == "spare/play"


def test_a_tool_may_answer_in_a_models_place() -> None:
    async def shout(parameters: dict[str, Any], context: ToolContext) -> Any:
        return {"text": parameters["messages"][-1].content.upper()}

    async def main(host: Host) -> str:
        host.hooks.register("before_model_call", lambda context: Redirect("tool:shout"))
        return (await host.models.complete(HELLO)).text

    assert in_host(main, ScriptedModel(says("hi")), make_tool("shout", shout)) == "HELLO"


def test_a_call_ends_when_its_deadline_passes_and_so_does_the_request() -> None:
    model = ScriptedModel(WAITS)

    async def main(host: Host) -> None:
        await host.models.complete(HELLO, deadline_s=3)

    with pytest.raises(OperationTimeoutError):
        in_host(main, model, virtual=True)
    assert model.ended == 1


def test_what_a_provider_does_wrong_is_its_own_error_and_quotes_nothing() -> None:
    wrong = [ValueError("key sk-secret is bad"), lambda request: "no response"]

    for line in wrong:

        async def main(host: Host) -> None:
            await host.models.complete(HELLO)

        provider = ScriptedModel(line)  # type: ignore[arg-type]
        if line is wrong[1]:

            async def odd(*given: Any) -> Any:
                return "no response"

            provider.complete = odd  # type: ignore[method-assign]
        with pytest.raises(ProviderError, match="its provider") as caught:
            in_host(main, provider)
        assert "sk-secret" not in str(caught.value)


# Streams.


def test_chunks_come_as_they_are_and_add_up() -> None:
    async def main(host: Host) -> Any:
        return await stream(host)

    chunks, response = in_host(main, ScriptedModel(asks(("echo", {}), text="one two three")))

    assert [chunk.text for chunk in chunks] == ["one", " two", " three", ""]
    assert [chunk.index for chunk in chunks] == [0, 1, 2, 3]
    assert chunks[-1].tool_use is not None
    assert told(chunks) == response.text


def test_a_stream_says_what_the_response_asks_for_though_its_provider_streamed_texts_only() -> None:
    class Terse(ScriptedModel):
        async def complete(self, model: str, request: ModelRequest, sink: Any, /) -> ModelResponse:
            response = await super().complete(model, request, None)
            await sink(ModelChunk(text=response.text))
            return response

    judged: list[str] = []

    async def main(host: Host) -> Any:
        host.hooks.register("model_chunk", lambda context: judged.append(context.subject.kind), kind="guard")
        return await stream(host)

    chunks, response = in_host(main, Terse(asks(("echo", {"a": 1}), ("echo", {"a": 2}), text="look")))

    assert [chunk.kind for chunk in chunks] == ["text", "tool_use", "tool_use"]
    assert judged == ["text", "tool_use", "tool_use", "text"]
    assert tuple(chunk.tool_use for chunk in chunks[1:]) == response.tool_uses
    assert [chunk.index for chunk in chunks] == [0, 1, 2]


def test_a_response_whose_tools_were_changed_is_streamed_anew() -> None:
    async def main(host: Host) -> Any:
        host.hooks.register("after_model_call", lambda context: context.modify(tool_uses=()))
        return await stream(host)

    chunks, response = in_host(main, ScriptedModel(asks(("echo", {}), text="look")))

    assert [(chunk.kind, chunk.text) for chunk in chunks] == [("text", "look")]
    assert response.tool_uses == ()


def test_what_hooks_make_of_chunks_is_what_the_response_says() -> None:
    def redact(context: HookContext[ModelChunk]) -> Modified | None:
        chunk = context.subject
        return context.modify(text=chunk.text.replace("secret", "***")) if "secret" in chunk.text else None

    async def main(host: Host) -> Any:
        host.hooks.register("model_chunk", redact)
        return await stream(host)

    chunks, response = in_host(main, ScriptedModel(says("the secret word")))

    assert told(chunks) == response.text == "the *** word"


def hold(context: HookContext[ModelChunk]) -> Modified:
    """Hold back all text until its answer ends, and hand it on in capitals."""
    kept = context.metadata["hold"]
    kept["text"] = context.subject.text if context.subject.index == 0 else kept["text"] + context.subject.text
    return context.modify(text=kept["text"].upper() if context.subject.final else "")


class Whole(ScriptedModel):
    """Answers whole, whoever listens."""

    async def complete(self, model: str, request: ModelRequest, sink: Any, /) -> ModelResponse:
        return await super().complete(model, request, None)


ANSWERED: list[tuple[ScriptedModel, str, Any]] = [
    (ScriptedModel(says("one two")), "", None),
    (Whole(says("one two")), "", None),
    (ScriptedModel(says("other")), "before_model_call", lambda context: Replace("one two")),
    (ScriptedModel(says("other words")), "after_model_call", lambda context: context.modify(text="one two")),
    (ScriptedModel(Broken("half an", UNAVAILABLE)), "model_error", lambda context: Replace("one two")),
    (ScriptedModel(Broken("half", UNAVAILABLE), says("one two")), "model_error", lambda context: Retry(0)),
]


@pytest.mark.parametrize(("model", "point", "answer"), ANSWERED)
@pytest.mark.parametrize("judged", [False, True])
def test_what_a_hook_holds_back_leaves_at_the_end_wherever_the_answer_comes_from(
    model: ScriptedModel, point: str, answer: Any, judged: bool
) -> None:
    ends: list[bool] = []
    left: list[str] = []

    async def main(host: Host) -> Any:
        model.lines = [*lines]
        host.hooks.register("model_chunk", hold)
        host.hooks.register("model_chunk", lambda context: ends.append(context.subject.final), kind="observe")
        if point:
            host.hooks.register(point, answer)
        if judged:
            host.hooks.register("after_model_call", lambda context: left.append(context.subject.text), kind="guard")
        return await stream(host)

    lines = model.lines
    chunks, response = in_host(main, model)

    assert told(chunks) == response.text == "ONE TWO"
    assert [(chunk.text, chunk.index, chunk.final) for chunk in chunks] == [("ONE TWO", 0, True)]
    assert ends[-1]
    assert left == (["ONE TWO"] if judged else [])


def test_the_end_of_a_stream_shows_to_hooks_only() -> None:
    shown: list[tuple[str, bool]] = []

    async def main(host: Host) -> Any:
        see = lambda context: shown.append((context.subject.text, context.subject.final))  # noqa: E731
        host.hooks.register("model_chunk", see, kind="observe")
        return await stream(host)

    chunks, _ = in_host(main, ScriptedModel(says("one two")))

    assert [chunk.text for chunk in chunks] == ["one", " two"]
    assert shown == [("one", False), (" two", False), ("", True)]


def test_a_guard_judges_what_leaves_at_the_end_of_a_stream() -> None:
    received: list[ModelChunk] = []

    async def sink(chunk: ModelChunk) -> None:
        received.append(chunk)

    async def main(host: Host) -> None:
        host.hooks.register("model_chunk", hold)
        deny = lambda context: Cancel("loud") if context.subject.text.isupper() else None  # noqa: E731
        host.hooks.register("model_chunk", deny, kind="guard")
        await host.models.complete(HELLO, sink=sink)

    with pytest.raises(OperationCancelledError, match="loud"):
        in_host(main, ScriptedModel(says("one two")))

    assert received == []


@pytest.mark.parametrize("point", ["model_chunk", "after_model_call"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_who_comes_while_a_stream_runs_has_all_of_it_in_hand_before_it_ends(point: str, at: int) -> None:
    chunks: list[ModelChunk] = []

    async def main(host: Host) -> Any:
        async def sink(chunk: ModelChunk) -> None:
            if len(chunks) == at:
                host.hooks.register(point, lambda context: context.modify(text=context.subject.text.upper()))
            chunks.append(chunk)

        return await host.models.complete(HELLO, sink=sink)

    response = in_host(main, ScriptedModel(says("one two three")))

    assert told(chunks) == response.text == "ONE TWO THREE"
    assert [chunk.kind for chunk in chunks].count("restart") == 1


@pytest.mark.parametrize("point", ["model_chunk", "after_model_call"])
def test_a_guard_that_comes_while_a_stream_runs_ends_it(point: str) -> None:
    received: list[ModelChunk] = []

    async def main(host: Host) -> None:
        async def sink(chunk: ModelChunk) -> None:
            if not received:
                host.hooks.register(point, lambda context: Cancel("no"), kind="guard")
            received.append(chunk)

        await host.models.complete(HELLO, sink=sink)

    with pytest.raises(OperationCancelledError, match="no"):
        in_host(main, ScriptedModel(says("one two three")))

    assert [chunk.text for chunk in received if chunk.kind == "text"] == ["one"]


def test_the_response_asks_for_the_tools_that_hooks_left_in_its_stream() -> None:
    def other(context: HookContext[ModelChunk]) -> Modified | None:
        use = context.subject.tool_use
        return None if use is None else context.modify(tool_use=ToolUse(use.id, "other", use.parameters))

    async def main(host: Host) -> Any:
        host.hooks.register("model_chunk", other)
        return await stream(host)

    chunks, response = in_host(main, ScriptedModel(asks(("echo", {"a": 1}), text="look")))

    assert [use.name for use in response.tool_uses] == ["other"]
    assert [chunk.tool_use for chunk in chunks[1:]] == list(response.tool_uses)


def test_a_hook_cannot_make_a_stream_begin_anew() -> None:
    async def main(host: Host) -> Any:
        host.hooks.register("model_chunk", lambda context: context.modify(kind="restart"))
        return await stream(host)

    with pytest.raises(InvalidInputError, match="leave its text empty"):
        in_host(main, ScriptedModel(says("one")))


def test_a_guard_at_chunks_ends_the_call_for_good_before_anybody_has_the_chunk() -> None:
    def guard(context: HookContext[ModelChunk]) -> Cancel | None:
        return Cancel("no secrets") if "secret" in context.subject.text else None

    received: list[ModelChunk] = []

    async def sink(chunk: ModelChunk) -> None:
        received.append(chunk)

    async def main(host: Host) -> None:
        host.hooks.register("model_chunk", guard, kind="guard")
        host.hooks.register("model_error", lambda context: Replace({"text": "revived"}))
        await host.models.complete(HELLO, sink=sink)

    with pytest.raises(OperationCancelledError, match="no secrets"):
        in_host(main, ScriptedModel(says("the secret word")))
    assert told(received) == "the"


@pytest.mark.parametrize("kind", ["guard", "transform"])
def test_a_stream_is_held_back_where_the_response_is_still_to_be_judged(kind: str) -> None:
    received: list[ModelChunk] = []
    seen: list[int] = []

    def judge(context: HookContext[ModelResponse]) -> None:
        seen.append(len(received))

    async def sink(chunk: ModelChunk) -> None:
        received.append(chunk)

    async def main(host: Host) -> None:
        host.hooks.register("after_model_call", judge, kind=kind)
        await host.models.complete(HELLO, sink=sink)

    in_host(main, ScriptedModel(says("one two three")))

    assert seen == [0]
    assert [chunk.text for chunk in received] == ["one", " two", " three"]


def test_a_response_that_is_denied_or_changed_leaks_nothing_into_the_stream() -> None:
    for answer, expected in ((Cancel("no"), ""), (Modified({"text": "clean"}), "clean"), (Replace("clean"), "clean")):
        received: list[ModelChunk] = []

        async def sink(chunk: ModelChunk, received: list[ModelChunk] = received) -> None:
            received.append(chunk)

        async def main(host: Host, answer: Any = answer, sink: Any = sink) -> None:
            host.hooks.register("after_model_call", lambda context: answer)
            try:
                await host.models.complete(HELLO, sink=sink)
            except OperationCancelledError:
                assert isinstance(answer, Cancel)

        in_host(main, ScriptedModel(says("dirty words")))

        assert told(received) == expected
        assert "dirty" not in "".join(chunk.text for chunk in received)


def test_a_stream_that_breaks_and_runs_again_begins_anew_for_who_reads_it() -> None:
    model = ScriptedModel(Broken("half an", UNAVAILABLE), says("whole answer"))

    async def main(host: Host) -> Any:
        host.hooks.register("model_error", lambda context: Retry(0.1, max_attempts=2))
        return await stream(host)

    chunks, response = in_host(main, model, virtual=True)

    assert [chunk.kind for chunk in chunks].count("restart") == 1
    assert told(chunks) == response.text == "whole answer"


def test_a_broken_stream_is_an_error_and_never_a_short_answer() -> None:
    async def main(host: Host) -> Any:
        return await stream(host)

    with pytest.raises(ProviderError, match="overloaded"):
        in_host(main, ScriptedModel(Broken("half an", UNAVAILABLE)))


def test_an_answer_that_no_model_gave_is_streamed_too_and_judged_as_a_chunk() -> None:
    judged: list[str] = []

    async def main(host: Host) -> Any:
        host.hooks.register("before_model_call", lambda context: Replace("from the shelf"))
        host.hooks.register("model_chunk", lambda context: judged.append(context.subject.text), kind="guard")
        return await stream(host)

    chunks, response = in_host(main, ScriptedModel(says("never asked")))

    assert told(chunks) == response.text == "from the shelf"
    assert judged == ["from the shelf", ""]


class Stubborn(ScriptedModel):
    """Goes on when a chunk is not taken, or says something else of it."""

    def __init__(self, makes_of_it: ModelResponse | Exception) -> None:
        super().__init__(says("bad words"))
        self.makes_of_it = makes_of_it

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        try:
            return await super().complete(model, request, sink)
        except Exception:
            if isinstance(self.makes_of_it, Exception):
                raise self.makes_of_it from None
            return self.makes_of_it


STUBBORN: list[ModelResponse | Exception] = [
    says("well"),
    ProviderError("scripted: broken", retryable=True),
    KeyError("chunk"),
]


@pytest.mark.parametrize("makes_of_it", STUBBORN)
def test_a_denied_chunk_ends_the_call_whatever_the_provider_makes_of_it(makes_of_it: Any) -> None:
    async def main(host: Host) -> None:
        host.hooks.register(
            "model_chunk", lambda context: Cancel("bad") if "bad" in context.subject.text else None, kind="guard"
        )
        host.hooks.register("model_error", lambda context: Replace("revived"))
        await stream(host)

    with pytest.raises(OperationCancelledError, match="bad"):
        in_host(main, Stubborn(makes_of_it))


@pytest.mark.parametrize("model", [ScriptedModel(says("hello")), *map(Stubborn, STUBBORN)])
def test_the_error_of_who_takes_chunks_comes_back_as_it_is(model: ScriptedModel) -> None:
    async def full(chunk: ModelChunk) -> None:
        raise BrokenPipeError("nobody reads")

    async def main(host: Host) -> None:
        await host.models.complete(ModelRequest("scripted/play", (Message("user", "hello"),)), sink=full)

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        in_host(main, model)


def test_a_stream_is_held_back_for_a_guard_that_goes_while_it_runs() -> None:
    model = ScriptedModel(says("later"))

    async def main(host: Host) -> list[ModelChunk]:
        got: list[ModelChunk] = []
        guard = host.hooks.register("after_model_call", lambda context: Cancel("no"), kind="guard")

        async def take(chunk: ModelChunk) -> None:
            got.append(chunk)

        def leave(request: ModelRequest) -> ModelResponse:
            guard.unregister()
            return says("secret words")

        model.lines = [leave]
        with pytest.raises(OperationCancelledError):
            await host.models.complete(ModelRequest("scripted/play", (Message("user", "hello"),)), sink=take)
        return got

    assert in_host(main, model) == []


def test_a_slow_reader_slows_the_stream_and_one_that_leaves_ends_it() -> None:
    model = ScriptedModel(says("one two three"))
    taken: list[str] = []

    async def main(host: Host) -> None:
        async def sink(chunk: ModelChunk) -> None:
            taken.append(chunk.text)
            await trio.sleep(10)

        with trio.move_on_after(15):
            await host.models.complete(HELLO, sink=sink)

    in_host(main, model, virtual=True)

    assert taken == ["one", " two"]
    assert model.ended == 1


class Placed(ScriptedModel):
    """Counts how many of it stand at endpoints."""

    def __init__(self, root: Placed | None = None) -> None:
        super().__init__(says("here"))
        self.root = root or self

    def at(self, endpoint: Endpoint, /) -> Placed:
        self.root.endpoints.append(endpoint)
        return Placed(self.root)

    async def __aexit__(self, *error: object) -> None:
        self.root.closed += 1


def test_endpoints_that_nobody_asks_any_more_make_room_for_others() -> None:
    model = Placed()

    async def main(host: Host) -> int:
        for number in range(300):
            await host.models.complete(HELLO, endpoint=Endpoint(f"http://127.0.0.1:{number}"))
        await host.models.complete(HELLO, endpoint=Endpoint("http://127.0.0.1:299"))
        return model.closed

    assert in_host(main, model) == 300 - 256
    assert len(model.endpoints) == 300
    assert model.closed == 300 + 1


def test_a_deadline_that_is_no_number_is_told() -> None:
    with pytest.raises(InvalidInputError, match="deadline_s is nan; give a number"):
        in_host(lambda host: host.models.complete(HELLO, deadline_s=float("nan")), ScriptedModel(says("hi")))


def test_providers_are_closed_with_the_host() -> None:
    model = ScriptedModel(says("hi"))

    async def main(host: Host) -> None:
        await host.models.complete(HELLO)

    in_host(main, model)

    assert model.closed == 1
