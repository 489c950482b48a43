"""RIS, the tagged lines of reference managers, to items of CSL-JSON and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .citation_text import inverted, unmarked
from .csl_item import Bibliography, csl_item, problem

__all__ = ["read_ris", "write_ris"]

_TYPES: Final = {
    "JOUR": "article-journal",
    "BOOK": "book",
    "CHAP": "chapter",
    "CONF": "paper-conference",
    "CPAPER": "paper-conference",
    "COMP": "software",
    "DATA": "dataset",
    "ELEC": "webpage",
    "MGZN": "article-magazine",
    "NEWS": "article-newspaper",
    "PAMP": "pamphlet",
    "RPRT": "report",
    "THES": "thesis",
    "UNPB": "manuscript",
    "GEN": "document",
}
_RIS_LINE = re.compile(r"^([A-Z][A-Z0-9])  ?- ?(.*)$")
_FROM_RIS: Final = {
    "TI": "title",
    "T1": "title",
    "T2": "container-title",
    "JO": "container-title",
    "JF": "container-title",
    "BT": "container-title",
    "VL": "volume",
    "IS": "issue",
    "PB": "publisher",
    "CY": "publisher-place",
    "ET": "edition",
    "DO": "DOI",
    "UR": "URL",
    "AB": "abstract",
    "N2": "abstract",
    "LA": "language",
    "M3": "genre",
    "T3": "collection-title",
}


def read_ris(text: str) -> Bibliography:
    """Return the entries of RIS; a line that is none is a problem."""
    found = Bibliography()
    item: dict[str, Any] | None = None
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        matched = _RIS_LINE.match(line.rstrip())
        if matched is None:
            if line.strip():
                problem(found, "", "", f"line {number}: {line.strip()[:60]!r} is no tag of RIS")
            continue
        tag, value = matched.groups()
        if tag == "TY":
            item = {"type": _TYPES.get(value.strip(), "document"), "id": str(len(found.items) + 1)}
        elif item is None:
            problem(found, "", tag, f"line {number}: {tag} stands before TY")
        elif tag == "ER":
            found.items.append(_ris_item(item))
            item = None
        else:
            _ris_field(item, tag, value.strip())
    if item is not None:
        problem(found, item["id"], "ER", "the last entry has no ER")
        found.items.append(_ris_item(item))
    return found


def _ris_field(item: dict[str, Any], tag: str, value: str) -> None:
    if tag == "ID":
        item["id"] = value or item["id"]
    elif tag in ("AU", "A1"):
        item.setdefault("author", []).append(_ris_name(value))
    elif tag in ("A2", "ED"):
        item.setdefault("editor", []).append(_ris_name(value))
    elif tag in ("PY", "Y1", "DA"):
        kept = item.get("issued", "")
        date = value.rstrip("/").replace("/", "-")
        item["issued"] = max(kept, date, key=len)
    elif tag == "Y2":
        item["accessed"] = value.rstrip("/").replace("/", "-")
    elif tag == "SP":
        item["page"] = value + item.get("page", "")
    elif tag == "EP":
        item["page"] = item.get("page", "") + f"-{value}"
    elif tag == "SN":
        item["ISSN" if re.fullmatch(r"\d{4}-?\d{3}[\dXx]", value) else "ISBN"] = value
    elif tag in _FROM_RIS:
        item.setdefault(_FROM_RIS[tag], value)


def _ris_name(value: str) -> dict[str, str]:
    family, given, suffix = (*(part.strip() for part in value.split(",")), "", "")[:3]
    return {"family": family, "given": given, "suffix": suffix} if given else {"literal": family}


def _ris_item(item: dict[str, Any]) -> dict[str, Any]:
    if item["type"] in ("report", "book") and "issue" in item:
        item["number"] = item.pop("issue")
    return csl_item(item, 0)


_TO_RIS: Final = {
    "title": "TI",
    "container-title": "T2",
    "volume": "VL",
    "issue": "IS",
    "number": "IS",
    "publisher": "PB",
    "publisher-place": "CY",
    "edition": "ET",
    "genre": "M3",
    "collection-title": "T3",
    "DOI": "DO",
    "URL": "UR",
    "ISBN": "SN",
    "ISSN": "SN",
    "language": "LA",
    "abstract": "AB",
}


def write_ris(items: list[dict[str, Any]]) -> str:
    """Return items as RIS."""
    return "\n".join(f"{tag}  - {value}".rstrip() for item in items for tag, value in _tags(item)) + "\n"


def _tags(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "TY", next((name for name, csl in _TYPES.items() if csl == item["type"]), "GEN")
    yield "ID", item["id"]
    for role, tag in (("author", "AU"), ("editor", "A2")):
        for name in item.get(role, ()):
            yield tag, inverted(name)
    for field, tag in _TO_RIS.items():
        if field in item:
            yield tag, unmarked(item[field])
    first, _, last = item.get("page", "").partition("-")
    yield from ((tag, value) for tag, value in (("SP", first), ("EP", last)) if value)
    for field, tag in (("issued", "PY"), ("accessed", "Y2")):
        for part in item.get(field, {}).get("date-parts", ())[:1]:
            yield tag, "/".join(f"{number:02}" for number in part)
            if tag == "PY" and len(part) > 1:
                yield "DA", "/".join(f"{number:02}" for number in part)
    yield "ER", ""
