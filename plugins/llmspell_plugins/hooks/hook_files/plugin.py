"""The plugin: runs the commands of hook files where their events happen here, and does what they answer.

At an event that decides, a transform runs the commands, one after the other, each shown what those before it made of
the value; a guard then compares what really runs, or leaves, with what they all let pass, and asks them again about
anything else. So no default, no later hook and no cache puts a call past them.

Invariant: what goes wrong at an event that decides denies, and so does a file that cannot be read. A command may deny
and never allow: every guard, level and rule of the host counts beside it.

It is longer than most because the events stand beside each other, each in a few lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import trio
from msgspec import UNSET, Struct, structs
from pydantic import BaseModel

from llmspell_hookspecs import (
    AgentInput,
    AgentOutput,
    Cancel,
    HookContext,
    Modified,
    Priority,
    Retry,
    Services,
    ToolCall,
    ToolResult,
)
from llmspell_hookspecs.agent import AgentConfig
from llmspell_hookspecs.approvals import APPROVAL_REQUIRED
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, PluginError, SecurityError, line_of_error
from llmspell_hookspecs.event import Events
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.paths import expand_root, is_below
from llmspell_hookspecs.services import FileAccess, ProjectFolder, SettingsAccess, Tools
from llmspell_hookspecs.values import canonical, thaw
from llmspell_plugins.hooks.standing import CALLED, POINTS, stand
from llmspell_plugins.json_text import is_small

from .answer import DECIDING, Answer
from .command import Commands
from .file import Command, HookFile, read_hook_file
from .matcher import matches
from .sent import answer_sent, as_json, call_sent, common, original
from .settings import HookFilesSettings
from .tools import TABLE, Shown, shown_call
from .whereabouts import Whereabouts

__all__ = ["HookFiles", "HookFilesSettings"]

_BEGINNINGS: Final = (
    "before_agent_execution",
    "before_tool_execution",
    "before_workflow_start",
    "before_workflow_stage",
)


class _Passed(Struct, frozen=True):
    """What the commands let pass.

    Attributes:
        value: The value that all of them were shown, spelled; None if what one made of it was not shown to all.
        asks: What wants a person asked about it.
    """

    value: bytes | None
    asks: Cancel | None = None


class HookFiles:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.
    """

    name = "hook_files"
    fails_closed = True
    Settings: ClassVar[type[BaseModel]] = HookFilesSettings

    def __init__(self, settings: HookFilesSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._operations = services.get(Operations)
        self._counts: Counter[str] = Counter()
        self._where = Whereabouts()
        self._defaults: dict[str, Mapping[str, Any]] = {}
        self._folder = ""
        self._commands: dict[str, list[Command]] = {}
        self.files: tuple[HookFile, ...] = ()
        self._closed = ""
        if settings.files:
            self._folder = str(services.get(ProjectFolder).place("."))
            try:
                self.files = tuple(self._read(entry) for entry in settings.files)
            except PluginError as error:
                self._close(error)
        for file in self.files:
            for command in file.commands:
                self._commands.setdefault(command.event, []).append(command)
        self._runner = Commands(settings, self._folder)
        self._stand_where_commands_are()

    # Reading files.

    def _close(self, error: PluginError) -> None:
        """Deny all that could be asked about, since nobody knows what a file that cannot be read would say."""
        tables = self._services.get(SettingsAccess).plain("plugins") or {}
        if tables.get(self.name, {}).get("required"):  # then nothing runs at all
            raise error
        self._closed = line_of_error(error)
        self._operations.problem(error)
        for point in ("before_tool_execution", "before_agent_execution"):
            stand(self, point, self._refuse, kind="guard", priority=Priority.HIGHEST)

    async def _refuse(self, context: HookContext[Any]) -> Cancel:
        return Cancel(self._closed)

    def _read(self, entry: Any) -> HookFile:
        named = entry if isinstance(entry, str) else entry.path
        path = self._services.get(ProjectFolder).place(expand_root(named))
        file = read_hook_file(path)
        pinned = None if isinstance(entry, str) else entry.sha256
        if pinned is None and self._is_open(path):
            message = (
                f"hook file {path}: others could write commands into it where it lies; "
                f'set its sha256 = "{file.sha256}" beside its path, or move it'
            )
            raise PluginError(message, plugin=self.name)
        if pinned is not None and pinned != file.sha256:
            message = (
                f"hook file {path}: it holds something else than it did (sha256 {file.sha256}); "
                "read it, and set the new sha256 if you trust it"
            )
            raise PluginError(message, plugin=self.name)
        if file.unsupported and self._settings.unsupported == "refuse":
            line = next(each for each in file.told if " is not honoured: " in each)
            raise PluginError(f"hook file {path}: {line}; take it out of the file", plugin=self.name)
        for line in file.told:
            self._operations.problem(PluginError(f"hook file {path}: {line}", plugin=self.name))
        return file

    def _is_open(self, path: Path) -> bool:
        """Whether others than those who write trusted settings may write a file."""
        if is_below(str(path.resolve()), str(Path(self._folder).resolve())):
            return True
        try:
            self._services.get(FileAccess).resolve(str(path), "write")
        except SecurityError:
            return False
        return True

    def _stand_where_commands_are(self) -> None:
        deciding: dict[str, tuple[str, Any, Any]] = {
            "PreToolUse": ("before_tool_execution", self._fold_call, self._judge_call),
            "PostToolUse": ("after_tool_execution", self._fold_result, self._judge_result),
            "UserPromptSubmit": ("before_agent_execution", self._fold_prompt, self._judge_prompt),
            "Stop": ("after_agent_execution", self._fold_answer, self._judge_answer),
        }
        events = {"Stop" if event == "SubagentStop" else event for event in self._commands}
        for event in sorted(events & set(deciding)):
            point, fold, judge = deciding[event]
            stand(self, point, fold, priority=Priority.LOWEST, waits=True, on_error="raise")
            stand(self, point, judge, kind="guard", priority=Priority.HIGHEST)
        if "SessionStart" in events:
            stand(self, "before_agent_init", self._start, priority=Priority.LOWEST, waits=True, on_error="raise")
        if "SessionEnd" in events:
            stand(self, "before_agent_shutdown", self._end, kind="observe")
        if "Notification" in events:
            for kind in CALLED:
                stand(self, POINTS[kind][2], self._notify, kind="observe")
        if events:
            for point in _BEGINNINGS:
                stand(self, point, self._note, kind="observe")
            stand(self, "before_model_call", self._hold_back, kind="guard", priority=Priority.HIGHEST)

    def stats(self) -> dict[str, int]:
        """Return how many commands ran, and what they answered."""
        return dict(self._counts)

    # Asking.

    async def _ask(self, command: Command, context: HookContext[Any], sent: Mapping[str, Any]) -> Answer:
        session = context.operation.session_id or self._where.run_around(context) or context.operation.root_id
        answer = await self._runner.ask(command, {**common(context, command.event, session, self._folder), **sent})
        self._counts["failed" if answer.failure else answer.verdict] += 1
        if answer.failure:
            self._tell("hook_files.failed", command, answer.failure)
            if command.event not in DECIDING:
                self._operations.problem(PluginError(f"hook_files: {answer.failure}", plugin=self.name))
        if answer.message:
            self._tell("hook_files.message", command, answer.message)
        if answer.stops and command.event in ("PreToolUse", "PostToolUse"):
            self._where.stop(self._where.run_around(context), answer.reason)
        return answer

    def _tell(self, topic: str, command: Command, message: str) -> None:
        try:
            told = {"event": command.event, "file": command.file, "message": message}
            self._services.get(Events).publish_nowait(topic, told)
        except LlmspellError as error:
            self._operations.problem(error)

    def _about(self, event: str, names: Sequence[str]) -> list[Command]:
        return [each for each in self._commands.get(event, ()) if matches(each.matcher, names)]

    # PreToolUse.

    async def _fold_call(self, context: HookContext[ToolCall]) -> Modified | Cancel | None:
        call = context.subject
        if not self._is_asked_about("PreToolUse", call):
            return None
        call = await self._as_it_runs(call)
        found = await self._asked_about_call(context, call)
        if isinstance(found, Cancel):
            return found
        new, asks = found
        same = new is call
        context.metadata[self.name]["call"] = _Passed(await _spelled(_set(call)) if same else None, asks)
        return None if same else context.modify(parameters=new.parameters)

    async def _judge_call(self, context: HookContext[ToolCall]) -> Cancel | None:
        call = context.subject
        if not self._is_asked_about("PreToolUse", call):
            return None
        passed = context.metadata[self.name].pop("call", None)
        if isinstance(passed, _Passed) and passed.value == await _spelled(_set(call)):
            return passed.asks
        found = await self._asked_about_call(context, call)
        if isinstance(found, Cancel):
            return found
        new, asks = found
        if new is not call and await _spelled(_set(new)) != await _spelled(_set(call)):
            return Cancel(f"hook_files: tool {call.name}: it would be changed once more after it was settled")
        return asks

    def _is_asked_about(self, event: str, call: ToolCall) -> bool:
        return any(self._about(event, shown.names) for shown in shown_call(call.name, call.parameters))

    async def _asked_about_call(
        self, context: HookContext[ToolCall], call: ToolCall
    ) -> tuple[ToolCall, Cancel | None] | Cancel:
        """Run the commands about a call; returns what they made of it and what a person is to be asked, or a denial."""
        asks: Cancel | None = None
        for command in self._commands["PreToolUse"]:
            for shown in shown_call(call.name, call.parameters):
                if not matches(command.matcher, shown.names):
                    continue
                sent = await call_sent(context, call, shown)
                answer = await self._ask(command, context, sent)
                if answer.verdict == "deny":
                    return _denied(command, answer)
                if answer.verdict == "ask" and asks is None:
                    asks = _denied(command, answer, APPROVAL_REQUIRED)
                if answer.updated is not None:
                    try:
                        call = _updated(call, shown, answer.updated, sent["tool_input"])
                    except InvalidInputError as error:
                        return Cancel(f"hook_files: {command.name}: {line_of_error(error)}")
                if answer.context:
                    context.metadata[self.name].setdefault("context", []).append(answer.context)
        return call, asks

    async def _as_it_runs(self, call: ToolCall) -> ToolCall:
        """Return a call with the defaults and the paths that it will have, so that it is asked about once."""
        parameters = {**self._defaults_of(call.name), **call.parameters}
        for row in TABLE.get(call.name, ()):
            for name in row.fields.values():
                if name == "path" or name.endswith("_path"):
                    parameters[name] = await self._resolved(parameters.get(name), row.name)
        if all(parameters.get(name) == call.parameters.get(name) for name in parameters):
            return call
        return structs.replace(call, parameters={k: v for k, v in parameters.items() if v is not None})

    async def _resolved(self, path: Any, name: str) -> Any:
        if not isinstance(path, str):
            return path
        mode: Literal["read", "write"] = "read" if name in ("Read", "LS", "Grep") else "write"
        resolve = partial(self._services.get(FileAccess).resolve, path, mode)
        try:
            return await trio.to_thread.run_sync(resolve)
        except LlmspellError:  # it is refused where it runs
            return path

    def _defaults_of(self, tool: str) -> Mapping[str, Any]:
        found = self._defaults.get(tool)
        if found is None:
            try:
                schema = self._services.get(Tools).describe(tool).get("schema") or {}
            except LlmspellError:
                schema = {}
            properties = schema.get("properties") or {}
            found = {name: each["default"] for name, each in properties.items() if "default" in each}
            self._defaults[tool] = found
        return found

    # PostToolUse.

    async def _fold_result(self, context: HookContext[ToolResult]) -> Modified | Cancel | None:
        result = context.subject
        if not self._is_asked_about("PostToolUse", _ran(context)):
            return await self._with_context(context, result)
        found = await self._asked_about_result(context, result)
        if isinstance(found, Cancel):
            return found
        whole = found is result
        told = await self._with_context(context, found)
        final = found if told is None else told.value
        context.metadata[self.name]["result"] = _Passed(await _spelled(_said(final)) if whole else None)
        return None if final is result else Modified(final)

    async def _judge_result(self, context: HookContext[ToolResult]) -> Cancel | None:
        result = context.subject
        if not self._is_asked_about("PostToolUse", _ran(context)):
            return None
        passed = context.metadata[self.name].pop("result", None)
        if isinstance(passed, _Passed) and passed.value == await _spelled(_said(result)):
            return None
        found = await self._asked_about_result(context, result)
        if isinstance(found, Cancel):
            return found
        if found is not result and await _spelled(_said(found)) != await _spelled(_said(result)):
            return Cancel(f"hook_files: tool {context.component.name}: its result would be changed once more")
        return None

    async def _asked_about_result(self, context: HookContext[ToolResult], result: ToolResult) -> ToolResult | Cancel:
        call = _ran(context)
        for command in self._commands["PostToolUse"]:
            for shown in shown_call(call.name, call.parameters):
                if not matches(command.matcher, shown.names):
                    continue
                sent = {**await call_sent(context, call, shown), "tool_response": await answer_sent(result)}
                answer = await self._ask(command, context, sent)
                if answer.verdict == "deny":
                    told = f"{answer.reason} (its result is withheld)"
                    return _denied(command, structs.replace(answer, reason=told))
                if answer.output is not UNSET:
                    result = ToolResult(result=answer.output)
                if answer.context:
                    context.metadata[self.name].setdefault("context", []).append(answer.context)
        return result

    async def _with_context(self, context: HookContext[ToolResult], result: ToolResult) -> Modified | None:
        """Add what commands want the model told to what it is told; nobody else reads that."""
        told = context.metadata[self.name].pop("context", None)
        if not told or not self._where.run_around(context):
            return None
        if not result.success:
            return Modified(structs.replace(result, message="\n\n".join([result.message, *told])))
        text = result.text
        if text is None:
            payload = result.result
            text = payload if isinstance(payload, str) else str(await _text_of(payload))
        return Modified(structs.replace(result, text="\n\n".join([text, *told])))

    # UserPromptSubmit.

    async def _fold_prompt(self, context: HookContext[AgentInput]) -> Modified | Cancel | None:
        if not self._is_a_users(context):
            return None
        given = context.subject
        found = await self._asked_about_prompt(context, given)
        if isinstance(found, Cancel):
            return found
        new = structs.replace(given, text="\n\n".join([given.text, *found])) if found else given
        context.metadata[self.name]["prompt"] = _Passed(await _spelled(_asked(new)))
        return Modified(new) if found else None

    async def _judge_prompt(self, context: HookContext[AgentInput]) -> Cancel | None:
        if not self._is_a_users(context):
            return None
        passed = context.metadata[self.name].get("prompt")
        if isinstance(passed, _Passed) and passed.value == await _spelled(_asked(context.subject)):
            return None
        found = await self._asked_about_prompt(context, context.subject)
        return found if isinstance(found, Cancel) else None

    async def _asked_about_prompt(self, context: HookContext[AgentInput], given: AgentInput) -> list[str] | Cancel:
        told: list[str] = []
        messages = [{"role": each.role, "content": each.content} for each in given.messages or ()]
        about = {"agent": context.component.name, "parameters": given.parameters, "messages": messages}
        more = await as_json(about)
        users = [each.content for each in given.messages or () if each.role == "user"]
        prompt = str(given.text or (users[-1] if users else ""))
        for command in self._commands["UserPromptSubmit"]:
            answer = await self._ask(command, context, {"prompt": prompt, "llmspell": more})
            if answer.verdict != "pass":
                return _denied(command, answer)
            if answer.context:
                told.append(answer.context)
        return told

    def _is_a_users(self, context: HookContext[Any]) -> bool:
        """Whether an agent runs on behalf of no other agent."""
        return not self._where.run_around(context)

    # Stop, SubagentStop.

    async def _fold_answer(self, context: HookContext[AgentOutput]) -> Retry | Cancel | None:
        refused = await self._asked_about_answer(context)
        context.metadata[self.name][f"answer{context.operation.attempt}"] = True
        if refused is None:
            return None
        attempts = self._settings.stop_continuations + 1
        if context.operation.attempt >= attempts or not isinstance(context.request, AgentInput):
            return Cancel(f"hook_files: {refused} (its answer is withheld)")
        asked = f"{context.request.text}\n\nYour answer was:\n{context.subject.text}\n\nIt is not done: {refused}"
        return Retry(0.0, attempts, structs.replace(context.request, text=asked))

    async def _judge_answer(self, context: HookContext[AgentOutput]) -> Cancel | None:
        if context.metadata[self.name].get(f"answer{context.operation.attempt}"):
            return None
        refused = await self._asked_about_answer(context)
        return None if refused is None else Cancel(f"hook_files: {refused} (its answer is withheld)")

    async def _asked_about_answer(self, context: HookContext[AgentOutput]) -> str | None:
        event = "Stop" if self._is_a_users(context) else "SubagentStop"
        names = (context.component.name,)
        for command in self._about(event, names) if event == "SubagentStop" else self._commands.get(event, []):
            sent = {
                "stop_hook_active": context.operation.attempt > 1,
                "last_assistant_message": context.subject.text,
                "agent_type": context.component.name,
            }
            answer = await self._ask(command, context, sent)
            if answer.stops:
                return None
            if answer.verdict != "pass":
                return answer.reason
        return None

    # What decides nothing.

    async def _start(self, context: HookContext[AgentConfig]) -> Modified | Cancel | None:
        told: list[str] = []
        for command in self._about("SessionStart", ("startup",)):
            answer = await self._ask(command, context, {"source": "startup", "agent_type": context.component.name})
            if answer.verdict == "deny":
                return _denied(command, answer)
            if answer.context:
                told.append(answer.context)
        if not told:
            return None
        prompt = context.subject.system_prompt
        return context.modify(system_prompt="\n\n".join([prompt, *told] if prompt else told))

    async def _end(self, context: HookContext[Any]) -> None:
        for command in self._about("SessionEnd", ("other",)):
            await self._ask(command, context, {"reason": "other", "agent_type": context.component.name})

    async def _notify(self, context: HookContext[Any]) -> None:
        decision = None if context.outcome is None else context.outcome.decision
        if not isinstance(decision, Cancel) or decision.code != APPROVAL_REQUIRED:
            return
        told = f"{context.component.kind} {context.component.name} needs your permission: {decision.reason}"
        for command in self._about("Notification", ("permission_prompt",)):
            await self._ask(command, context, {"message": told, "notification_type": "permission_prompt"})

    async def _note(self, context: HookContext[Any]) -> None:
        self._where.note(context)

    async def _hold_back(self, context: HookContext[Any]) -> Cancel | None:
        """Let an agent that a command has stopped ask its model no more."""
        reason = self._where.stopped(self._where.run_around(context))
        return None if reason is None else Cancel(f"hook_files: {reason}", "stopped")


def _denied(command: Command, answer: Answer, code: str = "denied") -> Cancel:
    return Cancel(f"hook_files: {answer.reason or command.name}", code)


def _ran(context: HookContext[Any]) -> ToolCall:
    call = context.request
    return call if isinstance(call, ToolCall) else ToolCall(context.component.name)


def _set(call: ToolCall) -> dict[str, Any]:
    """The parameters that are set: with its defaults filled in, one that is left out is None."""
    return {name: value for name, value in call.parameters.items() if value is not None}


def _said(result: ToolResult) -> Any:
    return (result.result, result.text, result.message, result.error, result.success)


def _asked(given: AgentInput) -> Any:
    return (given.text, given.parameters, given.messages)


def _updated(call: ToolCall, shown: Shown, updated: Mapping[str, Any], sent: Mapping[str, Any]) -> ToolCall:
    if updated == sent:
        return call
    return structs.replace(call, parameters=shown.taken(original(updated, sent, shown)))


async def _text_of(payload: Any) -> str:
    import json

    return json.dumps(await as_json(payload), ensure_ascii=False)


async def _spelled(value: Any) -> bytes:
    """Return bytes that stand for a value, whatever holds its parts; made in a thread if it is large."""
    if is_small(value):
        return canonical(thaw(value))
    return await trio.to_thread.run_sync(lambda: canonical(thaw(value)))
