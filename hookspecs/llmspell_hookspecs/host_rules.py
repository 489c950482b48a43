"""Which hosts may be talked to: the rules of ``security.hosts``, and who judges by them where a URL has led.

Invariant: a host is allowed only if its name, its port and every one of its addresses are; what is judged is the number
that a connection would go to, never how it is spelled (``0x7f.1``, ``2130706433``, ``[::ffff:127.0.0.1]``).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Final, Self

from pydantic import Field, field_validator

from .addresses import METADATA_NAMES, Address, HostEntries, host_entry, is_metadata, kind_of
from .errors import SecurityError
from .globs import is_wild
from .network import Target
from .policy import Policy
from .sections import Names, Section

__all__ = ["BLOCKED_PORTS", "AddressJudge", "HostRules"]

BLOCKED_PORTS: Final = frozenset(
    {22, 23, 25, 110, 135, 139, 445, 1433, 3306, 3389, 5432, 5900, 6379, 8020, 9200, 11211, 27017}
)
"""Ports that no URL may name."""


class HostRules(Section):
    """``[security.hosts]``: which hosts scripts and tools may talk to."""

    allowed: Annotated[Names, Policy.SUBSET_ONLY] = Field(
        default=("*",), description="Globs of host names, or networks."
    )
    denied: Annotated[Names, Policy.SUPERSET_ONLY] = Field(
        default=(), description="Globs of host names, or networks; win over allowed, and a project file adds to them."
    )
    private: Annotated[Names, Policy.SUBSET_ONLY] = Field(
        default=(),
        description="Globs of hosts, addresses or networks that may be reached though they are private; a cloud's "
        "metadata service only if it is spelled out.",
    )
    allow_private: Annotated[bool, Policy.OFF_ONLY] = Field(
        default=False, description="Whether loopback, link-local and private addresses may be reached."
    )

    @field_validator("allowed", "denied", "private")
    @classmethod
    def _are_hosts(cls, value: Names) -> Names:
        return tuple(map(host_entry, value))


class AddressJudge:
    """Judges targets and their addresses by the rules; what a call trusts need not be allowed, and may be private."""

    def __init__(self, rules: HostRules) -> None:
        self.rules = rules
        self._allowed = HostEntries(rules.allowed)
        self._denied = HostEntries(rules.denied)
        self._private = HostEntries(rules.private)

    def with_rules(self, rules: HostRules) -> Self:
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

    def exceeds(self, other: AddressJudge) -> tuple[str, ...]:
        """Return the rules by which this judge permits what the other one refuses, or may do so."""
        spelled = {entry for entry in self.rules.private if not is_wild(entry) and "/" not in entry}
        beyond = {
            "allowed": not other._allowed.cover(self._allowed),
            "denied": not self._denied.cover(other._denied),
            "private": not (other._private.cover(self._private) and spelled <= set(other.rules.private)),
            "allow_private": self.rules.allow_private and not other.rules.allow_private,
        }
        return tuple(name for name, found in beyond.items() if found)

    def admit(self, target: Target, *, trusted: bool = False) -> Target:
        """Return where a URL leads, judged by all that can be judged without its addresses.

        Raises:
            SecurityError: Its port or host is not allowed.
        """
        if target.port in BLOCKED_PORTS:
            raise _refused(target, f"port {target.port} is blocked", "use another port")
        if self._denied.match(target.host, ()):
            raise _refused(target, "the host is denied", "the setting security.hosts.denied refuses it")
        if not (trusted or self._allowed.match(target.host, ()) or self._allowed.networks):
            raise self._not_allowed(target)
        if target.host in METADATA_NAMES and target.host not in self.rules.private:
            raise _refused(target, "a cloud's metadata service", "nothing but its name in the rules allows it")
        return target

    def judge(self, target: Target, addresses: Sequence[str], /, *, trusted: bool = False) -> tuple[str, ...]:
        """Return the addresses of a located host, all of them judged.

        Raises:
            SecurityError: There is none, or one of them is not allowed.
        """
        numbers = [_number(address, target) for address in addresses]
        if not numbers:
            raise _refused(target, "the host has no address", "check its name")
        if any(self._denied.match("", (number,)) for number in numbers):
            raise _refused(target, "an address is denied", "the setting security.hosts.denied refuses it")
        if not (trusted or all(self._allowed.match(target.host, (number,)) for number in numbers)):
            raise self._not_allowed(target)
        for number in numbers:
            self._judge_number(target, number, private=trusted or self.rules.allow_private)
        return tuple(dict.fromkeys(map(str, numbers)))

    def _judge_number(self, target: Target, number: Address, *, private: bool) -> None:
        if is_metadata(number):
            if not {str(number), target.host} & set(self.rules.private):
                reason = f"its address {number} is a cloud's metadata service"
                raise _refused(target, reason, "nothing but its name in the rules allows it")
            return
        kind = kind_of(number)
        if kind and not private and not self._private.match(target.host, (number,)):
            hint = "only security.hosts.private (this one) or security.hosts.allow_private (all) allows it"
            raise _refused(target, f"its address {number} is {kind}", hint)

    def _not_allowed(self, target: Target) -> SecurityError:
        hosts = ", ".join(self.rules.allowed) or "no host"
        return _refused(target, "the host is not allowed", f"allowed is {hosts}; security.hosts.allowed allows more")


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
