"""The kinds of agent that come with llmspell."""
