from __future__ import annotations

import re
import string
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.trie import Topics

# The slow matcher: as the documentation says it, segment by segment and character by character.


def alternatives(pattern: str) -> Iterator[str]:
    innermost = re.search(r"\{([^{}]*)\}", pattern)
    if innermost is None:
        yield pattern
        return
    for part in innermost[1].split(","):
        yield from alternatives(pattern[: innermost.start()] + part + pattern[innermost.end() :])


def fits_text(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return fits_text(glob[1:], text) or (bool(text) and fits_text(glob, text[1:]))
    if glob[0] == "[":
        end = glob.index("]", 2)
        chosen = glob[1:end]
        wanted = text[:1] not in chosen[1:] if chosen[0] == "!" else text[:1] in chosen
        return bool(text) and wanted and fits_text(glob[end + 1 :], text[1:])
    return bool(text) and glob[0] in ("?", text[0]) and fits_text(glob[1:], text[1:])


def fits(pattern: list[str], topic: list[str]) -> bool:
    if not pattern:
        return not topic
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        return any(fits(rest, topic[count:]) for count in range(len(topic) + 1))
    if not topic or not fits_text(first, topic[0]):
        return False
    return True if not rest and first.endswith("*") else fits(rest, topic[1:])


def slowly_matches(pattern: str, topic: str) -> bool:
    segments = re.split("[.:]", topic)
    return any(fits(re.split("[.:]", each), segments) for each in alternatives(pattern))


def matches(pattern: str, topic: str) -> bool:
    topics: Topics[str] = Topics()
    topics.add([pattern], "it")
    return topics.route(topic) == ("it",)


LETTERS = st.sampled_from("abc")
WORD = st.text("abc", max_size=3)
GLOB = st.lists(st.one_of(LETTERS, st.sampled_from(["*", "?", "[ab]", "[!a]"])), max_size=4).map("".join)
CHOICE = st.lists(WORD, min_size=1, max_size=3).map(lambda words: "{" + ",".join(words) + "}")
SEGMENT = st.one_of(WORD, GLOB, st.just("*"), st.just("**"), CHOICE)
SEPARATOR = st.sampled_from(".:")


def joined(segments: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(segments, SEPARATOR), min_size=1, max_size=5)
    return pairs.map(lambda pairs: "".join(a + b for a, b in pairs)[:-1])


MOST = 64
"""How many patterns one with braces may stand for."""


def is_pattern(text: str) -> bool:
    """Whether it may be subscribed to."""
    stands_for = list(alternatives(text))
    return bool(text) and "***" not in text and all(stands_for) and len(stands_for) <= MOST


PATTERN = joined(SEGMENT).filter(is_pattern)
TOPIC = joined(WORD).filter(bool)


def test_a_pattern_that_stands_for_too_many_is_refused() -> None:
    Topics[int]().add(["{a,b}." * 5 + "{c,d}"], 1)
    with pytest.raises(InvalidInputError, match="more than 64 patterns"):
        Topics[int]().add(["{,,}.{,,}.{,,}.{,,}"], 1)


@given(st.lists(PATTERN, min_size=1, max_size=6), TOPIC)
def test_the_trie_matches_as_the_slow_matcher_does(patterns: list[str], topic: str) -> None:
    topics: Topics[int] = Topics()
    for number, pattern in enumerate(patterns):
        topics.add([pattern], number)

    found = topics.route(topic)

    assert found == tuple(number for number, pattern in enumerate(patterns) if slowly_matches(pattern, topic))
    assert topics.route(topic) == found == topics.match(topic)


@given(st.lists(st.lists(PATTERN, min_size=1, max_size=3), min_size=1, max_size=6), st.randoms())
def test_whoever_is_taken_out_leaves_nothing_behind(subscribers: list[list[str]], random: object) -> None:
    topics: Topics[int] = Topics()
    numbers = [topics.add(patterns, index) for index, patterns in enumerate(subscribers)]
    random.shuffle(numbers)  # type: ignore[attr-defined]

    for number in numbers:
        topics.remove(number)

    assert topics._root.empty
    assert not topics._root.globs
    assert topics.route("a.b.c") == ()


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("user.created", "user:created"),
        ("user:created", "user.created"),
        ("*", "user.created"),
        ("user.*", "user.created"),
        ("user.*", "user.created.twice"),
        ("user*", "username.x"),
        ("*.error", "tool.error"),
        ("user.*.created", "user.7.created"),
        ("user.**", "user"),
        ("**.error", "a.b.error"),
        ("**.error", "error"),
        ("a.**.z", "a.z"),
        ("tool:?", "tool.x"),
        ("tool.[a-c]x", "tool.bx"),
        ("{user,order}.created", "order.created"),
        ("{user.created,order.*}", "order.paid.late"),
        ("a.{b,{c,d}}", "a.d"),
        ("a.[*]", "a.*"),
        ("literal", "literal"),
    ],
)
def test_a_pattern_matches(pattern: str, topic: str) -> None:
    assert matches(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("user.*", "user"),
        ("user.created", "user.created.twice"),
        ("*.error", "a.b.error"),
        ("user.*.created", "user.a.b.created"),
        ("**.error", "error.x"),
        ("tool:?", "tool.xy"),
        ("tool.[!a]", "tool.a"),
        ("a.[*]", "a.b"),
        ("user.created", "User.created"),
        ("a.b", "a.*"),
        ("a.?", "a."),
    ],
)
def test_a_pattern_does_not_match(pattern: str, topic: str) -> None:
    assert not matches(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "must have 1 to 512"),
        ("x" * 513, "must have 1 to 512"),
        ("a.[bc", "encloses nothing"),
        ("a.[b.c]", "encloses nothing, or a separator"),
        ("a.[]", "encloses nothing"),
        ("a.{b,c", "does not close"),
        ("a.b}", "encloses nothing"),
        ("{a,b}" * 7, "more than 64"),
        ("**." * 9 + "x", "more than 8"),
    ],
)
def test_a_wrong_pattern_is_refused_and_adds_nothing(pattern: str, problem: str) -> None:
    topics: Topics[str] = Topics()

    with pytest.raises(InvalidInputError, match=problem):
        topics.add(["fine.*", pattern], "it")

    assert topics.route("fine.day") == ()


@pytest.mark.parametrize("topic", ["", "x" * 513])
def test_a_topic_without_a_name_or_with_too_long_a_one_is_refused(topic: str) -> None:
    topics: Topics[str] = Topics()

    with pytest.raises(InvalidInputError, match="1 to 512 characters"):
        topics.route(topic)


def test_a_subscriber_is_found_once_in_the_order_of_subscribing() -> None:
    topics: Topics[str] = Topics()
    topics.add(["a.*", "a.b", "**", "{a,b}.b"], "first")
    topics.add(["a.b"], "second")

    assert topics.route("a.b") == ("first", "second")


def test_hostile_patterns_and_topics_match_in_bounded_time() -> None:
    topics: Topics[str] = Topics()
    topics.add([".".join(["**", "a"] * 8) + ".b", "*a" * 200 + "b"], "it")
    hostile = ".".join("a" * 250)

    assert topics.match(hostile) == ()
    assert topics.match("a" * 500) == ()


def test_the_kept_routes_are_bounded_and_forgotten_when_a_subscriber_comes() -> None:
    topics: Topics[str] = Topics()
    words = [
        f"{a}{b}{c}.{d}"
        for a in string.ascii_letters
        for b in string.ascii_letters
        for c in "0123"
        for d in "0123456789"
    ]

    for word in words:
        topics.route(word)

    assert len(words) > 65_536
    assert len(topics.routes) <= 65_536
    topics.add(["aa0.*"], "it")
    assert topics.route("aa0.0") == ("it",)
