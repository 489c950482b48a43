"""llmspell_plugins."""
