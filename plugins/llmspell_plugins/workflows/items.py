"""The items that a pattern goes through, and what a stage knows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmspell_hookspecs.errors import InvalidInputError, ResourceLimitError
from llmspell_hookspecs.workflows import WorkflowRun

__all__ = ["items_of", "place_of"]


async def items_of(run: WorkflowRun, given: Any, most: int) -> Sequence[Any]:
    """Return the items that an option names.

    Raises:
        InvalidInputError: They are no list.
        ResourceLimitError: There are more than there may be.
    """
    items = await run.value(given)
    where = f"workflow {run.definition.name}: items"
    if not isinstance(items, list | tuple):
        raise InvalidInputError(f"{where}: a {type(items).__name__} is no list; give one", field="items")
    if len(items) > most:
        message = f"{where}: there are {len(items)}, the most is {most}; give fewer, or raise max_items"
        raise ResourceLimitError(message, resource="items", limit=most)
    return items


def place_of(items: Sequence[Any], index: int) -> dict[str, Any]:
    """Return what ``{{loop:...}}`` names where one of the items is dealt with."""
    return {"current_item": items[index], "current_index": index, "total_iterations": len(items)}
