"""What the xml-processor does in a child process: XML read, queried, checked, written. Sizes in characters.

Invariant: a document with a DTD of its own is refused, no entity is expanded and nothing is fetched. An XPath can take
for ever, and nothing stops it from inside, so these functions run where they can be killed.
"""

from __future__ import annotations

import re
from typing import Any

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

__all__ = ["canonical", "formatted", "parse", "query", "to_json", "validate"]

_MOST = 10_000
_DEEPEST = 200


def parse(text: str) -> dict[str, Any]:
    """Return ``{root, namespaces, elements, attributes, depth}``.

    Raises:
        ToolError: ``invalid_input``, with its line.
    """
    root = _read(text)
    elements = attributes = 0
    namespaces: dict[str, str] = {}
    for element in root.iter("*"):
        elements += 1
        attributes += len(element.attrib)
        for prefix, address in element.nsmap.items():
            namespaces.setdefault(prefix or "", address)
    return {"root": root.tag, "namespaces": namespaces, "elements": elements, "attributes": attributes}


def query(text: str, xpath: str, namespaces: dict[str, str]) -> list[Any]:
    """Return what an XPath 1.0 finds: elements as XML, all else as it is.

    Raises:
        ToolError: ``invalid_input``, ``invalid_query`` or ``limit_exceeded``.
    """
    from lxml import etree

    root = _read(text)
    try:
        found = root.getroottree().xpath(xpath, namespaces=namespaces or None)
    except (etree.XPathError, TypeError, ValueError) as error:
        message = f"xml-processor: query: {xpath[:100]!r} is wrong ({line_of_error(error)[:200]}); correct the XPath"
        raise ToolError(message, code="invalid_query") from None
    items = found if isinstance(found, list) else [found]
    if len(items) > _MOST:
        message = f"xml-processor: query: it finds {len(items)} items, more than {_MOST}; ask for less"
        raise ToolError(message, code="limit_exceeded")
    return [_told(item) for item in items]


def to_json(text: str) -> dict[str, Any]:
    """Return the document as plain values: attributes under ``@name``, text under ``#text``, repeated ones as lists."""
    root = _read(text)
    return {_name(root): _value(root, 1)}


def validate(text: str, schema: str, language: str) -> dict[str, Any]:
    """Return ``{valid, errors: [{message, line}]}`` by an XML Schema (``xsd``) or RELAX NG (``rng``).

    Raises:
        ToolError: ``invalid_input`` or ``invalid_schema``.
    """
    from lxml import etree

    document = _read(text)
    try:
        source = _read(schema, "schema")
        judge = etree.XMLSchema(source) if language == "xsd" else etree.RelaxNG(source)
    except (etree.XMLSchemaParseError, etree.RelaxNGParseError) as error:
        message = f"xml-processor: schema: {line_of_error(error)[:300]}; correct it"
        raise ToolError(message, code="invalid_schema") from None
    valid = bool(judge.validate(document))
    log: Any = judge.error_log
    errors = [{"message": entry.message, "line": entry.line} for entry in log[:100]]
    return {"valid": valid, "errors": errors}


def formatted(text: str) -> str:
    """Return the document with each element on a line of its own, indented by two spaces."""
    from lxml import etree

    root = _read(text, blank=False)
    etree.indent(root, "  ")
    return str(etree.tostring(root.getroottree(), encoding="unicode"))


def canonical(text: str) -> str:
    """Return the canonical form, C14N 1.0 with comments."""
    from lxml import etree

    data: bytes = etree.tostring(_read(text).getroottree(), method="c14n", with_comments=True)
    return data.decode()


def _read(text: str, where: str = "input", blank: bool = True) -> Any:
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_blank_text=not blank
    )
    try:
        root = etree.fromstring(_declared(text).encode(), parser)
    except etree.XMLSyntaxError as error:
        told = re.sub(r" \(<string>, line \d+\)$", "", line_of_error(error))
        message = f"xml-processor: {where}: {told[:300]}; give well-formed XML"
        raise ToolError(message, code="invalid_input", details={"line": error.lineno}) from None
    except (ValueError, UnicodeEncodeError) as error:
        message = f"xml-processor: {where}: {line_of_error(error)[:200]}; give well-formed XML"
        raise ToolError(message, code="invalid_input") from None
    if root.getroottree().docinfo.internalDTD is not None:
        message = f"xml-processor: {where}: it has a DTD, and none is read; leave the DOCTYPE out"
        raise ToolError(message, code="invalid_input")
    return root


def _declared(text: str) -> str:
    """The text without its declaration, whose encoding was true of the bytes that it was read from."""
    text = text.lstrip("\ufeff \t\r\n")
    return text[text.find("?>") + 2 :].lstrip() if text.startswith("<?xml") and "?>" in text[:200] else text


def _told(item: Any) -> Any:
    from lxml import etree

    if isinstance(item, etree._Element):
        return etree.tostring(item, encoding="unicode", with_tail=False)
    if isinstance(item, bool):
        return item
    if isinstance(item, float):
        return None if item != item or item in (float("inf"), float("-inf")) else item
    return str(item[1]) if isinstance(item, tuple) else str(item)


def _name(element: Any) -> str:
    local = str(element.tag).rpartition("}")[2]
    return f"{element.prefix}:{local}" if element.prefix else local


def _value(element: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        message = f"xml-processor: input: it is nested deeper than {_DEEPEST} elements; query a part of it"
        raise ToolError(message, code="limit_exceeded")
    found: dict[str, Any] = {f"@{name.rpartition('}')[2]}": value for name, value in element.attrib.items()}
    for child in element.iterchildren("*"):
        name, value = _name(child), _value(child, depth + 1)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    text = "".join([element.text or "", *(child.tail or "" for child in element)]).strip()
    if not found:
        return text or None
    return found | ({"#text": text} if text else {})
