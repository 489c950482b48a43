"""What the citation-formatter does in a child process: format, check and convert a bibliography."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmspell_hookspecs import ToolError

from .bibliography import faults, read, write
from .citation_styles import STYLES, Style
from .citation_text import inverted, rendered, sentence, sentence_case, unmarked, year_of
from .csl_render import references
from .csl_style import read_style

__all__ = ["convert", "format_by_style", "format_items", "validate"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"

Item = Mapping[str, Any]


def format_items(given: Any, form: str, keys: Sequence[str], style_name: str, markup: str) -> dict[str, Any]:
    """Return ``{style, entry_count, entries, bibliography}``; see the tool.

    Raises:
        ToolError: ``invalid_input``, ``not_found`` or ``limit_exceeded``.
    """
    style, items = STYLES[style_name], [_untitled(item) for item in _chosen(given, form, keys)]
    if not style.numbered:
        items.sort(key=_order)
    marks = _numbers(items) if style.numbered else _letters(items) if style.lettered else [""] * len(items)
    before: list[Item] = [{}, *items]
    entries = [_entry(item, mark, style, markup, last) for item, mark, last in zip(items, marks, before, strict=False)]
    return _answered(style_name, entries, markup)


def format_by_style(given: Any, form: str, keys: Sequence[str], style_text: str, markup: str) -> dict[str, Any]:
    """Return the same by a style of the Citation Style Language, whose title is the ``style``.

    Raises:
        ToolError: ``invalid_input``, ``not_found`` or ``limit_exceeded``.
    """
    try:
        style = read_style(style_text)
        return _answered(
            style.title, references(style, [_untitled(item) for item in _chosen(given, form, keys)], markup), markup
        )
    except RecursionError:
        message = "citation-formatter: style: its macros call each other too deeply; make it simpler"
        raise ToolError(message, code="invalid_input") from None


def _answered(style: str, entries: Sequence[Mapping[str, str]], markup: str) -> dict[str, Any]:
    text = "\n".join(f"<p>{entry['reference']}</p>" if markup == "html" else entry["reference"] for entry in entries)
    return {"style": style, "entry_count": len(entries), "entries": list(entries), "bibliography": text}


def _entry(item: Item, mark: str, style: Style, markup: str, last: Item) -> dict[str, str]:
    reference = style.entry(item, mark)
    if style.names is not None and item.get("author") and item["author"] == last.get("author"):
        names = sentence(style.names(item["author"]))
        reference = sentence(style.repeated) + reference.removeprefix(names)
    return {
        "key": item["id"],
        "type": item["type"],
        "reference": rendered(reference, markup),
        "citation": rendered(style.mark(item, mark), markup),
    }


def _untitled(item: Item) -> Item:
    """The item with a title in sentence case, from which styles make theirs."""
    if not item.get("titlecased"):
        return item
    titles = {name: sentence_case(item[name]) for name in ("title", "title-short") if name in item}
    held = item.get("container-title", "")
    if held and item["type"] in ("chapter",):
        titles["container-title"] = sentence_case(held)
    return {**item, **titles}


def _chosen(given: Any, form: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    found = read(given, form)
    if not found.items:
        why = found.problems[0]["message"] if found.problems else "it has no entries"
        message = f"citation-formatter: input: {why[:300]}; give a bibliography, and say its format"
        raise ToolError(message, code="invalid_input")
    if found.problems:
        message = f"citation-formatter: input: {found.problems[0]['message'][:300]}; correct it"
        raise ToolError(message, code="invalid_input")
    if not keys:
        return found.items
    known = {item["id"]: item for item in found.items}
    for key in keys:
        if key not in known:
            message = f"citation-formatter: cite_keys: there is no entry {key[:80]!r}; take {_some(known)}"
            raise ToolError(message, code="not_found")
    return [known[key] for key in dict.fromkeys(keys)]


def _some(known: Mapping[str, Any]) -> str:
    return ", ".join(repr(key[:40]) for key in list(known)[:5]) + (" ..." if len(known) > 5 else "")


def _order(item: Item) -> tuple[str, str, str]:
    """By which an entry stands in a list: its names, year and title."""
    title = re.sub(r"^(?:the|an?)\s+", "", unmarked(item.get("title", "")).casefold())
    names = "; ".join(inverted(name) for name in item.get("author") or item.get("editor") or ())
    return names.casefold() or title, year_of(item, ""), title


def _numbers(items: Sequence[Item]) -> list[str]:
    return [str(number) for number in range(1, len(items) + 1)]


def _letters(items: Sequence[Item]) -> list[str]:
    """For each item the letter that sets it apart from others of its names and year; nothing for one that is alone."""
    alike = [_order(item)[:2] for item in items]
    count, seen = Counter(alike), Counter[tuple[str, str]]()
    letters = []
    for one in alike:
        letters.append(_lettered(seen[one]) if count[one] > 1 else "")
        seen[one] += 1
    return letters


def _lettered(number: int) -> str:
    return (_lettered(number // 26 - 1) if number >= 26 else "") + _LETTERS[number % 26]


def convert(given: Any, form: str, keys: Sequence[str], target: str) -> dict[str, Any]:
    """Return ``{format, entry_count, output}``.

    Raises:
        ToolError: See `format_items`.
    """
    items = _chosen(given, form, keys)
    return {"format": target, "entry_count": len(items), "output": write(items, target)}


def validate(given: Any, form: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return ``{valid, entry_count, errors, warnings}``; what cannot be read is an error like others.

    Raises:
        ToolError: ``limit_exceeded``.
    """
    errors: list[dict[str, str]] = []
    warnings: list[dict[str, str]] = []
    try:
        found = read(given, form)
    except ToolError as error:
        if error.code != "invalid_input":
            raise
        message = str(error).removeprefix("citation-formatter: input: ").rpartition(";")[0]
        return {"valid": False, "entry_count": 0, "errors": [_fault("", "", message)], "warnings": []}
    errors += found.problems
    if not found.items and not errors:
        errors.append(_fault("", "", "it has no entries"))
    count = Counter(item["id"] for item in found.items)
    errors += [_fault(key, "id", f"{times} entries have this key") for key, times in count.items() if times > 1]
    errors += [_fault(key, "cite_keys", "there is no such entry") for key in keys if key not in count]
    wanted: Callable[[str], bool] = set(keys).__contains__ if keys else lambda key: True
    for item in found.items:
        for field, what, is_error in faults(item) if wanted(item["id"]) else ():
            (errors if is_error else warnings).append(_fault(item["id"], field, what))
    return {"valid": not errors, "entry_count": len(found.items), "errors": errors, "warnings": warnings}


def _fault(key: str, field: str, message: str) -> dict[str, str]:
    return {"key": key, "field": field, "message": message}
