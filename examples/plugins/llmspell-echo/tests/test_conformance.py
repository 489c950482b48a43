"""Both hold what every provider and every storage holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmspell_echo import Echo, Notebook
from llmspell_echo.notebook import NotebookSettings

from llmspell_testing import ProviderConformance, StorageConformance, StorageFileConformance


class TestEcho(ProviderConformance):
    plugins = (Echo,)
    model = "echo/words"
    speaks_chat = False

    def table(self, base_url: str) -> Mapping[str, Any]:
        return {}


class TestNotebook(StorageConformance):
    shared = False

    def make(self, folder: Path) -> Notebook:
        return Notebook(NotebookSettings(path=folder / "notes.jsonl"))


class TestNotebookFile(StorageFileConformance):
    reads_only = False

    def make_at(self, path: Path) -> Notebook:
        return Notebook(NotebookSettings(path=path))

    def make_later(self, path: Path) -> None:
        path.write_bytes(path.read_bytes().replace(b'notebook": 1', b'notebook": 2'))
