"""The pattern matcher written in Lua answers what the one in C answers."""

from __future__ import annotations

import importlib.resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lupa import lua54

PIECES = st.sampled_from(
    ["a", "b", ".", "%a", "%d", "%s", "%W", "[ab]", "[^a]", "[%d_]", "[a-c]", "%.", "%%", "-", "]", "x"]
)
ITEMS = st.builds(str.__add__, PIECES, st.sampled_from(["", "", "*", "+", "-", "?"])) | st.sampled_from(
    ["%b()", "%f[%w]", "%f[^a]", "()", "$", "^"]
)
BODIES = st.lists(ITEMS, max_size=5).map("".join)
PATTERNS = st.builds(
    lambda start, first, inside, last, back, end: start + first + inside + last + back + end,
    st.sampled_from(["", "^"]),
    BODIES,
    st.sampled_from(["", "()"]) | BODIES.map(lambda body: f"({body})"),
    BODIES,
    st.sampled_from(["", "", "%1"]),
    st.sampled_from(["", "$"]),
)
SUBJECTS = st.text(alphabet="aab b(1)_.%-^$x\n", max_size=24)


@pytest.fixture(scope="module")
def both() -> Any:
    """Return a function that runs something with the matcher in Lua and with the one in C."""
    lua = lua54.LuaRuntime(encoding="latin-1")
    source = importlib.resources.files("llmspell_plugins.languages.lua").joinpath("patterns.lua").read_text()
    source = source.replace("local CHEAP <const> = 1000000", "local CHEAP <const> = -1")
    assert "CHEAP <const> = -1" in source
    slow = lua.execute(
        """
        local source = ...
        local K = {charge = function() end, to_integer = math.tointeger}
        load(source)(K)
        return K.string
        """,
        source,
    )
    run = lua.execute(
        """
        local function shown(ok, ...)
          if not ok then
            return (... == nil or type(...) == 'string') and 'error' or 'strange'
          end
          local out = {}
          for i = 1, select('#', ...) do
            local v = select(i, ...)
            out[i] = math.type(v) .. ':' .. tostring(v)
          end
          return table.concat(out, '|')
        end
        local type = math.type
        math.type = function(v) return type(v) or _G.type(v) end
        local function all(lib, s, p)
          local out = {}
          for a, b, c in lib.gmatch(s, p) do
            out[#out + 1] = tostring(a) .. ',' .. tostring(b) .. ',' .. tostring(c)
          end
          return table.concat(out, ';')
        end
        return function(lib, name, s, p, extra)
          if name == 'gmatch' then return shown(pcall(all, lib, s, p)) end
          if name == 'callback' then
            return shown(pcall(lib.gsub, s, p, function(a, b) return '<' .. tostring(a) .. tostring(b) .. '>' end))
          end
          return shown(pcall(lib[name], s, p, extra))
        end
        """
    )
    real = lua.globals().string
    return lambda *arguments: (run(slow, *arguments), run(real, *arguments))


@settings(max_examples=600, deadline=None)
@given(SUBJECTS, PATTERNS, st.sampled_from(["find", "match", "gmatch", "callback"]))
def test_the_two_matchers_agree(both: Any, subject: str, pattern: str, name: str) -> None:
    ours, real = both(name, subject, pattern)

    assert ours in (real, "error")  # C sees what is wrong with a pattern only when it comes to it


@settings(max_examples=300, deadline=None)
@given(SUBJECTS, PATTERNS, st.sampled_from(["", "x", "%0", "%1", "<%1%0%%>", "%2", "%x"]))
def test_the_two_replace_alike(both: Any, subject: str, pattern: str, by: str) -> None:
    ours, real = both("gsub", subject, pattern, by)

    assert ours in (real, "error")


@settings(max_examples=200, deadline=None)
@given(SUBJECTS, PATTERNS, st.integers(-30, 30))
def test_the_two_begin_alike(both: Any, subject: str, pattern: str, start: int) -> None:
    for name in ("find", "match"):
        ours, real = both(name, subject, pattern, start)
        assert ours in (real, "error")


@pytest.mark.parametrize("pattern", ["%", "[a", "[^", "%f", "%fa", "%b", "%bx", "(a", "%1", "(%1)", "[]"])
def test_malformed_patterns_are_errors_in_both(both: Any, pattern: str) -> None:
    assert both("find", "aaa", pattern) == ("error", "error")
