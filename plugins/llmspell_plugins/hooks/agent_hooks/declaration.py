"""A host declaration: the document that says who is asked, where, and how the answers become one.

Read in steps, each only if the one before found nothing, so that a document is refused for one class of reason
wherever it is read. Invariant: nothing that a document says is left out, changed or narrowed; it is honoured or
refused. What is refused names members, never what a binding is configured with. Sizes in bytes. Source:
AGENT-HOOKS-0.1, section 7.7, and its schema ``host-declaration-1.0``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from pydantic import ValidationError

from llmspell_hookspecs.errors import InvalidInputError, PluginError, line_of_error
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.parameters import first_problem
from llmspell_hookspecs.regular import read_regular

from .approval import Seam
from .composition import KNOBS, Composition
from .configuration import JCS, Binding, Configuration, IdentityProvider
from .document import BindingItem, Document, Surface
from .identity import canonical_json
from .target import PLACES

__all__ = ["VERSION", "DeclarationRefusedError", "Registry", "configured", "parse_declaration", "read_declaration"]

VERSION: Final = "agent-hooks-declaration/1.0"
_SPEC: Final = (0, 1)
_MOST_BYTES: Final = 1024 * 1024
_DEEPEST: Final = 32
_MOST_SHOWN: Final = 512
_FLOOR: Final = frozenset({"agent_startup", "input", "output", "agent_shutdown"})
_PAIRS: Final = {
    "model_calls": frozenset({"pre_model_call", "post_model_call"}),
    "tool_calls": frozenset({"pre_tool_call", "post_tool_call"}),
}
_CAPABILITIES: Final = (
    "bigint_json",
    "host_declaration",
    "int64_json",
    "model_calls",
    "parallel_tool_calls",
    "tool_calls",
)
"""What this host can do, of what the contract has words for."""


class DeclarationRefusedError(PluginError):
    """A document is refused.

    Attributes:
        word: The class of the reason, such as ``unknown_field``.
        pointer: Where in the document; empty for all of it.
    """

    def __init__(self, word: str, pointer: str, detail: str) -> None:
        where = f" {pointer}" if pointer else ""
        super().__init__(f"declaration{where}: {detail[:_MOST_SHOWN]}; correct the document (declaration_error:{word})")
        self.word = word
        self.pointer = pointer
        self.detail = detail[:_MOST_SHOWN]


class BoundTo(Struct, frozen=True):
    """What a kind is told beside the configuration.

    Attributes:
        id: The binding's.
        kind: Its kind.
        points: Where it is asked.
        timeout_s: How long it may take; None for ever.
    """

    id: str
    kind: str
    points: frozenset[str]
    timeout_s: float | None


class Registry(Struct, frozen=True):
    """What names in a document stand for.

    Attributes:
        kinds: Makes an interceptor of a binding's configuration, by the binding's kind.
        identities: Identity providers.
        resolvers: Those who lift denials.
        redactors: What is kept from them.
    """

    kinds: Mapping[str, Callable[[Any, BoundTo], Any]] = {}
    identities: Mapping[str, Callable[[Any], Any]] = {}
    resolvers: Mapping[str, Any] = {}
    redactors: Mapping[str, Callable[[dict[str, Any]], Any]] = {}


def read_declaration(path: Path) -> Any:
    """Return what a file holds, as `parse_declaration` does.

    Raises:
        DeclarationRefusedError: It is no regular file, or not UTF-8; or what it holds is refused.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
        if content.startswith(b"\xef\xbb\xbf"):
            raise DeclarationRefusedError("unreadable", "", "it starts with a byte-order mark")
        text = content.decode()
    except OSError as error:
        raise DeclarationRefusedError("unreadable", "", f"{path} cannot be read ({line_of_error(error)})") from error
    except UnicodeDecodeError as error:
        raise DeclarationRefusedError("unreadable", "", f"{path} is not UTF-8") from error
    return parse_declaration(text)


def parse_declaration(text: str) -> Any:
    """Return the document that a text of JSON holds.

    Raises:
        DeclarationRefusedError: It is no JSON, names a member twice, or is too large or too deep.
    """
    if len(text.encode(errors="replace")) > _MOST_BYTES:
        raise DeclarationRefusedError("malformed", "", f"it is larger than {_MOST_BYTES} bytes")
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise DeclarationRefusedError("malformed", "", f"it is no JSON ({line_of_error(error)})") from error
    if not isinstance(document, dict):
        raise DeclarationRefusedError("malformed", "", "it is no object")
    if _depth(document) > _DEEPEST:
        raise DeclarationRefusedError("malformed", "", f"it is nested more than {_DEEPEST} levels deep")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member is named twice")
    return found


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def configured(document: Any, registry: Registry) -> Configuration:
    """Return what a document says an emitter does.

    Args:
        document: As `parse_declaration` returns it.
        registry: What its names stand for.

    Raises:
        DeclarationRefusedError: It says anything that is not honoured here.
    """
    _check_versions(document)
    read = _validated(document)
    points = _check_consistent(read)
    _check_surface(read, points)
    _check_names(read, registry)
    composition = read.configuration.composition
    timeouts = read.configuration.timeouts
    approval = read.configuration.approval
    resolver_ms = timeouts.approval_resolver_ms
    if "approval_resolver_ms" not in timeouts.model_fields_set:
        resolver_ms = timeouts.interceptor_ms
    seam = None
    if approval.resolver is not None:
        redactor = None if approval.redactor is None else registry.redactors[approval.redactor]
        seam = Seam(registry.resolvers[approval.resolver], redactor, _seconds(resolver_ms))
    knobs = {name: getattr(composition, name) for name in KNOBS[composition.profile]}
    return Configuration(
        bindings=tuple(_bound(index, each, read, points, registry) for index, each in enumerate(read.bindings)),
        composition=Composition.of(composition.profile, **knobs),
        mode=read.configuration.mode,
        identity=_identity(read.configuration.identity_provider, registry),
        seam=seam,
        most_records=read.configuration.records.max_buffered,
        declaration=read.declaration,
    )


def _check_versions(document: Mapping[str, Any]) -> None:
    if document.get("declaration") != VERSION:
        raise DeclarationRefusedError("version_unsupported", "/declaration", f"only {VERSION} is read here")
    if "spec" in document:
        found = re.fullmatch(r"agent-hooks/([0-9]{1,9})\.([0-9]{1,9})", str(document["spec"]))
        if found is None or int(found[1]) != _SPEC[0] or int(found[2]) > _SPEC[1]:
            raise DeclarationRefusedError("spec_unsupported", "/spec", "only agent-hooks/0.1 is spoken here")


def _validated(document: Mapping[str, Any]) -> Document:
    try:
        read = Document.model_validate(document)
    except ValidationError as error:
        problem = first_problem(Document, error)
        word = "unknown_field" if problem.kind == "extra_forbidden" else "invalid_field"
        raise DeclarationRefusedError(word, _pointer(problem.path), problem.words) from None
    for index, binding in enumerate(read.bindings):
        try:
            canonical_json(binding.config)
        except InvalidInputError as error:
            raise DeclarationRefusedError("invalid_field", f"/bindings/{index}/config", line_of_error(error)) from None
    return read


def _pointer(place: Sequence[Any]) -> str:
    steps = [str(step) for step in place if not (isinstance(step, str) and "[" in step)]
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


def _check_consistent(read: Document) -> frozenset[str]:
    """Check what the parts of a document say of each other; returns the points that it is about."""
    composition, surface = read.configuration.composition, read.surface or Surface()
    for knob in composition.model_fields_set - {"profile"}:
        if knob not in KNOBS[composition.profile]:
            raise _inconsistent(
                f"/configuration/composition/{knob}", f"the profile {composition.profile} does not ask it"
            )
    points = frozenset(PLACES if surface.interception_points is None else surface.interception_points)
    if not points >= _FLOOR:
        raise _inconsistent("/surface/interception_points", f"{min(_FLOOR - points)} is missing")
    capabilities = frozenset(_CAPABILITIES if surface.capabilities is None else surface.capabilities)
    for word, pair in _PAIRS.items():
        if (word in capabilities) != (pair <= points) or (pair & points and not pair <= points):
            raise _inconsistent("/surface/interception_points", f"its points and the capability {word} disagree")
    if surface.declaration_versions is not None and VERSION not in surface.declaration_versions:
        raise _inconsistent("/surface/declaration_versions", "the document's own version is missing")
    _check_profile(read, surface)
    seen: set[str] = set()
    for index, binding in enumerate(read.bindings):
        if binding.id in seen:
            raise _inconsistent(f"/bindings/{index}/id", f"{binding.id} stands there twice")
        seen.add(binding.id)
        if not set(binding.at or ()) <= points:
            raise _inconsistent(f"/bindings/{index}/at", "it names a point that the surface has not")
    return points


def _check_profile(read: Document, surface: Surface) -> None:
    if surface.profiles is None:
        return
    composition = read.configuration.composition
    offered = getattr(surface.profiles, composition.profile.partition("/")[2])
    if offered is None:
        raise _inconsistent("/configuration/composition/profile", "the surface does not offer it")
    for knob in KNOBS[composition.profile]:
        if getattr(composition, knob) not in getattr(offered, knob):
            raise _inconsistent(f"/configuration/composition/{knob}", "the surface does not offer it")


def _inconsistent(pointer: str, detail: str) -> DeclarationRefusedError:
    return DeclarationRefusedError("inconsistent", pointer, detail)


def _check_surface(read: Document, points: frozenset[str]) -> None:
    """Check that this host can do what the document says that it does."""
    surface = read.surface or Surface()
    unable = set(surface.capabilities or ()) - set(_CAPABILITIES)
    if unable:
        raise _unable("/surface/capabilities", f"{min(unable)} is nothing that this host does")
    if set(surface.declaration_versions or ()) - {VERSION}:
        raise _unable("/surface/declaration_versions", f"only {VERSION} is read here")
    if not surface.buffered_output:
        raise _unable("/surface/buffered_output", "this host holds output back until it is judged")
    if read.configuration.posture.tool_seam_host_error != "continue":
        raise _unable("/configuration/posture/tool_seam_host_error", "here an agent goes on when a tool is denied")


def _unable(pointer: str, detail: str) -> DeclarationRefusedError:
    return DeclarationRefusedError("surface_unsupported", pointer, detail)


def _check_names(read: Document, registry: Registry) -> None:
    configuration = read.configuration
    for pointer, name, known in (
        ("/configuration/identity_provider", configuration.identity_provider, {JCS, *registry.identities}),
        ("/configuration/approval/resolver", configuration.approval.resolver, registry.resolvers),
        ("/configuration/approval/redactor", configuration.approval.redactor, registry.redactors),
    ):
        if name is not None and name not in known:
            raise DeclarationRefusedError("reference_unresolved", pointer, f"nothing is registered as {name}")
    for index, binding in enumerate(read.bindings):
        if binding.kind not in registry.kinds:
            kinds = ", ".join(registry.kinds) or "none"
            raise DeclarationRefusedError(
                "kind_unknown", f"/bindings/{index}/kind", f"there is no kind {binding.kind}; there are {kinds}"
            )


def _identity(name: str | None, registry: Registry) -> IdentityProvider | None:
    if name is None or name == JCS:
        return None if name is None else IdentityProvider()
    return IdentityProvider(name, registry.identities[name])


def _bound(index: int, binding: BindingItem, read: Document, points: frozenset[str], registry: Registry) -> Binding:
    timeout_ms = read.configuration.timeouts.interceptor_ms
    if "timeout_ms" in binding.model_fields_set:
        timeout_ms = binding.timeout_ms
    told = BoundTo(binding.id, binding.kind, frozenset(binding.at or points), _seconds(timeout_ms))

    def blame(error: BaseException) -> DeclarationRefusedError:
        return DeclarationRefusedError("binding_rejected", f"/bindings/{index}", f"{binding.id}: {text_of(error)}")

    with Blamed(blame):
        made = registry.kinds[binding.kind](binding.config, told)
        if not callable(getattr(made, "intercept", None)):
            raise TypeError(f"its kind made a {type(made).__name__}, which has no intercept")
    return Binding(made, binding.id, told.points, told.timeout_s)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
