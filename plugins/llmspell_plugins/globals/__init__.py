"""The script globals that ship in the box, each an entry point in ``llmspell.globals``."""
