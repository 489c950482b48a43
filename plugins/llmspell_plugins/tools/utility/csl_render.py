"""Writes references and citations by a style of the Citation Style Language.

Invariant: what an item lacks is left out with all that only belongs to it. Italics and the like stand between private
characters until `finished` makes them text, Markdown or HTML. Source: CSL 1.0.2; what it leaves to the processor is as
citeproc does it. Not done: positions of later citations, collapsed citations, sorts of a citation's items.

It is longer than most because each element of the language has its few lines here.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from .citation_text import DASH, sentence_case, title_case, unmarked
from .csl_item import DATES, NAMES
from .csl_names import OPTIONS, names_of
from .csl_style import Element, Style

__all__ = ["finished", "references"]

Item = Mapping[str, Any]
_MARKS: Final = {
    "italic": ("\ue000", "\ue001"),
    "bold": ("\ue002", "\ue003"),
    "small-caps": ("\ue004", "\ue005"),
    "sup": ("\ue006", "\ue007"),
    "sub": ("\ue008", "\ue009"),
    "underline": ("\ue00a", "\ue00b"),
}
_WRITTEN: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "text": {},
    "markdown": {"italic": ("*", "*"), "bold": ("**", "**"), "sup": ("^", "^"), "sub": ("~", "~")},
    "html": {
        "italic": ("<i>", "</i>"),
        "bold": ("<b>", "</b>"),
        "small-caps": ('<span style="font-variant: small-caps">', "</span>"),
        "sup": ("<sup>", "</sup>"),
        "sub": ("<sub>", "</sub>"),
        "underline": ("<u>", "</u>"),
    },
}
_RAISED: Final = str.maketrans("0123456789,-+()n\u2013", "⁰¹²³⁴⁵⁶⁷⁸⁹,⁻⁺⁽⁾ⁿ⁻")
_PRIVATE: Final = "[\ue000-\ue00b]*"
_CLOSING: Final = "[\ue000-\ue00b”\u2019]*"
_NUMERIC: Final = re.compile(r"[A-Za-z]*\d+[A-Za-z]*(?:\s*[,&\u2013-]\s*[A-Za-z]*\d+[A-Za-z]*)*")
_ELLIPSIS: Final = "\ue00c"
"""Three full stops that an item holds: they are not doubled punctuation."""
_TRIES: Final = 8


class Told(Struct):
    """What an element gives.

    Attributes:
        text: It, with marks.
        asked: Whether a variable was asked for.
        got: Whether one of them had something.
    """

    text: str = ""
    asked: bool = False
    got: bool = False


class _Cite(Struct):
    """An item that is written in one place.

    Attributes:
        item: Which.
        part: ``citation`` or ``bibliography`` of the style.
        number: Its number in the list.
        suffix: The letter that sets it apart.
        more: How many names are shown beyond what the style says.
        long: Whether given names are shown where the style leaves them out.
        apart: Whether it could not be told apart otherwise.
        sorting: Whether it is written to be sorted by.
        hidden: The variables that stood in for others.
        suffixed: Whether the letter has been written.
        authors: The first names that were written.
    """

    item: Item
    part: Element
    number: int = 0
    suffix: str = ""
    more: int = 0
    long: bool = False
    apart: bool = False
    sorting: bool = False
    hidden: set[str] = set()
    suffixed: bool = False
    authors: str | None = None


def references(style: Style, items: Sequence[Item], markup: str) -> list[dict[str, str]]:
    """Return for each item, in the order of the list, ``{key, type, reference, citation}``."""
    writer = _Writer(style)
    order = writer.sorted(items)
    cites = writer.told_apart([_Cite(item, style.citation, number) for number, item in enumerate(order, 1)])
    found, before = [], ""
    for cite in cites:
        reference, authors = writer.reference(cite, before)
        before = authors or ""
        found.append(
            {
                "key": cite.item["id"],
                "type": cite.item["type"],
                "reference": finished(reference, markup),
                "citation": finished(writer.citation(cite), markup),
            }
        )
    return found


def finished(text: str, markup: str) -> str:
    """Return a reference as ``text``, ``markdown`` or ``html``."""
    if markup == "markdown":
        text = re.sub(r"([\\*_`\[\]<])", r"\\\1", text)
    if markup == "html":
        text = html.escape(text, quote=False)
    if markup == "text":
        on, off = _MARKS["sup"]
        text = re.sub(f"{on}(.*?){off}", lambda found: found[1].translate(_RAISED), text)
    text = text.replace(_ELLIPSIS, "...")
    for name, (on, off) in _MARKS.items():
        begin, end = _WRITTEN[markup].get(name, ("", ""))
        text = text.replace(on, begin).replace(off, end)
    return text


class _Writer:
    """Writes by one style."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._list = style.bibliography if style.bibliography is not None else style.citation

    # The list and the citations

    def sorted(self, items: Sequence[Item]) -> list[Item]:
        """Return the items in the order of the list."""
        order = list(items)
        for key in reversed(self._list.findall("sort/key")):
            values = {item["id"]: self._sort_key(item, number, key) for number, item in enumerate(items, 1)}
            there = [item for item in order if values[item["id"]]]
            there.sort(key=lambda item: values[item["id"]], reverse=key.get("sort") == "descending")
            order = [*there, *(item for item in order if not values[item["id"]])]
        return order

    def _sort_key(self, item: Item, number: int, key: Element) -> Any:
        variable = key.get("variable", "")
        cite = _Cite(item, self._list, number, sorting=True, hidden=set())
        if key.get("macro"):
            macro = self._style.macros.get(key.get("macro", ""))
            return _folded(self._children(macro, cite).text) if macro is not None else ""
        if variable in DATES:
            return _moment(item.get(variable))
        if variable in NAMES:
            return _folded(self._people(item[variable], None, cite, {})) if item.get(variable) else ""
        if variable == "citation-number":
            return f"{number:06}"
        return _folded(unmarked(str(item.get(variable, ""))))

    def told_apart(self, cites: Sequence[_Cite]) -> list[_Cite]:
        """Return the citations so that no two are the same, as far as the style asks for that."""
        options = self._style.citation.attrib
        for name, most in (("disambiguate-add-names", _TRIES), ("disambiguate-add-givenname", 1)):
            if options.get(name) == "true":
                self._try_apart(cites, name, most)
        for group in self._alike(cites):
            for cite in group:
                cite.apart = True
        if options.get("disambiguate-add-year-suffix") == "true":
            for group in self._alike(cites):
                for at, cite in enumerate(group):
                    cite.suffix = _letters(at)
        return list(cites)

    def _try_apart(self, cites: Sequence[_Cite], how: str, most: int) -> None:
        for group in self._alike(cites):
            for _ in range(most):
                for cite in group:
                    cite.more += how == "disambiguate-add-names"
                    cite.long = cite.long or how == "disambiguate-add-givenname"
                if len({self.citation(cite) for cite in group}) > 1:
                    break
            else:
                for cite in group:  # it was of no use
                    cite.more, cite.long = (0, cite.long) if how == "disambiguate-add-names" else (cite.more, False)

    def _alike(self, cites: Sequence[_Cite]) -> list[list[_Cite]]:
        groups: dict[str, list[_Cite]] = defaultdict(list)
        for cite in cites:
            groups[self.citation(cite)].append(cite)
        return [group for group in groups.values() if len(group) > 1]

    def citation(self, cite: _Cite) -> str:
        """Return how the text refers to the item."""
        layout = self._style.citation.find("layout")
        assert layout is not None
        self._begin(cite, self._style.citation)
        return self._polished(_affixed(layout, _formatted(layout, self._children(layout, cite).text)))

    def reference(self, cite: _Cite, before: str) -> tuple[str, str | None]:
        """Return the entry of the list, and by which names it begins."""
        layout = self._list.find("layout")
        assert layout is not None
        self._begin(cite, self._list)
        fields = [each for each in (self._told(child, cite).text for child in layout) if each]
        if self._list.get("second-field-align") and len(fields) > 1:
            fields[0] = fields[0].rstrip() + " "
        text = "".join(fields)
        instead = self._list.get("subsequent-author-substitute")
        if instead is not None and cite.authors and cite.authors == before:
            text = text.replace(cite.authors, instead, 1)
        return self._polished(_affixed(layout, _formatted(layout, text))), cite.authors

    def _begin(self, cite: _Cite, part: Element) -> None:
        cite.part, cite.hidden, cite.suffixed, cite.authors = part, set(), False, None

    # Elements

    def _told(self, element: Element, cite: _Cite) -> Told:
        match element.tag:
            case "text":
                told = self._text(element, cite)
            case "number":
                told = self._number(element, cite)
            case "date":
                told = self._date(element, cite)
            case "names":
                return self._names(element, cite)
            case "label":
                told = self._label(element, cite)
            case "group":
                told = self._children(element, cite)
                if told.asked and not told.got:
                    told.text = ""
            case "choose":
                return self._chosen(element, cite, "")
            case _:
                return Told()
        told.text = _affixed(element, _formatted(element, self._cased(element, told.text)))
        if element.get("display") and told.text:  # a line or a column of its own
            told.text = f" {told.text} "
        return told

    def _children(self, element: Element, cite: _Cite) -> Told:
        return self._joined(element, cite, element.get("delimiter", ""))

    def _joined(self, element: Element, cite: _Cite, delimiter: str) -> Told:
        parts, asked, got = [], False, False
        for child in element:
            told = self._chosen(child, cite, delimiter) if child.tag == "choose" else self._told(child, cite)
            asked, got = asked or told.asked, got or told.got
            parts.append(told.text)
        return Told(_joined(parts, delimiter), asked, got)

    def _chosen(self, element: Element, cite: _Cite, delimiter: str) -> Told:
        for branch in element:
            if branch.tag == "else" or self._holds(branch, cite):
                return self._joined(branch, cite, delimiter)
        return Told()

    def _holds(self, branch: Element, cite: _Cite) -> bool:
        verdicts: list[bool] = []
        item = cite.item
        for name, value in branch.attrib.items():
            words = value.split()
            match name:
                case "type":
                    verdicts += [item["type"] == word for word in words]
                case "variable":
                    verdicts += [bool(self._value(word, cite)) or bool(item.get(word)) for word in words]
                case "is-numeric":
                    verdicts += [bool(_NUMERIC.fullmatch(self._value(word, cite))) for word in words]
                case "disambiguate":
                    verdicts.append(cite.apart)
                case "position":
                    verdicts += [word == "first" and cite.part is self._style.citation for word in words]
                case "is-uncertain-date" | "locator":
                    verdicts += [False for _ in words]
        how = branch.get("match", "all")
        return any(verdicts) if how == "any" else not any(verdicts) if how == "none" else all(verdicts)

    def _text(self, element: Element, cite: _Cite) -> Told:
        form = element.get("form", "long")
        if "variable" in element.attrib:
            name = element.attrib["variable"]
            value = "" if name in cite.hidden else self._value(name, cite, form)
            return Told(self._quoted(element, value), True, bool(value))
        if "macro" in element.attrib:
            macro = self._style.macros.get(element.attrib["macro"])
            told = self._children(macro, cite) if macro is not None else Told()
            told.text = self._quoted(element, told.text)
            return told
        if "term" in element.attrib:
            return Told(self._style.term(element.attrib["term"], form, plural=element.get("plural") == "true"))
        return Told(self._quoted(element, element.get("value", "")))

    def _value(self, name: str, cite: _Cite, form: str = "long") -> str:
        """What a variable holds; dates and names are none here."""
        if name == "citation-number":
            return f"{cite.number:06}" if cite.sorting else str(cite.number)
        if name == "year-suffix":
            cite.suffixed = cite.suffixed or bool(cite.suffix)
            return cite.suffix
        if name == "page-first":
            return re.split(r"[-\u2010-\u2014,]", cite.item.get("page", ""))[0].strip()
        if name == "citation-label":
            return str(cite.item["id"])
        short = cite.item.get(f"{name}-short") if form == "short" else None
        value = short or cite.item.get(name, "")
        if not isinstance(value, str):
            return ""
        if name == "page":
            dash = self._style.term("page-range-delimiter") or DASH
            return _pages(value, self._style.root.get("page-range-format", "")).replace(DASH, dash)
        value = value.replace("...", _ELLIPSIS)
        marked = re.sub(r"<(/?)(?:i|em)>", lambda tag: _MARKS["italic"][bool(tag[1])], value)
        return re.sub(r"(?<=\w)'(?=\w)", "\u2019", marked)

    def _quoted(self, element: Element, text: str) -> str:
        if element.get("quotes") != "true" or not text:
            return text
        marks = [
            self._style.term(name) for name in ("open-quote", "close-quote", "open-inner-quote", "close-inner-quote")
        ]
        return f"{marks[0]}{text.replace('“', marks[2]).replace('”', marks[3])}{marks[1]}"

    def _cased(self, element: Element, text: str) -> str:
        if element.get("strip-periods") == "true":
            text = text.replace(".", "")
        match element.get("text-case"):
            case "lowercase":
                text = text.lower()
            case "uppercase":
                text = text.upper()
            case "capitalize-first":
                text = re.sub(r"[^\W\d_]", lambda letter: letter[0].upper(), text, count=1)
            case "capitalize-all":
                text = re.sub(r"(?<![\w\u2019'])[^\W\d_]", lambda letter: letter[0].upper(), text)
            case "sentence":
                text = sentence_case(text)
            case "title":
                text = title_case(text)
        return unmarked(text) if element.get("variable") else text

    def _number(self, element: Element, cite: _Cite) -> Told:
        value = self._value(element.get("variable", ""), cite)
        form = element.get("form", "numeric")
        if value.isdecimal() and form != "numeric" and len(value) < 10:  # a longer one has no words
            value = self._ordinal(int(value), form)
        elif _NUMERIC.fullmatch(value):
            value = re.sub(r"\s*[-\u2013]\s*", DASH, value)
        return Told(value, True, bool(value))

    def _ordinal(self, number: int, form: str) -> str:
        if form == "roman":
            return _roman(number)
        long = self._style.term(f"long-ordinal-{number:02}") if form == "long-ordinal" else ""
        own = self._style.term("ordinal") or self._style.term(f"ordinal-{number % 10:02}")
        ending = "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return long or f"{number}{own or ending}"

    def _label(self, element: Element, cite: _Cite) -> Told:
        name = element.get("variable", "")
        value = self._value(name, cite)
        several = bool(re.search(r"\d\s*[,&\u2013-]\s*[A-Za-z]*\d", value)) or (
            name.startswith("number-of-") and value.isdecimal() and value.lstrip("0") not in ("", "1")
        )
        plural = {"always": True, "never": False}.get(element.get("plural", ""), several)
        return Told(self._style.term(name, element.get("form", "long"), plural=plural) if value else "")

    # Names

    def _names(self, element: Element, cite: _Cite, parent: Element | None = None) -> Told:
        shape = element if element.find("name") is not None or parent is None else parent
        parts, people = [], []
        for role in element.get("variable", "").split():
            if role in cite.hidden or role not in NAMES or not cite.item.get(role):
                continue
            people.append(role)
            parts.append(self._role(role, element, shape, cite))
        if parts:
            text = _joined(parts, element.get("delimiter", self._inherited(cite).get("names-delimiter", ", ")))
            if cite.authors is None:
                cite.authors = text
            return Told(_affixed(element, _formatted(element, text)), True, True)
        return self._substituted(element, cite)

    def _role(self, role: str, element: Element, shape: Element, cite: _Cite) -> str:
        people = cite.item[role]
        options = {**self._inherited(cite), **(element.find("name").attrib if element.find("name") is not None else {})}  # type: ignore[union-attr]
        if shape is not element and shape.find("name") is not None:
            options |= shape.find("name").attrib  # type: ignore[union-attr]
        text = self._people(people, shape, cite, options)
        label = element.find("label") if element.find("label") is not None else shape.find("label")
        if label is None or cite.sorting or options.get("form") == "count":
            return text
        plural = {"always": True, "never": False}.get(label.get("plural", ""), len(people) > 1)
        word = self._style.term(role, label.get("form", "long"), plural=plural)
        told = _affixed(label, _formatted(label, self._cased(label, word)))
        order = [each.tag for each in shape]
        first = "name" in order and "label" in order and order.index("label") < order.index("name")
        return f"{told}{text}" if first else f"{text}{told}"

    def _people(self, people: Sequence[Any], shape: Element | None, cite: _Cite, options: Mapping[str, str]) -> str:
        name = shape.find("name") if shape is not None else None
        if cite.sorting:
            options = {**options, "name-as-sort-order": "all", "form": "long"}
        elif cite.long:
            options = {**options, "form": "long"}
        rest = shape.find("et-al") if shape is not None else None
        et_al = self._style.term(rest.get("term", "et-al") if rest is not None else "et-al")
        et_al = _formatted(rest, et_al) if rest is not None else et_al
        written = names_of(people, name, options, self._style, et_al, cite.more)
        return _affixed(name, _formatted(name, written)) if name is not None else written

    def _inherited(self, cite: _Cite) -> dict[str, str]:
        """The options of names that the part and the style give."""
        found: dict[str, str] = {}
        for holder in (self._style.root, cite.part):
            found |= {
                name: value for name, value in holder.attrib.items() if name in OPTIONS or name == "names-delimiter"
            }
            for own, name in (("name-form", "form"), ("name-delimiter", "delimiter")):
                if own in holder.attrib:
                    found[name] = holder.attrib[own]
        return found

    def _substituted(self, element: Element, cite: _Cite) -> Told:
        for child in element.iterfind("substitute/*"):
            told = self._names(child, cite, element) if child.tag == "names" else self._told(child, cite)
            if told.text:
                if cite.authors is None:
                    cite.authors = told.text
                cite.hidden |= self._variables(child, 0)
                told.text = _affixed(element, _formatted(element, told.text)) if child.tag == "names" else told.text
                return told
        return Told("", True, False)

    def _variables(self, element: Element, depth: int) -> set[str]:
        """The variables that an element may have written, also by macros."""
        found: set[str] = set()
        for each in element.iter():
            found |= set(each.get("variable", "").split()) if each.tag in ("text", "names", "number", "date") else set()
            macro = self._style.macros.get(each.get("macro", ""))
            if macro is not None and depth < _TRIES:
                found |= self._variables(macro, depth + 1)
        return found

    # Dates

    def _date(self, element: Element, cite: _Cite) -> Told:
        name = element.get("variable", "")
        value = None if name in cite.hidden else cite.item.get(name)
        if not isinstance(value, Mapping):
            return Told("", True, False)
        if cite.sorting:
            return Told(_moment(value), True, True)
        moments = value.get("date-parts")
        if not moments:
            return Told(str(value.get("literal", "")), True, bool(value.get("literal")))
        parts, delimiter = self._parts(element)
        written = [self._moment(parts, each, delimiter) for each in moments]
        text = DASH.join(dict.fromkeys(filter(None, written)))
        if name == "issued" and cite.suffix and not cite.suffixed and not self._writes_suffix:
            text, cite.suffixed = f"{text}{cite.suffix}", True
        return Told(text, True, bool(text))

    @property
    def _writes_suffix(self) -> bool:
        return any(each.get("variable") == "year-suffix" for each in self._style.root.iter("text"))

    def _parts(self, element: Element) -> tuple[list[dict[str, str]], str]:
        """The parts of a date, and what stands between them: the style's own, or those of its form."""
        form = element.get("form")
        own = {part.get("name", ""): part.attrib for part in element.findall("date-part") if part.get("name")}
        if form is None:
            return [dict(attributes) for attributes in own.values()], element.get("delimiter", "")
        shape = self._style.dates.get(form)
        wanted = element.get("date-parts", "year-month-day").split("-")
        parts = [{**part.attrib, **own.get(part.get("name", ""), {})} for part in (shape if shape is not None else ())]
        return [part for part in parts if part.get("name") in wanted], shape.get(
            "delimiter", ""
        ) if shape is not None else ""

    def _moment(self, parts: Sequence[Mapping[str, str]], moment: Sequence[int], delimiter: str) -> str:
        known = dict(zip(("year", "month", "day"), moment, strict=False))
        written = []
        for part in parts:
            number = known.get(part["name"], 0)
            if number:
                made = Element(part["name"], dict(part))
                text = self._cased(made, self._date_part(part["name"], number, part.get("form", "")))
                written.append(_affixed(made, _formatted(made, text)))
        return delimiter.join(written) if delimiter else re.sub(r"[\s,/-]+$", "", "".join(written))

    def _date_part(self, name: str, number: int, form: str) -> str:
        if name == "month" and form in ("", "long", "short"):
            return self._style.term(f"month-{number:02}", form or "long")
        if name == "year":
            return (
                f"{-number}{self._style.term('bc')}"
                if number < 0
                else str(number)[-2:]
                if form == "short"
                else str(number)
            )
        return (
            f"{number:02}"
            if form == "numeric-leading-zeros"
            else self._ordinal(number, form)
            if form == "ordinal"
            else str(number)
        )

    # The whole

    def _polished(self, text: str) -> str:
        """The text without doubled punctuation and spaces, with marks within quotes where the style wants that."""
        text = re.sub(rf"(\s)({_PRIVATE})\s+", r"\1\2", text)
        text = re.sub(rf"\s+({_PRIVATE}[,;.])(?!\.)", r"\1", text)
        text = re.sub(rf"(?<=[.?!{_ELLIPSIS}])((?:{_CLOSING}\.)+)", lambda found: found[1].replace(".", ""), text)
        text = re.sub(rf"([,;:])({_PRIVATE})\1", r"\1\2", text)
        text = re.sub(rf",({_PRIVATE})\.", r".\1", text)
        text = re.sub(rf"([;:])({_PRIVATE})\.", r"\1\2", text)
        text = re.sub(rf";({_PRIVATE})[:,]", r";\1", text)
        if self._style.american:
            text = re.sub(rf"([?!]{_PRIVATE}[”\u2019]{_PRIVATE}),", r"\1", text)
            text = re.sub(rf"({_PRIVATE}[”\u2019])({_PRIVATE})([.,])(?!\w)", r"\3\1\2", text)
            text = re.sub(rf"([?!.,])({_PRIVATE})[.,](?=”)", r"\1\2", text)
        return text.strip()


def _joined(parts: Sequence[str], delimiter: str) -> str:
    return delimiter.join(part for part in parts if part)


def _affixed(element: Element, text: str) -> str:
    return f"{element.get('prefix', '')}{text}{element.get('suffix', '')}" if text else ""


def _formatted(element: Element, text: str) -> str:
    if not text:
        return ""
    names = [
        "italic" if element.get("font-style") in ("italic", "oblique") else "",
        "bold" if element.get("font-weight") == "bold" else "",
        "small-caps" if element.get("font-variant") == "small-caps" else "",
        "underline" if element.get("text-decoration") == "underline" else "",
        element.get("vertical-align", "") if element.get("vertical-align") in ("sup", "sub") else "",
    ]
    for name in filter(None, names):
        on, off = _MARKS[name]
        text = f"{on}{text.replace(on, '').replace(off, '')}{off}"
    return text


def _folded(text: str) -> str:
    """The text as it is sorted by: without marks, accents and case."""
    plain = unicodedata.normalize("NFKD", re.sub(r"[\ue000-\ue00c]", "", text))
    kept = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^\w\s]", "", kept).casefold().strip()


def _moment(value: Any) -> str:
    """A date as digits that sort."""
    parts = value.get("date-parts") if isinstance(value, Mapping) else None
    if not parts:
        return str(value.get("literal", "")) if isinstance(value, Mapping) else ""
    year, month, day = (*parts[0], 0, 0)[:3]
    return f"{year + 10_000:05}{month:02}{day:02}"


def _letters(number: int) -> str:
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _roman(number: int) -> str:
    found = ""
    for value, letters in zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ["m", "cm", "d", "cd", "c", "xc", "l", "xl", "x", "ix", "v", "iv", "i"],
        strict=True,
    ):
        found += letters * (min(number, 10_000) // value)
        number %= value
    return found


def _pages(text: str, form: str) -> str:
    """Pages, with a dash between the ends of a range, which the style may want shortened."""
    return ", ".join(_range(each.strip(), form) for each in text.split(","))


def _range(text: str, form: str) -> str:
    first, dash, last = re.sub(r"\s*[-\u2010-\u2014]+\s*", "\0", text, count=1).partition("\0")
    if not dash:
        return text
    if form and first.isdecimal() and last.isdecimal():
        last = first[: len(first) - len(last)] + last if len(last) < len(first) else last
        if len(last) == len(first):
            last = last[_kept_from(first, last, form) :]
    return f"{first}{DASH}{last}"


def _kept_from(first: str, last: str, form: str) -> int:
    """From which digit on the end of a range is written."""
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=True)) if one != other), 0)
    if form == "minimal":
        return same
    if form == "minimal-two":
        return max(0, min(same, len(first) - 2))
    if form.startswith("chicago"):
        if len(first) < 3 or first.endswith("00"):
            return 0
        return same if first[-2] == "0" else max(0, min(same, len(first) - 2))
    return 0
