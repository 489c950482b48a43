"""The parts of a URL and its normal form, as the URL standard of the WHATWG has them.

Invariant: a text that is no URL is told to be none, with the reason, and never repaired into one that leads elsewhere.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit

from llmspell_hookspecs.errors import text_of_error

__all__ = ["url_parts"]

_PORTS: Final = {"http": 80, "https": 443, "ftp": 21, "ws": 80, "wss": 443}
_EDGES: Final = "".join(map(chr, range(33)))
_BREAKS: Final = str.maketrans("", "", "\t\r\n")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")
_DOT, _DOTS = re.compile(r"(\.|%2e)\Z", re.IGNORECASE), re.compile(r"(\.|%2e){2}\Z", re.IGNORECASE)
_IN_PATH: Final = "!$%&'()*+,-./:;=@[]_|~^"
_IN_QUERY: Final = "!$%&()*+,-./:;=?@[\\]^_`{|}~"
_IN_FRAGMENT: Final = "!#$%&'()*+,-./:;=?@[\\]^_{|}~"
_MOST_PARAMETERS: Final = 10_000


def url_parts(text: str, decode: bool) -> dict[str, Any]:
    """Return the parts, or ``{valid: False, original, error}``.

    Args:
        text: The URL.
        decode: Whether names and values of the query are decoded.
    """
    try:
        return {"valid": True, "original": _without_password(text), **_parts(text, decode)}
    except ValueError as error:
        return {"valid": False, "original": _without_password(text), "error": text_of_error(error)[:200]}


def _without_password(text: str) -> str:
    return re.sub(r"(?<=://)([^/?#@:]*):[^/?#]*@", r"\1:***@", text)


def _parts(text: str, decode: bool) -> dict[str, Any]:
    cleaned = text.strip(_EDGES).translate(_BREAKS)
    scheme, colon, rest = cleaned.partition(":")
    if not colon or not _SCHEME.match(scheme):
        raise ValueError("it has no scheme such as https:")
    scheme = scheme.lower()
    if scheme not in _PORTS:
        return _opaque(scheme, urlsplit(f"{scheme}:{rest}"), decode)
    before, mark, after = rest.partition("?") if "?" in rest.partition("#")[0] else rest.partition("#")
    place = before.replace("\\", "/").lstrip("/")
    split = urlsplit(f"{scheme}://{place}{mark}{after}")
    host = _host(_hostname(split.netloc))
    port = split.port
    shown = port if port is not None and port != _PORTS[scheme] else None
    path = _path(split.path)
    query = quote(split.query, safe=_IN_QUERY, errors="replace")
    fragment = quote(split.fragment, safe=_IN_FRAGMENT, errors="replace")
    whole = f"{scheme}://{host['value']}{f':{shown}' if shown is not None else ''}{path}"
    return {
        "normalized": whole + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else ""),
        "scheme": scheme,
        "host": host,
        "port": port if port is not None else _PORTS[scheme],
        "has_credentials": "@" in split.netloc,
        "path": path,
        "query": query or None,
        "fragment": fragment or None,
        "query_params": _parameters(split.query, decode),
    }


def _opaque(scheme: str, split: SplitResult, decode: bool) -> dict[str, Any]:
    """A URL of a scheme that names no server in the usual way, such as mailto: and data:."""
    host = _hostname(split.netloc)
    return {
        "normalized": _without_password(f"{scheme}:{split.geturl().partition(':')[2]}"),
        "scheme": scheme,
        "host": {"type": "domain", "value": host, "is_ip": False} if host else None,
        "port": split.port,
        "has_credentials": "@" in split.netloc,
        "path": split.path,
        "query": split.query or None,
        "fragment": split.fragment or None,
        "query_params": _parameters(split.query, decode),
    }


def _hostname(netloc: str) -> str:
    place = netloc.rpartition("@")[2]
    return place.partition("]")[0] + "]" if place.startswith("[") else place.partition(":")[0]


def _host(host: str) -> dict[str, Any]:
    if host.startswith("["):
        return {"type": "ipv6", "value": f"[{IPv6Address(host[1:-1])}]", "is_ip": True}
    try:
        name = unquote(host, errors="strict").encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise ValueError("the host is no name that the domain name system could hold") from None
    if not name or _FORBIDDEN.search(name):
        raise ValueError("the host is empty, or holds a character that no host may hold")
    labels = name.rstrip(".").split(".")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        return {"type": "ipv4", "value": str(_ipv4(labels)), "is_ip": True}
    return {"type": "domain", "value": name, "is_ip": False}


def _ipv4(labels: list[str]) -> IPv4Address:
    """The address that numbers mean, each decimal, octal or hexadecimal, the last for all bytes that are left."""
    if len(labels) > 4:
        raise ValueError("the address has more than four numbers")
    numbers = [_number(label) for label in labels]
    *first, last = numbers
    if any(number > 255 for number in first) or last >= 256 ** (5 - len(numbers)):
        raise ValueError("a number of the address is too large")
    return IPv4Address(last + sum(number << (8 * (3 - place)) for place, number in enumerate(first)))


def _number(label: str) -> int:
    if len(label) > 40:
        raise ValueError("a number of the address is too large")
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if len(label) > 1 and label.startswith("0") else 10)


def _path(path: str) -> str:
    kept: list[str] = []
    pieces = path.split("/")[1:]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        if _DOTS.match(piece):
            kept[-1:] = []
        elif not _DOT.match(piece):
            kept.append(piece)
            continue
        if last:
            kept.append("")
    return "/" + quote("/".join(kept), safe=_IN_PATH, errors="replace")


def _parameters(query: str, decode: bool) -> dict[str, Any]:
    pairs = [pair for pair in query.split("&") if pair]
    if len(pairs) > _MOST_PARAMETERS:
        raise ValueError(f"the query has more than {_MOST_PARAMETERS} parameters")
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        name, value = (unquote_plus(name), unquote_plus(value)) if decode else (name, value)
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
