"""The global print: a script's output, as the language's own ``print`` would write it."""

from __future__ import annotations

from typing import Any, ClassVar

from llmspell_hookspecs import ScriptGlobal, script_method

from .wording import text_of

__all__ = ["Print"]


class Print(ScriptGlobal):
    """Write values to the script's output, joined by tabs, with a newline behind them."""

    name: ClassVar[str] = "print"

    @script_method(name="__call", pure=True)
    def call(self, *values: Any) -> None:
        """Write one line."""
        language = self.scope.language
        self.scope.write("\t".join(text_of(value, language) for value in values) + "\n")

    def script_text(self) -> str:
        """Return what ``tostring`` says of it."""
        return "function: print"
