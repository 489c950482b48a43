"""Verbs of the command line, each an entry point in ``llmspell.commands``; help shows the first line of each module."""

from __future__ import annotations
