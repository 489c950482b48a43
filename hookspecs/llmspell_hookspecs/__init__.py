"""The contract: what a first plugin needs.

Results, contexts, the common subjects, markers and the classes that plugins extend. Everything else is imported from
its topic (``llmspell_hookspecs.errors``, ``.storage``, ``.services``, ``.kind`` and so on); the points stand with the
subjects that they carry. Imports nothing of the host's or the plugins'.
"""

from __future__ import annotations

from .agent import AgentInput, AgentOutput
from .agents import Agent
from .components import SecurityLevel
from .context import Failure, HookContext
from .errors import InvalidInputError, LlmspellError, OperationCancelledError, ToolError
from .event import Event, Events
from .function import tool
from .language import ScriptGlobal, script_method
from .marker import HookKind, Priority, hookimpl
from .model import Message, ModelChunk, ModelRequest, ModelResponse, Provider, ProviderInfo
from .network import NetworkAccess
from .plugin import HOOK_API_VERSION, Services
from .points import Phase, custom_point, hookpoint
from .policy import Policy
from .results import Cache, Cancel, Continue, Fork, HookResult, Modified, Redirect, Replace, Retry, Skipped
from .services import Calls, FileAccess
from .state import State
from .storage import Storage
from .tool import Tool, ToolCall, ToolContext, ToolExample, ToolResult

__all__ = [
    "HOOK_API_VERSION",
    "Agent",
    "AgentInput",
    "AgentOutput",
    "Cache",
    "Calls",
    "Cancel",
    "Continue",
    "Event",
    "Events",
    "Failure",
    "FileAccess",
    "Fork",
    "HookContext",
    "HookKind",
    "HookResult",
    "InvalidInputError",
    "LlmspellError",
    "Message",
    "ModelChunk",
    "ModelRequest",
    "ModelResponse",
    "Modified",
    "NetworkAccess",
    "OperationCancelledError",
    "Phase",
    "Policy",
    "Priority",
    "Provider",
    "ProviderInfo",
    "Redirect",
    "Replace",
    "Retry",
    "ScriptGlobal",
    "SecurityLevel",
    "Services",
    "Skipped",
    "State",
    "Storage",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolExample",
    "ToolResult",
    "custom_point",
    "hookimpl",
    "hookpoint",
    "script_method",
    "tool",
]
