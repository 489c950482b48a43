"""Names as a style of the Citation Style Language writes them: their order, initials, how many, and what joins them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .csl_style import Element, Style

__all__ = ["OPTIONS", "Name", "names_of"]

Name = Mapping[str, Any]
OPTIONS: Final = (
    "and",
    "delimiter-precedes-et-al",
    "delimiter-precedes-last",
    "et-al-min",
    "et-al-use-first",
    "et-al-use-last",
    "initialize",
    "initialize-with",
    "name-as-sort-order",
    "sort-separator",
)
"""What a name may have from the layout or the style that it stands in."""


def names_of(
    people: Sequence[Name], name: Element | None, options: Mapping[str, str], style: Style, et_al: str, more: int
) -> str:
    """Return people's names in a row.

    Args:
        people: Who.
        name: The style's element, for the format of parts.
        options: Its attributes, with those that it inherits.
        style: For words.
        et_al: What stands for those left out.
        more: How many are shown beyond what the style says, to tell two citations apart.
    """
    if options.get("form") == "count":
        return str(len(people))
    least, first = _whole(options.get("et-al-min"), 0), max(1, _whole(options.get("et-al-use-first"), 1)) + more
    cut = 0 < least <= len(people) and first < len(people)
    shown = list(people[:first]) if cut else list(people)
    order = options.get("name-as-sort-order", "")
    inverted = [order == "all" or (order == "first" and at == 0) for at in range(len(shown))]
    written = [_name(each, name, options, style, turned) for each, turned in zip(shown, inverted, strict=True)]
    delimiter = options.get("delimiter", ", ")
    if cut:
        return _cut(written, inverted, delimiter, options, et_al, people, name, style)
    word = {"text": style.term("and"), "symbol": "&"}.get(options.get("and", ""), "")
    if len(written) < 2 or not word:
        return delimiter.join(written)
    precedes = options.get("delimiter-precedes-last", "contextual")
    serial = _precedes(precedes, len(written) > 2, inverted[-2])
    return f"{delimiter.join(written[:-1])}{delimiter if serial else ' '}{word} {written[-1]}"


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 6 else otherwise


def _cut(
    written: list[str],
    inverted: list[bool],
    delimiter: str,
    options: Mapping[str, str],
    et_al: str,
    people: Sequence[Name],
    name: Element | None,
    style: Style,
) -> str:
    listed = delimiter.join(written)
    if options.get("et-al-use-last") == "true" and len(people) > len(written) + 1:
        last = _name(people[-1], name, options, style, options.get("name-as-sort-order") == "all")
        return f"{listed}{delimiter}… {last}"
    precedes = options.get("delimiter-precedes-et-al", "contextual")
    serial = _precedes(precedes, len(written) > 1, inverted[-1])
    return f"{listed}{delimiter if serial else ' '}{et_al}" if et_al else listed


def _precedes(rule: str, many: bool, inverted: bool) -> bool:
    return {"always": True, "never": False, "after-inverted-name": inverted}.get(rule, many)


def _name(person: Name, name: Element | None, options: Mapping[str, str], style: Style, inverted: bool) -> str:
    if "literal" in person:
        return _part(str(person["literal"]), name, "family")
    particle, family = person.get("non-dropping-particle", ""), _part(person.get("family", ""), name, "family")
    given, dropping = _part(_given(person, options, style), name, "given"), person.get("dropping-particle", "")
    if not family:
        return given
    if options.get("form") == "short":
        return _spaced(particle, family)
    suffix = person.get("suffix", "")
    if not inverted:
        return _spaced(given, dropping, particle, family, suffix)
    separator = options.get("sort-separator", ", ")
    demoted = style.root.get("demote-non-dropping-particle", "display-and-sort") == "display-and-sort"
    head, tail = (
        (family, _spaced(given, dropping, particle))
        if demoted
        else (_spaced(particle, family), _spaced(given, dropping))
    )
    return separator.join(part for part in (head, tail, suffix) if part)


def _spaced(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _part(text: str, name: Element | None, which: str) -> str:
    for part in name.findall("name-part") if name is not None else ():
        if part.get("name") == which and part.get("text-case") == "uppercase":
            return text.upper()
    return text


def _given(person: Name, options: Mapping[str, str], style: Style) -> str:
    given, mark = str(person.get("given", "")), options.get("initialize-with")
    if mark is None or not given:
        return given
    if options.get("initialize") == "false":
        return re.sub(r"\b([^\W\d_])\.?(?= |$)", lambda found: found[1] + mark.rstrip(), given)
    hyphen = "-" if style.root.get("initialize-with-hyphen", "true") == "true" else ""
    words = re.sub(r"\.(?=[^\s-])", ". ", given).split()
    return "".join(_initials(word, mark, hyphen) for word in words).strip()


def _initials(word: str, mark: str, hyphen: str) -> str:
    parts = [part for part in word.split("-") if part]
    if not any(part[0].isupper() for part in parts):
        return f" {word} "  # a particle stays
    inner = f"{mark.rstrip()}{hyphen}"
    return inner.join(part[0].upper() for part in parts) + mark
