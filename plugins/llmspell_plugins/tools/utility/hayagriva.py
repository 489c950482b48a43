"""Bibliographies in YAML: Hayagriva's, and CSL's list of references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs import ToolError
from llmspell_plugins.tools.data.yaml_program import parse

from .csl_item import MOST_ENTRIES, Bibliography, csl_item, listed, refuse

__all__ = ["read_yaml"]

_TYPES: Final = {
    "article": "article-journal",
    "anthos": "chapter",
    "book": "book",
    "chapter": "chapter",
    "conference": "paper-conference",
    "manuscript": "manuscript",
    "misc": "document",
    "post": "post",
    "proceedings": "book",
    "report": "report",
    "repository": "software",
    "thesis": "thesis",
    "web": "webpage",
}
_ARTICLES_IN: Final = {
    "conference": "paper-conference",
    "newspaper": "article-newspaper",
    "proceedings": "paper-conference",
}


def read_yaml(text: str) -> Bibliography:
    """Return the entries of YAML."""
    try:
        value = parse(text, False)
    except ToolError as error:
        message = str(error).removeprefix("yaml-processor: input: ").rpartition(";")[0]
        raise ToolError(f"citation-formatter: input: {message}; give YAML", code=error.code) from None
    if isinstance(value, list) or (isinstance(value, Mapping) and isinstance(value.get("references"), list)):
        return Bibliography(list(map(csl_item, listed(value), range(MOST_ENTRIES * 2))))
    if not isinstance(value, Mapping) or not all(isinstance(entry, Mapping) for entry in value.values()):
        refuse("this YAML holds no entries; give a table of them, or a list of references")
    return Bibliography([_hayagriva_item(str(key), entry) for key, entry in value.items()])


def _hayagriva_item(key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    parents = entry.get("parent") or {}
    parent = parents[0] if isinstance(parents, list) and parents else parents
    parent = parent if isinstance(parent, Mapping) else {}
    kind, within = str(entry.get("type", "misc")).lower(), str(parent.get("type", "")).lower()
    csl = _TYPES.get(kind, "document")
    if kind == "article":
        csl = _ARTICLES_IN.get(within, csl)

    def inherited(name: str) -> Any:
        return entry.get(name, parent.get(name))

    serial = entry.get("serial-number") or {}
    serial = {name.lower(): value for name, value in serial.items()} if isinstance(serial, Mapping) else {}
    publisher, url = inherited("publisher"), inherited("url")
    given = {
        "id": key,
        "type": csl,
        "title": _said(entry.get("title")),
        "container-title": _said(parent.get("title")),
        "author": entry.get("author"),
        "editor": inherited("editor"),
        "issued": entry.get("date", parent.get("date")),
        "volume": inherited("volume"),
        "issue" if csl.startswith("article") else "number": inherited("issue"),
        "edition": inherited("edition"),
        "page": entry.get("page-range", entry.get("page")),
        "publisher": _said(publisher, "name") or _said(inherited("organization")),
        "publisher-place": _said(publisher, "location") if isinstance(publisher, Mapping) else inherited("location"),
        "genre": entry.get("genre") or ("thesis" if csl == "thesis" else None),
        "URL": _said(url),
        "accessed": url.get("date") if isinstance(url, Mapping) else None,
        "DOI": serial.get("doi", entry.get("doi")),
        "ISBN": serial.get("isbn", entry.get("isbn")),
        "ISSN": serial.get("issn", entry.get("issn")),
        "note": entry.get("note"),
        "abstract": entry.get("abstract"),
    }
    for role in ("author", "editor"):
        listed = given[role] if isinstance(given[role], list) else [given[role]] if given[role] else []
        given[role] = [_hayagriva_name(name) for name in listed]
    return csl_item(given, 0)


def _said(value: Any, name: str = "value") -> Any:
    return value.get(name) if isinstance(value, Mapping) else value


def _hayagriva_name(name: Any) -> Any:
    if not isinstance(name, Mapping):
        return name if "," in str(name) else {"literal": str(name)}
    return {
        "family": name.get("name"),
        "given": name.get("given-name"),
        "suffix": name.get("suffix"),
        "non-dropping-particle": name.get("prefix"),
    }
