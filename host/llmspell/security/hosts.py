"""Which hosts may be talked to: judges URLs and addresses by the rules of ``security.hosts``.

Invariant: a host is allowed only if its name, its port and every one of its addresses are; what is judged is the number
that a connection would go to, never how the URL spells it (``0x7f.1``, ``2130706433``, ``[::ffff:127.0.0.1]``). Address
blocks: the special-purpose registries of IANA (RFC 6890).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.globs import Globs, is_wild
from llmspell_hookspecs.network import Target, shown_url

__all__ = ["BLOCKED_PORTS", "HostJudge", "HostRules", "host_entry"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

BLOCKED_PORTS = frozenset(
    {22, 23, 25, 110, 135, 139, 445, 1433, 3306, 3389, 5432, 5900, 6379, 8020, 9200, 11211, 27017}
)
_PORT_OF = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")

_METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.packet.net",
        "metadata.tencentyun.com",
    }
)
_METADATA_ADDRESSES = frozenset(
    map(
        ip_address,
        ("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"),
    )
)
_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(block), label)
    for block, label in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_EMBEDS_V4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


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
        self._allowed = _Hosts(rules.allowed)
        self._denied = _Hosts(rules.denied)
        self._private = _Hosts(rules.private)

    def with_rules(self, rules: HostRules) -> HostJudge:
        """Return a judge by other rules; makes anew only what is different."""
        other = copy(self)
        other.rules = rules
        if rules.allowed != self.rules.allowed:
            other._allowed = _Hosts(rules.allowed)
        if rules.denied != self.rules.denied:
            other._denied = _Hosts(rules.denied)
        if rules.private != self.rules.private:
            other._private = _Hosts(rules.private)
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
        if target.host in _METADATA_NAMES and target.host not in self.rules.private:
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
        if {number, _embedded(number)} & _METADATA_ADDRESSES:
            if not {str(number), target.host} & set(self.rules.private):
                reason = f"its address {number} is a cloud's metadata service"
                raise _refused(target, reason, "nothing but its name in the rules allows it")
            return
        kind = _kind(number)
        if kind and not self.rules.allow_private and not self._private.match(target.host, (number,)):
            hint = "only security.hosts.private (this one) or security.hosts.allow_private (all) allows it"
            raise _refused(target, f"its address {number} is {kind}", hint)

    def _not_allowed(self, target: Target) -> SecurityError:
        hosts = ", ".join(self.rules.allowed) or "no host"
        return _refused(target, "the host is not allowed", f"allowed is {hosts}; security.hosts.allowed allows more")


def host_entry(text: str) -> str:
    """Return an entry of the rules as URLs spell hosts: a network, or a glob of names, in ASCII.

    Raises:
        ValueError: No host is ever spelled so, so that it would say nothing: it is a URL, or holds a port or a user.
    """
    if _network(text) is not None:
        return text
    if not text or re.search(r"[/@:\s\\]", text.replace("[:", "").replace(":]", "")):
        raise ValueError("should name hosts, such as *.example.com, 10.0.0.0/8 or ::1; write no URL, port or user")
    if text.isascii():
        return text
    try:
        return ".".join(label if label.isascii() else label.encode("idna").decode() for label in text.split("."))
    except UnicodeError:
        raise ValueError("should name hosts in ASCII: write this one as it is registered, xn--...") from None


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


def _kind(number: Address) -> str:
    """Which special kind of address it is; empty for a public one."""
    for network, label in _SPECIAL:
        if number in network:
            return label
    return "" if isinstance(number, IPv4Address) or number in _GLOBAL_V6 else "reserved"


def _embedded(number: Address) -> Address:
    """The IPv4 address inside an IPv6 one, or the address itself."""
    if isinstance(number, IPv4Address):
        return number
    if number.sixtofour is not None:
        return number.sixtofour
    if any(number in network for network in _EMBEDS_V4):
        return IPv4Address(int(number) & 0xFFFFFFFF)
    return number


class _Hosts:
    """The entries of one rule: networks, and globs of names and of addresses as they are written."""

    def __init__(self, entries: Sequence[str]) -> None:
        found = {entry: _network(entry) for entry in entries}
        self.networks = frozenset(network for network in found.values() if network is not None)
        self.globs = Globs((entry for entry, network in found.items() if network is None), _folded)
        self._any = any(entry and not entry.strip("*") for entry in entries)

    def match(self, host: str, numbers: Sequence[Address]) -> bool:
        """Return whether the host is named, or one of the addresses is."""
        forms = [form for number in numbers for form in (number, _embedded(number))]
        if any(form in network for form in forms for network in self.networks):
            return True
        return any(self.globs.match(text) for text in (host, *map(str, forms)) if text)

    def cover(self, others: _Hosts) -> bool:
        """Return whether all that the others name is named here, too.

        A network lets names through until their addresses are known, which no glob but ``*`` does: only a network
        covers a network.
        """
        return self._any or (self.globs.cover(others.globs) and all(map(self._holds, others.networks - self.networks)))

    def _holds(self, network: Network) -> bool:
        lengths = {wide.prefixlen for wide in self.networks if wide.version == network.version}
        return any(
            network.supernet(new_prefix=length) in self.networks for length in lengths if length <= network.prefixlen
        )


def _folded(pattern: str) -> str:
    return pattern.lower().rstrip(".")


def _network(pattern: str) -> Network | None:
    """The network or single address that a pattern names, if it names one."""
    try:
        return ip_network(pattern.strip("[]"), strict=False)
    except ValueError:
        return None


def _refused(target: Target, reason: str, remedy: str) -> SecurityError:
    return SecurityError(f"{target.shown}: {reason}; {remedy}", rule="host")
