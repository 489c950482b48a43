"""What the interceptors are shown of an operation at each of its points, and how what they make of it is taken over.

Invariant: all of a value that the action is given, or has given, is part of the target, so that nothing passes beside
the interceptors; what cannot be shown as JSON is not shown in part. Secrets are masked as every hook sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct, structs

from llmspell_hookspecs import AgentInput, AgentOutput, HookContext, Message, ModelRequest, ModelResponse, ToolResult
from llmspell_hookspecs.agent import AgentConfig
from llmspell_hookspecs.context import Failure
from llmspell_hookspecs.errors import InvalidInputError
from llmspell_hookspecs.model import ToolUse
from llmspell_hookspecs.tool import ToolCall

__all__ = ["POINT_OF", "View", "plain", "view_of"]

POINT_OF: Final[Mapping[str, str]] = {
    "before_agent_init": "agent_startup",
    "before_agent_execution": "input",
    "before_model_call": "pre_model_call",
    "after_model_call": "post_model_call",
    "before_tool_execution": "pre_tool_call",
    "after_tool_execution": "post_tool_call",
    "tool_error": "post_tool_call",
    "after_agent_execution": "output",
    "before_agent_shutdown": "agent_shutdown",
}
"""Which of the contract's eight points stands at which of the host's."""
_TOLD: Final = ("result", "text", "message", "error", "success", "metadata")
_MESSAGE: Final = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_ROLES: Final = ("system", "user", "assistant", "tool")


class View(Struct, frozen=True):
    """An operation as the contract shows it.

    Attributes:
        members: What the context has at this point, without its envelope.
        target: The part that may be changed.
        taken: Returns what an operation goes on with instead, for another target.
    """

    members: dict[str, Any]
    target: Any
    taken: Callable[[Any], Any]


def view_of(context: HookContext[Any], call_id: str) -> View:
    """Return what is shown of an operation.

    Args:
        context: As the host gives it to hooks.
        call_id: For tools, the model's id of the call.

    Raises:
        InvalidInputError: It holds what JSON has not.
    """
    return _VIEWS[POINT_OF[context.point]](context, call_id)


def plain(value: Any) -> Any:
    """Return a value as JSON has it, fresh all the way down.

    Raises:
        InvalidInputError: It holds what JSON has not; nothing is left out or spelled in another way.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InvalidInputError("agent context: a key is no text; keys of JSON are texts")
        return {str.__str__(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise InvalidInputError(f"agent context: a {type(value).__name__} is no value of JSON; give text or numbers")


def _startup(context: HookContext[AgentConfig], call_id: str) -> View:
    shown = {"tools_registered": sorted(map(str, context.subject.tools))}
    return View({"agent_init": shown}, shown, _nothing)


def _shutdown(context: HookContext[Any], call_id: str) -> View:
    shown = {"reason": "completed"}
    return View({"summary": shown}, shown, _nothing)


def _nothing(target: Any) -> Any:
    raise InvalidInputError("agent context: there is nothing to change here")


def _input(context: HookContext[AgentInput], call_id: str) -> View:
    given = context.subject
    content: Any = str(given.text)
    is_bare = not given.parameters and given.messages is None
    if not is_bare:
        content = {"text": content, "parameters": plain(given.parameters)}
        if given.messages is not None:
            content["messages"] = [_shown_message(each) for each in given.messages]
    shown = {"content": content, "role": "user"}

    def taken(target: Any) -> Any:
        new = _member(target, "content", {"role"}, dict if not is_bare else str)
        if is_bare:
            return context.modify(text=new)
        _only(new, {"text", "parameters", "messages"})
        changes = {"text": _typed(new, "text", str), "parameters": _typed(new, "parameters", dict)}
        if given.messages is not None:
            changes["messages"] = _messages(new.get("messages"), given.messages)
        return context.modify(**changes)

    return View({"input": shown}, shown, taken)


def _output(context: HookContext[AgentOutput], call_id: str) -> View:
    shown = {"content": str(context.subject.text)}
    return View({"output": shown}, shown, lambda target: context.modify(text=_member(target, "content", set(), str)))


def _request(context: HookContext[ModelRequest], call_id: str) -> View:
    request = context.subject
    messages = [_shown_message(each) for each in request.messages]
    tools = [{"name": t.name, "description": t.description, "schema": plain(t.schema)} for t in request.tools]
    members = {"model": {"id": request.model}, "messages": messages, "tools": tools, "request_id": context.operation.id}
    return View(members, messages, lambda target: context.modify(messages=_messages(target, request.messages)))


def _response(context: HookContext[ModelResponse], call_id: str) -> View:
    response = context.subject
    shown = {
        "content": str(response.text),
        "tool_calls": [_shown_use(use) for use in response.tool_uses],
        "finish_reason": str(response.finish_reason),
    }
    members = {"model": {"id": context.component.name}, "response": shown, "request_id": context.operation.id}

    def taken(target: Any) -> Any:
        _only(target, {"content", "tool_calls", "finish_reason"})
        return context.modify(
            text=_typed(target, "content", str),
            tool_uses=_uses(target.get("tool_calls"), response.tool_uses),
            finish_reason=_typed(target, "finish_reason", str),
        )

    return View(members, shown, taken)


def _call(context: HookContext[ToolCall], call_id: str) -> View:
    args = plain(context.subject.parameters)
    shown = {"id": call_id, "name": context.subject.name, "args": args}
    return View({"tool_call": shown}, args, lambda target: context.modify(parameters=_checked(target, dict)))


def _result(context: HookContext[ToolResult], call_id: str) -> View:
    result = context.subject
    said = {name: plain(getattr(result, name)) for name in _TOLD}
    is_bare = said == {**said, "text": None, "message": "", "error": None, "success": True, "metadata": {}}
    value = said["result"] if is_bare else said
    members = _answered(context, call_id, value, is_error=not result.success)

    def taken(target: Any) -> Any:
        if is_bare:
            return context.modify(result=target)
        _only(target, set(_TOLD))
        return context.modify(**target)

    return View(members, value, taken)


def _failure(context: HookContext[Failure], call_id: str) -> View:
    value = str(context.subject.message)
    members = _answered(context, call_id, value, is_error=True)
    return View(members, value, lambda target: context.modify(message=_checked(target, str), details=None))


def _answered(context: HookContext[Any], call_id: str, value: Any, *, is_error: bool) -> dict[str, Any]:
    ran = context.request
    args = plain(ran.parameters) if isinstance(ran, ToolCall) else {}
    return {
        "tool_call": {"id": call_id, "name": context.component.name, "args": args},
        "tool_result": {"value": value, "is_error": is_error, "duration_ms": context.elapsed_ns / 1e6},
    }


def _shown_message(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role, "content": str(message.content)}
    if message.tool_uses:
        shown["tool_calls"] = [_shown_use(use) for use in message.tool_uses]
    if message.tool_use_id:
        shown["tool_call_id"] = message.tool_use_id
    if message.name:
        shown["name"] = message.name
    return shown


def _shown_use(use: ToolUse) -> dict[str, Any]:
    return {"id": use.id, "name": use.name, "args": plain(use.parameters)}


def _messages(given: Any, before: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages of a list; one that is as it was is the one that it was."""
    old = [(_shown_message(each), each) for each in before]
    found: list[Message] = []
    for item in _checked(given, list):
        same = next((each for shown, each in old if shown == item), None)
        if same is not None:
            found.append(same)
            continue
        _only(item, set(_MESSAGE))
        role = _typed(item, "role", str)
        if role not in _ROLES:
            raise InvalidInputError(f"agent context: {role!r:.40} is no role; there are {', '.join(_ROLES)}")
        uses = _uses(item.get("tool_calls", []), ())
        ids = [_typed(item, name, str) if name in item else "" for name in ("tool_call_id", "name")]
        found.append(Message(role, _typed(item, "content", str), uses, *ids))  # type: ignore[arg-type]
    return tuple(found)


def _uses(given: Any, before: tuple[ToolUse, ...]) -> tuple[ToolUse, ...]:
    by_id = {use.id: use for use in before}
    found: list[ToolUse] = []
    for item in _checked(given, list):
        _only(item, {"id", "name", "args"})
        id, name, args = _typed(item, "id", str), _typed(item, "name", str), _typed(item, "args", dict)
        old = by_id.get(id)
        if old is None:
            found.append(ToolUse(id, name, args))
        elif (old.name, plain(old.parameters)) == (name, args):
            found.append(old)
        else:
            found.append(structs.replace(old, name=name, parameters=args))
    return tuple(found)


def _member(target: Any, name: str, others: set[str], kind: type) -> Any:
    _only(target, {name, *others})
    return _typed(target, name, kind)


def _only(target: Any, names: set[str]) -> None:
    if not isinstance(target, Mapping) or not set(target) <= names:
        raise InvalidInputError(f"agent context: what stands there now is no object of {', '.join(sorted(names))}")


def _typed(target: Mapping[str, Any], name: str, kind: type) -> Any:
    return _checked(target.get(name), kind)


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise InvalidInputError(f"agent context: what stands there now is {found}, and no {kind.__name__}")
    return value


_VIEWS: Final[Mapping[str, Callable[[HookContext[Any], str], View]]] = {
    "agent_startup": _startup,
    "input": _input,
    "pre_model_call": _request,
    "post_model_call": _response,
    "pre_tool_call": _call,
    "post_tool_call": lambda context, call_id: (_failure if isinstance(context.subject, Failure) else _result)(
        context, call_id
    ),
    "output": _output,
    "agent_shutdown": _shutdown,
}
