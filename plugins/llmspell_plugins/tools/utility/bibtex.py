"""BibTeX and BibLaTeX, to items of CSL-JSON and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmspell_hookspecs.errors import line_of_error

from .csl_item import NAMES, OWN, Bibliography, cleaned, date_of, problem, put, refuse

__all__ = ["read_bibtex", "write_bibtex"]

_TYPES: Final = {
    "article": "article-journal",
    "book": "book",
    "booklet": "pamphlet",
    "collection": "book",
    "conference": "paper-conference",
    "dataset": "dataset",
    "electronic": "webpage",
    "inbook": "chapter",
    "incollection": "chapter",
    "inproceedings": "paper-conference",
    "manual": "report",
    "mastersthesis": "thesis",
    "misc": "document",
    "online": "webpage",
    "phdthesis": "thesis",
    "proceedings": "book",
    "report": "report",
    "software": "software",
    "techreport": "report",
    "thesis": "thesis",
    "unpublished": "manuscript",
    "www": "webpage",
}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FROM_BIBTEX: Final = {
    "doi": "DOI",
    "isbn": "ISBN",
    "issn": "ISSN",
    "url": "URL",
    "abstract": "abstract",
    "series": "collection-title",
    "edition": "edition",
    "langid": "language",
    "note": "note",
    "pages": "page",
    "shorttitle": "title-short",
    "title": "title",
    "volume": "volume",
}


def read_bibtex(text: str) -> Bibliography:
    """Return the entries of BibTeX or BibLaTeX; one that cannot be read is a problem, and the next is read."""
    import pybtex.errors
    from pybtex.database import parse_string

    found = Bibliography()
    with pybtex.errors.capture() as errors:
        try:
            data = parse_string(OWN.sub(" ", text), "bibtex")
        except RecursionError:
            refuse("its braces are nested too deeply; give BibTeX")
        except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
            refuse(f"it cannot be read: {line_of_error(error)[:200]}; give BibTeX")
        for key, entry in data.entries.items():
            try:
                found.items.append(_bibtex_item(key, entry, data.entries))
            except RecursionError:
                problem(found, key, "", "its braces are nested too deeply")
    for each in errors:
        problem(found, "", "", " ".join(line_of_error(each).split())[:300])
    return found


def _bibtex_item(key: str, entry: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name.lower(): value for name, value in entry.fields.items()}
    persons = {role: list(each) for role, each in entry.persons.items()}
    named = fields.get("crossref", "")
    parent = others[named] if named and named in others else None
    if parent is not None:  # one level, as BibTeX itself looks
        inherited = {name.lower(): value for name, value in parent.fields.items()}
        if "title" in inherited:
            inherited.setdefault("booktitle", inherited.pop("title"))
        fields = {**inherited, **fields}
        persons.setdefault("editor", list(parent.persons.get("editor", ())))
    item: dict[str, Any] = {"id": key, "type": _TYPES.get(entry.type.lower(), "document")}
    for name, csl in _FROM_BIBTEX.items():
        if fields.get(name):
            item[csl] = _latex(fields[name], keep=csl in ("title", "title-short"))
    _bibtex_container(item, fields, entry.type.lower())
    for role in NAMES:
        names = [_bibtex_name(person) for person in persons.get(role, ()) if str(person) != "others"]
        if names:
            item[role] = names
    put(item, "issued", _bibtex_date(fields))
    put(item, "accessed", date_of(_latex(fields.get("urldate", ""))))
    if item["type"] == "document" and item.get("URL"):
        item["type"] = "webpage"
    if item.get("language", "english").lower()[:2] in ("en", "am", "br", "us", "uk"):
        item["titlecased"] = True
    return cleaned(item)


def _bibtex_container(item: dict[str, Any], fields: Mapping[str, str], kind: str) -> None:
    def first(*names: str) -> str:
        return next((_latex(fields[name]) for name in names if fields.get(name)), "")

    put(item, "container-title", first("journal", "journaltitle", "booktitle", "maintitle"))
    put(item, "publisher", first("publisher", "school", "institution", "organization", "howpublished"))
    put(item, "publisher-place", first("address", "location"))
    is_article = item["type"] == "article-journal"
    put(item, "issue" if is_article else "number", first("number", "issue"))
    genre = {"phdthesis": "PhD thesis", "mastersthesis": "Master's thesis"}.get(kind, "")
    named = {"phdthesis": "PhD thesis", "mathesis": "Master's thesis", "techreport": "Technical report"}
    given = first("type")
    put(item, "genre", named.get(given, given) or genre)
    if item.get("publisher", "").startswith("http"):  # howpublished = \url{...}
        item.setdefault("URL", item.pop("publisher"))


def _bibtex_name(person: Any) -> dict[str, str]:
    def joined(names: list[str]) -> str:
        return _latex(" ".join(names))

    given = joined([*person.first_names, *person.middle_names])
    family, particle, suffix = map(joined, (person.last_names, person.prelast_names, person.lineage_names))
    whole = " ".join(person.last_names)
    if not given and not particle and whole.startswith("{") and whole.endswith("}"):
        return {"literal": family}
    name = {"family": family, "given": given, "non-dropping-particle": particle, "suffix": suffix}
    return {part: value for part, value in name.items() if value}


def _bibtex_date(fields: Mapping[str, str]) -> dict[str, Any] | None:
    if fields.get("date"):
        return date_of(_latex(fields["date"]))
    year, month, day = (_latex(fields.get(name, "")).strip() for name in ("year", "month", "day"))
    if not re.fullmatch(r"-?\d{1,4}", year):
        return {"literal": year} if year else None
    number = _month(month)
    numbers = [int(year), number, int(day) if day.isdecimal() and len(day) < 3 and number else 0]
    return {"date-parts": [[each for each in numbers if each]]}


def _month(text: str) -> int:
    if text.isdecimal() and len(text) < 3:
        return int(text) if 1 <= int(text) <= 12 else 0
    return _MONTHS.index(text[:3].lower()) + 1 if text[:3].lower() in _MONTHS else 0


_FONT = re.compile(r"\\(?:emph|textit|textbf|textsc|texttt|textrm|textsf|textup|text|mbox|mkbibemph|url|path)\b\s*")


def _latex(text: str, *, keep: bool = False) -> str:
    """LaTeX as a text; with ``keep`` what is in braces keeps its letters."""
    from pybtex.richtext import Protected, Text

    plain = re.sub(r"[{}\\]", "", text)
    if not re.search(r"[{}\\~$`'-]", text):
        return " ".join(text.split())
    try:
        parsed = Text.from_latex(_FONT.sub("", text))
    except (ValueError, IndexError):
        return " ".join(plain.split())

    def walked(part: Any) -> Iterator[str]:
        for each in part.parts:
            if isinstance(each, Protected) and keep and len(str(each)) > 0 and part is parsed:
                yield f'<span class="nocase">{each}</span>'
            else:
                yield str(each)

    decoded = re.sub(r"\\([A-Za-z]+)", r"\1", "".join(walked(parsed)))
    return " ".join(decoded.replace("\xa0", " ").replace("\\", "").split())


_TO_BIBTEX: Final = {
    "title": "title",
    "issue": "number",
    "number": "number",
    "volume": "volume",
    "page": "pages",
    "publisher-place": "address",
    "edition": "edition",
    "collection-title": "series",
    "DOI": "doi",
    "URL": "url",
    "ISBN": "isbn",
    "ISSN": "issn",
    "note": "note",
    "abstract": "abstract",
    "language": "langid",
}
_WRITTEN: Final = {
    "article-magazine": "article",
    "article-newspaper": "article",
    "book": "book",
    "chapter": "incollection",
    "paper-conference": "inproceedings",
    "report": "techreport",
    "webpage": "misc",
}
_ESCAPES: Final = {"\\": r"\textbackslash ", "~": r"\textasciitilde ", "^": r"\textasciicircum "}
_ESCAPES.update({letter: f"\\{letter}" for letter in "&%$#_"})


def write_bibtex(items: list[dict[str, Any]]) -> str:
    """Return items as BibTeX, in UTF-8; capitals that must stay are in braces."""
    taken: set[str] = set()
    return "\n".join(_entry(item, taken) for item in items)


def _entry(item: Mapping[str, Any], taken: set[str]) -> str:
    kind = _written_type(item)
    fields = {role: " and ".join(map(_name, item[role])) for role in NAMES if item.get(role)}
    for csl, name in _TO_BIBTEX.items():
        if item.get(csl):
            fields[name] = item[csl] if name in ("doi", "url") else _escaped(item[csl])
    if "title" in fields and not item.get("titlecased"):
        fields["title"] = _kept_capitals(fields["title"])
    if item.get("container-title"):
        held = {"article": "journal", "incollection": "booktitle", "inproceedings": "booktitle"}.get(kind, "series")
        fields[held] = _escaped(item["container-title"])
    if item.get("publisher"):
        owner = {"phdthesis": "school", "mastersthesis": "school", "techreport": "institution"}.get(kind, "publisher")
        fields[owner] = _escaped(item["publisher"])
    if item.get("genre") and kind not in ("phdthesis", "mastersthesis"):
        fields["type"] = _escaped(item["genre"])
    if "page" in item:
        fields["pages"] = fields["pages"].replace("-", "--")
    fields.update(_date_fields(item))
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{_key(item['id'], taken)},\n{lines}}}\n"


def _written_type(item: Mapping[str, Any]) -> str:
    kind = item["type"]
    if kind == "thesis":
        return "mastersthesis" if "master" in item.get("genre", "").lower() else "phdthesis"
    return _WRITTEN.get(kind) or next((name for name, csl in _TYPES.items() if csl == kind), "misc")


def _key(text: str, taken: set[str]) -> str:
    """A key that BibTeX reads, and that no entry before has."""
    plain = re.sub(r"[\s{}(),=#%\"'\\~]+", "_", text).strip("_") or "entry"
    key, number = plain, 1
    while key.lower() in taken:
        number += 1
        key = f"{plain}-{number}"
    taken.add(key.lower())
    return key


def _name(name: Mapping[str, str]) -> str:
    if "literal" in name:
        return f"{{{_escaped(name['literal'])}}}"
    particle = name.get("non-dropping-particle") or name.get("dropping-particle") or ""
    family = _escaped(name.get("family") or name.get("given", ""))
    family = f"{{{family}}}" if " " in family and not particle else family
    parts = [f"{_escaped(particle)} {family}".strip(), name.get("suffix", "")]
    given = _escaped(name.get("given", "")) if "family" in name else ""
    return ", ".join([*(part for part in parts if part), given] if given else [part for part in parts if part])


def _date_fields(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for csl, name in (("issued", "date"), ("accessed", "urldate")):
        date = item.get(csl, {})
        parts = date.get("date-parts", ())
        if len(parts) == 1 and name == "date":
            year, month, day = (*parts[0], 0, 0)[:3]
            named = {"year": str(year), "month": _MONTHS[month - 1] if month else "", "day": str(day or "")}
            yield from ((field, value) for field, value in named.items() if value)
        elif parts:
            yield name, "/".join("-".join(f"{number:02}" for number in part) for part in parts)
        elif date.get("literal"):
            yield ("year" if name == "date" else name), _escaped(date["literal"])


def _escaped(text: str) -> str:
    spans = re.split(r'<span class="nocase">(.*?)</span>', text)
    plain = ["".join(_ESCAPES.get(letter, letter) for letter in piece if letter not in "{}") for piece in spans]
    return "".join(f"{{{piece}}}" if number % 2 else piece for number, piece in enumerate(plain))


def _kept_capitals(title: str) -> str:
    """A title in sentence case with braces around what would lose its capitals."""
    pieces = re.split(r"(\{.*?\})", title)

    def kept(found: re.Match[str]) -> str:
        word = found.group()
        is_first = found.start() == 0 and found.string is pieces[0]
        return word if word == word.lower() or (is_first and word[1:] == word[1:].lower()) else f"{{{word}}}"

    return "".join(piece if number % 2 else re.sub(r"(?<!\\)\b\w+", kept, piece) for number, piece in enumerate(pieces))
