"""Hook plugins that ship in the box, each an entry point in ``llmspell.plugins``."""
