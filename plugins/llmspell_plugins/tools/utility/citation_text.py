"""The words of references: names, dates, pages, editions and titles, as styles write them. English.

An item is a mapping of CSL-JSON. Titles hold ``<span class="nocase">`` around what keeps its letters, and italics stand
between two private characters until `rendered` makes them text, Markdown or HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "DASH",
    "and_so_on",
    "day_of",
    "edition_of",
    "family_of",
    "full_name",
    "initials",
    "inverted",
    "italic",
    "link_of",
    "pages_of",
    "quoted",
    "rendered",
    "sentence",
    "sentence_case",
    "title_case",
    "unmarked",
    "year_of",
]

Item = Mapping[str, Any]
Name = Mapping[str, Any]

DASH = "\u2013"
"""Between the ends of a range."""

_ON, _OFF = "\ue000", "\ue001"
_NOCASE = re.compile(r'(<span class="nocase">.*?</span>)', re.DOTALL)
_TAG = re.compile(r"</?(?:span|i|b|em|strong|sub|sup|sc)\b[^<>]*>", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_][\w'\u2019]*")
_SMALL = frozenset(
    "a an and as at but by down for from in into nor of on onto or over so the till to up via with yet".split()  # noqa: SIM905
)
_OPENING = "“\u2018\"'(\u00bf\u00a1 "
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def italic(text: str) -> str:
    """Return a text that is to be in italics."""
    return f"{_ON}{text}{_OFF}" if text else ""


def quoted(text: str, mark: str = "") -> str:
    """Return a text in double quotes, the mark that follows within them as Americans do."""
    inner = unmarked(text).replace("“", "\u2018").replace("”", "\u2019")
    return f"“{inner}{'' if inner.endswith(('?', '!', '.')) else mark}”" if text else ""


def sentence(text: str) -> str:
    """Return a text with a full stop, unless it ends in a mark."""
    return text if not text or text.rstrip(f"{_OFF}”\u2019").endswith((".", "?", "!")) else f"{text}."


def unmarked(text: str) -> str:
    """Return a title without what marks parts of it."""
    return _TAG.sub("", text)


def rendered(text: str, markup: str) -> str:
    """Return a reference as ``text``, ``markdown`` or ``html``."""
    if markup == "markdown":
        text = re.sub(r"([\\*_`\[\]<])", r"\\\1", text)
    if markup == "html":
        text = html.escape(text, quote=False)
    on, off = {"markdown": ("*", "*"), "html": ("<i>", "</i>")}.get(markup, ("", ""))
    return text.replace(_ON, on).replace(_OFF, off)


def sentence_case(title: str) -> str:
    """Return a title in which words with no capital but their first are small; a part marked nocase is left."""
    pieces = _NOCASE.split(title)
    done: list[str] = []
    for number, piece in enumerate(pieces):
        done.append(piece if number % 2 else _WORD.sub(lambda found: _small(found, "".join(done)), piece))
    return "".join(done)


def _small(found: re.Match[str], before: str) -> str:
    word, lead = found.group(), (before + found.string[: found.start()]).rstrip()
    starts = not unmarked(lead).strip(_OPENING) or lead.endswith((":", "?", "!", ".", DASH, "\u2014"))
    return word if starts or word[1:] != word[1:].lower() or word == "I" else word.lower()


def title_case(title: str) -> str:
    """Return a title in which words have a capital, unless they are small ones within it or have one further on."""
    pieces = _NOCASE.split(title)
    last = max((number for number, piece in enumerate(pieces) if _WORD.search(piece)), default=0)
    done: list[str] = []
    for number, piece in enumerate(pieces):
        ends = [found.end() for found in _WORD.finditer(piece)]
        final = ends[-1] if number == last and ends else -1

        def raised(found: re.Match[str], final: int = final) -> str:
            return _large(found, "".join(done), found.end() == final)

        done.append(piece if number % 2 else _WORD.sub(raised, piece))
    return "".join(done)


def _large(found: re.Match[str], before: str, is_last: bool) -> str:
    word, lead = found.group(), before + found.string[: found.start()]
    starts = not unmarked(lead).strip(_OPENING) or lead.rstrip().endswith((":", "?", "!", "."))
    if word.lower() in _SMALL and (len(word) == 1 or word[1:].islower()) and not (starts or is_last):
        return word.lower()
    inside = bool(lead) and (lead[-1].isalnum() or lead[-1] in "'\u2019/.@\\")
    return word if inside or not word.islower() else word[0].upper() + word[1:]


def family_of(name: Name) -> str:
    """Return by which name somebody is cited."""
    if "literal" in name:
        return unmarked(name["literal"])
    return " ".join(filter(None, (name.get("non-dropping-particle", ""), name.get("family") or name.get("given", ""))))


def _given(name: Name) -> str:
    return (
        " ".join(filter(None, (name.get("given", ""), name.get("dropping-particle", "")))) if "family" in name else ""
    )


def full_name(name: Name, *, short: bool = False) -> str:
    """Return ``Ana de la Cruz``, or ``A. de la Cruz``."""
    given = initials(_given(name)) if short else _given(name)
    return " ".join(filter(None, (given, family_of(name), name.get("suffix", ""))))


def inverted(name: Name, *, short: bool = False) -> str:
    """Return ``de la Cruz, Ana``, or ``de la Cruz, A.``."""
    given = initials(_given(name)) if short else _given(name)
    return ", ".join(filter(None, (family_of(name), given, name.get("suffix", ""))))


def initials(given: str) -> str:
    """Return the first letters of given names: ``Jean-Paul M`` becomes ``J.-P. M.``; particles stay."""
    return " ".join("-".join(_initial(part) for part in each.split("-") if part) for each in _spread(given).split())


def _spread(given: str) -> str:
    return re.sub(r"\.(?=[^\W\d_])", ". ", given)


def _initial(part: str) -> str:
    return f"{part[0]}." if part[0].isupper() else part


def and_so_on(names: Sequence[str], word: str, *, comma: bool = True) -> str:
    """Return names in a row, the word before the last."""
    if len(names) < 2:
        return "".join(names)
    serial = "," if comma and len(names) > 2 else ""
    return f"{', '.join(names[:-1])}{serial} {word} {names[-1]}"


def year_of(item: Item, none: str = "n.d.") -> str:
    """Return the year, what stands for one, or ``none``."""
    issued = item.get("issued", {})
    parts = issued.get("date-parts")
    if not parts:
        return str(issued.get("literal", "")) or none
    years = [f"{-year} BC" if year < 0 else str(year) for year in (part[0] for part in parts)]
    return DASH.join(dict.fromkeys(years))


def day_of(date: Mapping[str, Any], months: Sequence[str], form: str) -> str:
    """Return a date: ``form`` has ``{day}``, ``{month}`` and ``{year}``, and loses what is not known."""
    parts = date.get("date-parts")
    if not parts:
        return str(date.get("literal", ""))
    year, month, day = (*parts[0], 0, 0)[:3]
    known = form.format(year=year, month=months[month - 1] if month else "\0", day=day or "\0")
    return re.sub(r"\0,? ?", "", known).strip(" ,")


def edition_of(item: Item) -> str:
    """Return ``3rd ed.``, nothing for none."""
    edition = str(item.get("edition", "")).strip()
    if edition.lower() in _ORDINALS:
        edition = str(_ORDINALS.index(edition.lower()) + 1)
    if edition.isdecimal():
        number = int(edition[-2:])
        ending = "th" if 10 < number < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        edition = f"{edition}{ending}"
    stem = re.sub(r"\s*(?:edition|ed\.?)$", "", edition, flags=re.IGNORECASE)
    return f"{stem} ed." if stem else ""


def pages_of(item: Item, shortening: str = "") -> str:
    """Return the pages, ranges with a dash and their end shortened as ``mla`` or ``chicago`` do."""
    ranges = re.split(r"\s*,\s*", str(item.get("page", "")).strip())
    return ", ".join(_range(each, shortening) for each in ranges if each)


def _range(text: str, shortening: str) -> str:
    first, dash, last = re.sub(r"\s*(?:[-\u2010-\u2014]+)\s*", "\0", text, count=1).partition("\0")
    if shortening and first.isdecimal() and last.isdecimal() and len(first) == len(last) > 1:
        same = next((place for place, (one, other) in enumerate(zip(first, last, strict=True)) if one != other), 0)
        last = last[_kept_from(first, same, shortening) :]
    return f"{first}{DASH if dash else ''}{last}"


def _kept_from(first: str, same: int, shortening: str) -> int:
    """From which digit on the end of a range is written."""
    rest = int(first[-2:])
    if shortening == "chicago":
        if len(first) < 3 or rest == 0:
            return 0
        if rest < 10:
            return same
    return min(same, len(first) - 2)


def link_of(item: Item) -> str:
    """Return where it is to be found, by its DOI if it has one."""
    return f"https://doi.org/{item['DOI']}" if item.get("DOI") else str(item.get("URL", ""))
