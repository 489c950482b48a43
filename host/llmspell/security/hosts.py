"""Which hosts may be talked to: judges URLs and addresses by the rules of ``security.hosts``.

Invariant: a host is allowed only if its name, its port and every one of its addresses are; what is judged is the number
that a connection would go to, never how the URL spells it (``0x7f.1``, ``2130706433``, ``[::ffff:127.0.0.1]``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from ipaddress import IPv6Address, ip_address

from msgspec import Struct

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.addresses import METADATA_NAMES, Address, HostEntries, is_metadata, kind_of
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.globs import is_wild
from llmspell_hookspecs.network import Target, shown_url

__all__ = ["BLOCKED_PORTS", "HostJudge", "HostRules"]

BLOCKED_PORTS = frozenset(
    {22, 23, 25, 110, 135, 139, 445, 1433, 3306, 3389, 5432, 5900, 6379, 8020, 9200, 11211, 27017}
)
_PORT_OF = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")


class HostRules(Struct, frozen=True):
    """Which hosts may be talked to.

    Attributes:
        allowed: Globs of host names, addresses, or networks such as ``10.0.0.0/8``.
        denied: The same; wins over all else.
        allow_private: Whether loopback, link-local, private and reserved addresses may be reached.
        private: Hosts whose addresses may be of that kind all the same; as ``allowed``. Only a host that is spelled out
            here may be a cloud's metadata service.
        blocked_ports: Ports that no URL may name.
    """

    allowed: tuple[str, ...] = ("*",)
    denied: tuple[str, ...] = ()
    allow_private: bool = False
    private: tuple[str, ...] = ()
    blocked_ports: frozenset[int] = BLOCKED_PORTS


class HostJudge:
    """Judges where URLs lead."""

    def __init__(self, rules: HostRules) -> None:
        self.rules = rules
        self._allowed = HostEntries(rules.allowed)
        self._denied = HostEntries(rules.denied)
        self._private = HostEntries(rules.private)

    def with_rules(self, rules: HostRules) -> HostJudge:
        """Return a judge by other rules; makes anew only what is different."""
        other = copy(self)
        other.rules = rules
        if rules.allowed != self.rules.allowed:
            other._allowed = HostEntries(rules.allowed)
        if rules.denied != self.rules.denied:
            other._denied = HostEntries(rules.denied)
        if rules.private != self.rules.private:
            other._private = HostEntries(rules.private)
        return other

    def exceeds(self, other: HostJudge) -> tuple[str, ...]:
        """Return the rules by which this judge permits what the other one refuses, or may do so."""
        spelled = {entry for entry in self.rules.private if not is_wild(entry) and "/" not in entry}
        beyond = {
            "allowed": not other._allowed.cover(self._allowed),
            "denied": not self._denied.cover(other._denied),
            "private": not (other._private.cover(self._private) and spelled <= set(other.rules.private)),
            "allow_private": self.rules.allow_private and not other.rules.allow_private,
            "blocked_ports": not other.rules.blocked_ports <= self.rules.blocked_ports,
        }
        return tuple(name for name, found in beyond.items() if found)

    def locate(self, url: str, schemes: Sequence[str] = tuple(_PORT_OF)) -> Target:
        """Return where a URL leads, judged by all that can be judged without its addresses.

        Raises:
            InvalidInputError: It is no URL.
            SecurityError: Its scheme, port or host is not allowed, or it holds a user.
        """
        target = _parse(url, schemes)
        if target.port in self.rules.blocked_ports:
            raise _refused(target, f"port {target.port} is blocked", "use another port")
        if self._denied.match(target.host, ()):
            raise _refused(target, "the host is denied", "the setting security.hosts.denied refuses it")
        if not self._allowed.match(target.host, ()) and not self._allowed.networks:
            raise self._not_allowed(target)
        if target.host in METADATA_NAMES and target.host not in self.rules.private:
            raise _refused(target, "a cloud's metadata service", "nothing but its name in the rules allows it")
        return target

    def judge(self, target: Target, addresses: Sequence[str]) -> tuple[str, ...]:
        """Return the addresses of a located host, all of them judged.

        Raises:
            SecurityError: There is none, or one of them is not allowed.
        """
        numbers = [_number(address, target) for address in addresses]
        if not numbers:
            raise _refused(target, "the host has no address", "check its name")
        if any(self._denied.match("", (number,)) for number in numbers):
            raise _refused(target, "an address is denied", "the setting security.hosts.denied refuses it")
        if not all(self._allowed.match(target.host, (number,)) for number in numbers):
            raise self._not_allowed(target)
        for number in numbers:
            self._judge_number(target, number)
        return tuple(dict.fromkeys(map(str, numbers)))

    def _judge_number(self, target: Target, number: Address) -> None:
        if is_metadata(number):
            if not {str(number), target.host} & set(self.rules.private):
                reason = f"its address {number} is a cloud's metadata service"
                raise _refused(target, reason, "nothing but its name in the rules allows it")
            return
        kind = kind_of(number)
        if kind and not self.rules.allow_private and not self._private.match(target.host, (number,)):
            hint = "only security.hosts.private (this one) or security.hosts.allow_private (all) allows it"
            raise _refused(target, f"its address {number} is {kind}", hint)

    def _not_allowed(self, target: Target) -> SecurityError:
        hosts = ", ".join(self.rules.allowed) or "no host"
        return _refused(target, "the host is not allowed", f"allowed is {hosts}; security.hosts.allowed allows more")


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


def _number(address: str, target: Target) -> Address:
    try:
        number = ip_address(address)
    except ValueError as error:
        raise _refused(target, f"{address!r} is not an address", "pin a host to numbers only") from error
    if isinstance(number, IPv6Address) and number.scope_id:
        raise _refused(target, f"its address {address} is link-local", "use an address without a zone")
    return number


def _refused(target: Target, reason: str, remedy: str) -> SecurityError:
    return SecurityError(f"{target.shown}: {reason}; {remedy}", rule="host")
