"""regex-matcher: held against perl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import OperationTimeoutError, ResourceLimitError
from llmspell_plugins.tools.utility.regex_matcher import RegexMatcher
from tool_caller import call
from tool_host import oracle, settings_of

TEXT = "2026-03-14 alpha; 2025-12-31 beta\n1999-01-01 gamma"
DATE = r"(?P<y>\d{4})-(\d\d)-(\d\d)"


def told(**parameters: Any) -> Any:
    return call(RegexMatcher, **parameters).result


def perl(code: str, text: str) -> str:
    return oracle("perl", "-CSDA", "-0777", "-ne", code, given=text).decode()


def test_the_first_match_is_told_with_its_place_and_groups() -> None:
    result = told(operation="match", pattern=DATE, input="on " + TEXT)

    start, end = perl(r'/(\d{4})-(\d\d)-(\d\d)/ and print "$-[0] $+[0]"', "on " + TEXT).split()
    assert result == {
        "matched": True,
        "full": False,
        "match": "2026-03-14",
        "start": int(start),
        "end": int(end),
        "groups": ["2026", "03", "14"],
        "named_groups": {"y": "2026"},
    }


def test_what_does_not_match_is_told_so_and_what_matches_whole() -> None:
    assert told(pattern="x{3}", input="xx") == {"matched": False, "full": False}
    assert told(pattern="x+", text="xx")["full"]
    assert told(regex="É", input="é", flags="i")["matched"]


def test_all_matches_are_those_of_perl() -> None:
    result = told(operation="find_all", pattern=r"\b\w+a\b", input=TEXT)

    found = perl(r'while (/\b\w+a\b/g) { print "$& $-[0]\n" }', TEXT).splitlines()
    assert [f"{each['match']} {each['start']}" for each in result["matches"]] == found
    assert (result["count"], result["truncated"]) == (3, False)


@pytest.mark.parametrize("replacement", [r"\3.\2.\g<y>", "$3.$2.${y}"])
def test_matches_are_replaced_as_perl_does(replacement: str) -> None:
    result = told(operation="replace", pattern=DATE, input=TEXT, replacement=replacement)

    assert result == {"result": perl(r"s/(\d{4})-(\d\d)-(\d\d)/$3.$2.$1/g; print", TEXT), "count": 3}
    once = told(operation="replace", pattern=DATE, input=TEXT, replacement="$$", count=1)
    assert once["result"] == perl(r"s/(\d{4})-(\d\d)-(\d\d)/\$/; print", TEXT)


def test_a_text_is_split_as_perl_does() -> None:
    result = told(operation="split", pattern=r"\s*[;\n]\s*", input=TEXT)

    assert result["parts"] == perl(r'print join "|", split /\s*[;\n]\s*/', TEXT).split("|")
    assert told(operation="split", pattern="-", input="a-b-c", max_matches=2)["parts"] == ["a", "b-c"]
    assert told(operation="split", pattern="", input="abc")["parts"] == ["a", "b", "c"]


def test_a_pattern_is_checked() -> None:
    assert told(operation="validate", pattern=DATE) == {"valid": True, "groups": 3, "group_names": ["y"]}
    wrong = told(operation="validate", pattern="a[b")
    assert (wrong["valid"], wrong["position"]) == (False, 1)


@pytest.mark.parametrize("flag", ["multiline", "dot_all", "verbose", "ascii"])
def test_each_flag_counts(flag: str) -> None:
    pattern, text = {
        "multiline": ("^b", "a\nb"),
        "dot_all": ("a.b", "a\nb"),
        "verbose": ("a b # c", "ab"),
        "ascii": (r"^\W$", "é"),
    }[flag]

    assert told(pattern=pattern, input=text, flags=[flag])["matched"]
    assert not told(pattern=pattern, input=text)["matched"]


async def test_a_catastrophic_pattern_ends_at_its_deadline_and_the_next_call_works(tmp_path: Path) -> None:
    async with opened(RegexMatcher, settings=settings_of(tmp_path)) as host:
        with pytest.raises(OperationTimeoutError):
            given = {"pattern": r"(a|a)*$", "input": "a" * 5000 + "b"}
            await host.call("tool:regex-matcher", given, deadline_s=0.5)
        after = await host.call("tool:regex-matcher", {"pattern": "b", "input": "b"})

    assert after.result["matched"]


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "(?P<x>a)(?P<x>b)", "(?z)", "[", "\\", "(" * 5000])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInputError, match="no regular expression"):
        told(pattern=pattern, input="a")


def test_what_would_be_too_much_is_refused() -> None:
    with pytest.raises(ResourceLimitError, match="characters"):
        told(operation="replace", pattern="a", input="a" * 10_000, replacement="x" * 100_000)
    with pytest.raises(InvalidInputError):
        told(pattern="a", input="a" * 10_000_001)
    with pytest.raises(InvalidInputError, match="replacement"):
        told(operation="replace", pattern="a", input="a", replacement="$9")
    most = told(operation="find_all", pattern="a", input="a" * 50, max_matches=10)
    assert (most["count"], most["truncated"]) == (10, True)
