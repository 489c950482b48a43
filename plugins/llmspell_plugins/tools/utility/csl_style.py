"""A style of the Citation Style Language, read from its XML: its layouts, macros, options, terms and forms of dates.

Invariant: a style is strangers' work: it is read in a child process, names no entity, and holds no more than is needed
for writing references. Source: CSL 1.0.2. Terms are English, as far as the style does not bring its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from xml.etree import ElementTree

from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.spelling import meant, told

__all__ = ["Element", "Style", "Term", "read_style"]

Element = ElementTree.Element
_DEEPEST: Final = 60
_MOST: Final = 20_000
_FALLBACK: Final = {"verb-short": "verb", "symbol": "short", "verb": "long", "short": "long"}

_LONG: Final = """
accessed=accessed|and=and|and others=and others|anonymous=anonymous|at=at|available at=available at|by=by|circa=circa
cited=cited|edition=edition,editions|et-al=et al.|forthcoming=forthcoming|from=from|ibid=ibid.|in=in|in press=in press
internet=internet|interview=interview|letter=letter|no date=no date|online=online|presented at=presented at the
reference=reference,references|retrieved=retrieved|scale=scale|version=version|ad=AD|bc=BC|film=film|henceforth=henceforth
loc-cit=loc. cit.|no-place=no place|no-publisher=no publisher|on=on|op-cit=op. cit.
original-work-published=original work|review-of=review of|special-issue=special issue|working-paper=working paper
advance-online-publication=advance online publication|book=book,books|chapter=chapter,chapters
column=column,columns|figure=figure,figures|folio=folio,folios|issue=number,numbers
line=line,lines|note=note,notes|opus=opus,opera|page=page,pages|number-of-pages=page,pages|paragraph=paragraph,paragraphs
part=part,parts|section=section,sections|sub verbo=sub verbo,sub verbis|verse=verse,verses|volume=volume,volumes
number=number,numbers|chapter-number=chapter,chapters|number-of-volumes=volume,volumes|supplement=supplement,supplements
author=|editor=editor,editors|translator=translator,translators|director=director,directors
illustrator=illustrator,illustrators|collection-editor=editor,editors|container-author=|composer=|interviewer=
recipient=|reviewed-author=|original-author=
editorial-director=editor,editors|editortranslator=editor & translator,editors & translators
month-01=January|month-02=February|month-03=March|month-04=April|month-05=May|month-06=June|month-07=July|month-08=August
month-09=September|month-10=October|month-11=November|month-12=December|season-01=Spring|season-02=Summer
season-03=Autumn|season-04=Winter|long-ordinal-01=first|long-ordinal-02=second|long-ordinal-03=third
long-ordinal-04=fourth|long-ordinal-05=fifth|long-ordinal-06=sixth|long-ordinal-07=seventh|long-ordinal-08=eighth
long-ordinal-09=ninth|long-ordinal-10=tenth
"""
_SHORT: Final = """
accessed=accessed|and=&|anonymous=anon.|circa=c.|edition=ed.,eds.|no date=n.d.|reference=ref.,refs.|retrieved=retrieved
page=p.,pp.|no-place=n.p.|no-publisher=n.p.|version=v.|book=bk.,bks.|chapter=chap.,chaps.|column=col.,cols.
figure=fig.,figs.|folio=fol.,fols.|issue=no.,nos.|line=l.,ll.|note=n.,nn.|opus=op.,opp.|number-of-pages=p.,pp.|paragraph=para.,paras.|part=pt.,pts.
section=sec.,secs.|sub verbo=s.v.,s.vv.|verse=v.,vv.|volume=vol.,vols.|number=no.,nos.|chapter-number=chap.,chaps.
number-of-volumes=vol.,vols.|supplement=supp.,supps.
editor=ed.,eds.|translator=tran.,trans.|director=dir.,dirs.|illustrator=ill.,ills.|collection-editor=ed.,eds.
editorial-director=ed.,eds.|editortranslator=ed. & tran.,eds. & trans.
month-01=Jan.|month-02=Feb.|month-03=Mar.|month-04=Apr.|month-05=May|month-06=June|month-07=July|month-08=Aug.
month-09=Sept.|month-10=Oct.|month-11=Nov.|month-12=Dec.
"""
_VERB: Final = """
editor=edited by|translator=translated by|director=directed by|illustrator=illustrated by|interviewer=interview by
collection-editor=edited by|container-author=by|recipient=to|reviewed-author=by|editorial-director=edited by
editortranslator=edited & translated by|composer=composed by
"""
_VERB_SHORT: Final = """
editor=ed. by|translator=trans. by|director=dir. by|illustrator=illus. by|collection-editor=ed. by
editorial-director=ed. by|editortranslator=ed. & trans. by
"""
_SYMBOL: Final = "paragraph=¶,¶¶|section=§,§§"
_DATES: Final = {
    "en-US": (
        '<date form="text"><date-part name="month" suffix=" "/><date-part name="day" suffix=", "/>'
        '<date-part name="year"/></date>',
        '<date form="numeric"><date-part name="month" form="numeric-leading-zeros" suffix="/"/>'
        '<date-part name="day" form="numeric-leading-zeros" suffix="/"/><date-part name="year"/></date>',
    ),
    "en-GB": (
        '<date form="text"><date-part name="day" suffix=" "/><date-part name="month" suffix=" "/>'
        '<date-part name="year"/></date>',
        '<date form="numeric"><date-part name="day" form="numeric-leading-zeros" suffix="/"/>'
        '<date-part name="month" form="numeric-leading-zeros" suffix="/"/><date-part name="year"/></date>',
    ),
}


class Term(Struct, frozen=True):
    """A word of a style, for one and for several."""

    single: str
    multiple: str


class Style(Struct, frozen=True):
    """A style.

    Attributes:
        title: What it is called.
        root: Its XML; tags without their namespace.
        macros: By name.
        citation: How the text refers to an item.
        bibliography: How the list has it; as the text does if there is none.
        terms: By name and form.
        dates: The forms ``text`` and ``numeric``.
        american: Whether full stops and commas go within quotation marks.
    """

    title: str
    root: Element
    macros: Mapping[str, Element]
    citation: Element
    bibliography: Element | None
    terms: Mapping[tuple[str, str], Term]
    dates: Mapping[str, Element]
    american: bool

    def term(self, name: str, form: str = "long", *, plural: bool = False) -> str:
        """Return a word in a form, or in the next longer one that there is; empty if there is none."""
        known: str | None = form
        while known is not None:
            found = self.terms.get((name, known))
            if found is not None:
                return found.multiple if plural else found.single
            known = _FALLBACK.get(known)
        return ""


def read_style(text: str) -> Style:
    """Return the style that an XML text holds.

    Raises:
        ToolError: ``invalid_input``: it holds none, or one that only names another.
    """
    if re.search(r"<!(?:DOCTYPE|ENTITY)", text):
        raise _refused("it has a document type, which no style needs", "take it out")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  # without a document type, in a child held to its memory
    except (ElementTree.ParseError, ValueError) as error:
        why = f"it is no XML ({line_of_error(error)[:150]})"
        raise _refused(why, "give a file of the Citation Style Language") from None
    for count, (element, depth) in enumerate(_walk(root, 0)):
        if count > _MOST or depth > _DEEPEST:
            raise _refused("it is larger or deeper than any style", "give a smaller one")
        element.tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
    citation = root.find("citation")
    if root.tag != "style" or citation is None or citation.find("layout") is None:
        raise _refused(_lacking(root), "give a file of the Citation Style Language")
    language = root.get("default-locale") or "en-US"
    locales = [each for each in root.findall("locale") if _fits(each, language)]
    american = not language.startswith("en-") or language == "en-US"
    terms = _terms(american)
    dates = {
        each.get("form", ""): each for each in map(ElementTree.fromstring, _DATES["en-US" if american else "en-GB"])
    }
    for locale in locales:
        for term in locale.iter("term"):
            terms[term.get("name", ""), term.get("form", "long")] = _term(term)
        dates |= {each.get("form", ""): each for each in locale.findall("date")}
        for option in locale.findall("style-options"):
            american = option.get("punctuation-in-quote", str(american)).lower() == "true"
    title = root.findtext("info/title") or "a style"
    macros = {each.get("name", ""): each for each in root.findall("macro")}
    _check_known(root, macros)
    _check_end(macros)
    return Style(
        " ".join(title.split())[:300], root, macros, citation, root.find("bibliography"), terms, dates, american
    )


def _check_known(root: Element, macros: Mapping[str, Element]) -> None:
    """Refuse a macro that is called and is not there: what it should write would be missing without a word."""
    for each in root.iter():
        name = each.get("macro")
        if name is not None and name not in macros:
            hint = meant(
                name, macros, "there are none" if not macros else f"there are {', '.join(sorted(macros))[:80]}"
            )
            raise _refused(f"it calls the macro {told(name)}, which is not there", f"write that, or correct it: {hint}")


def _check_end(macros: Mapping[str, Element]) -> None:
    """Refuse macros that call each other in a circle."""
    called = {name: {each.get("macro", "") for each in macro.iter("text")} for name, macro in macros.items()}
    while called:
        done = {name for name, others in called.items() if not others & called.keys()}
        if not done:
            shown = ", ".join(sorted(called))[:80]
            raise _refused(f"its macros call each other without an end ({shown})", "correct it")
        called = {name: others for name, others in called.items() if name not in done}


def _walk(element: Element, depth: int) -> Iterator[tuple[Element, int]]:
    waiting = [(element, depth)]
    while waiting:
        each, at = waiting.pop()
        yield each, at
        waiting += [(child, at + 1) for child in each]


def _lacking(root: Element) -> str:
    parents = [each.get("href", "") for each in root.iter("link") if each.get("rel") == "independent-parent"]
    if parents:
        return f"it only names another style, {parents[0].rpartition('/')[2][:80]!r}; give that one's file"
    return "it is no style with a layout for citations"


def _fits(locale: Element, language: str) -> bool:
    named = locale.get("{http://www.w3.org/XML/1998/namespace}lang", "")
    return not named or named == language or (language.startswith("en") and named == language.partition("-")[0])


def _terms(american: bool) -> dict[tuple[str, str], Term]:
    found: dict[tuple[str, str], Term] = {}
    tables = (("long", _LONG), ("short", _SHORT), ("verb", _VERB), ("verb-short", _VERB_SHORT), ("symbol", _SYMBOL))
    for form, table in tables:
        for entry in filter(None, re.split(r"[|\n]", table)):
            name, _, words = entry.partition("=")
            single, _, multiple = words.partition(",")
            found[name, form] = Term(single, multiple or single)
    marks = ("“", "”", "\u2018", "\u2019") if american else ("\u2018", "\u2019", "“", "”")
    names = ("open-quote", "close-quote", "open-inner-quote", "close-inner-quote")
    return found | {(name, "long"): Term(mark, mark) for name, mark in zip(names, marks, strict=True)}


def _term(element: Element) -> Term:
    single = element.findtext("single")
    text = (element.text or "").strip() if single is None else single
    return Term(text, element.findtext("multiple") or text)


def _refused(what: str, advice: str) -> ToolError:
    return ToolError(f"citation-formatter: style: {what}; {advice}", code="invalid_input")
