"""Items of CSL-JSON, which every kind of bibliography is read as.

Invariant: an item holds texts, names and dates of CSL-JSON's shapes and nothing else, whatever came in. ``titlecased``
marks one whose titles were written in title case, as those of BibTeX are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

__all__ = [
    "DATES",
    "MOST_ENTRIES",
    "NAMES",
    "OWN",
    "Bibliography",
    "cleaned",
    "csl_item",
    "date_of",
    "listed",
    "problem",
    "put",
    "read_csl_json",
    "refuse",
]

MOST_ENTRIES: Final = 5000
_TEXTS: Final = (
    "DOI",
    "ISBN",
    "ISSN",
    "URL",
    "abstract",
    "archive",
    "archive_location",
    "authority",
    "call-number",
    "chapter-number",
    "collection-number",
    "collection-title",
    "container-title",
    "container-title-short",
    "dimensions",
    "edition",
    "event",
    "event-place",
    "event-title",
    "genre",
    "issue",
    "language",
    "medium",
    "note",
    "number",
    "number-of-pages",
    "number-of-volumes",
    "original-publisher",
    "original-title",
    "page",
    "PMCID",
    "PMID",
    "publisher",
    "publisher-place",
    "references",
    "scale",
    "section",
    "source",
    "status",
    "title",
    "title-short",
    "version",
    "volume",
    "volume-title",
)
NAMES: Final = (
    "author",
    "editor",
    "translator",
    "collection-editor",
    "composer",
    "container-author",
    "director",
    "editorial-director",
    "illustrator",
    "interviewer",
    "original-author",
    "recipient",
    "reviewed-author",
)
DATES: Final = ("issued", "accessed", "original-date", "event-date", "submitted")
_NAME_PARTS: Final = ("family", "given", "literal", "suffix", "non-dropping-particle", "dropping-particle")
OWN: Final = re.compile(r"[\ue000-\uf8ff\x00-\x08\x0b-\x1f]")


class Bibliography(Struct):
    """What was read.

    Attributes:
        items: Of CSL-JSON, in their order.
        problems: What could not be read, each ``{key, field, message}``.
    """

    items: list[dict[str, Any]] = []
    problems: list[dict[str, str]] = []


def refuse(what: str) -> NoReturn:
    """Raise that the input is wrong: what, and what to do."""
    raise ToolError(f"citation-formatter: input: {what}", code="invalid_input")


def problem(found: Bibliography, key: str, field: str, message: str) -> None:
    """Keep what could not be read."""
    found.problems.append({"key": key, "field": field, "message": message})


def put(item: dict[str, Any], name: str, value: Any) -> None:
    """Keep a value, unless it is empty."""
    if value:
        item[name] = value


def read_csl_json(text: str) -> Bibliography:
    """Return the items of CSL-JSON: a list, one item, or an object with ``references`` or ``items``."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        refuse(f"{line_of_error(error)[:200]}; give CSL-JSON")
    return Bibliography(list(map(csl_item, listed(value), range(MOST_ENTRIES * 2))))


def listed(value: Any) -> list[Any]:
    """Return the items that a value holds."""
    if isinstance(value, Mapping):
        held = value.get("references", value.get("items"))
        value = held if isinstance(held, list) else [value]
    if not isinstance(value, list):
        refuse(f"{type(value).__name__} is no bibliography; give a list of items")
    listed: list[Any] = value
    return listed


def csl_item(given: Any, number: int) -> dict[str, Any]:
    """Return an item with what of CSL-JSON is in it; ``number`` is its place, from 0."""
    if not isinstance(given, Mapping):
        refuse(f"entry {number + 1} is {type(given).__name__}; give each as an object")
    item: dict[str, Any] = {"id": str(given.get("id", number + 1)), "type": str(given.get("type") or "document")}
    for name in _TEXTS:
        value = given.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            item[name] = str(value)
    for role in NAMES:
        names = given.get(role)
        listed = names if isinstance(names, list) else [names] if names else []
        put(item, role, [made for made in map(_name_of, listed) if made])
    for name in DATES:
        put(item, name, _csl_date(given.get(name)))
    return cleaned(item)


def _name_of(given: Any) -> dict[str, str]:
    if isinstance(given, str):
        family, comma, first = given.partition(",")
        words = given.split()
        if comma:
            return {"family": family.strip(), "given": first.strip()}
        return {"family": words[-1], "given": " ".join(words[:-1])} if len(words) > 1 else {"literal": given}
    if not isinstance(given, Mapping):
        return {}
    parts = {part: str(given[part]) for part in _NAME_PARTS if isinstance(given.get(part), str | int) and given[part]}
    return parts if {"family", "given", "literal"} & set(parts) else {}


def _csl_date(given: Any) -> dict[str, Any] | None:
    if isinstance(given, str | int):
        return date_of(str(given))
    if not isinstance(given, Mapping):
        return None
    parts = given.get("date-parts")
    if isinstance(parts, list) and parts and all(isinstance(part, list) for part in parts):
        try:
            made = [[int(number) for number in part[:3]] for part in parts[:2] if part]
        except (TypeError, ValueError):
            made = []
        if made and all(_is_date(part) for part in made):
            return {"date-parts": made}
    return date_of(str(given.get("raw") or given.get("literal") or ""))


def _is_date(part: list[int]) -> bool:
    year, month, day = (*part, 1, 1)[:3]
    return -9999 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= 31


def date_of(text: str) -> dict[str, Any] | None:
    """Return the date of a text such as 2020, 2020-05-01 or 2020/2021; as it is if it is none."""
    text = text.strip()
    halves = re.fullmatch(r"(-?\d{1,4}(?:[-/]\d\d?){0,2})(?:(?:/|--)(-?\d{4}(?:-\d\d?){0,2}))?/*", text)
    if halves is None:
        return {"literal": text} if text else None
    parts = [[int(number) for number in re.findall(r"\d+", half)] for half in halves.groups() if half]
    if text.startswith("-"):
        parts[0][0] = -parts[0][0]
    return {"date-parts": parts} if all(map(_is_date, parts)) else {"literal": text}


def cleaned(item: dict[str, Any]) -> dict[str, Any]:
    """Return the item without the characters that mark italics, with a bare DOI."""
    for name in _TEXTS:
        if name in item:
            item[name] = " ".join(OWN.sub(" ", item[name]).split())
    for role in NAMES:
        if role in item:
            item[role] = [{part: OWN.sub("", value).strip() for part, value in name.items()} for name in item[role]]
    if "DOI" in item:
        item["DOI"] = re.sub(r"^(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", "", item["DOI"], flags=re.IGNORECASE)
    if "page" in item:
        item["page"] = re.sub(r"\s*(?:--+|\u2013|\u2014)\s*", "-", item["page"])
    return {name: value for name, value in item.items() if value or name == "id"}
