"""Both as a host uses them."""

from __future__ import annotations

from llmspell_echo import Echo, Notebook

from llmspell_testing import HostOpener, TemporarySettings


async def test_it_says_what_it_was_told_word_by_word(llmspell_open: HostOpener) -> None:
    async with llmspell_open(plugins=[Echo], settings={"providers": {"echo": {"prefix": "> "}}}) as host:
        agent = await host.agents.create(name="parrot", model="echo/words")
        async with agent.stream("good morning") as run:
            chunks = [chunk.text async for chunk in run if chunk.text]

    assert chunks == [">", " good", " morning"]


async def test_state_is_kept_in_the_notebook(llmspell_open: HostOpener, llmspell_settings: TemporarySettings) -> None:
    for expected in (None, "calm"):
        async with llmspell_open(plugins=[Notebook], settings={"storage": {"backend": "notebook"}}) as host:
            assert await host.state.get("mood") == expected
            await host.state.set("mood", "calm")

    assert (llmspell_settings.project / ".llmspell" / "notebook.jsonl").read_text().count("mood") == 2
