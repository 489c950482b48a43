"""Names and addresses of hosts: which special kind an address is, and networks and globs that name hosts.

Source of the address blocks: the special-purpose registries of IANA (RFC 6890).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from .globs import Globs

__all__ = ["METADATA_NAMES", "Address", "HostEntries", "embedded", "host_entry", "is_metadata", "kind_of"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA_NAMES: Final = frozenset(
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
"""Of services of clouds that hand out credentials."""
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


class HostEntries:
    """Entries of one rule: networks, and globs of names and of addresses as they are written.

    Args:
        entries: As `host_entry` returns them.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        found = {entry: _network(entry) for entry in entries}
        self.networks = frozenset(network for network in found.values() if network is not None)
        self.globs = Globs((entry for entry, network in found.items() if network is None), _folded)
        self._any = any(entry and not entry.strip("*") for entry in entries)

    def match(self, host: str, numbers: Sequence[Address]) -> bool:
        """Return whether the host is named, or one of the addresses is."""
        forms = [form for number in numbers for form in (number, embedded(number))]
        if any(form in network for form in forms for network in self.networks):
            return True
        return any(self.globs.match(text) for text in (host, *map(str, forms)) if text)

    def cover(self, others: HostEntries) -> bool:
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


def kind_of(number: Address) -> str:
    """Return which special kind of address it is, such as ``loopback``; empty for a public one."""
    for network, label in _SPECIAL:
        if number in network:
            return label
    return "" if isinstance(number, IPv4Address) or number in _GLOBAL_V6 else "reserved"


def embedded(number: Address) -> Address:
    """Return the IPv4 address inside an IPv6 one, or the address itself."""
    if isinstance(number, IPv4Address):
        return number
    if number.sixtofour is not None:
        return number.sixtofour
    if any(number in network for network in _EMBEDS_V4):
        return IPv4Address(int(number) & 0xFFFFFFFF)
    return number


def is_metadata(number: Address) -> bool:
    """Return whether it is the address of a cloud's metadata service."""
    return not _METADATA_ADDRESSES.isdisjoint((number, embedded(number)))
