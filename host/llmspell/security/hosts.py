"""Where URLs lead: read by the parser that also builds the request, and judged by the rules of ``security.hosts``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.host_rules import AddressJudge
from llmspell_hookspecs.network import Target, shown_url

__all__ = ["HostJudge"]

_PORT_OF = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")


class HostJudge(AddressJudge):
    """Judges URLs, too; keeps the contract's `Hosts`."""

    def locate(self, url: str, /, *, trusted: bool = False, schemes: Sequence[str] = tuple(_PORT_OF)) -> Target:
        """Return where a URL leads, judged by all that can be judged without its addresses.

        Raises:
            InvalidInputError: It is no URL.
            SecurityError: Its scheme, port or host is not allowed, or it holds a user.
        """
        return self.admit(_parse(url, schemes), trusted=trusted)


def _parse(url: str, schemes: Sequence[str]) -> Target:
    """The parts of a URL by the parser that also builds the request: two parsers could disagree."""
    import httpx

    shown = shown_url(url)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, TypeError):
        message = f"{shown}: not a URL; give one such as https://example.com/path"
        raise InvalidInputError(message, field="url") from None
    host = parsed.raw_host.decode("ascii").lower().rstrip(".")
    if parsed.scheme not in schemes:
        known = " or ".join(schemes)
        raise SecurityError(f"{shown}: the scheme {parsed.scheme!r} is not allowed; use {known}", rule="host")
    if parsed.userinfo:
        raise SecurityError(f"{shown}: a URL may not hold a user; give credentials apart", rule="host")
    if not _HOST.fullmatch(host):
        raise SecurityError(f"{shown}: the host {host[:80]!r} is not allowed; use a plain name", rule="host")
    port = _PORT_OF.get(parsed.scheme, 0) if parsed.port is None else parsed.port
    if not 0 < port < 65536:
        raise InvalidInputError(f"{shown}: {port} is not a port; use 1 to 65535", field="url")
    return Target(parsed.scheme, host, port, shown)
