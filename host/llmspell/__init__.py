"""llmspell."""
