"""Code that others wrote; see the contract."""

from __future__ import annotations

from llmspell_hookspecs.foreign import Blamed, as_error, let_pass, passes, remedy, survive_first_model, text_of

__all__ = ["Blamed", "as_error", "let_pass", "passes", "remedy", "survive_first_model", "text_of"]
