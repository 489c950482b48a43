"""Takes e-mail addresses, and words of your own, out of what tools and models say, for llmspell."""

from __future__ import annotations

from .redact import Redact

__all__ = ["Redact"]
