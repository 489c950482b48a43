"""Every error that llmspell raises, in one tree.

::

    LlmspellError
    ├── SettingsError             a setting is wrong: file, line, key
    ├── PluginError               a plugin cannot be used
    │   └── PluginRequiredError   a required plugin is missing: operations are refused
    ├── HookError                 a hook is wrong
    │   ├── HookRegistrationError   its declaration is refused
    │   ├── HookOrderError          its constraints form a cycle
    │   ├── HookFailedError         it raised, and says that this is to be raised
    │   ├── HookTimeoutError        it took longer than it may
    │   └── UnsupportedResultError  its answer is not accepted at its point
    ├── OperationError            an operation did not complete
    │   ├── OperationCancelledError   a hook cancelled it
    │   ├── OperationTimeoutError     its deadline passed
    │   ├── DepthLimitError           operations are nested too deeply, or redirected too often
    │   ├── WorkflowError             a stage of a workflow failed: stage, output
    │   └── CompositionError          the members of an agent failed, or did not agree: details
    ├── ComponentNotFoundError    nothing has this address
    ├── NoResponseError           nobody answered a request: topic, limit_s
    ├── InvalidInputError         a value does not fit: field
    ├── SecurityError             a rule forbids it: rule
    ├── ResourceLimitError        a limit is exceeded: resource, limit
    ├── ToolError                 a tool could not do what it was asked
    ├── ProviderError             a model's provider could not answer: status, retry_after_s
    ├── ScriptError               a script failed: file, line
    ├── StorageError              a storage cannot be opened, read or written
    └── CommandError              a verb of the command line did not succeed: it ends with 1

Invariant: a message is one line of at most 500 characters, ``<where>: <what was wrong>; <what to do>``, whatever
foreign text was put into it, and the same facts are attributes. It is longer than most because the tree is one.
"""

from __future__ import annotations

from collections.abc import Sequence

from .spelling import one_line

__all__ = [
    "CommandError",
    "ComponentNotFoundError",
    "CompositionError",
    "DepthLimitError",
    "HookError",
    "HookFailedError",
    "HookOrderError",
    "HookRegistrationError",
    "HookTimeoutError",
    "InvalidInputError",
    "LlmspellError",
    "NoResponseError",
    "OperationCancelledError",
    "OperationError",
    "OperationTimeoutError",
    "PluginError",
    "PluginRequiredError",
    "ProviderError",
    "ResourceLimitError",
    "ScriptError",
    "SecurityError",
    "SettingsError",
    "StorageError",
    "ToolError",
    "UnsupportedResultError",
    "WorkflowError",
    "line_of_error",
    "text_of_error",
]


class LlmspellError(Exception):
    """The root of the tree.

    Attributes:
        code: A stable word for programs, such as ``denied`` or ``timeout``.
    """

    code: str = "error"

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(str(message)))


class SettingsError(LlmspellError):
    """A setting is wrong, or not allowed where it stands."""

    code = "invalid_settings"

    def __init__(self, message: str, *, origin: str = "", key: str = "") -> None:
        super().__init__(message)
        self.origin = origin
        self.key = key


class PluginError(LlmspellError):
    """A plugin cannot be loaded, registered or found."""

    code = "plugin"

    def __init__(self, message: str, *, plugin: str = "") -> None:
        super().__init__(message)
        self.plugin = plugin


class PluginRequiredError(PluginError):
    """A required plugin is not there, so the host refuses to run operations."""

    code = "plugin_required"


class HookError(LlmspellError):
    """A hook is wrong; says which and where."""

    code = "hook"

    def __init__(self, message: str, *, hook: str = "", point: str = "") -> None:
        super().__init__(message)
        self.hook = hook
        self.point = point


class HookRegistrationError(HookError):
    """A hook's declaration is refused."""

    code = "hook_registration"


class HookOrderError(HookError):
    """The order constraints of a point's hooks form a cycle."""

    code = "hook_order"


class HookFailedError(HookError):
    """A hook raised and its ``on_error`` is ``raise``; the cause is chained."""

    code = "hook_failed"


class HookTimeoutError(HookError):
    """A hook took longer than its ``timeout_s``."""

    code = "hook_timeout"


class UnsupportedResultError(HookError):
    """A hook answered with a result that its point, or its kind, does not accept.

    Attributes:
        result: The name of the result it gave.
        accepted: The names of the results that are accepted there.
    """

    code = "unsupported_result"

    def __init__(self, message: str, *, hook: str, point: str, result: str, accepted: Sequence[str]) -> None:
        super().__init__(message, hook=hook, point=point)
        self.result = result
        self.accepted = tuple(accepted)


class OperationError(LlmspellError):
    """An operation did not complete."""

    code = "operation"

    def __init__(self, message: str, *, operation: str = "", component: str = "") -> None:
        super().__init__(message)
        self.operation = operation
        self.component = component


class OperationCancelledError(OperationError):
    """A hook cancelled the operation; final for it.

    Attributes:
        hook: The name of the hook that cancelled.
        point: The point at which it did.
        reason: What it said.
        code: ``denied``, ``approval_required`` or a word of the hook's own.
    """

    def __init__(
        self, message: str, *, hook: str, point: str, reason: str, code: str, operation: str = "", component: str = ""
    ) -> None:
        super().__init__(message, operation=operation, component=component)
        self.hook = hook
        self.point = point
        self.reason = reason
        self.code = code


class OperationTimeoutError(OperationError):
    """The operation's own deadline passed.

    Attributes:
        limit_s: The time it had, in seconds.
    """

    code = "timeout"

    def __init__(self, message: str, *, limit_s: float, operation: str = "", component: str = "") -> None:
        super().__init__(message, operation=operation, component=component)
        self.limit_s = limit_s


class DepthLimitError(OperationError):
    """Operations are nested too deeply, or one was redirected too often."""

    code = "depth_limit"


class WorkflowError(OperationError):
    """A stage of a workflow failed, and the workflow with it.

    Attributes:
        stage: The path of the stage.
        output: How far the run came: a `WorkflowOutput`.
    """

    code = "workflow"

    def __init__(self, message: str, *, stage: str = "", output: object = None, component: str = "") -> None:
        super().__init__(message, component=component)
        self.stage = stage
        self.output = output


class CompositionError(OperationError):
    """The members of an agent failed, or did not agree.

    Attributes:
        details: What became of each: the errors by member, or the votes.
    """

    code = "composition"

    def __init__(self, message: str, *, details: object = None, component: str = "") -> None:
        super().__init__(message, operation="agent", component=component)
        self.details = details


class ComponentNotFoundError(LlmspellError):
    """Nothing is registered under this address."""

    code = "not_found"

    def __init__(self, message: str, *, address: str = "") -> None:
        super().__init__(message)
        self.address = address


class NoResponseError(LlmspellError):
    """Nobody answered a request.

    Attributes:
        topic: What was asked.
        limit_s: How long an answer could take, in seconds.
    """

    code = "no_response"

    def __init__(self, message: str, *, topic: str, limit_s: float) -> None:
        super().__init__(message)
        self.topic = topic
        self.limit_s = limit_s


class InvalidInputError(LlmspellError):
    """A value does not fit its type or range.

    Attributes:
        field: The dotted path of the value.
    """

    code = "invalid_input"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class SecurityError(LlmspellError):
    """A security rule forbids it.

    Attributes:
        rule: The name of the rule: ``level``, ``path``, ``host``, ``environment``, ``process`` or ``global``.
    """

    code = "forbidden"

    def __init__(self, message: str, *, rule: str = "") -> None:
        super().__init__(message)
        self.rule = rule


class ResourceLimitError(LlmspellError):
    """A limit on memory, time, instructions or size is exceeded.

    Attributes:
        resource: ``memory_bytes``, ``time_s``, ``instructions``, ``output_bytes`` ...
        limit: The limit, in the unit that the resource's name carries.
    """

    code = "resource_limit"

    def __init__(self, message: str, *, resource: str = "", limit: float = 0) -> None:
        super().__init__(message)
        self.resource = resource
        self.limit = limit


class ToolError(LlmspellError):
    """A tool could not do what it was asked.

    Attributes:
        code: The tool's own word for it, ``tool`` if it has none.
        details: More facts for programs.
    """

    code = "tool"

    def __init__(self, message: str, *, code: str = "tool", details: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class ProviderError(LlmspellError):
    """A model's provider could not be asked, or its answer makes no sense.

    Attributes:
        code: ``rate_limited``, ``unavailable`` (5xx, overloaded), ``authentication``, ``invalid_request``,
            ``connection``, ``timeout``, ``protocol`` (an answer that makes no sense) or ``provider``.
        status: The HTTP status, 0 if there was none.
        retry_after_s: How long the provider asks to wait; None if it does not say.
        retryable: Whether asking again may help.
    """

    code = "provider"

    def __init__(
        self,
        message: str,
        *,
        code: str = "provider",
        status: int = 0,
        retry_after_s: float | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s
        self.retryable = retryable


class ScriptError(LlmspellError):
    """A script failed.

    Attributes:
        file: The script's name as given.
        line: The line that failed, from 1; 0 if it is not known.
        trace: The script language's own stack trace, if it has one.
    """

    code = "script"

    def __init__(self, message: str, *, file: str = "", line: int = 0, trace: str = "", code: str = "script") -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.trace = trace
        self.code = code


class StorageError(LlmspellError):
    """A storage cannot be opened, read or written.

    Attributes:
        code: ``busy`` if another process held its lock for too long, ``closed``, ``conflict`` if another version is
            there than a write expected, ``taken_over`` or ``forgotten`` of a follower of the event log (see
            `EventLog.follow`), or ``storage``.
    """

    def __init__(self, message: str, *, code: str = "storage") -> None:
        super().__init__(message)
        self.code = code


class CommandError(LlmspellError):
    """What a verb was asked for did not succeed: the command ends with 1 and this line."""

    code = "failed"


def text_of_error(error: BaseException) -> str:
    """Return an error's text, or its class's name if it has none; of whatever class it is, this never fails.

    What is no plain error, such as ``SystemExit: 4``, is named in any case.
    """
    try:
        text = str.__str__(str(error))
    except BaseException:  # its own code ran: whatever that raises says nothing of the error
        text = ""
    name: str = _NAME_OF(type(error))
    return (text or name) if isinstance(error, Exception) or not text else f"{name}: {text}"


def line_of_error(error: BaseException) -> str:
    """Return an error's text as a part of a message: one printable line of at most 300 characters.

    Control characters are spelled out. That leaves a message, which has 500, room for where it was and what to do.
    """
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in " ".join(text_of_error(error).split()))
    return line if len(line) <= _LINE_LENGTH else line[: _LINE_LENGTH - 3] + "..."


_LINE_LENGTH = 300
_NAME_OF = type.__dict__["__name__"].__get__  # not the attribute, which a metaclass may hide
