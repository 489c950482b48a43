"""The parts of the plugin agent_hooks beside those of the contract's own kit, on whatever hypothesis thinks of."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("agent_hooks", reason="the kit comes with the extra test")

from agent_hooks import DeclarationError, HostDeclaration, HostRegistry, _core, canonical_json, context_identity

from agent_hooks_harness import LlmspellHarness
from agent_hooks_report import VECTORS
from llmspell_hookspecs.errors import InvalidInputError
from llmspell_plugins.hooks.agent_hooks import identity
from llmspell_plugins.hooks.agent_hooks.composition import KNOBS, Composition, settle
from llmspell_plugins.hooks.agent_hooks.declaration import (
    DeclarationRefusedError,
    Registry,
    configured,
    parse_declaration,
)
from llmspell_plugins.hooks.agent_hooks.target import TransformError, transformed
from llmspell_plugins.hooks.agent_hooks.verdict import read_verdict

TEXTS = st.text(max_size=8)
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(
        ["\x7f", "\u2028", "\U0001f600", "\ue000", "€", 'a"\\b', 1e21, 1e-7, 123456789012345680000.0, 5e-324]
    )
)
JSON = st.recursive(
    ATOMS, lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXTS, each, max_size=3), max_leaves=8
)
WORDS = st.sampled_from(["a", "b", "host_error:x", None])
VERDICTS = st.fixed_dictionaries(
    {"decision": st.sampled_from(["allow", "deny", "transform", "ALLOW", "warn", None, 1])},
    optional={
        "reason": WORDS | st.just(3),
        "message": WORDS | st.just([]),
        "warnings": st.none()
        | st.just({})
        | st.lists(st.fixed_dictionaries({}, optional={"reason": WORDS, "message": WORDS, "x": WORDS}), max_size=2),
        "approval": st.none() | st.just({}) | st.just({"who": "me"}) | st.just([]),
        "transform": st.none()
        | st.just({"path": "$target"})
        | st.just({"path": "$target.a", "value": 1})
        | st.just({"path": "$target.a b", "value": 1})
        | st.just({"path": "$other", "value": 1})
        | st.just({"path": "$target", "value": 1, "more": 2})
        | st.just({"value": 1}),
        "evidence": st.none()
        | st.just({})
        | st.just({"artefact": "x" * 10_300})
        | st.just({"artefact": 1})
        | st.just({"verification_pointers": {"a": "b"}})
        | st.just({"more": 1}),
        "result_labels": st.none() | st.just(["l"]) | st.just([1]) | st.just("l"),
        "more": st.just(1),
    },
)
GOOD = st.one_of(
    st.builds(
        lambda w: {"decision": "allow", "warnings": [{"reason": w}], "result_labels": [w]}, st.sampled_from("abc")
    ),
    st.builds(lambda w: {"decision": "deny", "reason": w}, st.sampled_from("abc")),
    st.builds(lambda w: {"decision": "deny", "reason": w, "approval": {}}, st.sampled_from("abc")),
    st.builds(
        lambda w: {"decision": "transform", "transform": {"path": "$target", "value": w}}, st.sampled_from("abc")
    ),
)
COMPOSITIONS = st.sampled_from(
    [(profile, {knob: word}) for profile, knobs in KNOBS.items() for knob, words in knobs.items() for word in words]
    + [("sequential/run_all", {})]
).filter(lambda each: each[0] != "sequential/first_deny")
CONTEXT = {
    "spec": "agent-hooks/0.1",
    "interception_point": "pre_tool_call",
    "timestamp": "2026-01-01T00:00:00.000Z",
    "sequence": 1,
    "agent": {"id": "a", "framework": "llmspell", "name": "left out"},
    "session": {"id": "s", "turn": 3},
    "extensions": {"x": 1},
}


def in_context(value: Any) -> dict[str, Any]:
    return {**CONTEXT, "target": value, "tool_call": {"id": "1", "name": "n", "args": value, "content_hash": "x"}}


def theirs(function: Any, *arguments: Any) -> Any:
    """Return what the kit makes of it; None if it refuses."""
    try:
        return function(*arguments)
    except (ValueError, _core.AgentHooksCoreError):
        return None


def reads_exactly(value: Any) -> bool:
    """Whether the kit reads the number that is written: its JSON reader is off by one in the last digit of some."""
    if isinstance(value, float):
        read = theirs(canonical_json, value)
        return read is None or float(read) == value
    if isinstance(value, dict | list):
        return all(map(reads_exactly, value.values() if isinstance(value, dict) else value))
    return True


def ours(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (InvalidInputError, TransformError):
        return None


@given(JSON)
def test_a_value_has_the_same_canonical_form(value: Any) -> None:
    assume(reads_exactly(value))

    assert ours(identity.canonical_json, value) == theirs(canonical_json, value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_as_ecmascript_does(number: float) -> None:
    assume(reads_exactly(number))

    assert ours(identity.canonical_json, number) == theirs(canonical_json, number)


@given(st.dictionaries(TEXTS, JSON, max_size=4))
def test_a_context_has_the_same_identity(value: dict[str, Any]) -> None:
    assume(reads_exactly(value))

    assert ours(identity.context_identity, in_context(value)) == theirs(context_identity, in_context(value))


@given(VERDICTS | JSON)
def test_the_same_verdicts_are_let_in(answer: Any) -> None:
    try:
        _core.validate_verdict(json.dumps(answer))
        reason = None
    except _core.AgentHooksCoreError as error:
        reason = str(error.code)

    verdict = read_verdict(answer)

    assert verdict.is_of_host == (reason is not None)
    if isinstance(answer, dict) and answer.get("decision") == "transform":
        assert (verdict.reason if verdict.is_of_host else None) == reason


@given(
    st.recursive(
        st.integers(0, 9), lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from("ab"), each)
    ),
    st.lists(st.sampled_from([".a", ".b", "[0]", "[1]", '["a"]', ".a-b", "[x]", "."]), max_size=4),
    st.sampled_from(["$target", "$policy_target", "$other", "target"]),
)
def test_a_path_leads_to_the_same_place(target: Any, steps: list[str], root: str) -> None:
    path = root + "".join(steps)
    applied = theirs(_core.apply_transform_ctx, json.dumps(in_context(target)), path, '"V"')

    found = ours(transformed, "pre_tool_call", target, path, "V")

    assert found == (None if applied is None else json.loads(applied)["target"])


@given(COMPOSITIONS, st.lists(GOOD, min_size=1, max_size=4))
def test_verdicts_come_to_the_same(composition: tuple[Any, dict[str, str]], given_all: list[dict[str, Any]]) -> None:
    profile, knobs = composition
    wire = {"profile": profile, **knobs}
    found = json.loads(_core.compose_aggregate(json.dumps(wire), json.dumps(given_all)))

    settled = settle(Composition.of(profile, **knobs), [read_verdict(each) for each in given_all])

    expected = found["combined"]
    assert (settled.verdict.decision, settled.verdict.reason) == (expected["decision"], expected.get("reason"))
    assert settled.verdict.is_liftable == ("approval" in expected)
    assert [each.reason for each in settled.verdict.warnings or ()] == [
        e["reason"] for e in expected.get("warnings", [])
    ]
    assert (settled.verdict.result_labels or []) == expected.get("result_labels", [])
    assert settled.decided_by == found["decided_by"]
    assert settled.applies == found["apply_transform"]


FULL: dict[str, Any] = VECTORS["AH-CTK-121"]["host_declaration"]
PLACES: list[tuple[str, ...]] = [
    (),
    ("declaration",),
    ("spec",),
    ("id",),
    ("host",),
    ("host", "name"),
    ("host", "version"),
    ("configuration", "mode"),
    ("configuration", "composition"),
    ("configuration", "composition", "profile"),
    ("configuration", "composition", "on_approval"),
    ("configuration", "composition", "on_disagreement"),
    ("configuration", "identity_provider"),
    ("configuration", "approval", "resolver"),
    ("configuration", "approval", "redactor"),
    ("configuration", "posture", "tool_seam_host_error"),
    ("configuration", "timeouts", "interceptor_ms"),
    ("configuration", "timeouts", "approval_resolver_ms"),
    ("configuration", "records", "max_buffered"),
    ("surface",),
    ("surface", "interception_points"),
    ("surface", "capabilities"),
    ("surface", "profiles"),
    ("surface", "profiles", "parallel/unanimous"),
    ("surface", "profiles", "parallel/unanimous", "on_disagreement"),
    ("surface", "buffered_output"),
    ("surface", "exposure_bound"),
    ("surface", "declaration_versions"),
    ("bindings",),
    ("bindings", "0", "id"),
    ("bindings", "0", "kind"),
    ("bindings", "0", "config"),
    ("bindings", "0", "at"),
    ("bindings", "0", "timeout_ms"),
    ("extensions",),
    ("extensions", "Bad Name"),
    ("nothing",),
    ("surface", "nothing"),
    ("bindings", "0", "nothing"),
]
VALUES: list[Any] = [
    None, True, False, 0, 1, 1.0, 2**53 - 1, 2**53, -1, 3_600_000, 3_600_001, "", "a", "A", "jcs", "jcs-sha256",
    "jcs-x", "hmac-1", "ctk-fault", "ctk-scripted", "ctk-redact", "b", "ctk.scripted", "ctk.none", "x", "terminate",
    "continue", "enforce", "evaluate_only", "deny", "approval", "stop", "resume", "sequential/run_all",
    "parallel/strictest",
    "agent-hooks/0.1", "agent-hooks/0.0", "agent-hooks/1.0", "agent-hooks-declaration/1.0",
    "agent-hooks-declaration/1.1",
    [], {}, ["deny"], ["approval", "deny"], ["deny", "deny"], ["agent_startup"], ["pre_tool_call"], ["model_calls"],
    ["incremental_output"], ["streaming", "model_calls", "tool_calls"], ["agent-hooks-declaration/1.0"],
    ["agent_startup", "input", "output", "agent_shutdown"],
    ["agent_startup", "input", "pre_tool_call", "post_tool_call", "output", "agent_shutdown"],
    {"profile": "sequential/first_deny"}, {"on_disagreement": "deny"}, {"script": 0}, {"script": 99},
    {"parallel/unanimous": {}},
    [{"id": "a", "kind": "ctk.scripted", "config": {"script": 0}}],
]  # fmt: skip


def placed(document: dict[str, Any], place: tuple[str, ...], value: Any) -> Any:
    """Return the document with a value at a place; DROP takes out what is there."""
    if not place:
        return value
    changed: Any = copy.deepcopy(document)
    held = changed
    for step in place[:-1]:
        held = held[int(step)] if isinstance(held, list) else held.setdefault(step, {})
        if not isinstance(held, dict | list):
            return changed
    if value == "DROP":
        held.pop(place[-1], None)
    else:
        held[place[-1]] = value
    return changed


def refusal_of_theirs(document: Any, registry: HostRegistry) -> str:
    from agent_hooks import InterceptionEmitter

    try:
        InterceptionEmitter.from_declaration(HostDeclaration.from_value(document), registry)
    except DeclarationError as error:
        return error.error_class.value
    return ""


def refusal_of_ours(document: Any, registry: Registry) -> str:
    try:
        configured(parse_declaration(json.dumps(document)), registry)
    except DeclarationRefusedError as error:
        assert not re.search(r"Input should|Value error|valid (dictionary|integer|boolean|tuple)", str(error)), error
        return error.word
    return ""


@pytest.fixture(scope="module")
def registries() -> tuple[HostRegistry, Registry]:
    from agent_hooks.ctk.runner import _Scripts

    from agent_hooks_harness import _registered

    registry = _Scripts(VECTORS["AH-CTK-121"]).registry(LlmspellHarness().host_surface())
    return registry, _registered(registry)


@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_a_document_is_refused_for_the_same_reason(place: tuple[str, ...], registries: tuple[Any, Any]) -> None:
    theirs_registry, ours_registry = registries
    for base in (FULL, {"declaration": FULL["declaration"], "bindings": FULL["bindings"]}):
        for value in [*VALUES, "DROP"]:
            document = placed(base, place, value)

            refused = refusal_of_ours(document, ours_registry)

            assert refused == refusal_of_theirs(document, theirs_registry), (place, value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "malformed"),
        ("[]", "malformed"),
        ('{"declaration": "a", "declaration": "b"}', "malformed"),
        ('{"declaration": NaN}', "malformed"),
        ('{"x": ' + "[" * 40 + "]" * 40 + "}", "malformed"),
        ('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", "malformed"),
        (" " * (1024 * 1024 + 1), "malformed"),
    ],
    ids=["nothing", "a list", "twice", "NaN", "deep", "too deep to read", "large"],
)
def test_a_text_that_is_no_document_is_refused(text: str, word: str) -> None:
    with pytest.raises(DeclarationRefusedError) as refused:
        parse_declaration(text)

    assert refused.value.word == word
