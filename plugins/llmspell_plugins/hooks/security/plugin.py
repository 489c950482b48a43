"""The plugin: the hooks that judge, redact and record.

Invariant: what is redacted is judged again by a guard, so that no later transform puts a secret back; a refusal is
recorded before its caller is told. What the record of a refusal cannot be kept in stays refused.
"""

from __future__ import annotations

import operator
import time
from collections import Counter, OrderedDict
from typing import Any, ClassVar, Final, Self

import msgspec
import trio
from msgspec import Struct
from pydantic import BaseModel

from llmspell_hookspecs import (
    AgentInput,
    Cancel,
    Failure,
    HookContext,
    Message,
    ModelChunk,
    ModelRequest,
    Modified,
    Priority,
    Services,
    ToolCall,
    ToolResult,
)
from llmspell_hookspecs.borrowing import Borrowing
from llmspell_hookspecs.errors import LlmspellError, StorageError, text_of_error
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import ProjectFolder, SettingsAccess
from llmspell_hookspecs.stateful import plain_state, state_of
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.hooks.standing import CALLED, POINTS, stand

from .audit import AuditLog, AuditPlaces
from .injection import injections_in_arguments, injections_in_text
from .rules import Asked, Rules, Verdict
from .secrets import Redactor
from .settings import SecurityPluginSettings
from .stream import StreamRedactor

__all__ = ["Security", "SecurityPluginSettings", "audit_places"]

_STREAMS: Final = 4096
_TAIL: Final = 512
_POINTS: Final = {"arguments": "tool", "results": "tool", "requests": "model", "answers": "model"}


def audit_places(folder: ProjectFolder, head: str) -> AuditPlaces:
    """Return where the log's key and head are."""
    return AuditPlaces(folder.data("audit.key"), folder.place(head) if head else folder.data("audit.head"))


class _State(Struct, frozen=True):
    """What outlives the plugin."""

    counts: dict[str, int]


class Security:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.
    """

    name = "security"
    fails_closed = True
    Settings: ClassVar[type[BaseModel]] = SecurityPluginSettings
    borrowing = Borrowing(frozenset({"rules", "default", "secrets", "secrets_in", "injection"}), {"audit": "off"})

    def __init__(self, settings: SecurityPluginSettings, services: Services) -> None:
        self._settings = settings
        self._rules = Rules(settings.rules, settings.default)
        self._redactor = None if settings.secrets == "off" else Redactor()
        self._operations = services.get(Operations)
        self._services = services
        self._log: AuditLog | None = None
        self._closed = ""
        self._streams: OrderedDict[tuple[str, int], StreamRedactor] = OrderedDict()
        self._tails: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._innocent: object = None  # the messages that were found without a secret last; nobody changes them
        self._refused: OrderedDict[str, int] = OrderedDict()
        self._counts: Counter[str] = Counter()
        strict = settings.audit == "strict"
        for before, _, error in map(POINTS.__getitem__, CALLED):
            judge = self._judge_strictly if strict else self._judge
            stand(self, before, judge, kind="guard", priority=Priority.HIGHEST)
            if settings.audit != "off":
                stand(self, error, self._keep, kind="observe")
        self._stand_for_texts()

    def _stand_for_texts(self) -> None:
        settings, where = self._settings, self._settings.secrets_in
        looks = self._redactor is not None
        if settings.secrets == "redact":
            transforms: dict[str, tuple[str, Any]] = {
                "arguments": ("before_tool_execution", self._redact_call),
                "results": ("after_tool_execution", self._redact_result),
                "requests": ("before_model_call", self._redact_request),
                "answers": ("model_chunk", self._redact_chunk),
            }
            for name in where:
                stand(self, *transforms[name], priority=Priority.HIGHEST, waits=True)
            if "results" in where:
                stand(self, "tool_error", self._redact_failure, priority=Priority.HIGHEST, waits=True)
        if (looks and "results" in where) or settings.injection != "off":
            stand(self, "after_tool_execution", self._check_result, kind="guard", priority=Priority.HIGHEST)
        if looks and "answers" in where:
            stand(self, "model_chunk", self._check_chunk, kind="guard", priority=Priority.HIGHEST)

    async def __aenter__(self) -> Self:
        """Open the audit log.

        Without it the rules judge all the same, and what is strict lets nothing go on; where the plugin is required, it
        is not loaded, and nothing runs.
        """
        if self._settings.audit != "off":
            try:
                self._log = await self._opened()
            except (LlmspellError, OSError) as error:
                if self._is_required():
                    raise
                self._closed = f"the audit log cannot be opened: {text_of_error(error)}"
                self._counts["audit_failed"] += 1
                self._operations.problem(StorageError(self._closed))
        return self

    def _is_required(self) -> bool:
        tables = self._services.get(SettingsAccess).plain("plugins") or {}
        return bool(tables.get(self.name, {}).get("required"))

    async def _opened(self) -> AuditLog:
        storage = await self._services.get(Storages).open()
        log = AuditLog(storage, audit_places(self._services.get(ProjectFolder), self._settings.audit_head))
        await log.load()
        return log

    async def run(self) -> None:
        """Write the audit log."""
        if self._log is not None:
            await self._log.run()

    async def __aexit__(self, *error: object) -> None:
        """Write what is not written yet."""
        if self._log is not None:
            with trio.move_on_after(2):
                try:
                    await self._log.flush()
                except StorageError as problem:
                    self._operations.problem(problem)

    def stats(self) -> dict[str, int]:
        """Return how often what was decided and found."""
        log = self._log
        kept = {} if log is None else {"audit_written": log.written, "audit_lost": log.lost}
        return {**self._counts, **kept}

    async def dump_state(self) -> Any:
        """Return the counts; see the contract's `Stateful`. The log is in the storage, and no tag is handed on."""
        return plain_state(_State(dict(self._counts)))

    async def load_state(self, state: Any, /) -> None:
        """Take them over."""
        self._counts.update(state_of(state, _State, self.name).counts)

    # Judging calls.

    def _judge(self, context: HookContext[Any]) -> Cancel | None:
        cancel, record = self._decide(context)
        if record is not None and self._log is not None:
            ticket = self._log.add(record)
            if cancel is not None:
                self._remember(context.operation.id, ticket)
        return cancel

    async def _judge_strictly(self, context: HookContext[Any]) -> Cancel | None:
        cancel, record = self._decide(context)
        if self._log is None:
            raise StorageError(self._closed or "audit log: it is not open; wait until the host is")
        await self._log.flush(self._log.add(record or self._record(context, "allow", "")))
        return cancel

    async def _keep(self, context: HookContext[Failure]) -> None:
        """Wait until a refusal is recorded, before its caller is told."""
        ticket = self._refused.pop(context.operation.id, 0)
        if ticket and self._log is not None:
            try:
                await self._log.flush(ticket)
            except StorageError as error:
                self._counts["audit_failed"] += 1
                self._operations.problem(error)

    def _decide(self, context: HookContext[Any]) -> tuple[Cancel | None, dict[str, Any] | None]:
        asked = _asked(context)
        verdict = self._rules.judge(asked)
        cancel = _refusal(asked, verdict)
        if cancel is None:
            cancel = self._suspect(context)
        word = "allow" if cancel is None else "ask" if cancel.code == "approval_required" else "deny"
        self._counts[word] += 1
        if word == "allow" and self._settings.audit not in ("all", "strict"):
            return cancel, None
        return cancel, self._record(context, word, verdict.rule, "" if cancel is None else cancel.reason)

    def _suspect(self, context: HookContext[Any]) -> Cancel | None:
        """Refuse what still holds a secret, and what looks like an injection if settings want that."""
        subject = context.subject
        if isinstance(subject, ToolCall):
            secrets = self._secrets_in("arguments", subject.parameters)
            if secrets:
                return _withheld(f"tool {subject.name}: its arguments hold", secrets)
            kinds = [] if self._settings.injection == "off" else injections_in_arguments(subject.parameters)
            return self._injected(context, kinds, f"tool {subject.name}: its arguments look like")
        if isinstance(subject, ModelRequest):
            if subject.messages is self._innocent:
                return None
            secrets = self._secrets_in("requests", [message.content for message in subject.messages])
            if secrets:
                return _withheld(f"model {subject.model}: its request holds", secrets)
        return None

    def _injected(self, context: HookContext[Any], kinds: list[str], what: str) -> Cancel | None:
        if not kinds:
            return None
        self._counts["injection"] += 1
        named = ", ".join(kinds)
        if self._settings.injection == "deny":
            return Cancel(f"{what} an injection ({named})", "injection")
        if self._log is not None:
            self._log.add(self._record(context, "report", "", f"{what} an injection ({named})"))
        return None

    def _secrets_in(self, where: str, value: Any) -> list[str]:
        if self._redactor is None or where not in self._settings.secrets_in:
            return []
        found: dict[str, int] = {}
        self._redactor.clean(value, found)
        return sorted(found)

    def _record(self, context: HookContext[Any], action: str, rule: str, reason: str = "") -> dict[str, Any]:
        operation = context.operation
        record: dict[str, Any] = {
            "at_s": round(time.time(), 3),
            "action": action,
            "component": f"{context.component.kind}:{context.component.name}",
            "point": context.point,
            "operation": operation.id,
            "correlation": operation.correlation_id,
            "session": operation.session_id,
            "language": context.language,
            "rule": rule,
            "reason": reason,
        }
        if isinstance(context.subject, ToolCall):
            record["arguments"] = sorted(map(str, context.subject.parameters))
        return {key: item for key, item in record.items() if item not in ("", [])}

    def _remember(self, operation: str, ticket: int) -> None:
        self._refused[operation] = ticket
        if len(self._refused) > _STREAMS:
            self._refused.popitem(last=False)

    # Redacting what is said.

    def _clean(self, value: Any) -> Any:
        if self._redactor is None:
            return value
        found: dict[str, int] = {}
        cleaned = self._redactor.clean(value, found)
        if found:
            self._counts["redacted"] += sum(found.values())
        return cleaned

    def _redact_call(self, context: HookContext[ToolCall]) -> Modified | None:
        given = context.subject.parameters
        cleaned = self._clean(given)
        return None if cleaned is given else context.modify(parameters=cleaned)

    def _redact_result(self, context: HookContext[ToolResult]) -> Modified | None:
        fields = ("result", "text", "message", "error", "metadata")
        old = {name: getattr(context.subject, name) for name in fields}
        changed = {name: cleaned for name in fields if (cleaned := self._clean(old[name])) is not old[name]}
        return context.modify(**changed) if changed else None

    def _redact_failure(self, context: HookContext[Failure]) -> Modified | None:
        message = context.subject.message
        cleaned = self._clean(message)
        return None if cleaned is message else Modified({"message": cleaned})

    def _redact_request(self, context: HookContext[ModelRequest]) -> Modified | None:
        messages = context.subject.messages
        changed = [self._redact_message(message) for message in messages]
        if all(map(operator.is_, changed, messages)):
            self._innocent = messages
            return None
        return context.modify(messages=tuple(changed))

    def _redact_message(self, message: Message) -> Message:
        content = self._clean(message.content)
        if content is message.content:
            return message
        return Message(message.role, content, message.tool_uses, message.tool_use_id, message.name, message.extra)

    def _redact_chunk(self, context: HookContext[ModelChunk]) -> Modified | None:
        chunk, redactor = context.subject, self._redactor
        if redactor is None:
            return None
        if chunk.kind != "text" and not chunk.final:
            return None
        key = (context.operation.id, context.operation.attempt)
        stream = self._streams.get(key)
        if stream is None or chunk.index == 0:
            stream = self._streams[key] = StreamRedactor(redactor)
            if len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
        known = len(stream.found)
        text = stream.feed(chunk.text, final=chunk.final)
        if len(stream.found) > known:
            self._counts["redacted"] += len(stream.found) - known
        if chunk.final:
            del self._streams[key]
        return None if text == chunk.text else Modified(msgspec.structs.replace(chunk, text=text))

    # Judging what leaves.

    def _check_result(self, context: HookContext[ToolResult]) -> Cancel | None:
        result = context.subject
        said = (result.result, result.text, result.message, result.error)
        secrets = self._secrets_in("results", said)
        if secrets:
            cancel: Cancel | None = _withheld(f"tool {context.component.name}: its result holds", secrets)
        else:
            kinds = [] if self._settings.injection == "off" else injections_in_text(said)
            cancel = self._injected(context, kinds, f"tool {context.component.name}: its result looks like")
        self._record_refusal(context, cancel)
        return cancel

    def _check_chunk(self, context: HookContext[ModelChunk]) -> Cancel | None:
        chunk, key = context.subject, (context.operation.id, context.operation.attempt)
        if not (chunk.text or chunk.final or chunk.index == 0):
            return None
        text = ("" if chunk.index == 0 else self._tails.pop(key, "")) + chunk.text
        secrets = self._secrets_in("answers", text)
        cancel = _withheld(f"model {context.component.name}: its answer holds", secrets) if secrets else None
        if cancel is None and not chunk.final:
            self._tails[key] = text[-_TAIL:]
            if len(self._tails) > _STREAMS:
                self._tails.popitem(last=False)
        self._record_refusal(context, cancel)
        return cancel

    def _record_refusal(self, context: HookContext[Any], cancel: Cancel | None) -> None:
        if cancel is not None:
            self._counts["deny"] += 1
            if self._log is not None:
                self._remember(context.operation.id, self._log.add(self._record(context, "deny", "", cancel.reason)))


def _asked(context: HookContext[Any]) -> Asked:
    subject, operation = context.subject, context.operation
    if isinstance(subject, ToolCall):
        return Asked("tool", subject.name, subject.parameters, subject.level, operation.session_id, context.language)
    if isinstance(subject, ModelRequest):
        return Asked("model", subject.model, subject.options, "", operation.session_id, context.language)
    given = subject.parameters if isinstance(subject, AgentInput) else {}
    return Asked("agent", context.component.name, given, "", operation.session_id, context.language)


def _refusal(asked: Asked, verdict: Verdict) -> Cancel | None:
    if verdict.action == "allow":
        return None
    by = f"rule {verdict.rule}" if verdict.rule else "no rule allows it"
    if verdict.action == "ask":
        return Cancel(f"{asked.kind} {asked.name}: {by} asks for an approval", "approval_required")
    return Cancel(f"{asked.kind} {asked.name}: {by}" + (" denies it" if verdict.rule else ""))


def _withheld(what: str, secrets: list[str]) -> Cancel:
    return Cancel(f"{what} a secret ({', '.join(secrets)})", "secret")
