"""The plugin: stands at the host's points for the interceptors, and lets nothing pass that they did not.

At each point a transform asks them, behind all other transforms, and hands on what they made of the value; a guard
then compares what really runs, or leaves, with what they were shown, and asks again about anything else. So a
transform behind ours, a default that validation filled in, a Replace and a cache hit are all shown to them, and a value
is let pass only if their verdict is about exactly that value.

Invariant: what goes wrong here denies. A denial that may be lifted, and that no resolver was there for, is an
``approval_required``, unless the profile would go on with those behind it (``on_approval = "resume"``).
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import trio
from msgspec import Struct
from pydantic import BaseModel

from llmspell_hookspecs import Cancel, HookContext, Modified, Priority, Services
from llmspell_hookspecs.approvals import APPROVAL_REQUIRED
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, PluginError, line_of_error
from llmspell_hookspecs.event import Events
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import Clock, ProjectFolder, SettingsAccess
from llmspell_hookspecs.values import canonical
from llmspell_plugins.hooks.standing import stand
from llmspell_plugins.json_text import is_small

from .approval import Seam
from .composition import Composition
from .configuration import Binding, Configuration, IdentityProvider
from .declaration import BoundTo, Registry, configured, read_declaration
from .emission import Emission, Emitter
from .session import Session, Sessions
from .settings import AgentHooksSettings
from .verdict import Verdict
from .view import POINT_OF, View, view_of

__all__ = ["AgentHooks", "AgentHooksSettings"]

_SPEC: Final = "agent-hooks/0.1"
_TOPIC: Final = "agent_hooks.record"
_BOTH: Final = (
    "before_agent_execution",
    "before_model_call",
    "after_model_call",
    "before_tool_execution",
    "after_tool_execution",
    "after_agent_execution",
)
"""Where a transform and a guard stand."""


class _Memo(Struct):
    """What the interceptors were shown of an operation last, and what became of it."""

    target: Any
    emission: Emission


class AgentHooks:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host.
    """

    name = "agent_hooks"
    fails_closed = True
    Settings: ClassVar[type[BaseModel]] = AgentHooksSettings

    def __init__(self, settings: AgentHooksSettings, services: Services) -> None:
        self._services = services
        self._clock = services.get(Clock)
        self._sessions = Sessions()
        self._counts: Counter[str] = Counter()
        try:
            configuration = self.configuration(settings, services)
        except PluginError as error:
            configuration = self._closed(error, services)
        self._emitter = Emitter(configuration)
        for point in _BOTH:
            stand(self, point, self._fold, priority=Priority.LOWEST, waits=True, on_error="raise")
            stand(self, point, self._judge, kind="guard", priority=Priority.HIGHEST)
        stand(self, "tool_error", self._fold, priority=Priority.LOWEST, waits=True, on_error="raise")
        stand(self, "before_agent_init", self._start, kind="guard", priority=Priority.HIGHEST)
        stand(self, "before_agent_shutdown", self._stop, kind="observe")
        for point in ("after_agent_execution", "agent_error"):
            stand(self, point, self._note_end, kind="observe")

    def _closed(self, error: PluginError, services: Services) -> Configuration:
        """Return what denies everything, since nobody knows what an interceptor that cannot be asked would say."""
        tables = services.get(SettingsAccess).plain("plugins") or {}
        if tables.get(self.name, {}).get("required"):  # then nothing runs at all
            raise error
        services.get(Operations).problem(error)
        return Configuration(bindings=(Binding(_Absent(line_of_error(error))),))

    def configuration(self, settings: AgentHooksSettings, services: Services) -> Configuration:
        """Return what settings say; for whoever hands interceptors over in code, the place to do so."""
        if settings.declaration:
            document = read_declaration(services.get(ProjectFolder).place(settings.declaration))
            return configured(document, Registry(kinds={"llmspell.python": _python_kind}))
        timeout_s = settings.interceptor_timeout_s
        bindings = tuple(Binding(_interceptor(place), place, None, timeout_s) for place in settings.interceptors)
        seam = None
        if settings.resolver:
            redactor = _loaded(settings.redactor) if settings.redactor else None
            seam = Seam(_made(_loaded(settings.resolver)), redactor, settings.resolver_timeout_s)
        return Configuration(
            bindings=bindings,
            composition=Composition.of(settings.profile, **settings.knobs()),
            mode=settings.mode,
            identity=None if settings.identity_provider == "none" else IdentityProvider(),
            seam=seam,
            most_records=settings.max_records,
            most_bytes=settings.max_context_bytes,
        )

    @property
    def records(self) -> tuple[Mapping[str, Any], ...]:
        """What is kept of the last emissions."""
        return tuple(self._emitter.records)

    def stats(self) -> dict[str, int]:
        """Return how many emissions came to what, and how many records are no longer kept."""
        return {**self._counts, "records_dropped": self._emitter.dropped}

    # An agent's life.

    async def _start(self, context: HookContext[Any]) -> Cancel | None:
        session = self._sessions.begin(context.component.name)
        emission = await self._emit(context, session, view_of(context, ""))
        if emission.proceeds:
            return None
        session.reason = "error"
        await self._end(context, self._sessions.end(context.component.name))
        return _refused(emission.verdict)

    async def _stop(self, context: HookContext[Any]) -> None:
        await self._end(context, self._sessions.end(context.component.name))

    async def _end(self, context: HookContext[Any], session: Session) -> None:
        members = {"summary": {"reason": session.reason}}
        await self._emit(context, session, View(members, members["summary"], lambda _: None), "agent_shutdown")

    async def _note_end(self, context: HookContext[Any]) -> None:
        status = "completed" if context.outcome is None else context.outcome.status
        session = self._sessions.of(context)
        session.reason = status if status in ("completed", "cancelled") else "error"
        if context.outcome is not None and isinstance(context.outcome.decision, Cancel):
            session.reason = "error"

    # Operations.

    async def _fold(self, context: HookContext[Any]) -> Modified | Cancel | None:
        """Ask the interceptors, and hand on what they made of the value."""
        if context.point == "tool_error" and self._memo(context, f"before{context.operation.attempt}") is None:
            return None  # it never ran, so nobody was told that it would
        found = await self._asked(context)
        if found is None or isinstance(found, Cancel):
            return found
        view, emission = found
        if context.point == "tool_error" and not emission.proceeds:
            return Modified({"message": f"withheld: {_reason(emission.verdict)}", "details": None})
        if not emission.proceeds and not self._is_for_a_person(emission.verdict):
            return _refused(emission.verdict)
        if await _is_same(emission.target, view.target):
            return None
        taken: Modified = view.taken(emission.target)
        return taken

    async def _judge(self, context: HookContext[Any]) -> Cancel | None:
        """Let pass what the interceptors let pass; ask them about anything else."""
        session = self._sessions.of(context)
        memo = self._memo(context, _phase(context))
        emission = None if memo is None else memo.emission
        if memo is not None and not await _is_same(memo.target, self._target(context, session)):
            emission = None
        if emission is None:
            found = await self._asked(context)
            if found is None or isinstance(found, Cancel):
                return found
            view, emission = found
            if emission.proceeds and not await _is_same(emission.target, view.target):
                return Cancel(f"{_reason(emission.verdict)}: it would be changed once more after it was settled")
        if not emission.proceeds:
            return _refused(emission.verdict, self._is_for_a_person(emission.verdict))
        if context.point == "after_model_call":
            session.asked_for(context.subject)
        return None

    def _target(self, context: HookContext[Any], session: Session) -> Any:
        try:
            return view_of(context, "-").target
        except InvalidInputError:
            return object()  # the same as nothing

    async def _asked(self, context: HookContext[Any]) -> tuple[View, Emission] | Cancel | None:
        session = self._sessions.of(context)
        try:
            view = await _beside(context, self._call_id(context, session))
        except InvalidInputError as error:
            emission = self._emitter.reject(self._envelope(context, session), line_of_error(error))
            self._note(emission)
            return None if emission.proceeds else _refused(emission.verdict)
        emission = await self._emit(context, session, view)
        context.metadata[self.name][_phase(context)] = _Memo(emission.target, emission)
        return view, emission

    def _memo(self, context: HookContext[Any], phase: str) -> _Memo | None:
        memo = context.metadata[self.name].get(phase)
        return memo if isinstance(memo, _Memo) else None

    def _call_id(self, context: HookContext[Any], session: Session) -> str:
        own = context.metadata[self.name]
        if context.point == "before_tool_execution" and "call_id" not in own:
            own["call_id"] = session.call_id(context.subject) or context.operation.id
        return str(own.get("call_id") or context.operation.id)

    def _is_for_a_person(self, verdict: Verdict) -> bool:
        """Whether a denial is one that the host's own approvals may lift."""
        configuration = self._emitter.configuration
        if not verdict.is_liftable or configuration.seam is not None or configuration.mode != "enforce":
            return False
        return configuration.composition.knobs.get("on_approval") != "resume"

    async def _emit(self, context: HookContext[Any], session: Session, view: View, point: str = "") -> Emission:
        shown = {**self._envelope(context, session, point), "target": view.target, **view.members}
        emission = await self._emitter.emit(shown, view.taken)
        self._note(emission)
        return emission

    def _note(self, emission: Emission) -> None:
        """Count it, and tell whoever listens of its record, which holds nothing of what was shown."""
        self._counts[emission.verdict.decision] += 1
        events = self._services.get(Events)
        if events.listens(_TOPIC):
            try:
                events.publish_nowait(_TOPIC, dict(emission.record))
            except LlmspellError as error:
                self._services.get(Operations).problem(error)

    def _envelope(self, context: HookContext[Any], session: Session, point: str = "") -> dict[str, Any]:
        return {
            "spec": _SPEC,
            "interception_point": point or POINT_OF[context.point],
            "timestamp": _stamp(self._clock.now_s()),
            "sequence": session.next_number(),
            "agent": {"id": session.agent, "framework": "llmspell"},
            "session": {"id": session.id},
        }


def _phase(context: HookContext[Any]) -> str:
    """Under which word what was asked is kept: before and after each attempt, each for itself."""
    return f"{'before' if context.point.startswith('before') else 'after'}{context.operation.attempt}"


async def _beside(context: HookContext[Any], call_id: str) -> View:
    """Return what is shown, made in a thread if it is large."""
    if _is_light(context.subject):
        return view_of(context, call_id)
    return await trio.to_thread.run_sync(view_of, context, call_id)


def _is_light(subject: Any) -> bool:
    messages = getattr(subject, "messages", None) or ()
    texts = len(getattr(subject, "text", None) or "") + sum(len(each.content) for each in messages)
    held = [getattr(subject, name, None) for name in ("parameters", "result", "metadata", "error")]
    return len(messages) <= 100 and texts <= 65_536 and is_small(held)


async def _is_same(one: Any, other: Any) -> bool:
    """Whether two targets are the same, to the types of their numbers."""
    if one is other:
        return True
    if is_small(one) and is_small(other):
        return bool(_spelled(one) == _spelled(other))
    return bool(await trio.to_thread.run_sync(lambda: _spelled(one) == _spelled(other)))


def _spelled(value: Any) -> object:
    return value if type(value) is object else canonical(value)


def _refused(verdict: Verdict, is_for_a_person: bool = False) -> Cancel:
    return Cancel(_reason(verdict), APPROVAL_REQUIRED if is_for_a_person else "denied")


def _reason(verdict: Verdict) -> str:
    said = [part for part in (verdict.reason, verdict.message) if part]
    return f"agent_hooks: {': '.join(said) or 'denied'}"[:2000]


def _stamp(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Absent:
    """Stands for interceptors that cannot be asked."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    async def intercept(self, context: Any) -> Mapping[str, Any]:
        """Deny it."""
        return {"decision": "deny", "reason": "not_loaded", "message": self._problem}


def _python_kind(config: Any, told: BoundTo) -> Any:
    """An interceptor of a binding's kind ``llmspell.python``: ``{"interceptor": "package.module:attribute"}``."""
    if not isinstance(config, dict) or set(config) != {"interceptor"} or not isinstance(config["interceptor"], str):
        raise PluginError('its config is not {"interceptor": "package.module:attribute"}')
    return _interceptor(config["interceptor"])


def _interceptor(place: str) -> Any:
    made = _made(_loaded(place))
    if not callable(getattr(made, "intercept", None)):
        raise PluginError(f"agent_hooks: {place}: a {type(made).__name__} has no intercept(context); give it one")
    return made


def _made(found: Any) -> Any:
    return found() if isinstance(found, type) else found


def _loaded(place: str) -> Any:
    module, _, path = place.partition(":")

    def blame(error: BaseException) -> PluginError:
        return PluginError(f"agent_hooks: {place} cannot be loaded: {text_of(error)}; install it, or correct the name")

    with Blamed(blame):
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found
