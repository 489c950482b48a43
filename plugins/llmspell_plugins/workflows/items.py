"""The items that a pattern goes through, and what a stage knows of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmspell_hookspecs.errors import InvalidInputError, ResourceLimitError
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.workflows import WorkflowRun

__all__ = ["items_of", "listed", "place_of"]


async def items_of(run: WorkflowRun, given: Any, most: int) -> Sequence[Any]:
    """Return the items that an option names.

    Raises:
        InvalidInputError: They are no list.
        ResourceLimitError: There are more than there may be.
    """
    items = listed(await run.value(given), run)
    where = f"workflow {run.definition.name}: items"
    if len(items) > most:
        message = f"{where}: there are {len(items)}, the most is {most}; give fewer, or raise max_items"
        raise ResourceLimitError(message, resource="items", limit=most)
    return items


def listed(items: Any, run: WorkflowRun) -> Sequence[Any]:
    """Return items, if they are a list.

    Raises:
        InvalidInputError: They are none.
    """
    if isinstance(items, list | tuple):
        return items
    what = "a table" if isinstance(items, Mapping) else told(items)
    raise InvalidInputError(f"workflow {run.definition.name}: items is {what}; give a list", field="items")


def place_of(items: Sequence[Any], index: int) -> dict[str, Any]:
    """Return what ``{{loop:...}}`` names where one of the items is dealt with."""
    return {"current_item": items[index], "current_index": index, "total_iterations": len(items)}
