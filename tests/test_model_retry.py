"""The model_retry plugin: when a model is asked again, after which wait, and how often."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import trio
from pydantic import BaseModel

from chat_server import ChatServer, break_off, fail, say
from kernel import make_plugin, opened, run
from llmspell import Host
from llmspell_hookspecs import Message, ModelChunk, ModelRequest, ModelResponse, ProviderInfo, Replace, Retry
from llmspell_hookspecs.errors import ProviderError
from llmspell_hookspecs.model import ChunkSink, Endpoint

REQUEST = ModelRequest("moody/x", (Message("user", "hi"),))


class NoSettings(BaseModel):
    """Nothing to set."""


class Moody:
    """A provider that fails as it is told to, then answers; notes when it was asked."""

    Settings: ClassVar[type[BaseModel]] = NoSettings
    rank: ClassVar[int | None] = None
    name = "moody"

    def __init__(self, *failures: ProviderError) -> None:
        self.failures = list(failures)
        self.asked_at: list[float] = []

    def info(self) -> ProviderInfo:
        return ProviderInfo("moody")

    def at(self, endpoint: Endpoint, /) -> Moody:
        return self

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        self.asked_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        return ModelResponse("fine")


def busy(retry_after_s: float | None = None) -> ProviderError:
    return ProviderError("busy", code="unavailable", retry_after_s=retry_after_s, retryable=True)


def waits(moody: Moody, *plugins: Any, **settings: Any) -> list[float]:
    """Ask once and return the waits between the attempts."""

    async def main() -> list[float]:
        async with opened(moody, *plugins, settings={"plugins": {"model_retry": settings}}) as host:
            assert (await host.models.complete(REQUEST)).text == "fine"
        return [round(after - before, 3) for before, after in zip(moody.asked_at, moody.asked_at[1:], strict=False)]

    return run(main, virtual=True)


def failing(moody: Moody, *plugins: Any, **settings: Any) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        waits(moody, *plugins, **settings)
    return raised.value


def test_it_is_loaded_without_being_asked_for() -> None:
    async def main() -> tuple[str, ...]:
        async with Host.open(False, discover=False) as host:
            return host.plugins.loaded

    assert "model_retry" in run(main)


def test_waits_grow_and_are_spread() -> None:
    first, second = waits(Moody(busy(), busy()))

    assert 0.5 <= first <= 0.625
    assert 1.0 <= second <= 1.25


def test_settings_say_how_long_and_how_often() -> None:
    moody = Moody(*[busy() for _ in range(4)])

    assert waits(moody, max_attempts=5, initial_delay_s=1, max_delay_s=3, jitter=0) == [1, 2, 3, 3]


def test_what_the_provider_asks_for_counts() -> None:
    assert waits(Moody(busy(7), busy(0))) == [7, 0]


def test_it_is_not_asked_again_if_it_asks_for_too_much() -> None:
    moody = Moody(busy(61))

    assert failing(moody).retry_after_s == 61
    assert len(moody.asked_at) == 1


def test_it_is_asked_three_times_in_all() -> None:
    moody = Moody(busy(), busy(), busy(), busy())

    failing(moody)

    assert len(moody.asked_at) == 3


def test_what_asking_again_cannot_help_is_asked_once() -> None:
    moody = Moody(ProviderError("wrong key", code="authentication"))

    assert failing(moody).code == "authentication"
    assert len(moody.asked_at) == 1


@pytest.mark.parametrize(
    ("answer", "asked"), [(Retry(0, 2), 2), (Replace(ModelResponse("fine")), 1)], ids=["Retry", "Replace"]
)
def test_anybodys_own_answer_comes_first(answer: Any, asked: int) -> None:
    def decide(context: Any) -> Any:
        return answer

    moody = Moody(busy(30))
    plugin = make_plugin("mine", ("model_error", decide, {}))

    assert waits(moody, plugin) == [0] * (asked - 1)


def test_a_cancelled_wait_ends_at_once() -> None:
    moody = Moody(busy(50))

    async def main() -> float:
        async with opened(moody, settings={"plugins": {}}) as host:
            with trio.move_on_after(1) as scope:
                await host.models.complete(REQUEST)
            assert scope.cancelled_caught
            return trio.current_time() - moody.asked_at[0]

    assert run(main, virtual=True) == pytest.approx(1)
    assert len(moody.asked_at) == 1


@pytest.mark.parametrize("first", [fail(429, retry_after_s=0), fail(503), break_off()], ids=["429", "503", "broken"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_real_server_is_asked_again_and_the_answer_is_whole(first: Any, stream: bool) -> None:
    pieces: list[ModelChunk] = []

    async def sink(chunk: ModelChunk) -> None:
        pieces.append(chunk)

    async def main() -> str:
        with ChatServer() as server:
            server.script(first, say("at last"))
            settings = {
                "providers": {"local": {"type": "openai_compatible", "base_url": server.url}},
                "plugins": {"model_retry": {"initial_delay_s": 0}},
            }
            async with opened(settings=settings) as host:
                request = ModelRequest("local/x", (Message("user", "hi"),))
                response = await host.models.complete(request, sink=sink if stream else None)
            assert len(server.requests) == 2
            return response.text

    assert run(main) == "at last"
    kinds = [chunk.kind for chunk in pieces]
    after = len(kinds) - kinds[::-1].index("restart") if "restart" in kinds else 0
    assert "".join(chunk.text for chunk in pieces[after:]) == ("at last" if stream else "")
