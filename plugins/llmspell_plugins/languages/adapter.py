"""How hooks written in a script language take contexts and give results; shared by the languages.

Invariant: a hook is given a plain table and answers with a plain value; neither holds anything of the host's.
"""

from __future__ import annotations

from typing import Any

from llmspell_hookspecs import HookContext, HookResult

from .answers import result_of
from .contexts import table_of

__all__ = ["PlainHookAdapter"]


class PlainHookAdapter:
    """Contexts as plain tables, results from plain values."""

    def adapt_context(self, context: HookContext[Any], /) -> dict[str, Any]:
        """Return the context as a plain value."""
        return table_of(context)

    def adapt_result(self, value: Any, context: HookContext[Any], /) -> HookResult | None:
        """Return the result that a hook's return value stands for.

        Raises:
            InvalidInputError: It stands for none.
        """
        return result_of(value, context)
