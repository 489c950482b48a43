"""Bibliographies of every kind: read as items of CSL-JSON, written from them, and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

from .bibtex import read_bibtex, write_bibtex
from .citation_text import sentence_case
from .csl_item import MOST_ENTRIES, Bibliography, read_csl_json, refuse
from .hayagriva import read_yaml
from .ris import read_ris, write_ris

__all__ = ["faults", "read", "write"]

_REQUIRED: Final = {
    "article-journal": ("author", "title", "container-title", "issued"),
    "book": ("author", "title", "publisher", "issued"),
    "chapter": ("author", "title", "container-title", "publisher", "issued"),
    "paper-conference": ("author", "title", "container-title", "issued"),
    "report": ("author", "title", "publisher", "issued"),
    "thesis": ("author", "title", "publisher", "issued"),
    "webpage": ("title", "URL"),
}
_READERS: Final[Mapping[str, Callable[[str], Bibliography]]] = {
    "bibtex": read_bibtex,
    "csl-json": read_csl_json,
    "yaml": read_yaml,
    "ris": read_ris,
}


def read(given: Any, form: str) -> Bibliography:
    """Return the items of a bibliography.

    Args:
        given: A text; of CSL-JSON also the value.
        form: ``bibtex``, ``csl-json``, ``yaml``, ``ris``, or ``auto``.

    Raises:
        ToolError: ``invalid_input`` if it is none, ``limit_exceeded`` if it has too many entries.
    """
    if not isinstance(given, str):
        if form not in ("auto", "csl-json"):
            refuse(f"{form} is a text; give one")
        try:
            given, form = json.dumps(given), "csl-json"
        except (TypeError, ValueError, RecursionError) as error:  # such as a number of more digits than are printed
            refuse(f"{line_of_error(error)[:200]}; give CSL-JSON")
    given = given.removeprefix("\ufeff")
    found = _READERS[_guessed(given) if form == "auto" else form](given)
    if len(found.items) > MOST_ENTRIES:
        message = f"citation-formatter: input: it has more than {MOST_ENTRIES} entries; give fewer"
        raise ToolError(message, code="limit_exceeded")
    return found


def _guessed(text: str) -> str:
    if text.lstrip()[:1] in ("[", "{"):
        return "csl-json"
    if re.search(r"^ {0,3}TY  -", text, re.MULTILINE):
        return "ris"
    return "bibtex" if re.search(r"^\s*@\s*\w+\s*[{(]", text, re.MULTILINE) else "yaml"


def write(items: list[dict[str, Any]], form: str) -> str:
    """Return items as a text of ``bibtex``, ``csl-json`` or ``ris``."""
    if form == "bibtex":
        return write_bibtex(items)
    plain = [_cased(item) for item in items]
    return write_ris(plain) if form == "ris" else json.dumps(plain, ensure_ascii=False, indent=2)


def _cased(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item with titles as CSL-JSON has them, in sentence case."""
    if not item.get("titlecased"):
        return dict(item)
    titles = {name: sentence_case(item[name]) for name in ("title", "title-short", "container-title") if name in item}
    if item["type"] == "article-journal":  # a journal's name keeps its letters
        titles.pop("container-title", None)
    return {name: value for name, value in {**item, **titles}.items() if name != "titlecased"}


def faults(item: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield what is wrong with an item: the field, what it is, and whether it is an error and no warning."""
    for field in _REQUIRED.get(item["type"], ("title",)):
        if field not in item and not (field == "author" and item.get("editor")):
            yield field, f"{item['type']} has no {field}", True
    if "DOI" in item and not re.fullmatch(r"10\.\d{4,9}(?:\.\d+)*/\S+", item["DOI"]):
        yield "DOI", f"{item['DOI'][:100]!r} is no DOI", True
    if "URL" in item and not re.match(r"[a-z][a-z0-9+.-]*://[^\s/]", item["URL"], re.IGNORECASE):
        yield "URL", f"{item['URL'][:100]!r} is no URL", True
    for number in re.split(r"[,;]\s*|\s+", item.get("ISBN", "")):
        if number and not _is_isbn(number):
            yield "ISBN", f"{number[:30]!r} has a wrong check digit or length", True
    for number in re.split(r"[,;]\s*|\s+", item.get("ISSN", "")):
        if number and not _is_issn(number):
            yield "ISSN", f"{number[:30]!r} has a wrong check digit or length", True
    for first, last in re.findall(r"(\d+)-(\d+)", item.get("page", "")):
        if len(last) >= len(first) and int(last[:9]) < int(first[:9]) and len(last) < 10:
            yield "page", f"{first[:20]}-{last[:20]} ends before it begins", True
    if "literal" in item.get("issued", {}):
        yield "issued", f"{item['issued']['literal'][:60]!r} is no date", False


def _is_isbn(text: str) -> bool:
    digits = text.replace("-", "").upper()
    if re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
        return sum((10 - place) * _value(digit) for place, digit in enumerate(digits)) % 11 == 0
    if re.fullmatch(r"\d{13}", digits, re.ASCII):
        return sum((3 if place % 2 else 1) * int(digit) for place, digit in enumerate(digits)) % 10 == 0
    return False


def _is_issn(text: str) -> bool:
    digits = text.replace("-", "").upper()
    if not re.fullmatch(r"\d{7}[\dX]", digits, re.ASCII):
        return False
    return sum((8 - place) * _value(digit) for place, digit in enumerate(digits)) % 11 == 0


def _value(digit: str) -> int:
    return 10 if digit == "X" else int(digit)
