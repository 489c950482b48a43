"""How the plugin debugging shows what it kept: whatever it is, it is a trace, and no cut lets a secret through."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from chrome_traces import check_trace
from llmspell_hookspecs import ToolCall
from llmspell_hookspecs.any_json import to_json
from llmspell_hookspecs.values import freeze
from llmspell_plugins.hooks.debugging.chrome import chrome_trace
from llmspell_plugins.hooks.debugging.span import Span, widened
from llmspell_plugins.hooks.debugging.values import Shower
from llmspell_plugins.hooks.security.secrets import Redactor

SECRET = "ghp_" + "a1B2" * 9


@st.composite
def any_spans(draw: st.DrawFn) -> list[Span]:
    """Return spans of any tasks, times and parents; a parent may be missing, may have ended before, and may be late."""
    spans: list[Span] = []
    for number in range(draw(st.integers(0, 25))):
        parent = draw(st.sampled_from([None, *spans]))
        begin = draw(st.integers(0, 40))
        spans.append(
            Span(
                kind="tool",
                component="tool:t",
                operation=f"o-{number}",
                parent="gone" if parent is None else parent.operation,
                depth=0 if parent is None else parent.depth + 1,
                task=draw(st.integers(1, 3)),
                begin_ns=begin,
                end_ns=begin + draw(st.integers(0, 20)),
            )
        )
    return spans


@given(any_spans())
def test_whatever_the_spans_are_each_is_one_slice_of_a_trace_that_holds(spans: list[Span]) -> None:
    wide = widened(spans)

    found = check_trace(json.loads(to_json(chrome_trace(wide, kept=len(spans)))))

    start_ns = min((span.begin_ns for span in wide), default=0)
    assert set(found) == {span.operation for span in spans}
    for span in wide:
        each = found[span.operation]
        assert each["ts"] == (span.begin_ns - start_ns) / 1000
        assert each["end"] == (span.end_ns - start_ns) / 1000


@given(any_spans())
def test_a_span_is_as_wide_as_what_ran_within_it_and_no_wider(spans: list[Span]) -> None:
    before = {span.operation: span for span in spans}

    after = {span.operation: span for span in widened(spans)}

    assert set(before) == set(after)
    for span in after.values():
        inner = [each for each in after.values() if each.parent == span.operation]
        own = before[span.operation]
        assert span.begin_ns == min([own.begin_ns, *(each.begin_ns for each in inner)])
        assert span.end_ns == max([own.end_ns, *(each.end_ns for each in inner if each.task == span.task)])


def shower(*, full: bool) -> Shower:
    return Shower(Redactor(), full=full)


@given(st.integers(0, 400), st.booleans())
def test_a_secret_is_redacted_wherever_the_cut_falls(before: int, full: bool) -> None:
    shown = to_json(shower(full=full)(freeze({"text": "x" * before + " " + SECRET + " behind"})))

    assert not any(SECRET[:length] in shown for length in range(12, len(SECRET)))


def test_what_stands_under_the_name_of_a_secret_is_masked_at_any_depth() -> None:
    call = ToolCall("t", {"rows": [{"password": "hunter two"}], "api_key": ["swordfish"], "plain": "kept"})

    for full in (False, True):
        shown = to_json(shower(full=full)(call))
        assert "hunter" not in shown
        assert "swordfish" not in shown
        assert "kept" in shown


def test_changes_hold_no_secret_either() -> None:
    asked = ToolCall("t", {"password": "hunter two", "text": "short", "gone": 1})
    ran = ToolCall("t", {"password": "swordfish", "text": f"see {SECRET}", "more": [{"token": "letmein"}]})

    changed = {row["field"]: row for row in shower(full=True).changes(asked, ran)}

    assert set(changed) == {"parameters.password", "parameters.text", "parameters.gone", "parameters.more"}
    assert changed["parameters.text"]["before"] == "short"
    assert changed["parameters.text"]["after"].startswith("see [REDACTED:github_token:")
    assert "after" not in changed["parameters.gone"]
    assert "before" not in changed["parameters.more"]
    assert not any(secret in to_json(changed) for secret in ("hunter", "swordfish", "letmein", SECRET))


def test_a_field_that_is_itself_a_secret_is_redacted_among_the_changes() -> None:
    asked, ran = ToolCall("t", {SECRET: 1, "k" * 300: 1}), ToolCall("t", {SECRET: 2, "k" * 300: 2})

    changed = shower(full=False).changes(asked, ran)

    assert [(row["before"], row["after"]) for row in changed] == [(1, 2), (1, 2)]
    assert SECRET not in to_json(changed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=600) | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=70) | st.dictionaries(st.text(max_size=9) | st.integers(), inner, max_size=70)
    ),
    max_leaves=90,
)


@example("\U0001f600" * 7, 2000)
@example("\U0001f600" * 50, 2000)
@example("\0" * 100, 2000)
@given(json_values, st.integers(1, 2000))
def test_a_value_that_is_cut_is_json_and_small(value: Any, times: int) -> None:
    shown = shower(full=False)([value] * times)

    assert len(json.dumps(shown)) <= 13_000  # of 2,000 bytes, each of which may take six letters as JSON
    json.loads(to_json(shown))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(alphabet="abc ", max_size=6000), st.lists
    )
)
def test_a_value_that_is_full_is_whole(value: Any) -> None:
    assert shower(full=True)(freeze(value)) == value


class Odd(dict[str, Any]):
    """A mapping that nobody can read."""

    def items(self) -> Any:
        raise RuntimeError(SECRET)

    values = keys = __iter__ = items


def test_a_value_that_cannot_be_shown_says_so() -> None:
    holds_itself: dict[str, Any] = {}
    holds_itself["a"] = holds_itself

    assert shower(full=False)(Odd(a=1)) == "(not shown: RuntimeError)"
    assert shower(full=False).changes(holds_itself, {"a": 2}) == ({"field": "(not shown: InvalidInputError)"},)
