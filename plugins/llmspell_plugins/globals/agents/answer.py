"""An agent's answer and its chunks as scripts see them.

``text`` is the answer; beside it ``tool_calls``, ``usage`` and ``metadata`` under the original's names. An answer that
is a JSON object is there parsed as ``data``, and its ``success``, ``result`` and ``operation`` at the top, as the
original has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs import AgentOutput, InvalidInputError
from llmspell_hookspecs.agent import AgentChunk, ToolRecord
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.values import thaw
from llmspell_plugins.json_text import parse_text

__all__ = ["answer_table", "chunk_table"]

_MARKS: Final = ("success", "result", "operation")


async def answer_table(output: AgentOutput, elapsed_ms: float) -> dict[str, Any]:
    """Return the table that a script is given for an agent's answer."""
    usage = _usage_table(output.usage)
    table: dict[str, Any] = {
        "text": output.text,
        "output": output.text,
        "content": output.text,
        "success": True,
        "tool_calls": [_tool_table(record) for record in output.tool_calls],
        "usage": usage,
        "model": output.model,
        "finish_reason": output.finish_reason,
        "metadata": {
            "model": output.model,
            "token_count": output.usage.input_tokens + output.usage.output_tokens,
            "execution_time_ms": elapsed_ms,
            "steps": output.steps,
            "finish_reason": output.finish_reason,
            **thaw(output.metadata),
        },
        "media": [],
    }
    data = await _parsed(output.text)
    if data is not None:
        table["data"] = data
        if isinstance(data, Mapping) and any(mark in data for mark in _MARKS):
            table |= {key: value for key, value in data.items() if key in _MARKS or key not in table}
            table["_raw_text"] = output.text
    return table


def chunk_table(chunk: AgentChunk, index: int) -> dict[str, Any]:
    """Return the table that a script's function is given for a chunk.

    Args:
        chunk: The chunk.
        index: How many came before it, from 0.
    """
    table: dict[str, Any] = {
        "kind": chunk.kind,
        "type": chunk.kind,
        "text": chunk.text,
        "content": chunk.text,
        "chunk_index": index,
        "step": chunk.step,
    }
    if chunk.tool_use is not None:
        use = chunk.tool_use
        table["tool_call"] = {"tool_id": use.id, "tool_name": use.name, "parameters": thaw(use.parameters)}
    if chunk.tool_result is not None:
        table["tool_result"] = _tool_table(chunk.tool_result)
    return table


def _tool_table(record: ToolRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "tool_id": record.id,
        "name": record.name,
        "tool_name": record.name,
        "parameters": thaw(record.parameters),
        "status": record.status,
        "result": record.text,
        "execution_time_ms": record.elapsed_ms,
    }


def _usage_table(usage: ModelUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "cost_usd": usage.cost_usd,
    }


async def _parsed(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return await parse_text(text)
    except (InvalidInputError, ResourceLimitError):
        return None
