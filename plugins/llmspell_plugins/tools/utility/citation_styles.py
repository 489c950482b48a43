"""How references look: APA (7th edition), MLA (9th), Chicago author-date (17th) and IEEE.

Each style is two functions, from an item of CSL-JSON to its entry in the list and to its mark in the text. The order of
parts is that of the style's own manual; what an item lacks is left out.

It is longer than most because a style is one story, and one written in several places would be read in none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from .citation_text import (
    DASH,
    and_so_on,
    day_of,
    edition_of,
    family_of,
    full_name,
    inverted,
    italic,
    link_of,
    pages_of,
    quoted,
    sentence,
    title_case,
    unmarked,
    year_of,
)

__all__ = ["STYLES", "Style"]

Item = Mapping[str, Any]

_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTHS_MLA: Final = ["Jan.", "Feb.", "Mar.", "Apr.", "May", "June", "July", "Aug.", "Sept.", "Oct.", "Nov.", "Dec."]
_MONTHS_IEEE: Final = ["Jan.", "Feb.", "Mar.", "Apr.", "May", "June", "July", "Aug.", "Sep.", "Oct.", "Nov.", "Dec."]
_IN_JOURNALS: Final = ("article-journal", "article-magazine", "article-newspaper", "article")
_IN_BOOKS: Final = ("chapter", "paper-conference", "entry-encyclopedia", "entry-dictionary")
_DATED: Final = ("article-magazine", "article-newspaper", "webpage", "post-weblog", "post")


class Style(Struct, frozen=True):
    """A style.

    Attributes:
        title: What it is, for people.
        entry: Returns an item's entry in the list, given the mark that sets apart what is cited alike: a letter after
            the year, or a number.
        mark: Returns how the text refers to it.
        names: Returns how an entry begins that has these authors, for a style that does not repeat them.
        repeated: What stands for the names of the entry before.
        numbered: Whether entries stand in the order they came, with numbers.
        lettered: Whether a letter sets apart what has the same names and year.
    """

    title: str
    entry: Callable[[Item, str], str]
    mark: Callable[[Item, str], str]
    names: Callable[[Sequence[Any]], str] | None = None
    repeated: str = ""
    numbered: bool = False
    lettered: bool = False


def _kept(parts: Sequence[str], separator: str) -> str:
    return separator.join(part for part in parts if part)


def _responsible(item: Item) -> tuple[Sequence[Any], bool]:
    """Who answers for it, and whether they are its editors."""
    authors = item.get("author") or ()
    return (authors, False) if authors else (item.get("editor") or (), bool(item.get("editor")))


def _who(item: Item, few: int) -> str:
    """The names that refer to it in a text, at most so many; nothing if it has none."""
    names = [family_of(name) for name in _responsible(item)[0]]
    return f"{names[0]} et al." if len(names) > few else _kept(names, "\0")


def _short_title(item: Item, *quoted_too: str) -> str:
    title = unmarked(title_case(item.get("title-short") or item.get("title", "")))
    return quoted(title) if item.get("type") in (*_IN_JOURNALS, *_IN_BOOKS, *quoted_too) else italic(title)


# APA


def _apa(item: Item, letter: str) -> str:
    names, title = _apa_names(item), _apa_title(item)
    head = [names, f"({_apa_date(item, letter)})", title] if names else [title, f"({_apa_date(item, letter)})"]
    parts = [*head, _apa_container(item), _apa_publisher(item)]
    return _kept([*(sentence(part) for part in parts if part), link_of(item)], " ")


def _apa_names(item: Item) -> str:
    people, are_editors = _responsible(item)
    names = [inverted(name, short=True) for name in people]
    if len(names) > 20:
        listed = f"{', '.join(names[:19])}, . . . {names[-1]}"
    else:
        listed = and_so_on(names, "&") if len(names) != 2 else f"{names[0]}, & {names[1]}"
    return f"{listed} ({'Ed.' if len(names) == 1 else 'Eds.'})" if are_editors else listed


def _apa_date(item: Item, letter: str) -> str:
    year = year_of(item)
    marked = f"{year}{'-' if letter and year == 'n.d.' else ''}{letter}"
    issued = item.get("issued", {})
    day = day_of(issued, _MONTHS, "{month} {day}") if item.get("type") in _DATED and issued.get("date-parts") else ""
    return _kept([marked, day], ", ")


def _apa_title(item: Item) -> str:
    kind, title = item.get("type"), unmarked(item.get("title", ""))
    title = title[:1].upper() + title[1:]
    if kind in (*_IN_JOURNALS, *_IN_BOOKS):
        return title
    number = str(item.get("number", ""))
    report = (
        _kept([title_case(item.get("genre", "")), f"No. {number}" if number else ""], " ") if kind == "report" else ""
    )
    volume = f"Vol. {item['volume']}" if item.get("volume") else ""
    details = _kept([edition_of(item), volume, report], ", ")
    form = {"thesis": item.get("genre", "") or "Thesis", "software": "Computer software", "dataset": "Data set"}
    bracketed = f"[{form[kind]}]" if kind in form else ""
    return _kept([italic(title), f"({details})" if details else "", bracketed], " ")


def _apa_container(item: Item) -> str:
    kind, held = item.get("type"), unmarked(item.get("container-title", ""))
    if not held:
        return ""
    if kind in _IN_BOOKS:
        editors = item.get("editor") or () if item.get("author") else ()
        names = and_so_on([full_name(name, short=True) for name in editors], "&")
        role = f" ({'Ed.' if len(editors) == 1 else 'Eds.'}), " if names else ""
        pages = pages_of(item)
        volume = f"Vol. {item['volume']}" if item.get("volume") else ""
        within = _kept([edition_of(item), volume, _pp(pages) + pages], ", ")
        return f"In {names}{role}{italic(held)}{f' ({within})' if within else ''}"
    if kind not in _IN_JOURNALS:
        return held
    issue = f"({item['issue']})" if item.get("issue") else ""
    volume = str(item.get("volume", ""))
    return _kept([italic(held), f"{italic(volume)}{issue}", pages_of(item)], ", ")


def _apa_publisher(item: Item) -> str:
    own = unmarked(item.get("publisher", ""))
    return "" if item.get("type") in _IN_JOURNALS or own == _names_alone(item) else own


def _names_alone(item: Item) -> str:
    return _kept([full_name(name) for name in _responsible(item)[0]], ", ")


def _apa_mark(item: Item, letter: str) -> str:
    names = _who(item, 2).replace("\0", " & ") or _short_title(item)
    year = year_of(item)
    return f"({names}, {year}{'-' if letter and year == 'n.d.' else ''}{letter})"


# MLA


def _mla(item: Item, _: str) -> str:
    people, are_editors = _responsible(item)
    names = _mla_names(people)
    if are_editors:
        names += ", editor" if len(people) == 1 else ", editors"
    title, kind = title_case(item.get("title", "")), item.get("type")
    held = unmarked(item.get("container-title", ""))
    shown = quoted(title, ".") if held or kind in (*_IN_JOURNALS, *_IN_BOOKS) else italic(unmarked(title))
    if kind == "thesis":
        rest = [year_of(item, ""), _kept([item.get("publisher", ""), item.get("genre", "") or "thesis"], ", ")]
        return _kept([sentence(part) for part in (names, shown, *rest, link_of(item))], " ")
    return _kept([sentence(part) for part in (names, shown, _mla_container(item, held))], " ")


def _mla_names(people: Sequence[Any]) -> str:
    if len(people) > 2:
        return f"{inverted(people[0])}, et al."
    return ", and ".join([inverted(people[0]), *(full_name(name) for name in people[1:])]) if people else ""


def _mla_container(item: Item, held: str) -> str:
    editors = item.get("editor") or () if item.get("author") else ()
    volume, issue, number = item.get("volume"), item.get("issue"), str(item.get("number", ""))
    pages, kind = pages_of(item, "mla"), item.get("type")
    report = _kept([item.get("genre", ""), f"no. {number}" if number else ""], " ") if kind == "report" else ""
    parts = [
        italic(title_case(held)),
        f"edited by {and_so_on([full_name(name) for name in editors], 'and')}" if editors else "",
        edition_of(item),
        f"vol. {volume}" if volume else "",
        f"no. {issue}" if issue else "",
        report,
        "" if kind in _IN_JOURNALS else unmarked(item.get("publisher", "")),
        day_of(item.get("issued", {}), _MONTHS_MLA, "{day} {month} {year}"),
        f"{_pp(pages)}{pages}",
        link_of(item),
    ]
    return _kept(parts, ", ")


def _pp(pages: str) -> str:
    return "" if not pages else "pp. " if DASH in pages or "," in pages else "p. "


def _mla_mark(item: Item, _: str) -> str:
    return f"({_who(item, 2).replace(chr(0), ' and ') or _short_title(item)})"


# Chicago


def _chicago(item: Item, letter: str) -> str:
    people, are_editors = _responsible(item)
    names = _chicago_names(people)
    if are_editors:
        names += ", ed." if len(people) == 1 else ", eds."
    year, kind = f"{year_of(item)}{letter}", item.get("type")
    title = title_case(item.get("title", ""))
    is_book = kind in ("book", "report", "pamphlet", "software", "dataset", "document") and kind is not None
    shown = italic(unmarked(title)) if is_book else quoted(title, ".")
    head = [names, year, shown] if names else [shown, year]
    parts = [*head, *_chicago_rest(item), link_of(item)]
    return _kept([sentence(part) for part in parts], " ")


def _chicago_names(people: Sequence[Any]) -> str:
    names = [inverted(people[0]), *(full_name(name) for name in people[1:])] if people else []
    if len(names) > 10:
        return f"{', '.join(names[:7])}, et al."
    return f"{names[0]}, and {names[1]}" if len(names) == 2 else and_so_on(names, "and")


def _chicago_rest(item: Item) -> list[str]:
    kind, held = item.get("type"), italic(unmarked(title_case(item.get("container-title", ""))))
    pages, volume = pages_of(item, "chicago"), str(item.get("volume", ""))
    if kind in _IN_JOURNALS:
        issue = f" ({item['issue']})" if item.get("issue") and volume else _kept([", no. ", item.get("issue", "")], "")
        numbered = f"{held} {volume}".rstrip() + (issue if item.get("issue") else "")
        if kind in _DATED:  # by their day; newspapers without a page, since editions differ
            day = day_of(item.get("issued", {}), _MONTHS, "{month} {day}, {year}")
            return [_kept([numbered, day, "" if kind == "article-newspaper" else pages], ", ")]
        return [numbered + (f": {pages}" if pages else "")]
    if kind in _IN_BOOKS:
        editors = item.get("editor") or () if item.get("author") else ()
        edited = f"edited by {and_so_on([full_name(name) for name in editors], 'and')}" if editors else ""
        within = f"{volume}:{pages}" if volume and pages else _kept([f"vol. {volume}" if volume else "", pages], "")
        return [f"In {_kept([held, edited, within], ', ')}", edition_of(item), _chicago_publisher(item)]
    if kind == "thesis":
        return [_kept([item.get("genre", "") or "Thesis", item.get("publisher", "")], ", ")]
    if kind in _DATED:
        return [
            unmarked(item.get("container-title", "")),
            day_of(item.get("issued", {}), _MONTHS, "{month} {day}, {year}"),
        ]
    number = str(item.get("number", ""))
    report = _kept([item.get("genre", ""), number], " ") if kind == "report" else ""
    numbered = f"Vol. {volume}" if volume else ""
    return [numbered, edition_of(item), report, _chicago_publisher(item)]


def _chicago_publisher(item: Item) -> str:
    return _kept([item.get("publisher-place", ""), unmarked(item.get("publisher", ""))], ": ")


def _chicago_mark(item: Item, letter: str) -> str:
    names = _who(item, 3).split("\0")
    listed = and_so_on(names, "and") if names != [""] else _short_title(item, "thesis", *_DATED)
    return f"({listed} {year_of(item)}{letter})"


# IEEE


def _ieee(item: Item, number: str) -> str:
    people, are_editors = _responsible(item)
    names = [full_name(name, short=True) for name in people]
    listed = f"{names[0]} {italic('et al.')}" if len(names) > 6 else and_so_on(names, "and")
    if are_editors:
        listed += ", Ed." if len(people) == 1 else ", Eds."
    rest = _ieee_rest(item)
    doi = f"doi: {item['DOI']}" if item.get("DOI") else ""
    body = sentence(_kept([listed, _kept([rest, doi], ", ")], ", "))
    if not doi and item.get("URL"):
        seen = day_of(item.get("accessed", {}), _MONTHS_IEEE, "{month} {day}, {year}")
        body = _kept([body, f"Accessed: {seen}." if seen else "", f"[Online]. Available: {item['URL']}"], " ")
    return f"[{number}] {body}"


def _ieee_rest(item: Item) -> str:
    kind, title = item.get("type"), item.get("title", "")
    held, pages = italic(unmarked(item.get("container-title", ""))), pages_of(item)
    dated = day_of(item.get("issued", {}), _MONTHS_IEEE, "{month} {day}, {year}")
    paged = f"{_pp(pages)}{pages}"
    volume = f"vol. {item['volume']}" if item.get("volume") else ""
    if kind in _IN_JOURNALS:
        issue = f"no. {item['issue']}" if item.get("issue") else ""
        return _kept([quoted(title, ","), _kept([held, volume, issue, paged, dated], ", ")], " ")
    if kind in _IN_BOOKS:
        editors = [full_name(name, short=True) for name in (item.get("editor") or ())] if item.get("author") else []
        role = "Ed." if len(editors) == 1 else "Eds."
        edited = f"{and_so_on(editors, 'and')}, {role}" if editors else ""
        before = _kept([f"in {held}" if held else "", volume, edition_of(item), edited], ", ")
        if kind == "paper-conference":
            imprint = [item.get("publisher-place", ""), year_of(item, ""), paged]
            return f"{quoted(title, ',')} {_kept([before, *imprint], ', ')}"
        return f"{quoted(title, ',')} {_ieee_imprint(before, item, _kept([year_of(item, ''), paged], ', '))}"
    if kind in ("thesis", "report"):
        place = item.get("publisher-place", "")
        genre = _kept([item.get("genre", "") or {"thesis": "thesis"}.get(kind, ""), str(item.get("number", ""))], " ")
        own = item.get("publisher", "")
        order = [genre, own, place] if kind == "thesis" else [own, place, genre]
        return _kept([quoted(title, ","), _kept([*order, dated], ", ")], " ")
    if kind == "book" or item.get("publisher"):
        before = _kept([italic(unmarked(title)), volume, edition_of(item)], ", ")
        return _ieee_imprint(before, item, year_of(item, ""))
    return _kept([quoted(title, "."), _kept([unmarked(item.get("container-title", "")), dated], ", ")], " ")


def _ieee_imprint(before: str, item: Item, after: str) -> str:
    """What stands before the place and publisher, these, and what stands after them."""
    imprint = _kept([item.get("publisher-place", ""), unmarked(item.get("publisher", ""))], ": ")
    if not imprint:
        return _kept([before, after], ", ")
    return _kept([sentence(before), _kept([imprint, after], ", ")], " ")


def _ieee_mark(item: Item, number: str) -> str:
    return f"[{number}]"


STYLES: Final[Mapping[str, Style]] = {
    "apa": Style("American Psychological Association, 7th edition", _apa, _apa_mark, lettered=True),
    "chicago": Style(
        "Chicago Manual of Style, 17th edition, author-date",
        _chicago,
        _chicago_mark,
        _chicago_names,
        "\u2014" * 3,
        lettered=True,
    ),
    "ieee": Style("Institute of Electrical and Electronics Engineers", _ieee, _ieee_mark, numbered=True),
    "mla": Style("Modern Language Association, 9th edition", _mla, _mla_mark, _mla_names, "---"),
}
